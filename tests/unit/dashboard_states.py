"""States of the dashboard for tests, as a server would send them."""

from __future__ import annotations

from leasehold.wire.dashboard import DashboardState, Head, QueueNow, Verdict, Waiting
from leasehold.wire.lease import Dimension
from leasehold.wire.owner import AdmissionOut

NOW_MS = 1_764_150_000_000


def state(*, seq: int = 1, score: int | None = 80, verdict: Verdict = "yes") -> DashboardState:
    """A quiet machine that nobody uses."""
    return DashboardState(
        seq=seq,
        at=NOW_MS,
        head=Head(
            verdict=verdict,
            headline="Yes: the machine is quiet, 90 of 90 units free",
            state="QUIET",
            score=score,
            since_ms=NOW_MS - 60_000,
            cooldown_until_ms=None,
            reasons=["CPU used by others is 3 %"],
            notices=[],
            node_id="nas",
            preset="server",
            version="0.1.0",
            read_only=False,
        ),
        scales={},
        inputs={},
        capacity={
            "units": Dimension(100, 90, 0, 90),
            "memory_bytes": Dimension(8 << 30, 6 << 30, 0, 6 << 30),
        },
        leases_total=0,
        leases=[],
        usage={},
        waiting=Waiting(0, [], []),
        decisions=[],
        denials=[],
        owner=AdmissionOut("nas", "open", [], []),
        queue=QueueNow(),
    )
