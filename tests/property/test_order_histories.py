"""QUEUE-6's bound and QUEUE-7's promise over random histories, and that the check would see them broken."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from leasehold.core import dispatch, order, reservation
from leasehold.core.reservation import Reservation
from leasehold.model.lease import Ask
from leasehold.model.settings import LineSettings
from leasehold.testing import order_histories


@pytest.mark.requirement("QUEUE-6", "QUEUE-7", "INV-1", "PROVE-2")
def test_the_order_keeps_its_word() -> None:
    """On two hundred histories of jobs and requests the bound and every promise hold, and nobody starves."""
    found = order_histories.check(200)
    assert not found.broken
    assert 0.9 < found.worst_share <= 1
    assert found.late_ms == 0
    assert found.promises > 1_000
    assert "200 histories" in str(found)


def test_one_seed_is_one_history() -> None:
    """The same seeds give the same figures."""
    assert order_histories.check(5, 7) == order_histories.check(5, 7)


@pytest.mark.requirement("QUEUE-6")
def test_a_forgotten_weight_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where lanes are charged as if all weighed the same, the bound breaks."""
    real = order.weights

    def same(ask: Ask, settings: LineSettings) -> tuple[int, int, int]:
        return (*real(ask, settings)[:2], 4)

    # The check itself looks the weights up by the module that it imported: it goes on seeing the real ones.
    monkeypatch.setattr("leasehold.core.walk.order", SimpleNamespace(**(vars(order) | {"weights": same})))
    assert order_histories.check(30).worst_share > 1


@pytest.mark.requirement("QUEUE-7")
def test_a_newcomer_that_delays_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where others may start before a reservation whatever they take, promises are put off."""
    monkeypatch.setattr(reservation, "may_start", lambda ask, reserved, now_ms: True)
    found = order_histories.check(30)
    assert found.late_ms > 0
    assert "put off" in next(iter(found.broken.values()))


@pytest.mark.requirement("QUEUE-7")
def test_starving_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is ever reserved, large work starves on a crowded node."""

    def nothing(*_: object, **__: object) -> Reservation | None:
        return None

    monkeypatch.setattr(dispatch.reservation, "earliest", nothing)
    assert any("starved" in what for what in order_histories.check(30).broken.values())
