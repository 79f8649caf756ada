"""Where `/metrics` reads the figures of the control plane: from the state itself, when asked (OPS-12)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from leasehold.control import views
from leasehold.control.estimates.views import WEEK_H
from leasehold.control.history import ADDON
from leasehold.control.job import JobService
from leasehold.control.job_stats import JobStats
from leasehold.control.lease import LeaseService
from leasehold.control.sense import SenseService
from leasehold.control.storage import StorageService
from leasehold.control.supervisor import Supervisor
from leasehold.core import estimate
from leasehold.core import tenant as tenants
from leasehold.core.state import State
from leasehold.model.job import ENDED, JobState
from leasehold.model.lease import LIVE, BrakeLevel
from leasehold.model.node import State as QuietState
from leasehold.model.notification import DeliveryState
from leasehold.model.storage import Care
from leasehold.runtime.telemetry import Labels, Telemetry

Rows = Iterator[tuple[Labels, float]]

QUIET_STATES: tuple[QuietState, ...] = ("QUIET", "NORMAL", "BUSY", "PANIC", "UNKNOWN")


def publish(telemetry: Telemetry, leases: LeaseService, supervisor: Supervisor, sense: SenseService) -> None:
    """Name the source of each metric of leases, jobs, the line, the ledger and the node."""
    _of_ledger(telemetry, leases, supervisor)
    _of_leases(telemetry, leases)
    _of_jobs(telemetry, leases, supervisor)
    if supervisor.jobs is not None:
        _of_estimates(telemetry, leases, supervisor.jobs)
    _of_node(telemetry, leases, sense)
    _of_host(telemetry, sense)


def of_storage(telemetry: Telemetry, service: StorageService) -> None:
    """Name the source of each metric of backups and of the store's files: as last looked at."""

    def count() -> Rows:
        good, bad = service.counts
        yield ("good",), good
        yield ("bad",), bad

    def last_failure() -> Rows:
        for care in Care:
            failed = service.failing.get(care)
            yield (care.value,), failed.ended_wall_ms / 1000 if failed is not None else 0

    def parts() -> Rows:
        sizes = service.last_sizes
        if sizes is not None:
            yield ("file",), sizes.file_bytes
            yield ("free",), sizes.free_bytes
            yield ("journal",), sizes.journal_bytes
            yield ("samples",), sizes.samples_bytes

    def last_success() -> float:
        return service.last_good.made_wall_ms / 1000 if service.last_good is not None else 0.0

    def fragmentation() -> float | None:
        return service.last_sizes.fragmentation if service.last_sizes is not None else None

    telemetry.source("leasehold_backups", count)
    telemetry.figure("leasehold_backup_last_success_timestamp_seconds", last_success)
    telemetry.source("leasehold_storage_last_failure_timestamp_seconds", last_failure)
    telemetry.source("leasehold_store_bytes", parts)
    telemetry.figure("leasehold_store_fragmentation_ratio", fragmentation)


def _of_ledger(telemetry: Telemetry, leases: LeaseService, supervisor: Supervisor) -> None:
    ledger = leases.ledger
    telemetry.figure("leasehold_ready", lambda: float(supervisor.ready[0]))
    telemetry.figure("leasehold_read_only", lambda: float(bool(ledger.read_only)))
    telemetry.figure("leasehold_commits_total", lambda: ledger.commits)
    telemetry.figure("leasehold_calls_waiting", lambda: leases.backpressure.calls)
    telemetry.figure("leasehold_bytes_waiting", lambda: leases.backpressure.bytes)
    telemetry.source("leasehold_events_total", lambda: _by_one(supervisor.counts))
    telemetry.source("leasehold_notifications", lambda: _deliveries(ledger.state))
    audit = supervisor.audit
    telemetry.source("leasehold_audit_calls_total", lambda: _by_one(audit.counts if audit else {}))


def _deliveries(state: State) -> Rows:
    counts = Counter(one.state for one in state.notify_deliveries.values())
    for each in (DeliveryState.PENDING, DeliveryState.DEAD):
        yield (each.value,), counts[each]


def _of_leases(telemetry: Telemetry, leases: LeaseService) -> None:
    ledger, line = leases.ledger, leases.line

    def by_state() -> Rows:
        counts = Counter(lease.state for lease in ledger.state.leases.values())
        for state in sorted(LIVE):
            yield (state.value,), counts[state]

    def waiters() -> Rows:
        held = sum(presence.held for presence in ledger.state.presence.values())
        yield ("held",), held
        yield ("polling",), len(ledger.state.waiters) - held

    def attempts() -> Rows:
        yield ("granted",), line.attempts - line.attempts_idle
        yield ("nobody_fits",), line.attempts_idle

    def braked() -> Rows:
        leases = [ledger.state.leases.get(lease_id) for lease_id in ledger.state.braked]
        counts = Counter(one.brake.level for one in leases if one is not None and one.brake is not None)
        for level in BrakeLevel:
            yield (level.value,), counts[level]

    def guards() -> float:
        return sum(lease.ask.guard is not None for lease in ledger.state.leases.values())

    def schedules() -> Rows:
        on = sum(one.enabled for one in ledger.state.schedules.values())
        yield ("on",), on
        yield ("paused",), len(ledger.state.schedules) - on

    telemetry.source("leasehold_leases_braked", braked)
    telemetry.figure("leasehold_guards", guards)
    telemetry.source("leasehold_schedules", schedules)
    telemetry.figure("leasehold_tokens", lambda: len(ledger.state.tokens))
    telemetry.figure("leasehold_tenants", lambda: len(tenants.names(ledger.state)))
    telemetry.figure("leasehold_records_quarantined", lambda: len(ledger.state.quarantined))
    telemetry.source("leasehold_leases", by_state)
    telemetry.source("leasehold_waiters", waiters)
    telemetry.source("leasehold_dispatch_attempts_total", attempts)
    telemetry.source("leasehold_denials_total", lambda: _by_one(leases.counters.totals))


def _of_jobs(telemetry: Telemetry, leases: LeaseService, supervisor: Supervisor) -> None:
    ledger, counts = leases.ledger, supervisor.counts

    def by_state() -> Rows:
        for state in JobState:
            if state not in ENDED:
                yield (state.value,), ledger.state.queue.count(state)

    def ended() -> Rows:
        for state in sorted(ENDED):
            yield (state.value,), counts.get(f"Job{state.value.capitalize()}", 0)

    def oldest() -> float:
        since_ms = JobStats.oldest_ms(ledger.state)
        return max(0.0, (ledger.clock.wall_ms() - since_ms) / 1000) if since_ms else 0.0

    telemetry.source("leasehold_jobs", by_state)
    telemetry.figure("leasehold_jobs_oldest_seconds", oldest)
    telemetry.figure("leasehold_jobs_payload_bytes", lambda: ledger.state.queue.bytes)
    telemetry.figure("leasehold_jobs_submitted_total", lambda: counts.get("JobSubmitted", 0))
    telemetry.figure("leasehold_jobs_started_total", lambda: counts.get("JobStarted", 0))
    telemetry.source("leasehold_jobs_ended_total", ended)
    if supervisor.jobs is not None:
        telemetry.source("leasehold_job_wait_seconds", supervisor.jobs.counts.waited.histogram)
        telemetry.source("leasehold_job_run_seconds", supervisor.jobs.counts.ran.histogram)


def _of_estimates(telemetry: Telemetry, leases: LeaseService, jobs: JobService) -> None:
    ledger, book = leases.ledger, jobs.estimates.book

    def kept() -> Rows:
        yield ("0.5",), book.kept[0]
        yield ("0.9",), book.kept[1]

    def ratio() -> Rows:
        sums = estimate.over(book.hits(ledger.state), ledger.clock.wall_ms(), WEEK_H)
        for name, count in (("0.5", sums.kept50), ("0.9", sums.kept90)):
            yield (name,), count / sums.scored if sums.scored else float("nan")

    telemetry.figure("leasehold_estimates_open", lambda: book.open(ledger.state))
    telemetry.figure("leasehold_estimates_scored_total", lambda: book.scored)
    telemetry.source("leasehold_estimates_kept_total", kept)
    telemetry.source("leasehold_estimate_hit_ratio", ratio)


def _of_node(telemetry: Telemetry, leases: LeaseService, sense: SenseService) -> None:
    ledger = leases.ledger

    def capacity() -> Rows:
        for name, dimension in views.dimensions(ledger.state, leases.settings()).items():
            yield (name, "total"), dimension.total
            yield (name, "usable"), dimension.usable
            yield (name, "used"), dimension.used

    def score() -> float | None:
        return ledger.state.view.score if ledger.state.view is not None else None

    def state() -> Rows:
        now = ledger.state.view.state if ledger.state.view is not None else "UNKNOWN"
        for each in QUIET_STATES:
            yield (each,), float(each == now)

    def failures() -> Rows:
        for collector in sense.collectors():
            if not collector.name.startswith(ADDON):  # Add-ons have a metric of their own.
                yield (collector.name,), collector.consecutive_failures

    def addons_up() -> Rows:
        for group, fields in (sense.addons.samples() if sense.addons is not None else {}).items():
            yield (group.removeprefix(ADDON),), fields["up"]

    telemetry.source("leasehold_capacity", capacity)
    telemetry.figure("leasehold_quiet_score", score)
    telemetry.source("leasehold_quiet_state", state)
    telemetry.source("leasehold_collector_failures", failures)
    telemetry.source("leasehold_addon_up", addons_up)
    telemetry.figure("process_resident_memory_bytes", _of(sense, "rss_bytes"))
    telemetry.figure("process_open_fds", _of(sense, "open_files"))
    telemetry.figure("process_cpu_seconds_total", _seconds(_of(sense, "cpu_ms")))


def _of_host(telemetry: Telemetry, sense: SenseService) -> None:
    def host_memory() -> Rows:
        if sense.host is not None:
            yield ("total",), sense.host.memory_total_bytes
            yield ("available",), sense.host.memory_available_bytes

    def disks() -> Rows:
        for mount in sense.around.mounts:
            yield (mount.path, "total"), mount.total_bytes
            yield (mount.path, "free"), mount.free_bytes

    def cpu() -> float | None:
        busy_pct = sense.host.cpu_pct if sense.host is not None else None
        return None if busy_pct is None else busy_pct / 100

    telemetry.figure("leasehold_host_cpu_ratio", cpu)
    telemetry.source("leasehold_host_memory_bytes", host_memory)
    telemetry.source("leasehold_disk_bytes", disks)


def _by_one(counts: dict[str, int]) -> Rows:
    for name, count in sorted(counts.items()):
        yield (name,), count


def _of(sense: SenseService, field: str) -> Callable[[], float | None]:
    """A figure of the server's own process as last sampled."""
    return lambda: getattr(sense.process, field, None)


def _seconds(read_ms: Callable[[], float | None]) -> Callable[[], float | None]:
    def read() -> float | None:
        value = read_ms()
        return None if value is None else value / 1_000

    return read
