"""The outbox's decisions: who is told, together, when; tried again, given up, sent again (OPS-14)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from leasehold.core import notification as decisions
from leasehold.core import notify_target
from leasehold.core.notification import (
    ATTEMPTS_MAX,
    CAP_MS,
    DEDUPE_MS,
    GROUP_MAX,
    GROUP_MS,
    MESSAGES_MAX,
    backoff_ms,
    quiet_until,
)
from leasehold.core.state import NOTIFY_TARGETS, Change, Outcome, Stamp, State
from leasehold.model.errors import Conflict, NotFound, Overloaded
from leasehold.model.notification import (
    Delivery,
    DeliveryState,
    Draft,
    Message,
    Parcel,
    Severity,
    Target,
    TargetKind,
)
from leasehold.model.owner import Rule

NOON_MS = round(datetime.fromisoformat("2026-06-01T12:00+00:00").timestamp() * 1000)
HOUR_MS = 3_600_000
EVERY_DAY = (0, 1, 2, 3, 4, 5, 6)
NIGHT = Rule(EVERY_DAY, 22 * 60, 7 * 60)


class Book:
    """A state, and time that a test moves."""

    def __init__(self, *targets: Target) -> None:
        self.state = State("node-1")
        self.wall_ms = NOON_MS
        self.numbers = 1
        self.events: list[str] = []
        for target in targets:
            self.state.apply(Change(NOTIFY_TARGETS, target.target_id, target))

    def stamp(self, seed: int = 0) -> Stamp:
        return Stamp(self.wall_ms, self.wall_ms, self.numbers, seed)

    def take(self, outcome: Outcome) -> Outcome:
        self.numbers += outcome.numbers
        self.events += [event.kind for event in outcome.events]
        for change in outcome.changes:
            self.state.apply(change)
        return outcome

    def post(self, *drafts: Draft) -> None:
        outcome = Outcome()
        decisions.post(self.state, drafts, self.stamp(), outcome)
        self.take(outcome)

    def begin(self, delivery: Delivery, seed: int = 0) -> Parcel | None:
        outcome = decisions.begin(self.state, delivery.delivery_id, self.stamp(seed))
        parcel: Parcel | None = self.take(outcome).answer
        return parcel

    def begun(self, delivery: Delivery) -> Parcel:
        parcel = self.begin(delivery)
        assert parcel is not None
        return parcel

    def failed(self, parcel: Parcel, **more: object) -> Delivery:
        self.take(
            decisions.failed(
                self.state,
                parcel.delivery,
                "HTTP_500",
                "it answered 500",
                self.stamp(),
                **more,  # type: ignore[arg-type]
            )
        )
        return self.state.notify_deliveries[parcel.delivery.delivery_id]

    @property
    def messages(self) -> list[Message]:
        return sorted(self.state.notify_messages.values(), key=lambda one: one.number)

    @property
    def deliveries(self) -> list[Delivery]:
        return sorted(self.state.notify_deliveries.values(), key=lambda one: one.number)


def target(name: str = "a", **fields: object) -> Target:
    given = {"severity": Severity.WARNING} | fields
    return Target(f"target-{name}", TargetKind.WEBHOOK, name, f"https://{name}.example/x", 0, "ann", **given)  # type: ignore[arg-type]


def news(title: str = "disk full", severity: Severity = Severity.WARNING, **fields: str) -> Draft:
    return Draft(fields.pop("kind", "alert"), severity, title, **fields)


@pytest.mark.requirement("OPS-14")
def test_each_target_is_told_what_it_asked_for() -> None:
    """By severity and kind; one that is off is told nothing; the message stands where nobody is told too."""
    book = Book(
        target("all", severity=Severity.INFO),
        target("bad", severity=Severity.CRITICAL),
        target("stores", kinds=("storage",)),
        target("off", enabled=False),
    )
    book.post(news())
    assert [one.target_id for one in book.deliveries] == ["target-all"]
    book.post(news("restore failed", Severity.CRITICAL, kind="storage"))
    told = {one.target_id for one in book.deliveries if book.messages[1].message_id in one.messages}
    assert told == {"target-all", "target-bad", "target-stores"}
    alone = Book()
    alone.post(news())
    assert (len(alone.messages), alone.deliveries) == (1, [])


@pytest.mark.requirement("OPS-14")
def test_what_comes_together_is_told_together() -> None:
    """News within a short window share a call, up to its bound; critical news wait for no company."""
    book = Book(target())
    book.post(news("one"))
    book.wall_ms += GROUP_MS // 2
    book.post(news("two"), news("three"))
    (only,) = book.deliveries
    assert (len(only.messages), only.due_wall_ms) == (3, NOON_MS + GROUP_MS)
    book.post(news("four", Severity.CRITICAL))
    assert [one.due_wall_ms for one in book.deliveries] == [NOON_MS + GROUP_MS, book.wall_ms]
    book.post(*(news(f"more {number}") for number in range(GROUP_MAX)))
    assert [len(one.messages) for one in book.deliveries] == [GROUP_MAX, 1, 3]


@pytest.mark.requirement("OPS-14", "CLUSTER-27")
def test_nothing_joins_a_call_that_was_begun() -> None:
    """Its id is what a receiver knows repetitions by: what it holds must stay the same, at its retry too."""
    book = Book(target())
    book.post(news("one"))
    book.wall_ms += GROUP_MS
    parcel = book.begun(book.deliveries[0])
    book.post(news("two"))
    assert [len(one.messages) for one in book.deliveries] == [1, 1]
    dead = book.failed(parcel, permanent=True)
    book.take(decisions.again(book.state, dead.delivery_id, book.stamp(), "ann"))
    book.post(news("three"))
    assert [len(one.messages) for one in book.deliveries] == [1, 2]
    assert [one.title for one in book.begun(dead).messages] == ["one"]


@pytest.mark.requirement("OPS-14")
def test_calls_to_one_target_keep_their_distance() -> None:
    """A storm of critical news is a call now and one after each window, not one for each."""
    book = Book(target())
    book.post(news("first", Severity.CRITICAL))
    book.begun(book.deliveries[0])
    for number in range(5):
        book.wall_ms += 100
        book.post(news(f"next {number}", Severity.CRITICAL))
    assert [(len(one.messages), one.due_wall_ms) for one in book.deliveries[1:]] == [(5, NOON_MS + GROUP_MS)]


@pytest.mark.requirement("OPS-14")
def test_the_same_news_is_counted_and_told_once() -> None:
    """By its key within a while; worse is news again, and so it is when the while is over."""
    book = Book(target())
    book.post(news(key="disk"), news(key="disk"))
    book.wall_ms += DEDUPE_MS - 1
    book.post(news(key="disk"))
    assert [(one.repeats, one.last_wall_ms) for one in book.messages] == [(2, book.wall_ms)]
    assert len(book.deliveries) == 1
    book.post(news("worse", Severity.CRITICAL, key="disk"))
    assert len(book.messages) == 2
    book.wall_ms += DEDUPE_MS
    book.post(news(key="disk"))
    assert len(book.messages) == 3
    book.wall_ms -= 2 * DEDUPE_MS  # The clock was set back: what was told is not taken for the future.
    book.post(news(key="disk"))
    assert len(book.messages) == 4


@pytest.mark.requirement("OPS-14")
def test_quiet_hours_hold_all_but_critical_news() -> None:
    """Held until their end and told together then; a look during them changes nothing but the time."""
    book = Book(target(quiet=(NIGHT,), zone="UTC"))
    book.wall_ms = NOON_MS + 11 * HOUR_MS
    book.post(news("one"))
    book.post(news("two"), news("fire", Severity.CRITICAL))
    held, urgent = book.deliveries
    assert (held.held, held.due_wall_ms, len(held.messages)) == (True, NOON_MS + 19 * HOUR_MS, 2)
    assert (urgent.held, urgent.due_wall_ms) == (False, book.wall_ms)
    assert book.begin(held) is None
    book.wall_ms = held.due_wall_ms
    assert [one.title for one in book.begun(held).messages] == ["one", "two"]


@pytest.mark.requirement("OPS-14")
def test_a_retry_that_falls_into_quiet_hours_is_held_and_quiet_hours_lifted_let_it_go() -> None:
    """Hours are judged when it is sent, not when the news came."""
    book = Book(target(quiet=(NIGHT,), zone="UTC"))
    book.wall_ms = NOON_MS + 10 * HOUR_MS - GROUP_MS
    book.post(news())
    book.wall_ms += GROUP_MS - 1
    failed = book.failed(book.begun(book.deliveries[0]))
    book.wall_ms = failed.due_wall_ms + 1
    assert book.begin(failed) is None
    held = book.deliveries[0]
    assert (held.held, held.attempts, held.due_wall_ms) == (True, 1, NOON_MS + 19 * HOUR_MS)
    book.take(notify_target.change(book.state, "target-a", {"quiet": ()}, book.stamp(), "ann"))
    assert book.deliveries[0].due_wall_ms == book.wall_ms
    assert book.begin(held) is not None


@pytest.mark.requirement("OPS-14")
@pytest.mark.parametrize(
    ("asked", "ends"),
    [
        ("2027-03-27T23:00+01:00", "2027-03-28T07:00+02:00"),  # Clocks go forward: an hour less.
        ("2027-10-30T23:00+02:00", "2027-10-31T07:00+01:00"),  # Back: an hour more.
        ("2027-10-31T02:30+02:00", "2027-10-31T07:00+01:00"),
    ],
)
def test_quiet_hours_are_those_of_the_clocks_on_the_wall(asked: str, ends: str) -> None:
    """Over both changes of the clocks they end when clocks show seven."""
    one = target(quiet=(NIGHT,), zone="Europe/Berlin")
    found = quiet_until(one, round(datetime.fromisoformat(asked).timestamp() * 1000))
    assert found is not None
    assert datetime.fromtimestamp(found / 1000, ZoneInfo("Europe/Berlin")) == datetime.fromisoformat(ends)


@pytest.mark.requirement("OPS-14")
def test_spans_of_quiet_hours_that_touch_are_one() -> None:
    """An evening until midnight and a night from then on hold until the morning."""
    one = target(quiet=(Rule(EVERY_DAY, 20 * 60, 1440), Rule(EVERY_DAY, 0, 6 * 60)), zone="UTC")
    assert quiet_until(one, NOON_MS + 9 * HOUR_MS) == NOON_MS + 18 * HOUR_MS
    assert quiet_until(one, NOON_MS) is None


@pytest.mark.requirement("CLUSTER-27")
def test_pauses_double_up_to_a_cap_with_chance_in_them() -> None:
    """A quarter around the nominal pause, drawn by the stamped seed."""
    for attempt in range(1, ATTEMPTS_MAX + 1):
        nominal_ms = min(CAP_MS, 2_000 << (attempt - 1))
        found = [backoff_ms(attempt, seed * 7_919) for seed in range(2_000)]
        assert min(found) >= nominal_ms * 3 // 4
        assert max(found) <= nominal_ms * 5 // 4
        assert len(set(found)) > 100
    assert backoff_ms(3, 12345) == backoff_ms(3, 12345)


@pytest.mark.requirement("CLUSTER-27")
def test_an_attempt_counts_before_it_is_made_and_a_bound_ends_them() -> None:
    """A crash in a call costs that attempt; the last failure makes it dead, with why, and says so."""
    book = Book(target())
    book.post(news())
    for attempt in range(1, ATTEMPTS_MAX + 1):
        parcel = book.begun(book.deliveries[0])
        stored = book.deliveries[0]
        assert (stored.attempts, stored.due_wall_ms > book.wall_ms) == (attempt, True)
        after = book.failed(parcel)
        book.wall_ms = after.due_wall_ms
    assert (after.state, after.code, after.error) == (DeliveryState.DEAD, "HTTP_500", "it answered 500")
    assert book.events[-1] == "NotificationDead"
    assert book.begin(after) is None


@pytest.mark.requirement("CLUSTER-27")
def test_a_dead_letter_is_sent_again_under_its_id() -> None:
    """With all its attempts anew; what was taken is not, and what is unknown or off is told."""
    book = Book(target())
    book.post(news())
    dead = book.failed(book.begun(book.deliveries[0]), permanent=True)
    book.take(decisions.again(book.state, dead.delivery_id, book.stamp(), "ann"))
    parcel = book.begun(dead)
    assert (parcel.delivery.delivery_id, parcel.delivery.attempts) == (dead.delivery_id, 1)
    book.take(decisions.sent(book.state, parcel.delivery, book.stamp()))
    with pytest.raises(Conflict, match="was taken"):
        decisions.again(book.state, dead.delivery_id, book.stamp(), "ann")
    with pytest.raises(NotFound):
        decisions.again(book.state, "send-0", book.stamp(), "ann")


@pytest.mark.requirement("CLUSTER-27")
def test_what_came_of_an_older_attempt_changes_nothing() -> None:
    """An answer that arrives after the next attempt was begun is no answer to that one."""
    book = Book(target())
    book.post(news())
    first = book.begun(book.deliveries[0])
    book.wall_ms += HOUR_MS
    book.begun(book.deliveries[0])
    assert decisions.sent(book.state, first.delivery, book.stamp()).changes == []
    assert book.failed(first).state is DeliveryState.PENDING


@pytest.mark.requirement("CLUSTER-27")
def test_a_receiver_may_ask_for_patience_within_bounds() -> None:
    """`Retry-After` puts it off, at most to the cap; it never brings it forward."""
    book = Book(target())
    book.post(news())
    parcel = book.begun(book.deliveries[0])
    assert book.failed(parcel, retry_after_ms=60_000).due_wall_ms == book.wall_ms + 60_000
    book.wall_ms += 60_000
    parcel = book.begun(book.deliveries[0])
    assert book.failed(parcel, retry_after_ms=10**9).due_wall_ms == book.wall_ms + CAP_MS
    book.wall_ms += CAP_MS
    parcel = book.begun(book.deliveries[0])
    assert book.failed(parcel, retry_after_ms=1).due_wall_ms == parcel.delivery.due_wall_ms


@pytest.mark.requirement("OPS-14")
def test_the_book_is_bounded_and_forgets_what_was_told_first() -> None:
    """The oldest settled messages go; only where all wait, the oldest of those, and that is said."""
    book = Book(target())
    book.post(news("waits"))
    for number in range(MESSAGES_MAX + 50):
        book.state.notify_targets.pop("target-a", None)  # Nobody is told of these.
        book.post(news(f"number {number}"))
    assert len(book.messages) == MESSAGES_MAX
    assert book.messages[0].title == "waits"
    assert "NotificationsDropped" not in book.events
    full = Book(target())
    for number in range(MESSAGES_MAX + 5):
        full.post(news(f"number {number}"))
    assert (len(full.messages), full.messages[0].title) == (MESSAGES_MAX, "number 5")
    assert full.events.count("NotificationsDropped") == 5
    assert all(one.messages for one in full.deliveries)


@pytest.mark.requirement("OPS-14")
def test_texts_are_cut_to_their_bounds() -> None:
    """Whatever an event says, a message stays small."""
    book = Book(target())
    book.post(news("t" * 1_000, text="x" * 10_000, link="/" + "l" * 1_000, key="k" * 1_000))
    (one,) = book.messages
    assert (len(one.title), len(one.text), len(one.link), len(one.key)) == (200, 2_000, 300, 200)
    assert one.text.endswith("…")
    book.post(news("t", key="k" * 900))
    assert book.messages[0].repeats == 1


@pytest.mark.requirement("OPS-14")
def test_targets_are_bounded_unique_and_forgotten_with_what_waits() -> None:
    """A browser that subscribes anew renews its keys; another's address is refused."""
    book = Book()
    hook = target("hook")
    book.take(notify_target.add(book.state, hook, book.stamp()))
    with pytest.raises(Conflict, match="has this address already"):
        notify_target.add(book.state, replace(hook, target_id="target-2"), book.stamp())
    push = replace(
        hook, target_id="target-p", kind=TargetKind.PUSH, url="https://push.example/1", p256dh="k1"
    )
    book.take(notify_target.add(book.state, push, book.stamp()))
    renewed = replace(push, target_id="target-q", p256dh="key-2")
    made = book.take(notify_target.add(book.state, renewed, book.stamp())).answer
    assert (made.target_id, made.p256dh) == ("target-p", "key-2")
    book.post(news())
    book.take(notify_target.remove(book.state, "target-hook", book.stamp(), "ann"))
    assert [one.target_id for one in book.deliveries] == ["target-p"]
    _fill(book, TargetKind.WEBHOOK, "webhooks and chats")
    _fill(book, TargetKind.PUSH, "browsers of ann")


def _fill(book: Book, kind: TargetKind, told: str) -> None:
    def more() -> Iterable[Target]:
        for number in range(100):
            yield replace(
                target(f"{kind}-{number}"), kind=kind, url=f"https://{kind}.example/{number}", by="ann"
            )

    with pytest.raises(Overloaded, match=told):
        for one in more():
            book.take(notify_target.add(book.state, one, book.stamp()))


@pytest.mark.requirement("OPS-14")
def test_a_test_goes_to_its_target_alone_at_once_and_once() -> None:
    """Whatever the filters and hours are; its failure is final."""
    book = Book(target("a", severity=Severity.CRITICAL, quiet=(Rule(EVERY_DAY, 0, 1440),)), target("b"))
    draft = Draft("test", Severity.INFO, "a test")
    book.take(notify_target.test(book.state, "target-a", draft, book.stamp()))
    (only,) = book.deliveries
    parcel = book.begun(only)
    assert (parcel.target.name, parcel.messages[0].title) == ("a", "a test")
    assert book.failed(parcel).state is DeliveryState.DEAD
    book.take(notify_target.change(book.state, "target-a", {"enabled": False}, book.stamp(), "ann"))
    with pytest.raises(Conflict, match="switched off"):
        notify_target.test(book.state, "target-a", draft, book.stamp())
