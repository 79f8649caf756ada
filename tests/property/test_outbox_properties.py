"""Any news, failures, crashes and clocks: everybody is told what they have asked for (CLUSTER-27).

A model beside the outbox: what each target has to be told. Decisions alone are asked, so that many histories
take seconds.
"""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from leasehold.control import codec
from leasehold.core import notification as decisions
from leasehold.core.notification import CAP_MS, DELIVERIES_MAX, GROUP_MAX, MESSAGES_MAX
from leasehold.core.state import (
    NOTIFY_DELIVERIES,
    NOTIFY_MESSAGES,
    NOTIFY_TARGETS,
    Change,
    Outcome,
    Stamp,
    State,
)
from leasehold.model.notification import DeliveryState, Draft, Parcel, Severity, Target, TargetKind
from leasehold.model.owner import Rule

NAMES = ("all", "critical", "quiet", "storage")
TABLES = (NOTIFY_TARGETS, NOTIFY_MESSAGES, NOTIFY_DELIVERIES)
HOUR_MS = 3_600_000


def target(name: str) -> Target:
    severity = {"critical": Severity.CRITICAL, "all": Severity.INFO}.get(name, Severity.WARNING)
    return Target(
        name,
        TargetKind.WEBHOOK,
        name,
        f"https://{name}.example",
        0,
        "ann",
        severity=severity,
        kinds=("storage",) if name == "storage" else (),
        quiet=(Rule((0, 1, 2, 3, 4, 5, 6), 0, 720),) if name == "quiet" else (),
    )


class Outbox(RuleBasedStateMachine):
    """`told`: what receivers have got, by the id of its delivery. `wanted`: what each target has to get."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State("node-1")
        self.wall_ms, self.number, self.titles = 1_780_000_000_000, 1, 0
        self.wanted: dict[str, set[str]] = {name: set() for name in NAMES}
        self.told: dict[str, set[tuple[str, ...]]] = {}
        self.got: dict[str, set[str]] = {name: set() for name in NAMES}
        self.flying: list[Parcel] = []
        for name in NAMES:
            self.state.apply(Change(NOTIFY_TARGETS, name, target(name)))

    def stamp(self, seed: int = 0) -> Stamp:
        return Stamp(self.wall_ms, self.wall_ms, self.number, seed)

    def take(self, outcome: Outcome) -> Outcome:
        self.number += outcome.numbers
        for change in outcome.changes:
            self.state.apply(change)
        return outcome

    @rule(
        kinds=st.lists(st.sampled_from(["alert", "storage"]), min_size=1, max_size=20),
        severity=st.sampled_from(list(Severity)),
    )
    def news(self, kinds: list[str], severity: Severity) -> None:
        """Something happens, or much at once."""
        drafts = []
        for kind in kinds:
            self.titles += 1
            drafts.append(Draft(kind, severity, str(self.titles)))
        outcome = Outcome()
        decisions.post(self.state, drafts, self.stamp(), outcome)
        self.take(outcome)
        for name in NAMES:
            one = self.state.notify_targets[name]
            for draft in drafts:
                if severity.rank >= one.severity.rank and (not one.kinds or draft.kind in one.kinds):
                    self.wanted[name].add(draft.title)

    @rule(span_ms=st.sampled_from([500, 3_000, HOUR_MS, 12 * HOUR_MS, -500, -HOUR_MS]))
    def time(self, span_ms: int) -> None:
        """Time passes; sometimes somebody sets the clock back."""
        self.wall_ms += span_ms

    @rule(
        seed=st.integers(0, 2**63),
        wait_ms=st.sampled_from([0, 3_000, 10_000]),
        at_once=st.sampled_from(["", "lost", "unheard", "taken", "refused"]),
    )
    def look(self, seed: int, wait_ms: int, at_once: str) -> None:
        """What is due is begun, one call to each target; some calls end `at_once`, others later."""
        self.wall_ms += wait_ms
        busy = {parcel.target.name for parcel in self.flying}
        for one in list(self.state.notify_deliveries.values()):
            is_due = decisions.due_ms(one, self.wall_ms) <= self.wall_ms
            if one.state is DeliveryState.PENDING and is_due and one.target_id not in busy:
                outcome = self.take(decisions.begin(self.state, one.delivery_id, self.stamp(seed)))
                if outcome.answer is not None:
                    busy.add(one.target_id)
                    self.flying.append(outcome.answer)
        while at_once and self.flying:
            self.ended(self.flying.pop(), at_once in ("unheard", "taken"), at_once in ("taken", "refused"))

    @precondition(lambda self: self.flying)
    @rule(arrives=st.booleans(), answers=st.booleans(), data=st.data())
    def call(self, arrives: bool, answers: bool, data: st.DataObject) -> None:
        """A call arrives or not, and its answer is heard or not: a crash is both without a word."""
        self.ended(self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1))), arrives, answers)

    def ended(self, parcel: Parcel, arrives: bool, answers: bool) -> None:
        if arrives:
            self.arrive(parcel)
        if not answers:
            return
        if arrives:
            self.take(decisions.sent(self.state, parcel.delivery, self.stamp()))
        else:
            self.take(decisions.failed(self.state, parcel.delivery, "HTTP_500", "no", self.stamp()))

    @rule()
    def crash(self) -> None:
        """The server is killed and comes back: what is in flight is forgotten, the store is read."""
        self.flying.clear()
        fresh = State("node-1")
        for table in TABLES:
            for key, record in getattr(self.state, table).items():
                fresh.apply(Change(table, key, codec.decode(table, key, codec.encode(table, record))))
        self.state = fresh

    def arrive(self, parcel: Parcel) -> None:
        titles = tuple(one.title for one in parcel.messages)
        self.told.setdefault(parcel.delivery.delivery_id, set()).add(titles)
        self.got[parcel.target.name].update(titles)

    @invariant()
    def an_id_has_one_content(self) -> None:
        """Else a receiver that drops repetitions would lose something."""
        assert all(len(contents) == 1 for contents in self.told.values())

    @invariant()
    def nobody_is_told_what_they_have_not_asked_for(self) -> None:
        """By severity and kind."""
        assert all(self.got[name] <= self.wanted[name] for name in NAMES)

    @invariant()
    def everything_is_bounded(self) -> None:
        """Messages, deliveries, and what a call holds."""
        assert len(self.state.notify_messages) <= MESSAGES_MAX
        assert len(self.state.notify_deliveries) <= DELIVERIES_MAX + len(NAMES)
        assert all(1 <= len(one.messages) <= GROUP_MAX for one in self.state.notify_deliveries.values())

    def teardown(self) -> None:
        """The receivers come back for good: within the longest pauses everybody has got everything."""
        self.flying.clear()
        for _ in range(200):
            pending = [
                one for one in self.state.notify_deliveries.values() if one.state is DeliveryState.PENDING
            ]
            if not pending:
                break
            self.wall_ms += CAP_MS + CAP_MS // 4
            for one in pending:
                answer = self.take(decisions.begin(self.state, one.delivery_id, self.stamp())).answer
                if answer is not None:
                    self.arrive(answer)
                    self.take(decisions.sent(self.state, answer.delivery, self.stamp()))
        dead = {
            self.state.notify_messages[message_id].title
            for one in self.state.notify_deliveries.values()
            if one.state is DeliveryState.DEAD
            for message_id in one.messages
        }
        for name in NAMES:
            assert self.wanted[name] - self.got[name] <= dead, name
        self.an_id_has_one_content()
        self.nobody_is_told_what_they_have_not_asked_for()


@pytest.mark.requirement("OPS-14", "CLUSTER-27", "INV-8")
def test_everybody_gets_what_they_have_asked_for() -> None:
    """Each message as often as it was wanted, under ids that stand for one content."""
    lasting = settings(max_examples=60, stateful_step_count=40, deadline=None)
    run_state_machine_as_test(Outbox, settings=lasting)
