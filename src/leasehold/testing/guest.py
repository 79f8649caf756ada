"""A guest machine for tests: this machine's own files, read-only, under another kernel (PROVE-8).

It has as much memory as it is given and cgroup v2 alone, with cpu, io, memory, pids and the freezer, whatever
the host has; what is written to its /tmp is gone with it. Two ways, tried in this order: User Mode Linux, and
QEMU, which uses KVM where the CPU has it, else emulates (about a tenth of the speed). Neither needs root.

Limits: one core; no disk, no network but loopback; Debian's User Mode Linux has no pressure figures. QEMU's
way wants an x86-64 host and a kernel as files (`tools/guest_kernel.sh`).
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from leasehold.runtime.lean import elapsed_s
from leasehold.testing.initramfs import archive

INIT = Path(__file__).with_name("guest_init.sh")
KERNEL = Path(
    os.environ.get("LEASEHOLD_GUEST_KERNEL")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "leasehold-guest")
)
"""`vmlinuz`, and `modules/` with the file `order`."""

ENDS_S = 15
"""How long after its time a guest may take to end by itself, before it is killed."""


class NoGuest(Exception):
    """Why no guest machine can be started here."""


class Done(NamedTuple):
    """What came of a command. `code` is None where it did not end; `kernel` is the log of the kernel."""

    code: int | None
    output: str
    kernel: str
    way: str
    seconds: float


class Way(Protocol):
    """One way to have a guest machine."""

    name: str

    def missing(self) -> str:
        """What this machine lacks for it, "" where it has all."""
        ...

    def words(self, folder: Path, memory_mib: int, given: Mapping[str, str]) -> list[str]:
        """The command that boots a guest; `given` is the environment of its first program."""
        ...

    def failed(self, kernel: str) -> str:
        """Why it can't boot on this CPU, as its console tells; "" where it has booted."""
        ...


class UserMode:
    """Debian's `user-mode-linux`: a kernel as a program, at the speed of the CPU."""

    name = "uml"

    def missing(self) -> str:
        return "" if shutil.which("linux.uml") else "no linux.uml (Debian: user-mode-linux)"

    def words(self, folder: Path, memory_mib: int, given: Mapping[str, str]) -> list[str]:
        kernel = shutil.which("linux.uml")
        assert kernel is not None
        root = ["rootfstype=hostfs", "rootflags=/", "ro", f"init={INIT}"]
        console = ["con=null", "con0=fd:0,fd:1"]
        return [kernel, f"mem={memory_mib}M", *root, *console, *(f"{key}={given[key]}" for key in given)]

    def failed(self, kernel: str) -> str:
        if "ptrace set fp regs failed" in kernel:
            return "this CPU has more registers (AMX) than the User Mode Linux kernel here can save"
        return ""


class Emulated:
    """QEMU, with the root by 9p."""

    name = "qemu"
    program = "qemu-system-x86_64"

    def missing(self) -> str:
        if os.uname().machine != "x86_64":
            return "QEMU's way is for x86-64 only"
        if not shutil.which(self.program):
            return f"no {self.program} (Debian: qemu-system-x86)"
        if not busybox():
            return "no static busybox (Debian: busybox-static)"
        if not (KERNEL / "vmlinuz").is_file():
            return f"no kernel in {KERNEL} (tools/guest_kernel.sh fetches one)"
        return ""

    def words(self, folder: Path, memory_mib: int, given: Mapping[str, str]) -> list[str]:
        (folder / "initramfs").write_bytes(archive(busybox(), KERNEL / "modules", INIT))
        quick = ["quiet", "loglevel=5", "panic=-1", "nokaslr", "mitigations=off", "audit=0", "psi=1"]
        quick += ["console=ttyS0", "random.trust_cpu=on", "lsm=", "raid=noautodetect"]
        # Emulated counters drift apart, and finding that out takes the kernel half a second.
        cpu = ["-accel", "kvm", "-cpu", "host"] if has_kvm() else ["-accel", "tcg,tb-size=256", "-cpu", "max"]
        quick += [] if has_kvm() else ["tsc=unstable", "no_timer_check"]
        shares: list[str] = []
        for tag, path, options in (("root", "/", ",readonly=on"), ("exchange", folder / "exchange", "")):
            shares += ["-fsdev", f"local,id={tag},path={path},security_model=none,multidevs=remap{options}"]
            shares += ["-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
        return [
            self.program,
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"),
            *("-machine", "q35", *cpu, "-m", str(memory_mib)),
            *("-kernel", str(KERNEL / "vmlinuz"), "-initrd", str(folder / "initramfs")),
            *("-append", " ".join([*quick, *(f"{key}={given[key]}" for key in given)])),
            *shares,
        ]

    def failed(self, kernel: str) -> str:
        return ""


WAYS: tuple[Way, ...] = (UserMode(), Emulated())
_unfit: dict[str, str] = {}
"""Ways that were seen not to boot here, and why."""


def busybox() -> Path | None:
    """A busybox that needs no library, or None."""
    found = shutil.which("busybox")
    if found is None or b"/ld-linux" in Path(found).read_bytes():
        return None
    return Path(found)


def has_kvm() -> bool:
    """Whether the CPU itself runs guests: a paravirtual /dev/kvm boots kernels made for it alone."""
    modules = any(Path("/sys/module", name).is_dir() for name in ("kvm_intel", "kvm_amd"))
    return modules and os.access("/dev/kvm", os.R_OK | os.W_OK)


def run(
    command: Sequence[str],
    *,
    memory_mib: int = 512,
    timeout_s: int = 110,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    shown: Iterable[Path] = (),
    ways: Sequence[Way] = WAYS,
) -> Done:
    """Run one command, as root, in a guest that ends with it.

    `shown` (and `cwd`) stay visible also where they lie below /tmp. Raises NoGuest with what is missing.
    """
    why = []
    for way in ways:
        lacks = way.missing() or _unfit.get(way.name, "")
        if not lacks:
            done = _boot(way, command, memory_mib, timeout_s, env or {}, cwd, shown)
            lacks = way.failed(done.kernel) if done.code is None else ""
            if not lacks:
                return done
            _unfit[way.name] = lacks
        why.append(lacks)
    raise NoGuest("; ".join(why))


def _boot(
    way: Way,
    command: Sequence[str],
    memory_mib: int,
    timeout_s: int,
    env: Mapping[str, str],
    cwd: Path | None,
    shown: Iterable[Path],
) -> Done:
    visible = sorted({str(Path(path).absolute()) for path in (*shown, *([cwd] if cwd else []), INIT.parent)})
    began = elapsed_s()
    with tempfile.TemporaryDirectory(prefix="guest-") as scratch:
        folder = Path(scratch)
        exchange = folder / "exchange"
        exchange.mkdir()
        script = [f"export {key}={shlex.quote(value)}\n" for key, value in env.items()]
        script += [f"cd {shlex.quote(str(cwd or '/'))} || exit 125\n", f"exec {shlex.join(command)}\n"]
        (exchange / "command").write_text("".join(script))
        given = {
            "GUEST_WAY": way.name,
            "GUEST_EXCHANGE": str(exchange),
            "GUEST_SHOWN": ":".join(visible),
            "GUEST_SECONDS": str(timeout_s),
        }
        kernel = _console(way.words(folder, memory_mib, given), timeout_s + ENDS_S)
        return Done(
            int(text) if (text := _text(exchange / "code").strip()) else None,
            _text(exchange / "output"),
            kernel,
            way.name,
            elapsed_s() - began,
        )


def _console(words: list[str], timeout_s: float) -> str:
    with subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            out, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            out, _ = process.communicate()
        except BaseException:
            process.kill()
            raise
    return out.decode(errors="replace")


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
