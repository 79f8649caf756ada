"""Puts the server together: the only file that names concrete classes."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import random
import signal
import socket
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from leasehold import __version__
from leasehold.adapters.addons.folders import LocalFolders
from leasehold.adapters.addons.http import HttpProbe
from leasehold.adapters.hosts.linux import LinuxHost
from leasehold.adapters.hosts.processes import LinuxProcesses
from leasehold.adapters.hosts.work import LinuxWork
from leasehold.adapters.stores.data_folder import prepare
from leasehold.adapters.stores.samples import SqliteSamples
from leasehold.adapters.stores.sqlite import SqliteStore
from leasehold.adapters.stores.sqlite_archive import SqliteArchive
from leasehold.api.app import App
from leasehold.api.auth import Gate
from leasehold.api.credentials import admin_hash
from leasehold.api.express import Express
from leasehold.api.pipeline import Pipeline
from leasehold.api.routes import ENDPOINTS
from leasehold.api.server import CONNECTIONS_MAX, Listener, Server, tcp_socket, unix_socket
from leasehold.api.server_file import SERVER_FILE, write_server_file
from leasehold.api.services import Services
from leasehold.config import ConfigError, Loaded, load
from leasehold.control import figures
from leasehold.control.addon import AddonService
from leasehold.control.addon_watch import AddonWatch
from leasehold.control.bindings import Bindings
from leasehold.control.counters import Counters
from leasehold.control.history import History
from leasehold.control.lease import LeaseService
from leasehold.control.ledger import Ledger
from leasehold.control.lock import LockService
from leasehold.control.scheduler import SchedulerService
from leasehold.control.sense import SenseService
from leasehold.control.stats import StatsService
from leasehold.control.supervisor import Supervisor
from leasehold.core.state import State
from leasehold.model.charge import Totals
from leasehold.model.errors import LeaseholdError
from leasehold.model.work import Containment
from leasehold.ports.store import CommitFailed, CommitUnknown, StoreError
from leasehold.runtime.clock import RealClock, elapsed_ns
from leasehold.runtime.ids import RandomIds, RequestIds, new_token
from leasehold.runtime.lanes import ThreadLane
from leasehold.runtime.logging import Logs, get_logger
from leasehold.runtime.process import raise_file_limit, share_of_files
from leasehold.runtime.redaction import SECRET_KEY, Redactor
from leasehold.runtime.request_stats import RequestStats, StatsMiddleware
from leasehold.runtime.telemetry import Telemetry
from leasehold.runtime.zone import local_zone

log = get_logger(__name__)

SOCKET = "leasehold.sock"
CLIENT_SOCKET = "client.sock"
"""The one to mount into containers: whoever is in there has to show a token (OPS-5)."""


COLLECTORS_S, COMMIT_S, DRAIN_S = 1.5, 3.0, 2.0
"""How long a stop waits for collectors, the last commit, and answers: all of it under 10 s (OPS-28)."""

RETRY_START_S = 2.0
"""How often a store that can't be written at start (a full disk) is tried again."""

FULL_BYTES = 1 << 20
"""With less room than this, an error of the store at start is taken for a full disk, and waited for."""


class StartError(Exception):
    """The server can't start. The sentence says why, and what to do."""


class Program:
    """A server, from `start` to `stop`."""

    def __init__(self, loaded: Loaded, env: Mapping[str, str]) -> None:
        self.loaded = loaded
        self.settings = loaded.settings
        self.policy = loaded.settings.policy
        self.env = env
        self.data = loaded.settings.data_path
        self.clock = RealClock()
        self.ids = RandomIds()
        self.request_ids = RequestIds()
        self.redactor = Redactor(_secrets(env))
        self.telemetry = Telemetry()
        self.stopping = asyncio.Event()
        self.socket_files: list[Path] = []
        self._prepare()
        self._assemble()

    # -- putting together

    def _prepare(self) -> None:
        try:
            prepare(self.data)
            token_hash = admin_hash(self.data, new_token)
            self.listeners = self._listen()
        except (OSError, StoreError, LeaseholdError) as error:
            raise StartError(str(error)) from error
        log_settings = self.settings.log
        self.logs = Logs(
            self.redactor,
            folder=self.data / "log",
            form=log_settings.format,
            to_stderr=log_settings.stderr,
            file_bytes_max=log_settings.file_bytes_max,
            files_kept=log_settings.files_kept,
        )
        self.pipeline = Pipeline(Gate(admin_hash=token_hash, owner_uid=os.getuid()), self.redactor)
        self.requests = RequestStats(elapsed_ns)
        self.app = App(ENDPOINTS, self.pipeline, self.request_ids.new)
        self.server = Server(
            StatsMiddleware(self.app, self.requests),
            self.listeners,
            new_request_id=self.request_ids.new,
            express=Express(self.app, self.requests, self.request_ids.new),
            connections_max=min(CONNECTIONS_MAX, share_of_files(4)),
        )

    def _listen(self) -> list[Listener]:
        settings = self.settings
        try:
            listeners = [Listener(tcp_socket(settings.host, settings.port))]
        except OSError as error:
            raise StartError(
                f"port {settings.port} on {settings.host} can't be taken ({error.strerror}): is another "
                "server running? Set another by LEASEHOLD_PORT"
            ) from error
        listeners.append(self._listen_at(self.data / SOCKET, 0o600))
        listeners.append(self._listen_at(self.data / CLIENT_SOCKET, 0o666, asks_kernel=False))
        if os.geteuid() == 0:
            Path(settings.run_dir).mkdir(mode=0o755, parents=True, exist_ok=True)
            listeners.append(self._listen_at(Path(settings.run_dir) / SOCKET, 0o666))
        return listeners

    def _listen_at(self, path: Path, mode: int, *, asks_kernel: bool = True) -> Listener:
        listener = Listener(unix_socket(path, mode), asks_kernel=asks_kernel)
        self.socket_files.append(path)
        return listener

    def _assemble(self) -> None:
        host, work = LinuxHost(str(self.data)), LinuxWork(_cgroup_home(self.data))
        self.store = SqliteStore(self.data, wall_ms=self.clock.wall_ms)
        self.archive = SqliteArchive(self.store)
        node_id = socket.gethostname() or "node"
        ended_shown = self.settings.lease.ended_shown
        self.ledger = Ledger(self.store, self.clock, self.ids, lambda: State(node_id, ended_shown))
        self.leases = LeaseService(
            self.ledger,
            lambda: self.policy,
            Bindings(LinuxProcesses(), work, ThreadLane("bind").run, self._process_ended),
            self.archive,
            Counters(),
            totals=_totals(host, self.clock.now_ms(), self.data),
            disk_of=host.disk_of,
        )
        self.supervisor = Supervisor(self.leases, local_zone())
        self._assemble_addons()
        self.sense = SenseService(
            node_id,
            host,
            work,
            self.clock,
            self.settings.quiet,
            leases=self.leases.to_measure,
            publish=self.supervisor.observed,
            jitter=random.Random(self.ids.seed()).random,  # noqa: S311 - spreads collectors in time
            lane=ThreadLane,
            publish_use=self.leases.take_use,
            api=self.requests.stats,
            history=History(SqliteSamples(str(self.data)), self.clock),
            addons=self.addon_watch,
        )

    def _assemble_addons(self) -> None:
        probe = HttpProbe(lambda: self.settings.addons.allowed_hosts, ThreadLane)
        folders = LocalFolders(elapsed_ns)
        jitter = random.Random(self.ids.seed()).random  # noqa: S311 - spreads collectors in time
        self.addon_watch = AddonWatch(
            lambda: self.ledger.state.addons, probe, folders, self.clock, jitter, ThreadLane
        )
        self.addons = AddonService(
            self.ledger, self.addon_watch, probe, folders, ThreadLane("addons"), self.leases.line.dispatch
        )

    def _process_ended(self, lease_id: str) -> None:
        self.leases.process_ended(lease_id)

    def services(self) -> Services:
        """What handlers call."""
        return Services(
            leases=self.leases,
            scheduler=SchedulerService(self.leases, lambda: self.settings.quiet.preset),
            locks=LockService(self.ledger, lambda: self.policy, self.leases.line.dispatch),
            logs=self.logs,
            ready=lambda: self.supervisor.ready,
            metrics=self.telemetry.render,
            stats=StatsService(self.sense, self.clock, self.addons.snapshots),
            owner=self.supervisor.owner,
            addons=self.addons,
        )

    def _publish_figures(self) -> None:
        started_s, telemetry = self.clock.wall_ms() / 1_000, self.telemetry
        figures.publish(telemetry, self.leases, self.supervisor, self.sense)
        telemetry.source("leasehold_info", lambda: [((__version__, self.settings.quiet.preset), 1)])
        telemetry.figure("leasehold_start_time_seconds", lambda: started_s)
        telemetry.figure("leasehold_loop_lag_seconds", lambda: self.server.loop_lag_s)
        telemetry.figure("leasehold_log_lines_dropped_total", lambda: self.logs.dropped)
        telemetry.figure("leasehold_http_in_flight", lambda: self.requests.in_flight)
        telemetry.source("leasehold_http_requests_total", self.requests.totals)
        telemetry.source(
            "leasehold_http_connections",
            lambda: [((kind,), count) for kind, count in self.server.connections().items()],
        )

    # -- life

    async def run(self) -> None:
        """Serve until told to stop. Raises StartError."""
        self._on_signals()
        self.logs.start(self.settings.log.level, self.settings.log.levels)
        await self.server.start()
        self._announce()
        recovery = asyncio.create_task(self._recover(), name="recovery")
        stopped = asyncio.create_task(self.stopping.wait(), name="until-stopped")
        try:
            await asyncio.wait((recovery, stopped), return_when=asyncio.FIRST_COMPLETED)
            if recovery.done():
                recovery.result()
            await stopped
        finally:
            recovery.cancel()
            stopped.cancel()
            await asyncio.gather(recovery, stopped, return_exceptions=True)
            await self._stop()

    def _disk_is_full(self) -> bool:
        found = os.statvfs(self.data)
        return found.f_bavail * found.f_frsize < FULL_BYTES

    def _announce(self) -> None:
        try:
            write_server_file(self.data, self.listeners[0].sock, self.clock.wall_ms())
        except OSError as error:  # A full disk: the sockets answer all the same, and it is tried again.
            log.warning("server_file_not_written", why=str(error))

    async def _recover(self) -> None:
        await asyncio.to_thread(self.app.prepare)
        while True:
            try:
                await self.supervisor.start()
                break
            except (StoreError, LeaseholdError) as error:
                if not isinstance(error, CommitFailed | CommitUnknown) and not self._disk_is_full():
                    raise StartError(str(error)) from error
                self.pipeline.not_ready = f"the store can't be written: {error}"
                log.error("store_unavailable_at_start", why=str(error))
                await self.store.close()
                await asyncio.sleep(RETRY_START_S)
        self._publish_figures()
        gc.collect()
        gc.freeze()
        self.pipeline.services = self.services()
        await self.sense.start()
        await asyncio.to_thread(self.telemetry.prepare)
        if not (self.data / SERVER_FILE).exists():
            self._announce()
        log.info(
            "ready",
            version=__version__,
            preset=self.settings.quiet.preset,
            preset_reason=self.loaded.preset_reason,
            data=str(self.data),
        )

    async def _stop(self) -> None:
        """Stop accepting, answer held calls, commit what is open, end every loop (OPS-28)."""
        log.info("stopping")
        self.pipeline.stopping = True
        await self.server.stop_accepting()
        await self._within(COLLECTORS_S, "collectors", self.sense.stop())
        await self._within(COMMIT_S, "store", self.supervisor.stop(self.archive.close))
        late = await self.server.drain(DRAIN_S)
        await self.server.close()
        (self.data / SERVER_FILE).unlink(missing_ok=True)
        for path in self.socket_files:
            path.unlink(missing_ok=True)
        log.info("stopped", calls_cut=late)
        self.logs.close()

    async def _within(self, limit_s: float, what: str, work: Coroutine[Any, Any, None]) -> None:
        """One step of a stop: it may fail or hang, and the next one is taken all the same."""
        try:
            async with asyncio.timeout(limit_s):
                await work
        except TimeoutError:
            log.error("stop_gave_up", what=what, after_s=limit_s)
        except Exception:
            log.exception("stop_failed", what=what)

    # -- signals

    def _on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_soon, number)
        loop.add_signal_handler(signal.SIGHUP, self.reload)

    def _stop_soon(self, number: int) -> None:
        if self.stopping.is_set():
            os._exit(128 + number)
        self.stopping.set()

    def reload(self) -> None:
        """Take up what can be changed while running (SIGHUP); one with an error changes nothing."""
        try:
            self.loaded = load(self.loaded.flags, self.env, detect)
        except ConfigError as error:
            log.error("config_refused", why=str(error))
            return
        self.settings = self.loaded.settings
        self.policy = self.settings.policy
        self.sense.settings = self.settings.quiet
        self.leases.line.dispatch()  # There may be more room now.
        for name, level in {"leasehold": self.settings.log.level, **self.settings.log.levels}.items():
            self.logs.set_level(name, level)
        log.info("config_taken_up", file=str(self.loaded.file))


def serve(loaded: Loaded, env: Mapping[str, str]) -> None:
    """Run the server in this process until it is stopped. Raises ConfigError, StartError."""
    import uvloop

    if loaded.settings.preset == "auto":
        loaded = load(loaded.flags, env, detect)
    raise_file_limit()

    async def main() -> None:
        await Program(loaded, env).run()

    uvloop.run(main())


def containment() -> Containment:
    """How leased work is held on this machine by a server of this user."""
    return LinuxWork().containment()


def detect() -> tuple[str, str]:
    """The preset that suits this machine, and why."""
    return LinuxHost("/").preset()


def _cgroup_home(data: Path) -> str:
    """The cgroup under which this server's leases stand.

    Its own, so that two servers never tidy up each other's.
    """
    return f"leasehold-{hashlib.blake2b(str(data.resolve()).encode(), digest_size=4).hexdigest()}"


def _totals(host: LinuxHost, now_ms: int, data: Path) -> Totals:
    """What the node has, until the first measurement says it."""
    counters = host.counters(now_ms)
    free = os.statvfs(data)
    return Totals(
        cpu_millicores=1_000 * len(counters.cores),
        memory_bytes=counters.memory_total_bytes,
        disk_bytes=free.f_frsize * free.f_blocks,
    )


def _secrets(env: Mapping[str, str]) -> list[str]:
    """Values of the environment whose names say that they are secret."""
    return [value for name, value in sorted(env.items()) if SECRET_KEY.search(name)]
