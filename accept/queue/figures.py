"""The figures of the queue (PROVE-11), by the benchmarks of `make bench` on the installed wheel.

A worker's token, each job with its own generation under a session's, or with a token of its own; events are
counted afterwards. Preset `always`, with one line beside it of the default preset.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from accept.harness import Broken, Skipped, check, expect
from accept.product import ROOT, Product
from bench.peers.queue_programs import PEERS

Figure = dict[str, Any]

ROUNDS = ("--rounds", "3")
PEER_TO_BEAT = "pgqueuer"
SERVICE = "service_"


class Measured(NamedTuple):
    """What one benchmark printed: its figures by name, remarks, and what it could not measure."""

    figures: dict[str, Figure]
    notes: tuple[str, ...]
    missing: tuple[str, ...]

    def shown(self, *beginnings: str, but: str = "\0") -> str:
        """The figures whose names begin so, as a sentence."""
        told = [
            f"{name} {_number(one['value'])} {one['unit']}{' (' + one['note'] + ')' if one['note'] else ''}"
            for name, one in self.figures.items()
            if name.startswith(beginnings or "") and not name.startswith(but)
        ]
        return ", ".join([*told, *self.notes])

    def judge(self, names: Sequence[str], shown: str) -> None:
        """Raise Broken for a figure that is missed or was not measured, though nothing kept it from being."""
        for name in names:
            one = self.figures.get(name)
            expect(one is not None, f"{name} was not measured; {shown}")
            assert one is not None
            low, high = one.get("at_least"), one.get("at_most")
            expect(low is None or one["value"] >= low, f"{name}: {low} at least; {shown}")
            expect(high is None or one["value"] <= high, f"{name}: {high} at most; {shown}")

    def complete(self, shown: str) -> str:
        """What was shown. Raises Skipped where a peer can't be had here; Broken for anything else missing."""
        peers = tuple(f"{peer.name}:" for peer in PEERS)
        for reason in self.missing:
            expect(_is_absent(reason, peers), f"not measured: {reason}; {shown}")
        if self.missing:
            raise Skipped(f"{'; '.join(self.missing)}. Measured without: {shown}")
        return shown


@cache
def _measured(python: str, name: str, *options: str, timeout_s: float) -> Measured:
    command = [python, "-m", "bench", name, "--json", *options]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise Broken(f"bench {name} was not done after {timeout_s:g} s") from None
    try:
        reports = json.loads(done.stdout)["reports"]
    except (json.JSONDecodeError, KeyError):
        raise Broken(f"the benchmark printed no figures: {done.stderr[-400:]}") from None
    return Measured(
        {one["name"]: one for report in reports for one in report["figures"]},
        tuple(note for report in reports for note in report.get("notes", ())),
        tuple(reason for report in reports for reason in report.get("not_measured", ())),
    )


def _is_absent(reason: str, peers: tuple[str, ...]) -> bool:
    """Whether a program that is not on this machine keeps it from being measured."""
    return (reason.startswith(peers) or "strace" in reason) and "is not here" in reason


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _cycles(product: Product) -> Measured:
    """One run serves both checks: they are about the same rounds."""
    return _measured(product.python, "queue_cycles", *ROUNDS, timeout_s=600)


@check(
    "figure.jobs_http",
    "Durable submit → dispatch → complete of 1 KiB jobs: at least 7,000/s in batches through HTTP, and faster than "
    "the fastest durable Python peer's whole cycle in the same run (preset `always`; beside it `server` under `run`)",
    command='make bench ARGS="queue_cycles --rounds 3"',
    budget_s=240,
)
def jobs_http(product: Product) -> str:
    """Also claimed after all is submitted, in batches of 100, and with a lease for each job."""
    found = _cycles(product)
    shown = found.shown(but=SERVICE)
    judged = [name for name, one in found.figures.items() if one.get("at_least") or one.get("at_most") == 0]
    found.judge([*(name for name in judged if not name.startswith(SERVICE)), "http_1000_cycles"], shown)
    if not any(reason.startswith(f"{PEER_TO_BEAT}:") for reason in found.missing):
        found.judge([f"http_1000_over_{PEER_TO_BEAT}"], shown)
    return found.complete(shown)


@check(
    "figure.jobs_service",
    "Durable submit → dispatch → complete of 1 KiB jobs: at least 10,000/s (aim: 15,000) through the Python service layer",
    command='make bench ARGS="queue_cycles --rounds 3"',
    budget_s=240,
)
def jobs_service(product: Product) -> str:
    """The same rounds' other side; where `figure.jobs_http` has run, nothing is run again."""
    found = _cycles(product)
    shown = found.shown(SERVICE, "flushes")
    found.judge(["service_1000_cycles"], shown)
    aim = found.figures["service_1000_cycles"]["value"] / 15_000
    return f"{shown}; {aim:.2f} of the 15,000/s aimed at"


@check(
    "figure.job_start",
    "Idle submit → start under 10 ms p50 and 30 ms p99, beside the peers",
    command='make bench ARGS="queue_start --rounds 2"',
    budget_s=180,
)
def job_start(product: Product) -> str:
    """Under a session's lease, and with a lease of its own for each job; flushes are counted."""
    found = _measured(product.python, "queue_start", "--rounds", "2", timeout_s=600)
    shown = found.shown()
    found.judge(["http_session_start_p50", "http_session_start_p99", "http_session_flushes_a_cycle"], shown)
    return found.complete(shown)


@check(
    "figure.jobs_waiting",
    "With 1,000,000 jobs of 1 KiB waiting: decide and apply at most 2 × that with 1,000 and under 200 µs p99, "
    "no pause over 50 ms, under 800 MiB, restart under 15 s",
    command="make bench ARGS=queue_waiting",
    budget_s=240,
)
def jobs_waiting(product: Product) -> str:
    """In process, then over HTTP, then stopped and started on the same data."""
    found = _measured(product.python, "queue_waiting", timeout_s=900)
    shown = found.shown()
    judged = ["decide_many_p99", "decide_many_over_few", "pause_many_single", "pause_server_fill"]
    found.judge([*judged, "pause_server_cycles", "rss", "restart"], shown)
    return found.complete(shown)


@check(
    "figure.jobs_slow_disk",
    "All of it also on a slow disk, where each flush of every program waits 3.3 ms, beside the same peers (reported)",
    command='make bench ARGS="queue_slow --rounds 1"',
    budget_s=240,
)
def jobs_slow_disk(product: Product) -> str:
    """Nothing is judged but that everything ends, and each job once."""
    found = _measured(product.python, "queue_slow", "--rounds", "1", timeout_s=600)
    shown = found.shown()
    if any("C compiler" in reason for reason in found.missing):
        raise Skipped("; ".join(found.missing))
    sides = ("http_1000", "http_100", "service_1000")
    found.judge([f"slow_{side}_cycles" for side in sides], shown)
    return found.complete(shown)
