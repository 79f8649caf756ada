"""The state of the page: made once for all viewers, told as changes, and bounded for slow readers (OPS-3)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from leasehold.control import dashboard as service
from leasehold.control import dashboard_rows as rows
from leasehold.control.dashboard import Dashboard, Viewer, difference
from leasehold.core.state import ALERT_RULES, ALERTS, Change, State
from leasehold.model.alert import Alert, AlertState, Said, Severity
from leasehold.model.errors import Overloaded
from leasehold.model.event import Event
from leasehold.model.principal import Principal
from leasehold.model.refusal import Code
from leasehold.wire import dashboard as wire
from leasehold.wire.lease import Dimension
from leasehold.wire.owner import AdmissionOut

WHO = Principal(name="user:ada", role="viewer", verbs=frozenset(), session="s1")
UNITS = Dimension(100, 90, 40, 50)
QUEUE = wire.QueueNow(
    7, {"QUEUED": 5, "RUNNING": 2}, wire.Rates(1.5, 1.0, 0.5), 2.5, 60.0, 1_000, {"CAPACITY": 5}, 1
)


def state(seq: int = 1, **parts: Any) -> wire.DashboardState:
    """A state with nothing in it but what is given."""
    empty: dict[str, Any] = {
        "head": wire.Head(
            "yes", "Yes: quiet", "QUIET", 97, 1_000, None, ["calm"], [], "n", "server", "0.1.0", False
        ),
        "scales": {},
        "inputs": {"psi_cpu": (1.0, 0)},
        "capacity": {"units": UNITS},
        "leases_total": 0,
        "leases": [],
        "usage": {},
        "waiting": wire.Waiting(0, [], []),
        "decisions": [],
        "denials": [],
        "owner": AdmissionOut("n", "allow", [], []),
        "queue": QUEUE,
    }
    return wire.DashboardState(seq=seq, at=seq * 1_000, **empty | parts)


def lease(number: int, **parts: Any) -> wire.LeaseRow:
    """A row with a label as long as they come."""
    return wire.LeaseRow(f"lease-{number}", "user:ada", "make", "ACTIVE", 5, number, "NORMAL", **parts)


def decision(seq: int) -> wire.DecisionRow:
    """A committed grant."""
    return wire.DecisionRow(seq, "LeaseGranted", seq, f"lease-{seq}")


class Scripted(Dashboard):
    """A dashboard whose states are put into it, made when it says so."""

    def __init__(self) -> None:
        self.next_state = state()
        self.made = 0
        self.allowed = lambda principal: True
        self._viewers: set[Viewer] = set()
        self._state: wire.DashboardState | None = None
        self._whole = b""
        self._seq = 0
        self._knows_decisions = False
        self._wake = asyncio.Event()
        self._urgent = False
        self._made_ms = 0
        self._making = asyncio.Lock()
        self._publisher = None
        self._clock = self

    def now_ms(self) -> int:
        return 10_000_000

    async def sleep(self, delay_ms: int) -> None:
        await asyncio.sleep(0)

    async def _make(self) -> wire.DashboardState:
        self.made += 1
        self._made_ms = 0
        if self._state is None or self.next_state.seq != self._state.seq:
            self._state, self._whole, self._seq = self.next_state, b"", self.next_state.seq
        return self._state

    async def show(self, found: wire.DashboardState) -> None:
        """Something has changed into this: wait until it has been told."""
        self.next_state = found
        self.changed((), measured=False)
        while self._state is not found:  # noqa: ASYNC110 - the loop itself is what is waited for
            await asyncio.sleep(0)
        await asyncio.sleep(0)


def parsed(frame: bytes | None) -> tuple[str, Any]:
    """Kind and data of a frame."""
    assert frame is not None
    fields = dict(line.split(": ", 1) for line in frame.decode().strip().split("\n"))
    return fields["event"], json.loads(fields["data"])


@asynccontextmanager
async def scripted() -> AsyncIterator[Scripted]:
    """A dashboard that is closed at the end."""
    dashboard = Scripted()
    try:
        yield dashboard
    finally:
        await dashboard.close()


@pytest.mark.requirement("OPS-3")
def test_a_change_holds_only_what_differs() -> None:
    """A moved input is a frame of one part, an ended lease its id, the same state no frame at all."""
    before = state(leases=[lease(1), lease(2)], leases_total=2, decisions=[decision(1)])
    assert difference(before, before) is None
    moved = msgspec.structs.replace(before, seq=2, inputs={"psi_cpu": (30.0, 40)})
    patch = json.loads(msgspec.json.encode(difference(before, moved)))
    assert patch == {"seq": 2, "at": 1_000, "inputs": {"psi_cpu": [30.0, 40]}}
    ended = msgspec.structs.replace(
        before,
        seq=3,
        leases=[lease(2), lease(3)],
        decisions=[decision(1), decision(2)],
    )
    patch = json.loads(msgspec.json.encode(difference(before, ended)))
    assert [row["id"] for row in patch["leases"]["set"]] == ["lease-3"]
    assert patch["leases"]["gone"] == ["lease-1"]
    assert [row["seq"] for row in patch["decisions"]] == [2]
    assert set(patch) == {"seq", "at", "leases", "decisions"}


@pytest.mark.requirement("OPS-3")
def test_a_metrics_frame_stays_under_5_kb() -> None:
    """After a measurement, with as many leases and waiters as are shown, the frame is under 5 kB."""
    names = [f"foreign_runnable_per_core_{number}" for number in range(20)]
    leases = [lease(number, label="x" * rows.TEXT_MAX) for number in range(rows.LEASES_SHOWN)]

    def measured(seq: int) -> wire.DashboardState:
        head = state().head
        reasons = [f"CPU used by others over 10 s is {seq}.5 % (pressure {seq} %)"] * 8
        return state(
            seq,
            head=msgspec.structs.replace(head, score=seq, reasons=reasons),
            inputs=dict.fromkeys(names, (seq + 0.5, seq)),
            capacity={
                f"dimension_{number}_bytes": Dimension(10**12, 10**12, seq, 10**12) for number in range(8)
            },
            leases=leases,
            usage={row.id: wire.Usage(10**8 + seq, 10**10 + seq, 0.5) for row in leases},
        )

    frame = msgspec.json.encode(difference(measured(1), measured(2)))
    assert 1_000 < len(frame) < 5_000, len(frame)


@pytest.mark.requirement("OPS-3", "OPS-22")
def test_a_change_of_the_queue_is_its_figures_alone() -> None:
    """A job that has come is one small part of a frame, however long the queue is."""
    before = state()
    depth = {"QUEUED": 1_999_999, "RUNNING": 300, "HELD": 40_000, "DISPATCHING": 12}
    reasons = {str(code): 2_000_000 for code in Code}
    grown = msgspec.structs.replace(QUEUE, changes=8_000_000, states=depth, reasons=reasons)
    frame = msgspec.json.encode(difference(before, msgspec.structs.replace(before, seq=2, queue=grown)))
    assert set(json.loads(frame)) == {"seq", "at", "queue"}
    assert json.loads(frame)["queue"]["changes"] == 8_000_000
    assert len(frame) < 1_200, len(frame)


@pytest.mark.requirement("OPS-3", "OPS-13")
def test_alerts_that_stand_are_a_part_of_their_own() -> None:
    """The worst first, also those that no store has taken; what cleared is gone from the next frame."""
    known = State("n")
    disk = Alert("disk", AlertState.ACTIVE, Severity.WARNING, "9 % free", 9.0, 1_000)
    known.apply(Change(ALERTS, "disk", disk))
    known.apply(Change(ALERT_RULES, "disk", Said("disk", mute_until_wall_ms=5_000)))
    known.apply(Change(ALERTS, "errors", Alert("errors", AlertState.CLEARED, Severity.WARNING)))
    late = {"store_trouble": Alert("store_trouble", AlertState.ACTIVE, Severity.CRITICAL, "full", 1.0, 2_000)}
    shown = rows.alerts(known, late, 3_000)
    assert [(row.rule, row.severity, row.muted) for row in shown] == [
        ("store_trouble", "critical", False),
        ("disk", "warning", True),
    ]
    before, after = state(alerts=shown), state(2, alerts=shown[1:])
    patch = json.loads(msgspec.json.encode(difference(before, after)))
    assert [row["title"] for row in patch.pop("alerts")] == ["A disk is nearly full"]
    assert set(patch) == {"seq", "at"}


@pytest.mark.requirement("OPS-3")
async def test_a_viewer_gets_the_state_and_then_changes() -> None:
    """First all of it with its number, then patches in order; a second viewer costs no second making."""
    async with scripted() as dashboard:
        first = dashboard.watch(WHO)
        assert parsed(await first.next())[0] == "state"
        second = dashboard.watch(WHO)
        assert parsed(await second.next())[0] == "state"
        made = dashboard.made
        await dashboard.show(state(2, inputs={"psi_cpu": (9.0, 0)}))
        assert dashboard.made == made + 1
        for viewer in (first, second):
            kind, data = parsed(await viewer.next())
            assert (kind, data["seq"], data["inputs"]) == ("patch", 2, {"psi_cpu": [9.0, 0]})


@pytest.mark.requirement("OPS-3", "INV-8")
async def test_a_slow_reader_gets_a_fresh_state_and_holds_nobody_up() -> None:
    """Beyond the queue's bound its frames are dropped and a whole state stands in their place."""
    async with scripted() as dashboard:
        slow, quick = dashboard.watch(WHO), dashboard.watch(WHO)
        await slow.next()
        await quick.next()
        last = service.QUEUE_MAX + 5
        for number in range(2, last + 1):
            await dashboard.show(state(number, inputs={"psi_cpu": (float(number), 0)}))
            assert parsed(await quick.next())[1]["seq"] == number
        kind, data = parsed(await slow.next())
        assert (kind, data["seq"]) == ("state", last)


@pytest.mark.requirement("INV-8")
async def test_the_number_of_streams_is_bounded() -> None:
    """One more than allowed is told to come again; a place that was left is free."""
    async with scripted() as dashboard:
        viewers = [dashboard.watch(WHO) for _ in range(service.VIEWERS_MAX)]
        with pytest.raises(Overloaded):
            dashboard.watch(WHO)
        viewers[0].close()
        viewers[0].close()
        dashboard.watch(WHO)


@pytest.mark.requirement("OPS-5", "OPS-9")
async def test_a_stream_ends_with_its_credential_and_with_the_server() -> None:
    """Those whom it concerns are told why and ended at once, also while they wait; others go on."""
    async with scripted() as dashboard:
        mine = dashboard.watch(WHO)
        other = dashboard.watch(msgspec.structs.replace(WHO, session="s2"))
        for viewer in (mine, other):
            await viewer.next()
        waiting = asyncio.ensure_future(mine.next())
        await asyncio.sleep(0)
        dashboard.end(lambda who: who.session == "s1", "signed out")
        assert parsed(await waiting) == ("bye", {"reason": "signed out"})
        assert await mine.next() is None
        await dashboard.show(state(2, inputs={}))
        assert parsed(await other.next())[0] == "patch"
        await dashboard.close()
        assert parsed(await other.next())[0] == "bye"


@pytest.mark.requirement("OPS-3", "OPS-9")
async def test_silence_is_broken_and_an_ended_session_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while without news a comment goes out; where the session is over by then, the stream ends."""
    monkeypatch.setattr(service, "HEARTBEAT_S", 0.01)
    async with scripted() as dashboard:
        viewer = dashboard.watch(WHO)
        await viewer.next()
        assert await viewer.next() == b": still here\n\n"
        dashboard.allowed = lambda principal: False
        assert parsed(await viewer.next()) == ("bye", {"reason": "the session is over"})


async def test_nobody_looking_costs_nothing() -> None:
    """Without a viewer a change makes no state."""
    async with scripted() as dashboard:
        dashboard.changed((Event("LeaseGranted", "lease-1", 0, seq=1),), measured=False)
        await asyncio.sleep(0)
        assert dashboard.made == 0


def test_what_is_long_is_cut_and_the_verdict_is_the_headlines() -> None:
    """Texts are bounded, and the three verdicts are read off the one sentence that all callers see."""
    assert len(rows.short("x" * 5_000)) == rows.TEXT_MAX
    assert [
        rows.verdict(said)[0]
        for said in ("Yes: the machine is quiet", "Only urgent work: the machine is BUSY", "No: all held")
    ] == ["yes", "urgent", "no"]
