"""The server: every part by its concrete class, from start to stop."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import socket
from collections.abc import Collection, Coroutine, Mapping
from pathlib import Path
from typing import Any

from leasehold import __version__
from leasehold.adapters.addons.folders import LocalFolders
from leasehold.adapters.addons.http import HttpProbe
from leasehold.adapters.hosts.containers import Containers, sockets_of
from leasehold.adapters.hosts.linux import LinuxHost
from leasehold.adapters.hosts.processes import LinuxProcesses
from leasehold.adapters.hosts.work import LinuxWork
from leasehold.adapters.stores.data_folder import prepare
from leasehold.adapters.stores.samples import SqliteSamples
from leasehold.adapters.stores.sqlite import SqliteStore
from leasehold.adapters.stores.sqlite_archive import SqliteArchive
from leasehold.api.app import App
from leasehold.api.auth import Gate
from leasehold.api.credentials import admin_hash, rights
from leasehold.api.express import Express
from leasehold.api.listening import listen, remove_files
from leasehold.api.pipeline import Pipeline
from leasehold.api.routes import ENDPOINTS, PAGES
from leasehold.api.server import CONNECTIONS_MAX, Listener, Server
from leasehold.api.server_file import SERVER_FILE, write_server_file
from leasehold.api.services import Services
from leasehold.api.session import Sessions
from leasehold.api.tls import keep
from leasehold.bootstrap.certificate import tls_of
from leasehold.bootstrap.machine import cgroup_home, detect, disk_is_full, secrets, totals_of
from leasehold.bootstrap.measures import publish_process
from leasehold.config import ConfigError, Loaded, load
from leasehold.control import figures
from leasehold.control.addon import AddonService
from leasehold.control.addon_watch import AddonWatch
from leasehold.control.audit import AuditService
from leasehold.control.bindings import Bindings
from leasehold.control.counters import Counters
from leasehold.control.dashboard import Dashboard
from leasehold.control.guard import GuardService
from leasehold.control.history import History
from leasehold.control.ladder import LadderService
from leasehold.control.lease import LeaseService
from leasehold.control.ledger import Ledger
from leasehold.control.lock import LockService
from leasehold.control.scheduler import SchedulerService
from leasehold.control.sense import SenseService
from leasehold.control.stats import StatsService
from leasehold.control.supervisor import Supervisor
from leasehold.control.token import TokenService
from leasehold.core.state import State
from leasehold.model.errors import LeaseholdError
from leasehold.ports.signer import SignerError
from leasehold.ports.store import CommitFailed, CommitUnknown, StoreError
from leasehold.runtime.clock import RealClock, elapsed_ns
from leasehold.runtime.ids import RandomIds, RequestIds, new_code, new_token
from leasehold.runtime.lanes import ThreadLane
from leasehold.runtime.logging import Logs, get_logger
from leasehold.runtime.process import raise_file_limit, share_of_files
from leasehold.runtime.redaction import Redactor
from leasehold.runtime.request_stats import RequestStats, StatsMiddleware
from leasehold.runtime.telemetry import Telemetry
from leasehold.runtime.zone import local_zone

log = get_logger(__name__)

PAGES_S, COLLECTORS_S, COMMIT_S, DRAIN_S = 1.0, 1.5, 3.0, 2.0
"""How long a stop waits for pages, collectors, the last commit, answers: all of it under 10 s (OPS-28)."""

RETRY_START_S = 2.0
"""How often a store that can't be written at start (a full disk) is tried again."""


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
        self.redactor = Redactor(secrets(env))
        self.telemetry = Telemetry()
        self.stopping = asyncio.Event()
        self.reloaded = asyncio.Event()
        self._prepare()
        self._assemble()

    # -- putting together

    def _prepare(self) -> None:
        try:
            prepare(self.data)
            token_hash = admin_hash(self.data, new_token)
            self.listeners = self._listen()
        except (OSError, StoreError, SignerError, LeaseholdError) as error:
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
        self.sessions = Sessions(
            self.data,
            self.clock,
            new_secret=new_token,
            new_code=new_code,
            offload=ThreadLane("sessions").run,
        )
        self.gate = Gate(
            admin_hash=token_hash,
            owner_uid=os.getuid(),
            by_session=self.sessions.identify,
            session_of=self.sessions.session_of,
            wall_ms=self.clock.wall_ms,
        )
        self.pipeline = Pipeline(self.gate, self.redactor)
        self.requests = RequestStats(elapsed_ns)
        self.app = App((*ENDPOINTS, *PAGES), self.pipeline, self.request_ids.new)
        self.server = Server(
            StatsMiddleware(self.app, self.requests),
            self.listeners,
            new_request_id=self.request_ids.new,
            express=Express(self.app, self.requests, self.request_ids.new),
            connections_max=min(CONNECTIONS_MAX, share_of_files(len(self.listeners) + 1)),
        )

    def _listen(self) -> list[Listener]:
        settings = self.settings
        run_dir = Path(settings.run_dir)
        tls = tls_of(settings, lambda: self.settings, self.clock.wall_ms)
        return listen(self.data, run_dir, settings.host, settings.port, tls, settings.tls.port)

    def _assemble(self) -> None:
        host, work = LinuxHost(str(self.data)), LinuxWork(cgroup_home(self.data))
        self.store = SqliteStore(self.data, wall_ms=self.clock.wall_ms)
        self.archive = SqliteArchive(self.store)
        self.audit = AuditService(self.archive, self.clock)
        self.pipeline.audit.book = self.audit
        node_id = socket.gethostname() or "node"
        ended_shown = self.settings.lease.ended_shown
        self.ledger = Ledger(self.store, self.clock, self.ids, lambda: State(node_id, ended_shown))
        self.leases = LeaseService(
            self.ledger,
            lambda: self.policy,
            Bindings(LinuxProcesses(), work, ThreadLane("bind").run, self._process_ended),
            self.archive,
            Counters(),
            totals=totals_of(host, self.clock.now_ms(), self.data),
            disk_of=host.disk_of,
        )
        self.tokens = TokenService(self.ledger, lambda: self.gate.rights.roles, new_token)
        self.tokens.cut = self._cut
        self.gate.tokens = self.tokens
        standing = work.standing(Containers(self.settings.guard.container_sockets or sockets_of(self.env)))
        self.guards = GuardService(self.leases, standing, ThreadLane("guards").run)
        ladder = LadderService(self.leases, work.brakes(standing), ThreadLane("brakes").run)
        self.supervisor = Supervisor(
            self.leases, local_zone(), self.tokens, ladder=ladder, guards=self.guards, audit=self.audit
        )
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
        self._assemble_page()

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

    def _assemble_page(self) -> None:
        self.scheduler = SchedulerService(self.leases, lambda: self.settings.quiet.preset)
        self.dashboard = Dashboard(
            self.ledger,
            self.scheduler,
            self.supervisor.owner,
            self.sense,
            self.archive,
            self.leases.counters,
            lambda: self.policy,
        )
        self.supervisor.on_change = self.dashboard.changed
        self.dashboard.allowed = lambda who: not who.session or self.sessions.lives(who.session)
        self.sessions.on_end = lambda sid: self.dashboard.end(lambda who: who.session == sid, "signed out")

    def _process_ended(self, lease_id: str) -> None:
        self.leases.process_ended(lease_id)
        self.guards.process_ended(lease_id)

    def _cut(self, token_ids: Collection[str], now: bool) -> None:
        """These tokens are no more: nobody remembers them, and what is open by them ends (OPS-5)."""
        self.gate.epoch += 1
        self.server.cut(token_ids, now=now)

    def _take_up_rights(self) -> None:
        custom = {name: role.verbs for name, role in self.settings.roles.items()}
        self.gate.rights, unknown = rights(custom, self.settings.identity.groups)
        self.gate.epoch += 1
        if unknown:
            log.warning("groups_unknown", groups=unknown, setting="identity.groups")

    def services(self) -> Services:
        """What handlers call."""
        return Services(
            leases=self.leases,
            scheduler=self.scheduler,
            locks=LockService(self.ledger, lambda: self.policy, self.leases.line.dispatch),
            logs=self.logs,
            ready=lambda: self.supervisor.ready,
            metrics=self.telemetry.render,
            stats=StatsService(self.sense, self.clock, self.addons.snapshots),
            owner=self.supervisor.owner,
            addons=self.addons,
            tokens=self.tokens,
            guards=self.guards,
            audit=self.audit,
            dashboard=self.dashboard,
            sessions=self.sessions,
            ladder=self.supervisor.ladder,
        )

    # -- life

    async def run(self) -> None:
        """Serve until told to stop. Raises StartError."""
        self._on_signals()
        self.logs.start(self.settings.log.level, self.settings.log.levels)
        self._take_up_rights()
        await self.server.start()
        self._announce()
        certificate = asyncio.create_task(self._keep_certificate(), name="certificate")
        recovery = asyncio.create_task(self._recover(), name="recovery")
        stopped = asyncio.create_task(self.stopping.wait(), name="until-stopped")
        try:
            await asyncio.wait((recovery, stopped), return_when=asyncio.FIRST_COMPLETED)
            if recovery.done():
                recovery.result()
            await stopped
        finally:
            for task in (recovery, stopped, certificate):
                task.cancel()
            await asyncio.gather(recovery, stopped, certificate, return_exceptions=True)
            await self._stop()

    def _announce(self) -> None:
        try:
            lan = next((one for one in self.listeners if one.tls is not None), None)
            write_server_file(self.data, self.listeners[0].sock, self.clock.wall_ms(), lan)
        except OSError as error:  # A full disk: the sockets answer all the same, and it is tried again.
            log.warning("server_file_not_written", why=str(error))

    async def _keep_certificate(self) -> None:
        """Renew it in time, and when the machine gets another address or the settings are read again."""
        for tls in (one.tls for one in self.listeners if one.tls is not None):
            await keep(tls, ThreadLane("certificate").run, self.reloaded, self._announce)

    async def _recover(self) -> None:
        await asyncio.to_thread(self.app.prepare)
        while True:
            try:
                await self.supervisor.start()
                break
            except (StoreError, LeaseholdError) as error:
                if not isinstance(error, CommitFailed | CommitUnknown) and not disk_is_full(self.data):
                    raise StartError(str(error)) from error
                self.pipeline.not_ready = f"the store can't be written: {error}"
                log.error("store_unavailable_at_start", why=str(error))
                await self.store.close()
                await asyncio.sleep(RETRY_START_S)
        figures.publish(self.telemetry, self.leases, self.supervisor, self.sense)
        preset, started_s = lambda: self.settings.quiet.preset, self.clock.wall_ms() / 1_000
        publish_process(
            self.telemetry, self.server, self.requests, self.logs, preset=preset, started_s=started_s
        )
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
        await self._within(PAGES_S, "pages", self.dashboard.close())
        await self._within(PAGES_S, "sessions", self.sessions.close())
        await self._within(COLLECTORS_S, "collectors", self.sense.stop())
        await self._within(COMMIT_S, "store", self.supervisor.stop(self.archive.close))
        late = await self.server.drain(DRAIN_S)
        await self.server.close()
        (self.data / SERVER_FILE).unlink(missing_ok=True)
        remove_files(self.listeners)
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
        self._take_up_rights()
        self.reloaded.set()
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
