"""The service behind the page: one state for all who look, made anew only when something has changed (OPS-3).

Nobody looks: nothing is made. Somebody does: after a measurement at most one frame a second, after a commit
one at once, and in a storm of commits one each `AT_ONCE_MS`. A frame holds what differs from the one before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec
import structlog

from leasehold import __version__
from leasehold.control import codec, views
from leasehold.control import dashboard_rows as rows
from leasehold.control.cold import ColdParts
from leasehold.control.counters import Counters
from leasehold.control.job_stats import JobStats
from leasehold.control.ledger import Ledger
from leasehold.control.owner import SELF, OwnerService
from leasehold.control.scheduler import SchedulerService
from leasehold.control.sense import SenseService
from leasehold.control.titles import Titles
from leasehold.core.state import State
from leasehold.model.alert import Alert
from leasehold.model.errors import LeaseholdError, Overloaded
from leasehold.model.event import Event
from leasehold.model.lease import Lease
from leasehold.model.principal import Principal
from leasehold.model.settings import PolicySettings
from leasehold.ports.archive import Archive
from leasehold.wire import dashboard as wire
from leasehold.wire.owner import AdmissionOut

log = structlog.get_logger(__name__)

PACE_MS = 1_000
AT_ONCE_MS = 200
HEARTBEAT_S = 15.0
VIEWERS_MAX = 32
QUEUE_MAX = 16
"""Frames that wait for one reader; one more, and it gets a fresh state in their place."""

DECISIONS_SHOWN = 40
LOOKED_BACK = 1_000
"""Events among which the decisions are looked for that were made before anybody looked."""

DRIFT_MS = 100
"""By how much the wall clock may move before times are shown anew."""

PARTS = (
    *("head", "scales", "inputs", "capacity", "leases_total", "usage"),
    *("waiting", "denials", "owner", "queue", "alerts", "health"),
)
"""Parts of the state that a patch replaces as a whole."""

_encode = msgspec.json.Encoder().encode


class Viewer:
    """One open stream. Made by `Dashboard.watch`; satisfies `api.endpoint.Chunks`."""

    def __init__(self, dashboard: Dashboard, principal: Principal) -> None:
        self.principal = principal
        self._dashboard = dashboard
        self._frames: deque[bytes] = deque()
        self._behind = True
        self._last_word = b""
        self._over = False
        self._wake = asyncio.Event()

    def offer(self, frame: bytes) -> None:
        """Take a frame, or fall behind where too many wait."""
        if self._behind:
            return
        if len(self._frames) >= QUEUE_MAX:
            self._frames.clear()
            self._behind = True
        else:
            self._frames.append(frame)
        self._wake.set()

    def end(self, why: str) -> None:
        """The stream is over, after these last words."""
        self._last_word = _frame("bye", 0, _encode({"reason": why}))
        self._over = True
        self._wake.set()

    async def next(self) -> bytes | None:
        """The next piece: a frame, or after a while of silence a sign of life."""
        while True:
            if self._over:
                word, self._last_word = self._last_word, b""
                return word or None
            if self._behind:
                self._behind = False
                return await self._dashboard.state_frame()
            if self._frames:
                return self._frames.popleft()
            self._wake.clear()
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._wake.wait()
            except TimeoutError:
                if self._dashboard.allowed(self.principal):
                    return b": still here\n\n"
                self.end("the session is over")

    def close(self) -> None:
        """Nobody listens any more."""
        self._dashboard.left(self)


class Dashboard:
    """Makes the state and tells it to all viewers.

    `allowed` says whether a viewer's credential still holds; it is asked with each sign of life.
    """

    def __init__(
        self,
        ledger: Ledger,
        scheduler: SchedulerService,
        owner: OwnerService,
        sense: SenseService,
        archive: Archive,
        counters: Counters,
        queue: JobStats,
        cold: ColdParts,
        settings: Callable[[], PolicySettings],
    ) -> None:
        self.allowed: Callable[[Principal], bool] = lambda principal: True
        self.late_alerts: Callable[[], Mapping[str, Alert]] = dict
        self._ledger = ledger
        self._clock = ledger.clock
        self._scheduler = scheduler
        self._owner = owner
        self._sense = sense
        self._archive = archive
        self._counters = counters
        self._queue = queue
        self._titles = Titles(cold)
        self._settings = settings
        self._viewers: set[Viewer] = set()
        self._state: wire.DashboardState | None = None
        self._whole = b""
        self._seq = 0
        self._offset_ms = 0
        self._rows: dict[str, tuple[Lease, wire.LeaseRow]] = {}
        self._decisions: deque[wire.DecisionRow] = deque(maxlen=DECISIONS_SHOWN)
        self._knows_decisions = False
        self._wake = asyncio.Event()
        self._urgent = False
        self._made_ms = 0
        self._making = asyncio.Lock()
        self._publisher: asyncio.Task[None] | None = None

    # -- looking

    async def state(self) -> wire.DashboardState:
        """The whole state as it is now."""
        async with self._making:
            return await self._make()

    def watch(self, principal: Principal) -> Viewer:
        """A new stream. Raises Overloaded where there are VIEWERS_MAX."""
        if len(self._viewers) >= VIEWERS_MAX:
            raise Overloaded(f"{VIEWERS_MAX} pages are open already; close some", retry_after_s=10)
        viewer = Viewer(self, principal)
        self._viewers.add(viewer)
        if self._publisher is None:
            self._publisher = asyncio.create_task(self._publish(), name="dashboard")
        return viewer

    @property
    def viewers(self) -> int:
        """How many streams are open."""
        return len(self._viewers)

    def left(self, viewer: Viewer) -> None:
        """A stream is closed. Idempotent."""
        self._viewers.discard(viewer)

    def end(self, matches: Callable[[Principal], bool], why: str) -> None:
        """End the streams of those whose credential was taken away (OPS-5)."""
        for viewer in list(self._viewers):
            if matches(viewer.principal):
                viewer.end(why)

    async def close(self) -> None:
        """The server stops: end all streams."""
        self.end(lambda principal: True, "the server is stopping")
        if self._publisher is not None:
            self._publisher.cancel()
            await asyncio.gather(self._publisher, return_exceptions=True)
            self._publisher = None

    # -- what happens

    def changed(self, events: Sequence[Event], measured: bool) -> None:
        """Something was committed, or measured. Costs nothing while nobody looks."""
        if self._knows_decisions:
            state = self._ledger.state
            told = [event for event in events if event.kind not in rows.BY_THOUSANDS]
            self._decisions.extend(rows.decision(event, state) for event in told[-DECISIONS_SHOWN:])
        if self._viewers:
            self._urgent = self._urgent or not measured
            self._wake.set()

    async def _publish(self) -> None:
        while True:
            await self._wake.wait()
            await self._pace()
            try:
                await self._tell()
            except LeaseholdError as error:
                log.info("put_off", what="dashboard", why=str(error))
                await self._clock.sleep(PACE_MS)
            except Exception:  # The page must not stand still for ever because of one bad frame.
                log.exception("dashboard")
                await self._clock.sleep(PACE_MS)

    async def _pace(self) -> None:
        """Wait until a frame is due; what is urgent cuts the wait short."""
        while True:
            self._wake.clear()
            pace_ms = AT_ONCE_MS if self._urgent else PACE_MS
            left_ms = self._made_ms + pace_ms - self._clock.now_ms()
            if left_ms <= 0:
                self._urgent = False
                return
            try:
                async with asyncio.timeout(left_ms / 1000):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _tell(self) -> None:
        async with self._making:
            before = self._state
            after = await self._make()
            if before is None or not self._viewers:
                return
            patch = difference(before, after)
            if patch is not None:
                self._offer(patch)

    def _offer(self, patch: wire.DashboardPatch) -> None:
        frame = _frame("patch", patch.seq, _encode(patch))
        for viewer in self._viewers:
            viewer.offer(frame)

    async def state_frame(self) -> bytes:
        """The newest state as a frame, made once for all who want it."""
        async with self._making:
            before, after = self._state, self._state
            if after is None or self._clock.now_ms() - self._made_ms > PACE_MS:
                after = await self._make()
            patch = difference(before, after) if before is not None else None
            if patch is not None:  # The others hear of it too: their next patch builds on this one.
                self._offer(patch)
            if not self._whole:
                self._whole = _frame("state", after.seq, _encode(after), retry=True)
            return self._whole

    # -- making it

    async def _make(self) -> wire.DashboardState:
        await self._learn_decisions()
        await self._titles.learn(self._ledger.state, self._decisions)
        said = await self._owner.admission(SELF)
        self._made_ms = self._clock.now_ms()
        found = await self._ledger.read(partial(self._built, said))
        if self._state is None or found != self._state:
            self._seq += 1
            found.seq, found.at = self._seq, self._clock.wall_ms()
            self._state, self._whole = found, b""
        return self._state

    async def _learn_decisions(self) -> None:
        """What happened before anybody looked."""
        if self._knows_decisions:
            return
        after = max(0, self._ledger.events_last - LOOKED_BACK)
        self._knows_decisions = True  # From here on new ones are told.
        records = await self._archive.events(after=after, limit=LOOKED_BACK)
        events = [event for record in records for event in codec.decode_events(record)]
        told = {row.seq for row in self._decisions}
        state = self._ledger.state
        earlier = [
            rows.decision(event, state)
            for event in events
            if event.seq not in told and event.kind not in rows.BY_THOUSANDS
        ]
        merged = sorted([*earlier, *self._decisions], key=lambda row: row.seq)
        self._decisions = deque(merged, maxlen=DECISIONS_SHOWN)

    def _built(self, said: AdmissionOut, state: State) -> wire.DashboardState:
        settings = self._settings()
        leases = rows.shown_leases(state)
        self._note_offset()
        before = self._state
        return wire.DashboardState(
            seq=self._seq if before is not None else 0,
            at=before.at if before is not None else 0,
            head=self._head(state, settings),
            scales=rows.scales(self._sense.settings),
            inputs=rows.inputs(self._sense.assessment),
            capacity=views.dimensions(state, settings),
            leases_total=len(state.leases),
            leases=self._lease_rows(leases),
            usage=rows.usage(state, leases),
            waiting=rows.waiting(
                self._scheduler.in_line(state, rows.WAITERS_SHOWN), len(state.waiters), self._offset_ms
            ),
            decisions=list(self._decisions),
            denials=self._denials(),
            owner=said,
            queue=self._queue.glance(state),
            alerts=rows.alerts(state, self.late_alerts(), self._clock.wall_ms()),
            health=rows.health(self._sense, self._clock.wall_ms()),
        )

    def _note_offset(self) -> None:
        offset_ms = self._clock.wall_ms() - self._clock.now_ms()
        if abs(offset_ms - self._offset_ms) > DRIFT_MS:
            self._offset_ms = offset_ms

    def _head(self, state: State, settings: PolicySettings) -> wire.Head:
        view = state.view
        verdict, headline = rows.verdict(self._scheduler.headline(state, settings))
        cools_ms = view.cooldown_until_ms if view is not None else 0
        return wire.Head(
            verdict=verdict,
            headline=headline,
            state=view.state if view is not None else "UNKNOWN",
            score=view.score if view is not None else None,
            since_ms=view.since_ms + self._offset_ms if view is not None else None,
            cooldown_until_ms=cools_ms + self._offset_ms if cools_ms > self._clock.now_ms() else None,
            reasons=[rows.short(reason) for reason in view.reasons] if view is not None else [],
            notices=[rows.short(notice) for notice in self._scheduler.notices(state)[:8]],
            node_id=state.node_id,
            preset=self._sense.settings.preset,
            version=__version__,
            read_only=bool(self._ledger.read_only or self._ledger.lost),
            made_up=self._scheduler.made_up,
        )

    def _lease_rows(self, leases: list[Lease]) -> list[wire.LeaseRow]:
        """Records don't change in place, so the row of one that is the same is the same."""
        known, self._rows = self._rows, {}
        for record in leases:
            was = known.get(record.lease_id)
            if was is None or was[0] is not record or (record.job and not was[1].label):
                was = record, rows.lease(record, self._titles.of(record.job))
            self._rows[record.lease_id] = was
        return [row for _, row in self._rows.values()]

    def _denials(self) -> list[wire.DenialRow]:
        return [
            wire.DenialRow(rows.short(one.holder), one.code, one.wall_ms, one.count, rows.short(one.sentence))
            for one in reversed(self._counters.recent.values())
        ]


def difference(before: wire.DashboardState, after: wire.DashboardState) -> wire.DashboardPatch | None:
    """What turns one state into the other; None where that is nothing."""
    if before is after:
        return None
    patch = wire.DashboardPatch(after.seq, after.at)
    for name in PARTS:
        value = getattr(after, name)
        if value != getattr(before, name):
            setattr(patch, name, value)
    if before.leases != after.leases:
        was = {row.id: row for row in before.leases}
        now = {row.id for row in after.leases}
        changed = [row for row in after.leases if was.get(row.id) is not row and was.get(row.id) != row]
        patch.leases = wire.LeaseChanges(changed, [ident for ident in was if ident not in now])
    newest = before.decisions[-1].seq if before.decisions else 0
    new = [row for row in after.decisions if row.seq > newest]
    patch.decisions = new or None
    return patch


def _frame(kind: str, seq: int, data: bytes, *, retry: bool = False) -> bytes:
    """One event of the stream; JSON holds no line ends, so one line of data is enough."""
    head = b"retry: 2000\n" if retry else b""
    numbered = b"id: %d\n" % seq if seq else b""
    return b"%bevent: %b\n%bdata: %b\n\n" % (head, kind.encode(), numbered, data)
