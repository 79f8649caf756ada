"""Means over the last ticks, and every input of the quiet assessment by its name (SENSE-9, 11, 12)."""

from __future__ import annotations

import msgspec

from leasehold.model.quiet import QuietSettings, Reading

MILLI = 1_000
JITTER_PCT = 10  # of a collector's interval (SENSE-7); a wait of some ticks must not take one tick more
TICKS_MAX = 512  # two minutes hold 60 ticks of 2 s; a faster sampler may not grow the memory without end


class Tick(msgspec.Struct, frozen=True, gc=False):
    """What is kept of a reading for the means."""

    at_ms: int
    span_ms: int
    cpu_total_ms: int
    cpu_busy_ms: int
    cpu_foreign_ms: int
    runnable_milli: int | None
    psi_cpu_bp: int | None
    psi_memory_bp: int | None
    psi_io_bp: int | None
    io_foreign_bytes: int | None
    io_all_bytes: int | None
    swap_in_bytes_per_s: int | None


def kept(settings: QuietSettings, ticks: tuple[Tick, ...], reading: Reading) -> tuple[Tick, ...]:
    """The window of ticks with `reading` at its end. A gap (a stall, a suspend) starts the means anew."""
    if ticks and reading.at_ms - ticks[-1].at_ms > settings.stale_after_ms:
        ticks = ()
    runnable = reading.runnable_foreign_milli
    tick = Tick(
        at_ms=reading.at_ms,
        span_ms=reading.span_ms,
        cpu_total_ms=reading.cpu_total_ms,
        cpu_busy_ms=reading.cpu_busy_ms,
        cpu_foreign_ms=reading.cpu_foreign_ms,
        runnable_milli=None if runnable is None else runnable // max(1, reading.cores),
        psi_cpu_bp=reading.psi_cpu_bp,
        psi_memory_bp=reading.psi_memory_bp,
        psi_io_bp=reading.psi_io_bp,
        io_foreign_bytes=reading.io_foreign_bytes,
        io_all_bytes=reading.io_all_bytes,
        swap_in_bytes_per_s=reading.swap_in_bytes_per_s,
    )
    oldest = reading.at_ms - settings.long_mean_ms
    return (*[each for each in ticks[-TICKS_MAX:] if each.at_ms > oldest], tick)


def within(ticks: tuple[Tick, ...], now_ms: int, mean_ms: int) -> list[Tick]:
    """The ticks that lie within the last `mean_ms`, by a tenth more: ticks are jittered.

    The newest always counts.
    """
    oldest = now_ms - mean_ms - mean_ms * JITTER_PCT // 100
    found = [tick for tick in ticks if tick.at_ms - tick.span_ms >= oldest]
    return found or list(ticks[-1:])


def _mean(pairs: list[tuple[int | None, int]]) -> int | None:
    """The mean of values weighted by span, over those that are known."""
    known = [(value, span) for value, span in pairs if value is not None]
    spans = sum(span for _, span in known)
    return None if spans <= 0 else sum(value * span for value, span in known) // spans


def _not_negative(mean: int | None) -> int | None:
    return None if mean is None else max(0, mean)


def cpu_milli(ticks: list[Tick], *, foreign: bool) -> int | None:
    """CPU use over these ticks in thousandths of a percent."""
    total = sum(tick.cpu_total_ms for tick in ticks)
    used = sum(tick.cpu_foreign_ms if foreign else tick.cpu_busy_ms for tick in ticks)
    return None if total <= 0 else min(100 * MILLI, used * 100 * MILLI // total)


def _foreign_io_bp(ticks: list[Tick]) -> int | None:
    """The io stall by the foreign share of bytes.

    Where nothing is known of the bytes, all of it is foreign.
    """
    stalled = _mean([(tick.psi_io_bp, tick.span_ms) for tick in ticks])
    known = [tick for tick in ticks if tick.io_all_bytes]
    everything = sum(tick.io_all_bytes or 0 for tick in known)
    if stalled is None or everything == 0:
        return stalled
    return stalled * sum(tick.io_foreign_bytes or 0 for tick in known) // everything


def inputs_milli(settings: QuietSettings, ticks: tuple[Tick, ...], last: Reading) -> dict[str, int | None]:
    """Every input by name, in thousandths of its unit; None where it is not known."""
    now_ms = last.at_ms
    short = within(ticks, now_ms, settings.short_mean_ms)
    swap = _mean([(tick.swap_in_bytes_per_s, tick.span_ms) for tick in short])
    return {
        "foreign_cpu_avg_10s": cpu_milli(short, foreign=True),
        "foreign_cpu_avg_2m": cpu_milli(list(ticks), foreign=True),
        "foreign_runnable_per_core": _not_negative(
            _mean([(tick.runnable_milli, tick.span_ms) for tick in short])
        ),
        "psi_cpu": _milli(_mean([(tick.psi_cpu_bp, tick.span_ms) for tick in short])),
        "foreign_mem_pct": _milli(last.memory_foreign_bp),
        "mem_pct": _milli(last.memory_bp),
        "mem_left_mb": None if last.memory_left_bytes is None else last.memory_left_bytes // MILLI,
        "swap_in_mb_s": None if swap is None else swap // MILLI,  # bytes / 10^6 * 10^3
        "psi_memory": _milli(_mean([(tick.psi_memory_bp, tick.span_ms) for tick in short])),
        "psi_io": _milli(_foreign_io_bp(short)),
        "disk_free_pct": _milli(last.disk_free_bp),
        "p95_ms": _thousand(last.p95_ms),
        "in_flight": _thousand(last.in_flight),
        "rps": last.requests_per_1000_s,
        "error_pct": _milli(last.errors_bp),
        "owner_present": _thousand(last.owner_present),
        "on_battery": _thousand(last.on_battery),
        "temperature_c": _thousand(last.temperature_c),
        "foreign_gpu_pct": _milli(last.gpu_foreign_bp),
    }


def _milli(basis_points: int | None) -> int | None:
    return None if basis_points is None else basis_points * 10


def _thousand(value: int | None) -> int | None:
    return None if value is None else int(value) * MILLI
