"""Messages of `/api/dashboard`: what the first page shows, whole and as changes (OPS-3, OPS-21).

`at` and every `_ms` are Unix milliseconds. A frame of the stream is one event: `state` has a whole
`DashboardState`, `patch` the parts that have changed, `bye` the reason for an end. Its id is `seq`; whoever
comes back, with a `Last-Event-ID` or without, gets a `state` first, so nothing is ever missing.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from leasehold.wire.job import Rates
from leasehold.wire.lease import Dimension
from leasehold.wire.owner import AdmissionOut

Verdict = Literal["yes", "urgent", "no"]


class Head(msgspec.Struct):
    """May heavy work run now, and why: the one sentence, the state, its score and reasons."""

    verdict: Verdict
    headline: str
    state: str
    score: int | None
    since_ms: int | None
    cooldown_until_ms: int | None
    reasons: list[str]
    notices: list[str]
    node_id: str
    preset: str
    version: str
    read_only: bool
    made_up: str = ""
    """What says that no figure is of a real machine (`leasehold demo`); "" where they are measured."""


class HealthNow(msgspec.Struct):
    """Whether anything needs attention, worst reason first; beside the headline on every page."""

    status: Literal["ok", "warn", "error"] = "ok"
    reasons: list[str] = []


class InputScale(msgspec.Struct):
    """One input of the assessment: its name for people, and where its pressure is 0 and 100."""

    label: str
    group: str
    unit: str
    zero: float
    one: float


class LeaseRow(msgspec.Struct, omit_defaults=True):
    """One lease that is held; what changes while it runs stands in `usage`."""

    id: str
    holder: str
    job_type: str
    state: str
    units: int
    granted_ms: int
    priority: str
    label: str = ""
    job: str = ""
    """The id of the job whose attempt it is."""
    cpu_millicores: int = 0
    memory_bytes: int = 0
    devices: list[str] = []
    locks: list[str] = []
    flags: list[str] = []
    expected_ms: int = 0


class Usage(msgspec.Struct, array_like=True):
    """What a lease's work has used: CPU ms in all, bytes of memory now; and its progress, 0 to 1."""

    cpu_ms: int
    memory_bytes: int
    progress: float | None


class WaiterRow(msgspec.Struct, omit_defaults=True):
    """One that waits, in the order of their turns; `why` is an index into the sentences beside it."""

    ticket: str
    holder: str
    job_type: str
    units: int
    since_ms: int
    priority: str
    why: int
    label: str = ""


class Waiting(msgspec.Struct):
    """The first of those who wait, how many wait in all, and the sentences that say for what."""

    total: int
    rows: list[WaiterRow]
    whys: list[str]


class DecisionRow(msgspec.Struct, omit_defaults=True):
    """One committed event, in short. `seq` is its number in the stream, `label` what its lease was for."""

    seq: int
    kind: str
    at_ms: int
    subject: str
    holder: str = ""
    job_type: str = ""
    units: int = 0
    ran_ms: int | None = None
    reason: str = ""
    by: str = ""
    until_ms: int = 0
    label: str = ""


class DenialRow(msgspec.Struct, omit_defaults=True):
    """A holder's newest denial of one code, and how often it was said since the server started."""

    holder: str
    code: str
    at_ms: int
    count: int
    reason: str = ""


class AlertRow(msgspec.Struct, omit_defaults=True):
    """One alert that stands: `severity` is warning or critical, `state` active or acknowledged.

    `rule` names it in the API; `muted`: nobody is notified of it for now.
    """

    rule: str
    title: str
    severity: str
    state: str
    sentence: str
    since_ms: int
    acknowledged_by: str = ""
    muted: bool = False


class QueueNow(msgspec.Struct):
    """The queue in figures. `states` counts live jobs; `reasons` how many wait for what, by code.

    `changes` grows with each event of a job: whoever lists jobs knows by it when to look again. Waiting times
    are those of the last thousand starts, rates those of five minutes, `oldest_ms` when the oldest job that
    waits was submitted.
    """

    changes: int = 0
    states: dict[str, int] = {}
    rates: Rates = msgspec.field(default_factory=lambda: Rates(0, 0, 0))
    wait_p50_sec: float | None = None
    wait_p95_sec: float | None = None
    oldest_ms: int | None = None
    reasons: dict[str, int] = {}
    workers: int = 0


class DashboardState(msgspec.Struct):
    """`GET /api/dashboard/state`: everything that the page shows, at one moment.

    `inputs` are value and pressure (0–100) of each input by its name. Of leases, those who wait, and
    decisions only so many are shown; `leases_total` and `waiting.total` count all. `alerts` are those that
    stand, the worst first.
    """

    seq: int
    at: int
    head: Head
    scales: dict[str, InputScale]
    inputs: dict[str, tuple[float, int]]
    capacity: dict[str, Dimension]
    leases_total: int
    leases: list[LeaseRow]
    usage: dict[str, Usage]
    waiting: Waiting
    decisions: list[DecisionRow]
    denials: list[DenialRow]
    owner: AdmissionOut
    queue: QueueNow
    alerts: list[AlertRow] = []
    health: HealthNow = msgspec.field(default_factory=HealthNow)


class LeaseChanges(msgspec.Struct, omit_defaults=True):
    """Leases that came or changed, and the ids of those that went."""

    set: list[LeaseRow] = []
    gone: list[str] = []


class DashboardPatch(msgspec.Struct, omit_defaults=True):
    """One `patch`: each part that is there replaces the one before, but for these.

    `leases` has changes of single rows, and `decisions` those that are new.
    """

    seq: int
    at: int
    head: Head | None = None
    scales: dict[str, InputScale] | None = None
    inputs: dict[str, tuple[float, int]] | None = None
    capacity: dict[str, Dimension] | None = None
    leases_total: int | None = None
    leases: LeaseChanges | None = None
    usage: dict[str, Usage] | None = None
    waiting: Waiting | None = None
    decisions: list[DecisionRow] | None = None
    denials: list[DenialRow] | None = None
    owner: AdmissionOut | None = None
    queue: QueueNow | None = None
    alerts: list[AlertRow] | None = None
    health: HealthNow | None = None
