"""What is told of a machine that ran out of memory is judged as promised (LEASE-14)."""

from __future__ import annotations

from typing import Any

import pytest

from leasehold.testing.short_of_memory import faults

NEEDS = {"old": (6.0, 90), "middle": (3.0, 60), "young": (1.0, 90), "tiny": (0.1, 8)}


def told(**changes: Any) -> dict[str, Any]:
    revoked = [
        {"job_type": "young", "event_at": "2026-11-26T05:00:00.100Z", "needs": NEEDS},
        {
            "job_type": "middle",
            "event_at": "2026-11-26T05:00:05.100Z",
            "needs": {**NEEDS, "young": (9.0, 90)},
        },
    ]
    kept = {"revoked": revoked, "alive": ["old", "tiny"], "server": True, "oom_kills": 0}
    return kept | changes


def test_what_was_promised_has_no_fault() -> None:
    """The youngest, five seconds later the next, and all else lives."""
    assert faults(told()) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"revoked": []}, "expected young and middle"),
        ({"revoked": [told()["revoked"][1] | {"needs": NEEDS}]}, "middle did not have the least to lose"),
        ({"alive": ["old"]}, "expected old and tiny"),
        ({"oom_kills": 1}, "the kernel killed 1"),
        ({"server": False}, "the server has ended"),
        (
            {
                "revoked": [
                    told()["revoked"][0],
                    told()["revoked"][1] | {"event_at": "2026-11-26T05:00:05.000Z"},
                ]
            },
            "less than 5 s after",
        ),
    ],
)
def test_each_breach_is_told(changes: dict[str, Any], fault: str) -> None:
    """In words that say which."""
    assert any(fault in each for each in faults(told(**changes)))
