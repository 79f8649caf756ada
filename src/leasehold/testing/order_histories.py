"""Whether the order keeps its word on many random histories (QUEUE-6, 7), with figures.

`python -m leasehold.testing.order_histories [COUNT [FIRST]]` takes the histories with the seeds from FIRST
on; ten thousand take a minute or two of one core. What breaks names its seed, and the same seed breaks again.
"""

from __future__ import annotations

import sys

import msgspec

from leasehold.testing.fair_histories import FairHistory
from leasehold.testing.promise_histories import Broken, PromiseHistory

COUNT = 10_000


class Figures(msgspec.Struct):
    """What was seen over `histories` of each sort.

    `worst_share` of QUEUE-6's bound that two flows ever used (above 1: it broke); `late_ms` by which a firm
    reservation was ever put off (above 0: it broke) of so many `promises`; `longest_ms` that anybody who was
    eligible waited on a crowded node until it started, and `patient_ms` of them who asked for all of it;
    `broken` says what broke, by seed.
    """

    histories: int = 0
    served: int = 0
    worst_share: float = 0.0
    started: int = 0
    promises: int = 0
    late_ms: int = 0
    longest_ms: int = 0
    patient_ms: int = 0
    broken: dict[int, str] = {}

    def __str__(self) -> str:
        return (
            f"{self.histories} histories, {self.served} served: "
            f"at most {self.worst_share:.4f} of the bound used; {self.started} started: "
            f"{self.promises} firm reservations, put off by at most {self.late_ms} ms; "
            f"longest wait of anybody eligible {self.longest_ms / 1000:.0f} s, "
            f"of who asked for the whole node {self.patient_ms / 1000:.0f} s; {len(self.broken)} broken"
        )


def check(count: int, first: int = 0) -> Figures:
    """Run so many histories of each sort, with the seeds from `first` on. Nothing is raised: see `broken`."""
    figures = Figures()
    for seed in range(first, first + count):
        figures.histories += 1
        _be_fair(seed, figures)
        _keep_promises(seed, figures)
    return figures


def _be_fair(seed: int, figures: Figures) -> None:
    history = FairHistory(seed).run()
    figures.served += len(history.served)
    figures.worst_share = max(figures.worst_share, history.worst)
    if history.worst > 1:
        (one, other), share = max(history.ratios(), key=lambda row: row[1])
        figures.broken[seed] = f"{one or 'root'} and {other} differ by {share:.3f} of the bound"


def _keep_promises(seed: int, figures: Figures) -> None:
    history = PromiseHistory(seed)
    try:
        history.run()
    except Broken as broken:
        figures.broken[seed] = str(broken)
    figures.started += history.started
    figures.promises += history.promises
    figures.late_ms = max(figures.late_ms, history.late_ms)
    figures.longest_ms = max(figures.longest_ms, history.longest_ms)
    figures.patient_ms = max(figures.patient_ms, history.patient_ms)


def main(arguments: list[str]) -> int:
    count, first = [*map(int, arguments), COUNT, 0][:2] if len(arguments) != 1 else (int(arguments[0]), 0)
    figures = check(count, first)
    print(figures)
    for seed, what in list(figures.broken.items())[:20]:
        print(f"seed {seed}: {what}")
    return 1 if figures.broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
