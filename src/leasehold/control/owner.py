"""The service of the owner's word: block and allow, windows, pretend (SENSE-20).

Obeyed at once, ended by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

import structlog

from leasehold.control import views
from leasehold.control.ledger import Ledger
from leasehold.core import calendar
from leasehold.core import owner as words
from leasehold.core.state import Outcome, Stamp, State
from leasehold.model.errors import Invalid, LeaseholdError, NotFound, Overloaded
from leasehold.model.node import NodeView
from leasehold.model.owner import NOTHING_FORESEEN, Effect, Foreseen, Mood, Pretend, Rule, Window, Word
from leasehold.model.principal import Principal
from leasehold.wire import owner as wire

log = structlog.get_logger(__name__)

BLOCK_MS = 8 * 3_600_000
"""A block ends after a working day where nobody said when."""

PRETEND_MS = 3_600_000
LONGEST_MS = 366 * 86_400_000
WINDOWS_MAX = 64
SELF = "self"
"""The server's own node, for those who don't know its name."""


class OwnerService:
    """Keeps what is in force true, and tells the line whenever it changes.

    `zone` is the IANA name of the server's own zone. `changed` is called when there may be room.
    """

    def __init__(self, ledger: Ledger, zone: str, changed: Callable[[], None]) -> None:
        self._ledger = ledger
        self._clock = ledger.clock
        self._zone = zone
        self._changed = changed
        self._seen: tuple[State, int] | None = None
        self._foreseen = NOTHING_FORESEEN

    # -- what is in force

    def observed(self, view: NodeView) -> None:
        """A new measurement: it is taken as the owner says that it is to be taken."""
        state = self._ledger.state
        state.measured = view
        if not self.refresh():
            state.view = words.seen(view, state.owner)

    def foresee(self, foreseen: Foreseen) -> None:
        """The forecast's windows: they open for work that waits for one."""
        if foreseen != self._foreseen:
            self._foreseen, self._seen = foreseen, None
            if self._ledger.ready:
                self.refresh()

    def blocked(self, wall_ms: int, end_ms: int) -> list[tuple[int, int]]:
        """When this node is blocked until then, as spans of wall ms: what the forecast keeps clear of."""
        return words.blocked(self._ledger.state, wall_ms, end_ms) if self._ledger.ready else []

    def refresh(self) -> bool:
        """Take up what has been said, and what time has ended. Called at each change and each tick.

        True where anything changed.
        """
        state, wall_ms = self._ledger.state, self._clock.wall_ms()
        self._end(state, wall_ms)
        said = (state, state.owner_changes)
        if said == self._seen and state.owner.from_wall_ms <= wall_ms < state.owner.until_wall_ms:
            return False
        self._seen = said
        state.owner = words.in_force(state, wall_ms, self._clock.now_ms(), self._foreseen)
        if state.measured is not None:
            state.view = words.seen(state.measured, state.owner)
        self._changed()
        return True

    def _end(self, state: State, wall_ms: int) -> None:
        if not words.something_ended(state, wall_ms):
            return
        try:
            self._ledger.submit(words.ended)
        except LeaseholdError as error:  # It counts for nothing already; its record goes when it can.
            log.debug("put_off", why=str(error))

    # -- looking

    async def admission(self, node_id: str) -> wire.AdmissionOut:
        """What has been said about the node, and what it comes to."""
        self._check(node_id)
        self.refresh()
        return await self._ledger.read(self._admission)

    def _admission(self, state: State) -> wire.AdmissionOut:
        said, wall_ms = state.owner, self._clock.wall_ms()
        block = said.blocks.get("")
        pretend = next(iter(state.pretends.values()), None)
        return wire.AdmissionOut(
            node_id=state.node_id,
            admission="block" if block is not None else "allow",
            reasons=[one.sentence for _, one in sorted(said.blocks.items())]
            + ([said.closed.sentence] if said.closed is not None else []),
            words=[_word(word) for _, word in sorted(state.words.items()) if word.until_wall_ms > wall_ms],
            blocked_devices=sorted(device for device in said.blocks if device),
            pretend=None if pretend is None or said.mood is None else _pretend(pretend),
            changes_at=_instant(said.until_wall_ms),
        )

    async def windows(self, node_id: str) -> wire.Windows:
        """All windows by their ids."""
        self._check(node_id)
        wall_ms = self._clock.wall_ms()
        return await self._ledger.read(
            lambda state: wire.Windows([_window(one, wall_ms) for _, one in sorted(state.windows.items())])
        )

    async def window(self, node_id: str, wid: str) -> wire.WindowOut:
        """One window. Raises NotFound."""
        self._check(node_id)
        wall_ms = self._clock.wall_ms()
        return await self._ledger.read(lambda state: _window(_known(state, wid), wall_ms))

    # -- saying

    async def set_admission(
        self, principal: Principal, node_id: str, body: wire.AdmissionIn
    ) -> wire.AdmissionOut:
        """Block or allow. Raises Invalid, NotFound."""
        self._check(node_id)
        effect, device = Effect(body.effect), self._device(body.device)
        if effect is Effect.ALLOW and body.until is None and body.for_sec is None:
            return await self._said(partial(_take_back, device, principal.name))
        until_ms = self._until(body.until, body.for_sec, BLOCK_MS)
        wall_ms = self._clock.wall_ms()
        word = Word(device, effect, until_ms, wall_ms, principal.name, body.note, self._zone)
        return await self._said(lambda state, stamp: words.say(state, word, stamp))

    async def pretend(self, principal: Principal, node_id: str, body: wire.PretendIn) -> wire.AdmissionOut:
        """Take the node for busy or quiet. Raises Invalid, NotFound."""
        self._check(node_id)
        until_ms = self._until(body.until, body.for_sec, PRETEND_MS)
        wall_ms = self._clock.wall_ms()
        said = Pretend(Mood(body.state), until_ms, wall_ms, principal.name, body.note, self._zone)
        return await self._said(lambda state, stamp: words.pretend(state, said, stamp))

    async def stop_pretending(self, principal: Principal, node_id: str) -> None:
        """Go by what is measured again. Idempotent."""
        self._check(node_id)
        await self._said(lambda state, stamp: words.stop_pretending(state, stamp, principal.name))

    async def add_window(self, principal: Principal, node_id: str, body: wire.WindowIn) -> wire.WindowOut:
        """A new window. Raises Invalid, NotFound, and Overloaded where there are WINDOWS_MAX."""
        self._check(node_id)
        window = self._as_window(self._ledger.ids.new("win"), principal, body)

        def decide(state: State, stamp: Stamp) -> Outcome:
            if len(state.windows) >= WINDOWS_MAX:
                raise Overloaded(f"there are {WINDOWS_MAX} windows; remove one first")
            return words.set_window(state, window, stamp)

        await self._said(decide)
        return _window(window, self._clock.wall_ms())

    async def replace_window(
        self, principal: Principal, node_id: str, wid: str, body: wire.WindowIn
    ) -> wire.WindowOut:
        """Another window in the place of a known one. Raises Invalid, NotFound."""
        self._check(node_id)
        window = self._as_window(wid, principal, body)

        def decide(state: State, stamp: Stamp) -> Outcome:
            _known(state, wid)
            return words.set_window(state, window, stamp)

        await self._said(decide)
        return _window(window, self._clock.wall_ms())

    async def remove_window(self, principal: Principal, node_id: str, wid: str) -> None:
        """Raises NotFound."""
        self._check(node_id)

        def decide(state: State, stamp: Stamp) -> Outcome:
            _known(state, wid)
            return words.remove_window(state, wid, stamp, principal.name)

        await self._said(decide)

    async def _said(self, decide: Callable[[State, Stamp], Outcome]) -> wire.AdmissionOut:
        """Commit it. It is obeyed in the same turn of the loop, before it is durable: late by nothing."""
        _, durable = self._ledger.submit(decide)
        self.refresh()
        if durable is not None:
            await durable
        return await self._ledger.read(self._admission)

    # -- checking

    def _check(self, node_id: str) -> None:
        own = self._ledger.state.node_id
        if node_id not in (SELF, own):
            raise NotFound(f"no node {node_id} is known; this server's is {own} (or say `{SELF}`)")

    def _device(self, device: str | None) -> str:
        view = self._ledger.state.view
        known = [name for name, _ in view.totals.devices] if view is not None else [device]
        if device is None or device in known:
            return device or ""
        expected = f"one of {', '.join(map(str, known))}" if known else "no device: this node has none"
        raise Invalid(f"device: expected {expected}", field="$.device", expected=expected)

    def _until(self, until: datetime | None, for_sec: int | None, default_ms: int) -> int:
        """The end in wall ms. Raises Invalid for one that is past, too far, or said twice."""
        wall_ms = self._clock.wall_ms()
        if until is None:
            return wall_ms + (for_sec * 1000 if for_sec is not None else default_ms)
        if for_sec is not None:
            raise Invalid("say until or for_sec, not both", field="$.for_sec", expected="until, or for_sec")
        until_ms = round(until.timestamp() * 1000)
        if not wall_ms < until_ms <= wall_ms + LONGEST_MS:
            raise Invalid(
                "until: expected a time to come, within a year",
                field="$.until",
                expected="a time to come, within a year",
            )
        return until_ms

    def _as_window(self, wid: str, principal: Principal, body: wire.WindowIn) -> Window:
        zone = body.zone or self._zone
        try:
            calendar.zone_of(zone)
        except ValueError as error:
            raise Invalid(f"zone: expected {error}", field="$.zone", expected=str(error)) from error
        if body.effect == "allow" and body.device is not None:
            raise Invalid(
                "device: a window that allows is for the whole node",
                field="$.device",
                expected="no device with effect allow",
            )
        if body.only and body.effect != "allow":
            raise Invalid("only: goes with effect allow", field="$.only", expected="effect allow")
        rule = Rule(
            tuple(sorted({calendar.DAYS.index(day) for day in body.days})),
            _minutes(body.start),
            _minutes(body.end),
        )
        return Window(
            wid=wid,
            device=self._device(body.device),
            effect=Effect(body.effect),
            rule=rule,
            zone=zone,
            at_wall_ms=self._clock.wall_ms(),
            by=principal.name,
            only=body.only,
            note=body.note,
            until_wall_ms=0 if body.until is None else self._until(body.until, None, 0),
        )


def _take_back(device: str, by: str, state: State, stamp: Stamp) -> Outcome:
    return words.take_back(state, device, stamp, by)


def _known(state: State, wid: str) -> Window:
    window = state.windows.get(wid)
    if window is None:
        raise NotFound(f"there is no window {wid}; see `leasehold window list`", wid=wid)
    return window


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _instant(wall_ms: int | None) -> str | None:
    return None if wall_ms is None or wall_ms >= words.FAR_MS else views.rfc3339(wall_ms)


def _word(word: Word) -> wire.WordOut:
    return wire.WordOut(
        str(word.effect),
        views.rfc3339(word.until_wall_ms),
        word.by,
        views.rfc3339(word.at_wall_ms),
        word.device,
        word.note,
    )


def _pretend(said: Pretend) -> wire.PretendOut:
    return wire.PretendOut(
        str(said.mood), views.rfc3339(said.until_wall_ms), said.by, views.rfc3339(said.at_wall_ms), said.note
    )


def _window(window: Window, wall_ms: int) -> wire.WindowOut:
    open_ms = calendar.open_until(window.rule, window.zone, wall_ms)
    opens_ms = calendar.opens_at(window.rule, window.zone, wall_ms)
    return wire.WindowOut(
        wid=window.wid,
        effect=str(window.effect),
        days=[calendar.DAYS[day] for day in window.rule.days],
        start=_clock(window.rule.start_min),
        end=_clock(window.rule.end_min),
        zone=window.zone,
        open=open_ms is not None,
        by=window.by,
        changes_at=_instant(open_ms if open_ms is not None else opens_ms),
        only=window.only,
        device=window.device,
        until=_instant(window.until_wall_ms) if window.until_wall_ms else None,
        note=window.note,
    )
