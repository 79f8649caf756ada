"""Every call of the API as data: method, path, the type of its body and of its answer. No I/O.

A transport (`aio`, `sync`) sends what `encode` gives and hands the answer to `decode`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from leasehold.client import paths
from leasehold.client.errors import error_of
from leasehold.wire import (
    addon,
    alert,
    audit,
    claim,
    cost,
    dashboard,
    event,
    forecast,
    guard,
    job,
    lease,
    lock,
    metrics,
    notification,
    owner,
    schedule,
    server,
    session,
    stats,
    storage,
    tenant,
    token,
)

B = TypeVar("B")
A = TypeVar("A")

Values = Mapping[str, str | int | None]


class Call(Generic[B, A]):
    """One call. `body` and `answer` are None where there is none."""

    def __init__(self, path: tuple[str, str], body: type[B], answer: type[A]) -> None:
        self.method, self.template = path
        self.body = body
        self.answer = answer
        self._decoder = msgspec.json.Decoder(answer)
        self._answers = answer is not type(None)

    def url(self, path: Values, query: Values) -> str:
        """The path with its names filled in and the query behind it; names that are None are left out."""
        filled = self.template.format(**{name: quote(str(value), safe="") for name, value in path.items()})
        given = {name: value for name, value in query.items() if value is not None}
        return f"{filled}?{urlencode(given)}" if given else filled

    def encode(self, body: B | None) -> bytes | None:
        return None if body is None else msgspec.json.encode(body)

    def decode(self, status: int, body: bytes) -> A:
        """The answer. Raises the error of `model.errors` that the problem document names."""
        if status >= 400:
            raise error_of(status, body)
        if not self._answers:
            return self._decoder.decode(b"null")
        return self._decoder.decode(body)


Nothing = type(None)

REQUEST = Call(paths.REQUEST, lease.HeavyLeaseRequest, lease.HeavyLeaseResponse)
HEARTBEAT = Call(paths.HEARTBEAT, lease.Heartbeat, lease.HeartbeatAnswer)
HEARTBEATS = Call(paths.HEARTBEATS, lease.BulkHeartbeat, lease.BulkHeartbeatAnswer)
REPORT = Call(paths.REPORT, lease.Report, lease.LeaseOut)
RELEASE = Call(paths.RELEASE, lease.Release, lease.LeaseOut)
REVOKE = Call(paths.REVOKE, lease.Revoke, lease.LeaseOut)
OVERTIME = Call(paths.OVERTIME, lease.Overtime, lease.HeavyLeaseResponse)
PAUSE = Call(paths.PAUSE, lease.Pause, lease.LeaseOut)
RESUME = Call(paths.RESUME, lease.Resume, lease.LeaseOut)
LEASE = Call(paths.LEASE, Nothing, lease.LeaseOut)
STATUS = Call(paths.STATUS, Nothing, lease.SchedulerStatus)
EXPLAIN = Call(paths.EXPLAIN, lease.HeavyLeaseRequest, lease.Explanation)
DECISIONS = Call(paths.DECISIONS, Nothing, lease.Decisions)
LEAVE_LINE = Call(paths.LEAVE_LINE, Nothing, Nothing)
SUBMIT_JOBS = Call(paths.SUBMIT_JOBS, job.Submit, job.Submitted)
JOBS = Call(paths.JOBS, Nothing, job.JobPage)
COSTS = Call(paths.COSTS, Nothing, cost.Costs)
JOB = Call(paths.JOB, Nothing, job.JobOut)
CANCEL_JOB = Call(paths.CANCEL_JOB, job.Cancel, job.JobOut)
RETRY_JOB = Call(paths.RETRY_JOB, job.Note, job.JobOut)
PRIORITISE_JOB = Call(paths.PRIORITISE_JOB, job.NewPriority, job.JobOut)
HOLD_JOB = Call(paths.HOLD_JOB, job.Note, job.JobOut)
PAUSE_JOB = Call(paths.PAUSE_JOB, job.Note, job.JobOut)
RESUME_JOB = Call(paths.RESUME_JOB, job.Note, job.JobOut)
CHANGE_JOBS = Call(paths.CHANGE_JOBS, job.Bulk, job.BulkOut)
JOB_EXPLAIN = Call(paths.JOB_EXPLAIN, Nothing, job.JobExplained)
JOB_EVENTS = Call(paths.JOB_EVENTS, Nothing, job.JobEvents)
JOB_LOG = Call(paths.JOB_LOG, Nothing, job.LogPage)
QUEUE_STATS = Call(paths.QUEUE_STATS, Nothing, job.QueueStats)
DISPATCHABLE = Call(paths.DISPATCHABLE, Nothing, claim.Dispatchable)
ACK_JOB = Call(paths.ACK_JOB, claim.Ack, job.JobOut)
COMPLETE_JOB = Call(paths.COMPLETE_JOB, claim.Completion, claim.Completed)
CLAIM_JOBS = Call(paths.CLAIM_JOBS, claim.Claim, claim.ClaimOut)
COMPLETE_JOBS = Call(paths.COMPLETE_JOBS, claim.Complete, claim.CompleteOut)
LOCKS = Call(paths.LOCKS, Nothing, lock.Locks)
SET_LOCK = Call(paths.SET_LOCK, lock.LockSize, lock.LockOut)
DELETE_LOCK = Call(paths.DELETE_LOCK, Nothing, Nothing)
ADMISSION = Call(paths.ADMISSION, Nothing, owner.AdmissionOut)
SET_ADMISSION = Call(paths.SET_ADMISSION, owner.AdmissionIn, owner.AdmissionOut)
WINDOWS = Call(paths.WINDOWS, Nothing, owner.Windows)
ADD_WINDOW = Call(paths.ADD_WINDOW, owner.WindowIn, owner.WindowOut)
WINDOW = Call(paths.WINDOW, Nothing, owner.WindowOut)
SET_WINDOW = Call(paths.SET_WINDOW, owner.WindowIn, owner.WindowOut)
REMOVE_WINDOW = Call(paths.REMOVE_WINDOW, Nothing, Nothing)
PRETEND = Call(paths.PRETEND, owner.PretendIn, owner.AdmissionOut)
STOP_PRETENDING = Call(paths.STOP_PRETENDING, Nothing, Nothing)
ADDONS = Call(paths.ADDONS, Nothing, addon.AddonList)
REGISTER_ADDON = Call(paths.REGISTER_ADDON, addon.AddonIn, addon.AddonOut)
ADDON_ERRORS = Call(paths.ADDON_ERRORS, Nothing, addon.AddonErrors)
ADDON = Call(paths.ADDON, Nothing, addon.AddonOut)
GUARDS = Call(paths.GUARDS, Nothing, guard.Guards)
GUARD = Call(paths.GUARD, guard.GuardIn, guard.GuardOut)
REMOVE_GUARD = Call(paths.REMOVE_GUARD, Nothing, Nothing)
SCHEDULES = Call(paths.SCHEDULES, Nothing, schedule.Schedules)
ADD_SCHEDULE = Call(paths.ADD_SCHEDULE, schedule.ScheduleIn, schedule.ScheduleOut)
SCHEDULE = Call(paths.SCHEDULE, Nothing, schedule.ScheduleOut)
SET_SCHEDULE = Call(paths.SET_SCHEDULE, schedule.ScheduleIn, schedule.ScheduleOut)
REMOVE_SCHEDULE = Call(paths.REMOVE_SCHEDULE, Nothing, Nothing)
PAUSE_SCHEDULE = Call(paths.PAUSE_SCHEDULE, Nothing, schedule.ScheduleOut)
RESUME_SCHEDULE = Call(paths.RESUME_SCHEDULE, Nothing, schedule.ScheduleOut)
RUN_SCHEDULE = Call(paths.RUN_SCHEDULE, Nothing, schedule.ScheduleOut)
REMOVE_ADDON = Call(paths.REMOVE_ADDON, Nothing, Nothing)
ENABLE_ADDON = Call(paths.ENABLE_ADDON, Nothing, addon.AddonOut)
DISABLE_ADDON = Call(paths.DISABLE_ADDON, Nothing, addon.AddonOut)
TELL_ADDON_STATS = Call(paths.TELL_ADDON_STATS, addon.AddonStatsIn, Nothing)
ALERTS = Call(paths.ALERTS, Nothing, alert.Alerts)
ACKNOWLEDGE_ALERT = Call(paths.ACKNOWLEDGE_ALERT, alert.Acknowledge, alert.AlertOut)
SET_ALERT = Call(paths.SET_ALERT, alert.AlertIn, alert.AlertOut)
ALERT_THRESHOLDS = Call(paths.ALERT_THRESHOLDS, Nothing, alert.Thresholds)
SET_ALERT_THRESHOLDS = Call(paths.SET_ALERT_THRESHOLDS, alert.ThresholdsIn, alert.Thresholds)
METRICS = Call(paths.METRICS, Nothing, metrics.MetricsSnapshot)
EVENTS = Call(paths.EVENTS, Nothing, event.EventPage)
AUDIT = Call(paths.AUDIT, Nothing, audit.AuditPage)
NOTIFICATIONS = Call(paths.NOTIFICATIONS, Nothing, notification.Notifications)
RETRY_NOTIFICATIONS = Call(paths.RETRY_NOTIFICATIONS, Nothing, notification.Retried)
RETRY_NOTIFICATION = Call(paths.RETRY_NOTIFICATION, Nothing, notification.DeliveryOut)
NOTIFY_TARGETS = Call(paths.NOTIFY_TARGETS, Nothing, notification.Targets)
ADD_NOTIFY_TARGET = Call(paths.ADD_NOTIFY_TARGET, notification.TargetIn, notification.TargetMade)
NOTIFY_TARGET = Call(paths.NOTIFY_TARGET, Nothing, notification.TargetOut)
SET_NOTIFY_TARGET = Call(paths.SET_NOTIFY_TARGET, notification.TargetChange, notification.TargetOut)
REMOVE_NOTIFY_TARGET = Call(paths.REMOVE_NOTIFY_TARGET, Nothing, Nothing)
TEST_NOTIFY_TARGET = Call(paths.TEST_NOTIFY_TARGET, Nothing, notification.DeliveryOut)
PUSH_KEY = Call(paths.PUSH_KEY, Nothing, notification.PushKey)
SUBSCRIBE_PUSH = Call(paths.SUBSCRIBE_PUSH, notification.SubscriptionIn, notification.TargetOut)
TENANTS = Call(paths.TENANTS, Nothing, tenant.Tenants)
TENANT = Call(paths.TENANT, Nothing, tenant.TenantOut)
SET_TENANT = Call(paths.SET_TENANT, tenant.TenantIn, tenant.TenantOut)
REMOVE_TENANT = Call(paths.REMOVE_TENANT, Nothing, Nothing)
TOKENS = Call(paths.TOKENS, Nothing, token.Tokens)
CREATE_TOKEN = Call(paths.CREATE_TOKEN, token.TokenIn, token.TokenMade)
REVOKE_TOKEN = Call(paths.REVOKE_TOKEN, Nothing, Nothing)
SIGN_IN_LINK = Call(paths.SIGN_IN_LINK, session.SignInLinkIn, session.SignInLink)
DASHBOARD = Call(paths.DASHBOARD, Nothing, dashboard.DashboardState)
WHOAMI = Call(paths.WHOAMI, Nothing, server.Whoami)
HEALTH = Call(paths.HEALTH, Nothing, server.Health)
READY = Call(paths.READY, Nothing, server.Ready)
STATS = Call(paths.STATS, Nothing, stats.SystemStatsSnapshot)
STATS_HEALTH = Call(paths.STATS_HEALTH, Nothing, stats.StatsHealth)
HISTORY = Call(paths.HISTORY, Nothing, stats.HistoryOut)
HISTORY_GROUPS = Call(paths.HISTORY_GROUPS, Nothing, stats.HistoryGroups)
HEATMAP = Call(paths.HEATMAP, Nothing, forecast.HeatmapOut)
FORECAST = Call(paths.FORECAST, Nothing, forecast.ForecastOut)
FORECAST_SCORES = Call(paths.FORECAST_SCORES, Nothing, forecast.ScoresOut)
STREAKS = Call(paths.STREAKS, Nothing, stats.StreaksOut)
ADDON_STATS = Call(paths.ADDON_STATS, Nothing, stats.AddonsOut)
COLLECTORS = Call(paths.COLLECTORS, Nothing, stats.CollectorsOut)
LOG_LEVEL = Call(paths.LOG_LEVEL, server.LogLevel, server.LogLevelsOut)
BACKUPS = Call(paths.BACKUPS, Nothing, storage.Backups)
MAKE_BACKUP = Call(paths.MAKE_BACKUP, storage.BackupIn, storage.BackupOut)
CHECK_BACKUP = Call(paths.CHECK_BACKUP, Nothing, storage.BackupOut)
RESTORE = Call(paths.RESTORE, storage.RestoreIn, storage.RestoreOut)
COMPACT = Call(paths.COMPACT, storage.CompactIn, storage.CareOut)
STORAGE = Call(paths.STORAGE, Nothing, storage.StorageOut)
