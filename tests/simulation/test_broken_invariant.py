"""A command that would break an invariant is refused, grants stop, reads and releases go on (INV-9)."""

from __future__ import annotations

import pytest

from leasehold.core.book import Book
from leasehold.model.errors import InvariantBroken
from leasehold.model.lease import Lease
from tests.simulation.scene import ANN, Scene, play


@pytest.mark.requirement("INV-9")
def test_a_broken_invariant_stops_grants_and_keeps_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums refuse one grant: nothing of it is kept, and nobody is granted anything until a restart."""

    async def story(scene: Scene) -> None:
        held = await scene.hold(cost_units=10)
        before = scene.server.leases.ledger.state

        def refuse(self: Book, lease: Lease) -> None:
            raise InvariantBroken("planted")

        with monkeypatch.context() as planted:
            planted.setattr(Book, "add", refuse)
            with pytest.raises(InvariantBroken):
                await scene.ask(cost_units=10)
        assert list(before.leases) == [held.lease_id]
        assert before.book.units == 10
        denied = await scene.ask(cost_units=1)
        assert (denied.approved, denied.reasons[0].code) == (False, "MAINTENANCE")
        assert not (await scene.ask(locks=["db"])).approved
        assert held.lease_id is not None
        assert (await scene.do(scene.server.leases.get(ANN, held.lease_id))).state == "ACTIVE"

    play(story)
