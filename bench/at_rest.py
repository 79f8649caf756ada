"""What `leasehold up` takes when nothing is asked of it, beside Netdata sampling each second.

Method: both run at the same time with default settings for the whole span (10 minutes, `--minutes`), after a
minute to settle. CPU is the growth of user and system time of the whole process tree from `/proc/<pid>/stat`
(children that ended included) over the span, as a share of one core; resident memory is read every
5 s and reported at its largest, summed over the tree (pages that two processes share count twice).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

from bench import product
from bench.peers import netdata
from bench.peers.environment import PeerUnavailable
from bench.process import Program, Usage
from bench.report import Figure, Report
from bench.setup import Setup
from bench.summary import median

REQUIREMENT = "PROVE-15"
CPU_PERCENT_MAX = 1.0
RSS_MB_MAX = 90.0
SETTLE_S, SETTLE_QUICK_S = 60.0, 10.0
SAMPLE_S = 5.0


def run(setup: Setup) -> Report:
    """Watch both side by side; where Netdata can't be had, ours alone, and say so."""
    not_measured = []
    with ExitStack() as stack:
        programs = {"leasehold": stack.enter_context(product.running(setup, preset=None)).program}
        try:
            programs["netdata"] = stack.enter_context(netdata.running(setup))
        except PeerUnavailable as error:
            not_measured.append(f"netdata: {error}")
        time.sleep(SETTLE_QUICK_S if setup.is_quick else SETTLE_S)
        span_s = 60 * (min(setup.rest_minutes, 0.5) if setup.is_quick else setup.rest_minutes)
        setup.say(f"at_rest: watching for {span_s / 60:g} min")
        samples = watch(programs, span_s)
    figures = [figure for name, seen in samples.items() for figure in _figures(name, seen)]
    return Report(
        name="at_rest", requirement=REQUIREMENT, figures=tuple(figures), not_measured=tuple(not_measured)
    )


Sample = tuple[float, Usage]


def watch(programs: dict[str, Program], span_s: float) -> dict[str, list[Sample]]:
    """(monotonic s, usage) of each program every SAMPLE_S over `span_s`, first and last sample included."""
    samples: dict[str, list[Sample]] = {name: [] for name in programs}
    ends_at = time.monotonic() + span_s
    while True:
        for name, program in programs.items():
            program.check_alive()
            samples[name].append((time.monotonic(), program.usage()))
        if (left_s := ends_at - time.monotonic()) <= 0:
            return samples
        time.sleep(min(SAMPLE_S, left_s))


def cpu_percent(samples: Sequence[Sample]) -> float:
    """Share of one core between the first and the last sample, in percent."""
    (began_at, first), (ended_at, last) = samples[0], samples[-1]
    return 100 * (last.cpu_s - first.cpu_s) / (ended_at - began_at)


def _figures(name: str, samples: Sequence[Sample]) -> list[Figure]:
    is_ours = name == "leasehold"
    rss_mb = [usage.rss_bytes / 1e6 for _, usage in samples]
    processes = max(usage.processes for _, usage in samples)
    return [
        Figure(
            name=f"{name}_cpu",
            value=cpu_percent(samples),
            unit="% of one core",
            at_most=CPU_PERCENT_MAX if is_ours else None,
        ),
        Figure(
            name=f"{name}_rss_max",
            value=max(rss_mb),
            unit="MB",
            at_most=RSS_MB_MAX if is_ours else None,
            note=f"median {median(rss_mb):.1f} MB; at most {processes} processes",
        ),
    ]
