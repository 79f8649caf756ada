"""Every part of the server by its concrete class."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Collection, Mapping
from pathlib import Path

from leasehold.adapters.addons.folders import LocalFolders
from leasehold.adapters.addons.http import HttpProbe
from leasehold.adapters.hosts.containers import Containers, sockets_of
from leasehold.adapters.hosts.processes import LinuxProcesses
from leasehold.adapters.hosts.work import LinuxWork
from leasehold.adapters.notifiers.courier import Courier
from leasehold.adapters.notifiers.keys import PushKey
from leasehold.adapters.stores import made_up
from leasehold.adapters.stores.data_folder import prepare
from leasehold.adapters.stores.samples import SqliteSamples
from leasehold.adapters.stores.sqlite import SqliteStore
from leasehold.adapters.stores.sqlite_archive import SqliteArchive
from leasehold.adapters.stores.sqlite_storage import SqliteStorage
from leasehold.api.app import App
from leasehold.api.auth import Gate
from leasehold.api.credentials import admin_hash, rights
from leasehold.api.express import Express
from leasehold.api.listening import listen
from leasehold.api.pipeline import Pipeline
from leasehold.api.routes import ENDPOINTS, PAGES
from leasehold.api.server import CONNECTIONS_MAX, Listener, Server
from leasehold.api.services import Services
from leasehold.api.session import Sessions
from leasehold.bootstrap.certificate import lives, tls_of
from leasehold.bootstrap.configured import configured
from leasehold.bootstrap.machine import RUNS, cgroup_home, host_of, secrets, totals_of, uid_of
from leasehold.bootstrap.storage import backups_of, finish_restore
from leasehold.config import Loaded
from leasehold.control import storage_views
from leasehold.control.addon import AddonService
from leasehold.control.addon_watch import AddonWatch
from leasehold.control.alerts.measures import Measures
from leasehold.control.alerts.pulse import Pulse
from leasehold.control.alerts.service import AlertService
from leasehold.control.alerts.snapshot import Snapshots
from leasehold.control.audit import AuditService
from leasehold.control.bindings import Bindings
from leasehold.control.counters import Counters
from leasehold.control.dashboard import Dashboard
from leasehold.control.drafts import Users
from leasehold.control.forecast import ForecastService
from leasehold.control.forecast_views import ForecastViews
from leasehold.control.guard import GuardService
from leasehold.control.history import History
from leasehold.control.job import JobService
from leasehold.control.ladder import LadderService
from leasehold.control.lease import LeaseService
from leasehold.control.ledger import Ledger
from leasehold.control.lock import LockService
from leasehold.control.notifications.outbox import Outbox
from leasehold.control.notifications.service import NotificationService
from leasehold.control.runner import RunnerService
from leasehold.control.schedule import ScheduleService
from leasehold.control.schedule_queue import QueuedRuns
from leasehold.control.scheduler import SchedulerService
from leasehold.control.sense import SenseService
from leasehold.control.stats import StatsService
from leasehold.control.storage import StorageService
from leasehold.control.supervisor import Supervisor
from leasehold.control.tenant import TenantService
from leasehold.control.timed_store import TimedStore
from leasehold.control.token import TokenService
from leasehold.core.state import State
from leasehold.model.errors import LeaseholdError
from leasehold.model.storage import Intent
from leasehold.ports.signer import SignerError
from leasehold.ports.store import StoreError
from leasehold.runtime.clock import RealClock, elapsed_ns
from leasehold.runtime.ids import RandomIds, RequestIds, new_code, new_key, new_token
from leasehold.runtime.lanes import ThreadLane
from leasehold.runtime.logging import Logs, get_logger
from leasehold.runtime.process import share_of_files
from leasehold.runtime.redaction import Redactor
from leasehold.runtime.request_stats import RequestStats, StatsMiddleware
from leasehold.runtime.telemetry import Telemetry
from leasehold.runtime.zone import local_zone

log = get_logger(__name__)


class StartError(Exception):
    """The server can't start. The sentence says why, and what to do."""


class Assembly:
    """All parts of one server, put together and not started."""

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
        self.starts_anew = False
        self.restored: tuple[Intent, str] | None = None
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
        self.made_up = made_up.read(self.data)
        host, work = host_of(self.data, self.made_up, self.clock), LinuxWork(cgroup_home(self.data))
        self.store = SqliteStore(self.data, wall_ms=self.clock.wall_ms, before_open=self._finish_restore)
        self.archive = SqliteArchive(self.store)
        self.audit = AuditService(self.archive, self.clock)
        self.pipeline.audit.book = self.audit
        node_id = socket.gethostname() or "node"
        ended_shown = self.settings.lease.ended_shown
        self.timed = TimedStore(self.store, self.clock, elapsed_ns)
        self.ledger = Ledger(self.timed, self.clock, self.ids, lambda: State(node_id, ended_shown))
        self.leases = LeaseService(
            self.ledger,
            lambda: self.policy,
            Bindings(LinuxProcesses(), work, ThreadLane("bind").run, self._process_ended),
            self.archive,
            Counters(),
            totals=totals_of(host, self.clock.now_ms(), self.data),
            disk_of=host.disk_of,
        )
        users = Users(os.getuid(), uid_of)
        self.jobs = JobService(self.leases, self.leases.calls, host.disk_of, users)
        runner = work.runner(self.data / RUNS, self.clock)
        self.runner = RunnerService(self.leases, self.jobs.demand, self.jobs.cold, runner, self.jobs.ended)
        self.jobs.runner = runner
        self.runner.on_started = self.jobs.counts.started
        self.tokens = TokenService(self.ledger, lambda: self.gate.rights.roles, new_token)
        self.tokens.cut = self._cut
        self.gate.tokens = self.tokens
        self.tenants = TenantService(self.ledger, self.jobs.eligible)
        self.schedules = ScheduleService(
            self.ledger, QueuedRuns(self.jobs), local_zone(), lambda: self.gate.rights.roles
        )
        standing = work.standing(Containers(self.settings.guard.container_sockets or sockets_of(self.env)))
        self.guards = GuardService(self.leases, standing, ThreadLane("guards").run)
        ladder = LadderService(self.leases, work.brakes(standing), ThreadLane("brakes").run)
        self._assemble_notifications(node_id)
        self.supervisor = Supervisor(
            self.leases,
            local_zone(),
            self.tokens,
            ladder=ladder,
            guards=self.guards,
            audit=self.audit,
            jobs=self.jobs,
            schedules=self.schedules,
            runner=self.runner,
            outbox=self.outbox,
        )
        self.files = SqliteStorage(self.store, backups_of(self.data, lambda: self.settings.backup_path))
        self.storage = StorageService(
            self.leases,
            self.files,
            lambda: self.settings.backup,
            local_zone(),
            self._start_anew,
        )
        self._assemble_addons()
        kept = lambda: self.settings.history  # noqa: E731 - read again at each write
        self.samples = SqliteSamples(str(self.data), kept)
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
            history=History(self.samples, self.clock, kept),
            addons=self.addon_watch,
        )
        self.forecast = ForecastService(
            self.samples,
            self.clock,
            local_zone(),
            lambda: self.settings.forecast,
            ThreadLane("forecast").run,
            self.supervisor.owner.foresee,
            self.settings.history.sample_sec,
            self.supervisor.owner.blocked,
        )
        self._assemble_alerts()
        self._assemble_page()

    def _assemble_notifications(self, node_id: str) -> None:
        courier = Courier(
            PushKey(self.data, ThreadLane("push-key").run),
            self.clock,
            node_id,
            self.env,
            allowed=lambda: self.settings.notifications.allowed_hosts,
            page_url=lambda: self.settings.notifications.page_url,
            contact=lambda: self.settings.notifications.contact,
        )
        self.outbox = Outbox(self.ledger, courier, self.redactor.text)
        self.notifications = NotificationService(self.ledger, courier, self.redactor, local_zone(), new_key)
        self.outbox.on_targets = self.notifications.learn

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

    def _assemble_alerts(self) -> None:
        now_ms = self.clock.now_ms()
        lag = lambda: self.server.loop_lag_s  # noqa: E731
        self.pulse = Pulse(now_ms, self.jobs.demand, lambda: self.logs.errors, lambda: self.requests.invalid)
        self.measures = measures = Measures(
            self.ledger,
            self.pulse,
            self.sense,
            self.files,
            loop_lag_s=lag,
            certificates=lambda: lives(self.listeners),
            damage=lambda: self.store.damage,
            store_waits_ms=lambda: self.timed.waits_ms,
        )
        self.alerts = AlertService(
            self.ledger, lambda: self.settings.alerts, measures.by_rule, before=measures.look
        )
        start_ms, care = self.clock.wall_ms(), self.storage
        self.alerts.measure(
            "stale_backup",
            lambda: storage_views.age_of(
                care.last_good, start_ms, self.clock.wall_ms(), scheduled=self.settings.backup.enabled
            ),
        )
        self.alerts.on_untold = self.outbox.untold
        self.supervisor.alerts, self.supervisor.pulse = self.alerts, self.pulse
        self.snapshots = Snapshots(
            self.leases,
            self.jobs.counts,
            self.sense,
            self.pulse,
            measures,
            commits=self.timed.commits,
            requests=self.requests.quantiles,
            loop_lag_s=lag,
        )

    def _assemble_page(self) -> None:
        self.scheduler = SchedulerService(self.leases, lambda: self.settings.quiet.preset)
        self.scheduler.made_up = self.made_up.sentence if self.made_up is not None else ""
        self.scheduler.estimates = self.jobs.estimates
        self.dashboard = Dashboard(
            self.ledger,
            self.scheduler,
            self.supervisor.owner,
            self.sense,
            self.archive,
            self.leases.counters,
            self.jobs.counts,
            self.jobs.cold,
            self.leases.settings,
        )
        self.supervisor.on_change = self.dashboard.changed
        self.dashboard.late_alerts = lambda: self.alerts.late
        self.alerts.on_shown = lambda: self.dashboard.changed((), measured=False)
        self.dashboard.allowed = lambda who: not who.session or self.sessions.lives(who.session)
        self.sessions.on_end = lambda sid: self.dashboard.end(lambda who: who.session == sid, "signed out")

    def _finish_restore(self) -> None:
        """On the writer's thread, before the store is opened."""
        self.restored = finish_restore(self.data) or self.restored

    def _start_anew(self) -> None:
        """Stop as ever, and begin again as this same process: the next start does what was noted for it."""
        self.starts_anew = True
        asyncio.get_running_loop().call_soon(self.stopping.set)

    def _process_ended(self, lease_id: str) -> None:
        self.leases.process_ended(lease_id)
        self.guards.process_ended(lease_id)

    def _cut(self, token_ids: Collection[str], now: bool) -> None:
        """These tokens are no more: nobody remembers them, and what is open by them ends (OPS-5)."""
        self.gate.epoch += 1
        self.server.cut(token_ids, now=now)

    def _take_up_rights(self) -> None:
        custom = {name: role.verbs for name, role in self.settings.roles.items()}
        self.gate.rights, unknown = rights(
            custom, self.settings.identity.groups, self.settings.identity.tenants
        )
        self.gate.epoch += 1
        if unknown:
            log.warning("groups_unknown", groups=unknown, setting="identity")

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
            forecast=ForecastViews(self.forecast, self.clock),
            owner=self.supervisor.owner,
            addons=self.addons,
            tokens=self.tokens,
            guards=self.guards,
            audit=self.audit,
            jobs=self.jobs,
            schedules=self.schedules,
            tenants=self.tenants,
            storage=self.storage,
            alerts=self.alerts,
            metrics_snapshot=self.snapshots.snapshot,
            notifications=self.notifications,
            settings=lambda: configured(self.loaded, self.redactor),
            dashboard=self.dashboard,
            sessions=self.sessions,
            ladder=self.supervisor.ladder,
        )
