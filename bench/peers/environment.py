"""Throw-away environments: Debian packages unpacked beside the system, and a Python environment for clients.

Nothing is installed into the machine: packages are downloaded by apt's ordinary client and unpacked into the
cache folder, from where their programs run. `python -m bench --clean` removes all of it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
PROTO = HERE.parents[1] / "proto"
INSTALL_TIMEOUT_S = 300.0


class PeerUnavailable(Exception):
    """A peer can't be had on this machine; the message says why and what would change that."""


def unpacked(packages: Sequence[str], cache: Path) -> Path:
    """The folder in which these Debian packages lie unpacked (as if it were `/`); downloaded once.

    Raises PeerUnavailable where there is no apt, no package list, or no such package.
    """
    target = cache / ("debian-" + hashlib.sha256(" ".join(packages).encode()).hexdigest()[:12])
    if target.is_dir():
        return target
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise PeerUnavailable(f"{packages[0]} comes as a Debian package, and apt-get or dpkg is missing here")
    with tempfile.TemporaryDirectory(dir=cache) as staging_name:
        staging = Path(staging_name)
        as_root = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
        _call(["apt-get", *as_root, "download", *packages], staging, "apt-get update (as root), then again")
        root = staging / "root"
        for archive in sorted(staging.glob("*.deb")):
            _call(["dpkg", "-x", str(archive), str(root)], staging, "remove the cache with --clean")
        root.rename(target)
    return target


def python(cache: Path, pinned: str = "requirements.lock") -> Path:
    """The interpreter of an environment of the peers' own, with what the lock file `pinned` names."""
    lock = HERE / pinned
    target = cache / ("python-" + hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:12])
    interpreter = target / "bin" / "python"
    if (target / ".complete").exists():
        return interpreter
    shutil.rmtree(target, ignore_errors=True)
    _call([sys.executable, "-m", "venv", str(target)], cache, "install Python's venv module")
    install = [str(interpreter), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(lock)]
    _call(install, cache, "check that pip can reach a package index")
    (target / ".complete").touch()
    return interpreter


def stubs(cache: Path) -> Path:
    """The folder of the generated stubs of `etcd.proto`, for the peers' interpreter."""
    source = PROTO / "etcd.proto"
    target = cache / ("stubs-" + hashlib.sha256(source.read_bytes()).hexdigest()[:12])
    if not (target / "etcd_pb2_grpc.py").exists():
        target.mkdir(exist_ok=True)
        compiler = [str(python(cache)), "-m", "grpc_tools.protoc", f"-I{PROTO}"]
        outputs = [f"--python_out={target}", f"--grpc_python_out={target}"]
        _call([*compiler, *outputs, source.name], PROTO, "remove the cache with --clean")
    return target


def _call(argv: list[str], folder: Path, cure: str) -> None:
    try:
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired as exc:
        raise PeerUnavailable(f"`{argv[0]}` took over {INSTALL_TIMEOUT_S:.0f} s; {cure}") from exc
    if done.returncode:
        tail = (done.stderr or done.stdout).strip()[-300:]
        raise PeerUnavailable(f"`{' '.join(argv[:4])} …` failed ({done.returncode}): {tail}; {cure}")
