"""Claims under a session: the order, the tags, and what is passed over."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.core import claim, order
from leasehold.core.jobs import Entry as Standing
from leasehold.core.line import Line, plain_cost
from leasehold.model.charge import Charge
from leasehold.model.job import Job, Terms
from leasehold.model.lease import Ask
from leasehold.model.line import Flow, Waiter
from leasehold.model.refusal import Code, Reason
from leasehold.testing.waiting import GIB, LINE, ask, job, line_of, waiter

Entry = Waiter | Job


class Session:
    """A worker that does some job types for some holders, and what it was asked."""

    def __init__(self, *, types: tuple[str, ...] = ("test",), memory: int = 64 * GIB) -> None:
        self.types = types
        self.memory = memory
        self.asked: list[int] = []
        self.shut: dict[str, Code] = {}

    def claim(
        self, line: Line[Entry], limit: int = 100, flows: dict[str, Flow] | None = None
    ) -> tuple[list[int], list[Flow]]:
        taken, changed = claim.under_session(
            line, flows or {}, LINE, 0, plain_cost, self.suits, self.gate, limit, holds=self.holds
        )
        return [each.number for each in taken], changed

    def suits(self, each: Entry) -> bool:
        self.asked.append(each.number)
        return isinstance(each, Job) and each.kind[0] in self.types and "runner" not in each.kind[1:]

    def gate(self, each: Entry) -> Reason | None:
        code = self.shut.get(each.ask.holder)
        return Reason(code, "no") if code is not None else None

    def holds(self, of: Ask) -> bool:
        return of.charge.memory_bytes <= self.memory


def jobs(count: int, of: Ask, *, first: int = 0, needs: tuple[str, ...] = ()) -> list[Entry]:
    of = msgspec.structs.replace(of, needs=needs)
    terms = Terms("t", of)
    return [job(first + number, of, terms=terms) for number in range(count)]


@pytest.mark.requirement("QUEUE-4", "LEASE-27")
def test_a_claim_goes_by_the_order_of_all() -> None:
    """Two holders take turns by their tags; the flows are those that dispatches one by one would leave."""
    line = line_of([*jobs(5, ask(10, holder="ann")), *jobs(5, ask(20, holder="bob"), first=5)])
    taken, changed = Session().claim(line, 6)
    assert taken == [0, 5, 1, 2, 6, 3]
    flows: dict[str, Flow] = {}
    for number in taken:
        entry = line.entry(number)
        assert entry is not None
        for flow in order.charged(flows, entry.ask, plain_cost(entry.ask.charge), LINE):
            flows[flow.key] = flow
    assert {flow.key: flow for flow in changed} == flows
    for number in taken:
        line.remove(number)
    assert Session().claim(line, 1, flows)[0] == [4]


@pytest.mark.requirement("QUEUE-4", "QUEUE-8")
def test_what_does_not_suit_is_passed_as_a_whole() -> None:
    """Requests for leases, other types and other needs are passed, at one question for each row."""
    line = line_of(
        [
            *[waiter(number, ask(10)) for number in range(20)],
            *jobs(500, ask(10), first=100, needs=("runner",)),
            *jobs(500, ask(10), first=1_000),
        ]
    )
    session = Session()
    assert session.claim(line, 3)[0] == [1_000, 1_001, 1_002]
    assert sorted(session.asked) == [100, 1_000]
    assert Session(types=("other",)).claim(line) == ([], [])


@pytest.mark.requirement("QUEUE-4", "LEASE-4")
def test_gates_stand_before_claims_too() -> None:
    """Who is switched off is passed; a gate of the node stands before everybody of the shape."""
    line = line_of([*jobs(2, ask(10, holder="ann")), *jobs(2, ask(10, holder="bob"), first=2)])
    session = Session()
    session.shut["ann"] = Code.ADDON_DISABLED
    assert session.claim(line)[0] == [2, 3]
    session.shut["ann"] = Code.PANIC
    session.asked.clear()
    assert session.claim(line) == ([], [])
    assert session.asked == [0]


@pytest.mark.requirement("LEASE-27")
def test_who_needs_more_than_the_session_has_is_passed_alone() -> None:
    """Of one row, those that the session's charge covers are taken, also behind larger ones."""
    large, small = ask(10, memory=GIB - 1), ask(10, memory=GIB - 100)
    line = line_of([*jobs(3, large), *jobs(2, small, first=3)])
    assert Session(memory=GIB - 50).claim(line)[0] == [3, 4]
    assert Session(memory=GIB).claim(line)[0] == [0, 1, 2, 3, 4]


@pytest.mark.requirement("INV-8", "LEASE-27")
def test_passing_over_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind many that the session can't hold, others of the same row are not searched for."""
    monkeypatch.setattr(claim, "PASSED_MAX", 3)
    of = [ask(10, memory=GIB - 1), ask(10, memory=GIB - 100), ask(11)]
    line = line_of([*jobs(9, of[0]), *jobs(9, of[1], first=10), *jobs(1, of[2], first=20)])
    assert Session(memory=GIB - 50).claim(line)[0] == [20]


@pytest.mark.requirement("LEASE-24")
def test_jobs_of_locks_alone_move_no_tags() -> None:
    """A claim of what presses nothing changes no flow."""
    of = ask(0, named=[("lock:db", 1)])
    assert of.charge == Charge(named=(("lock:db", 1),))
    assert Session().claim(line_of(jobs(3, of))) == ([0, 1, 2], [])


@pytest.mark.requirement("QUEUE-20", "LEASE-27")
def test_a_gang_hides_no_job_that_asks_for_as_much_alone() -> None:
    """A gang stands under the charge of all, but in a row of its own: a session takes what is behind."""
    gang = Standing(1, ask(20), 0, gang=2)
    line: Line[Entry | Standing] = line_of([gang, *jobs(2, ask(20), first=2)])
    taken, _ = claim.under_session(
        line, {}, LINE, 0, plain_cost, lambda each: getattr(each, "gang", 1) == 1, lambda each: None, 9
    )
    assert [each.number for each in taken] == [2, 3]
