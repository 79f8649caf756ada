"""Netdata on loopback, unpacked from Debian's packages, with its default settings (one sample a second).

Only folders and addresses are set. Its recommended Python plugins are left out, which makes it the lighter.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from bench.peers import environment
from bench.process import Program, wait_for
from bench.setup import Setup

PACKAGES = ("netdata-core", "netdata-plugins-bash", "netdata-web", "libnetfilter-acct1")
START_TIMEOUT_S = 20.0

CONFIGURATION = """\
[global]
    run as user = {user}
[directories]
    config = {own}/etc
    stock config = {root}/usr/lib/netdata/conf.d
    stock health config = {root}/usr/lib/netdata/conf.d/health.d
    health config = {own}/etc/health.d
    plugins = "{root}/usr/lib/netdata/plugins.d"
    web = {root}/usr/share/netdata/web
    log = {own}/log
    cache = {own}/cache
    lib = {own}/lib
    home = {own}/home
[web]
    bind to = 127.0.0.1
    default port = {port}
[cloud]
    enabled = no
"""


@contextmanager
def running(setup: Setup) -> Iterator[Program]:
    """Start it on the setup's sixth port and wait until it listens; PeerUnavailable where it can't be had."""
    root = environment.unpacked(PACKAGES, setup.cache)
    own, port = setup.folder("netdata"), setup.port_base + 5
    for name in ("etc", "log", "cache", "lib", "home"):
        (own / name).mkdir()
    (own / "etc" / ".opt-out-from-anonymous-statistics").touch()
    configuration = own / "etc" / "netdata.conf"
    configuration.write_text(CONFIGURATION.format(user=getpass.getuser(), own=own, root=root, port=port))
    libraries = [str(folder) for folder in sorted((root / "usr/lib").glob("*-linux-gnu"))]
    env = setup.environment(LD_LIBRARY_PATH=":".join(libraries), DO_NOT_TRACK="1")
    argv = [str(root / "usr/sbin/netdata"), "-D", "-c", str(configuration), "-P", str(own / "pid")]
    with Program(argv, own / "output", env) as program:
        wait_for("Netdata's port", lambda: _listens(port), program, START_TIMEOUT_S)
        yield program


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
