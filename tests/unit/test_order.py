"""The tags of start-time fair queuing, by small worked examples."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.core import order
from leasehold.model.line import Flow
from leasehold.model.priority import Priority
from leasehold.testing.waiting import LINE, ask

MINUTE = 60_000


def after(flows: dict[str, Flow], *changed: Flow) -> dict[str, Flow]:
    return flows | {flow.key: flow for flow in changed}


@pytest.mark.requirement("QUEUE-6")
def test_the_first_dispatch_of_a_flow() -> None:
    """From V = 0: finish = cost x expected / weight at each level; V of each parent is the start tag."""
    assert order.charged({}, ask(expected_ms=MINUTE), 10, LINE) == (
        Flow("", 0, 0),
        Flow("default", 600_000, 0),
        Flow("default/ann", 600_000, 0),
        Flow("default/ann/NORMAL", 150_000, 0),
    )


@pytest.mark.requirement("QUEUE-6")
def test_the_next_starts_where_the_last_finished() -> None:
    """The second job starts at its own finish tag, and V moves there; another flow's first starts at V."""
    flows = after({}, *order.charged({}, ask(), 10, LINE))
    flows = after(flows, *order.charged(flows, ask(), 10, LINE))
    assert flows["default"] == Flow("default", 1_200_000, 600_000)
    assert flows["default/ann/NORMAL"] == Flow("default/ann/NORMAL", 300_000, 0)
    assert order.start_tag(flows.get("lab"), flows[""]) == 600_000
    flows = after(flows, *order.charged(flows, ask(holder="bob"), 1, LINE))
    assert flows["default/bob"].finish == 600_000 + MINUTE


@pytest.mark.requirement("QUEUE-6")
def test_weights_divide_what_a_job_counts() -> None:
    """Lanes are weighted 16:8:4:2:1, tenants and holders as configured; rounded up: nothing is free."""
    settings = msgspec.structs.replace(LINE, tenant_weights={"lab": 3}, holder_weights={"ann": 7})
    for priority, weight in zip(Priority, (16, 8, 4, 2, 1), strict=True):
        each = ask(tenant="lab", priority=priority, expected_ms=1_000)
        assert order.weights(each, settings) == (3, 7, weight)
        _, tenant, holder, lane = order.charged({}, each, 10, settings)
        assert (tenant.finish, holder.finish, lane.finish) == (3_334, 1_429, 10_000 // weight)
    tiny = order.charged({}, ask(tenant="lab", priority=Priority.URGENT, expected_ms=0), 1, settings)
    assert [flow.finish for flow in tiny] == [0, 1, 1, 1]


def test_names_with_slashes_keep_their_level() -> None:
    """A holder called `a/b` is no lane and no other tenant's."""
    assert order.flow_keys(ask(tenant="lab", holder="x/y%")) == ("lab", "lab/x%2Fy%25", "lab/x%2Fy%25/NORMAL")
    one = order.flow_keys(ask(tenant="a", holder="b/c"))
    assert set(one).isdisjoint(order.flow_keys(ask(tenant="a/b", holder="c")))


@pytest.mark.requirement("QUEUE-6")
def test_the_static_key_is_the_ageing() -> None:
    """min(deadline, submission + 5 min, 1 h, 6 h, 1 d, 3 d by lane)."""
    since_ms = 1_000
    offsets = [order.static_due(ask(priority=priority), since_ms, LINE) - since_ms for priority in Priority]
    assert offsets == [5 * MINUTE, 60 * MINUTE, 360 * MINUTE, 1_440 * MINUTE, 4_320 * MINUTE]
    assert order.static_due(ask(), since_ms, LINE, deadline_ms=5_000) == 5_000
    assert order.static_due(ask(), since_ms, LINE, deadline_ms=10**9) == since_ms + 360 * MINUTE


@pytest.mark.requirement("QUEUE-6")
def test_a_short_lease_gets_back_what_it_did_not_take() -> None:
    """A job that took half of what was expected is charged half; a right guess changes nothing."""
    flows = after({}, *order.charged({}, ask(), 10, LINE))
    corrected = order.corrected(flows, ask(), 10, MINUTE, MINUTE // 2, LINE)
    assert [flow.finish for flow in corrected] == [300_000, 300_000, 75_000]
    assert order.corrected(flows, ask(), 10, MINUTE, MINUTE, LINE) == ()


@pytest.mark.requirement("QUEUE-6")
def test_a_late_refund_gives_no_credit() -> None:
    """Once V has passed the finish tag, a refund changes nothing; before that, it goes down to V."""
    flows = after({}, *order.charged({}, ask(), 10, LINE))
    passed = flows | {"": Flow("", 0, 900_000), "default": Flow("default", 600_000, 500_000)}
    corrected = {flow.key: flow.finish for flow in order.corrected(passed, ask(), 10, MINUTE, 1, LINE)}
    assert corrected == {"default/ann": 500_000, "default/ann/NORMAL": 3}


@pytest.mark.requirement("QUEUE-6")
def test_a_forgotten_flow_is_charged_for_what_was_too_little() -> None:
    """A lease that overran while its flow was forgotten is charged from V on; a refund is nobody's."""
    flows = {"": Flow("", 0, 1_000)}
    corrected = order.corrected(flows, ask(), 10, MINUTE, 2 * MINUTE, LINE)
    assert [(flow.key, flow.finish) for flow in corrected] == [
        ("default", 601_000),
        ("default/ann", 600_000),
        ("default/ann/NORMAL", 150_000),
    ]
    assert order.corrected(flows, ask(), 10, MINUTE, 1, LINE) == ()


def test_what_may_be_forgotten() -> None:
    """A flow whose finish tag V has reached, with all below it; never the root, nor one still ahead."""
    root, ahead, behind = Flow("", 0, 100), Flow("lab", 101, 0), Flow("default", 100, 0)
    assert order.forgettable(behind, root)
    assert not order.forgettable(ahead, root)
    assert not order.forgettable(root, None)
    assert not order.forgettable(behind, None)
    flows = dict.fromkeys(["", "lab", "lab/ann/LOW", "lab/ann", "lab2/x"], root)
    assert order.below(flows, "lab") == ("lab/ann", "lab/ann/LOW")
