"""The quiet assessment.

Readings become means, means become pressures, groups become a score, the score moves a state (SENSE-9…12).

A fold without clock or chance: `fold(settings, memory, reading, now_ms) -> (memory, assessment)`. What is
compared is an integer.

Three triggers, one per threshold, each "busier than this". One sets after the score was below its threshold
for `busier_after_ms`, and clears after the score was at the threshold plus margin for `quieter_after_ms`.
As the thresholds are in order so are the triggers, and more pressure at every instant never gives a quieter
state at any instant.
"""

from __future__ import annotations

import msgspec

from leasehold.model.quiet import (
    Endpoints,
    Group,
    QuietAssessment,
    QuietSettings,
    QuietState,
    Reading,
)

FULL_BP = 10_000
MILLI = 1_000
JITTER_PCT = (
    10  # of a collector's interval (SENSE-7); a wait of some ticks must not take one tick more for it
)
TICKS_MAX = 512  # two minutes hold 60 ticks of 2 s; a faster sampler may not grow the memory without end
BY_TRIGGERS = (QuietState.QUIET, QuietState.NORMAL, QuietState.BUSY, QuietState.PANIC)


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


class Trigger(msgspec.Struct, frozen=True, gc=False):
    """Whether the machine is busier than one threshold, and since when the score spoke for or against it."""

    set: bool = False
    below_since_ms: int | None = None
    above_since_ms: int | None = None


class Memory(msgspec.Struct, frozen=True):
    """What the fold remembers between ticks. The empty one is right at start."""

    ticks: tuple[Tick, ...] = ()
    last: Reading | None = None
    first_ms: int | None = None
    triggers: tuple[Trigger, Trigger, Trigger] = (Trigger(), Trigger(), Trigger())
    state: QuietState = QuietState.UNKNOWN
    since_ms: int = 0
    panic_since_ms: int | None = None
    cooldown_until_ms: int = 0


def fold(
    settings: QuietSettings, memory: Memory, reading: Reading | None, now_ms: int
) -> tuple[Memory, QuietAssessment]:
    """Take one reading in (None: the tick measured nothing) and say how quiet the machine is at `now_ms`."""
    if reading is not None:
        memory = msgspec.structs.replace(memory, ticks=_kept(settings, memory.ticks, reading), last=reading)
    missing = _missing(settings, memory, now_ms)
    if missing:
        return _unknown(settings, memory, missing, now_ms)
    assert memory.last is not None
    values = inputs_milli(settings, memory.ticks, memory.last)
    pressures = {
        name: pressure_bp(settings.inputs[name], value) for name, value in values.items() if value is not None
    }
    raw = score(settings, pressures)
    at_once = score(settings, pressures, only=(Group.MEMORY, Group.DISK)) < settings.busy_from
    if memory.first_ms is None:
        memory = msgspec.structs.replace(memory, first_ms=memory.last.at_ms - memory.last.span_ms)
    memory = _moved(settings, memory, raw, at_once, now_ms)
    return memory, _assessment(settings, memory, raw, values, pressures, now_ms)


# -- means ---------------------------------------------------------------------


def _kept(settings: QuietSettings, ticks: tuple[Tick, ...], reading: Reading) -> tuple[Tick, ...]:
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


def _cpu_milli(ticks: list[Tick], *, foreign: bool) -> int | None:
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
        "foreign_cpu_avg_10s": _cpu_milli(short, foreign=True),
        "foreign_cpu_avg_2m": _cpu_milli(list(ticks), foreign=True),
        "foreign_runnable_per_core": _mean([(tick.runnable_milli, tick.span_ms) for tick in short]),
        "psi_cpu": _milli(_mean([(tick.psi_cpu_bp, tick.span_ms) for tick in short])),
        "foreign_mem_pct": _milli(last.memory_foreign_bp),
        "mem_pct": _milli(last.memory_bp),
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


# -- pressures and score ---------------------------------------------------------------------


def pressure_bp(ends: Endpoints, value_milli: int) -> int:
    """0 at `zero` (and before it), 10,000 at `one` (and past it), linear between.

    A disabled input presses nothing.
    """
    if not ends.enabled:
        return 0
    zero, one = round(ends.zero * MILLI), round(ends.one * MILLI)
    way, length = (value_milli - zero, one - zero) if one > zero else (zero - value_milli, zero - one)
    return min(FULL_BP, max(0, way * FULL_BP // length))


def group_pressures(settings: QuietSettings, pressures: dict[str, int]) -> dict[Group, int]:
    """Each group's greatest input."""
    groups = dict.fromkeys(Group, 0)
    for name, pressure in pressures.items():
        group = settings.inputs[name].group
        groups[group] = max(groups[group], pressure)
    return groups


def score(settings: QuietSettings, pressures: dict[str, int], only: tuple[Group, ...] = tuple(Group)) -> int:
    """round(100 · Π(1 − w·x)) over the groups `only`: 100 with no pressure.

    One saturated resource is enough to lower it.
    """
    left = FULL_BP * FULL_BP
    for group, pressure in group_pressures(settings, pressures).items():
        if group in only:
            weight = settings.weights_pct.get(group, 0) * 100
            left = left * (FULL_BP * FULL_BP - weight * pressure) // (FULL_BP * FULL_BP)
    return (left + FULL_BP * FULL_BP // 200) // (FULL_BP * FULL_BP // 100)


# -- states ---------------------------------------------------------------------


def _thresholds(settings: QuietSettings) -> tuple[int, int, int]:
    return settings.quiet_from, settings.normal_from, settings.busy_from


def _moved(settings: QuietSettings, memory: Memory, raw: int, at_once: bool, now_ms: int) -> Memory:
    """The memory after the score of this instant: triggers, state, and the cool-down after a long PANIC."""
    # After a start there is nothing yet to hold on to: a first sample of half a second must not bind for ten.
    settling = memory.first_ms is not None and now_ms - memory.first_ms < settings.busier_after_ms
    at_once = at_once or memory.state is QuietState.UNKNOWN
    triggers = tuple(
        Trigger(set=raw < threshold)
        if settling
        else _pulled(settings, trigger, raw, threshold, now_ms, at_once=at_once)
        for trigger, threshold in zip(memory.triggers, _thresholds(settings), strict=True)
    )
    state = BY_TRIGGERS[sum(trigger.set for trigger in triggers)]
    panic_since, cooldown = memory.panic_since_ms, memory.cooldown_until_ms
    if state is QuietState.PANIC:
        panic_since = now_ms if panic_since is None else panic_since
    elif panic_since is not None:
        if now_ms - panic_since > settings.panic_long_ms:
            cooldown = now_ms + settings.cooldown_ms
        panic_since = None
    return msgspec.structs.replace(
        memory,
        triggers=triggers,
        state=state,
        since_ms=memory.since_ms if state is memory.state else now_ms,
        panic_since_ms=panic_since,
        cooldown_until_ms=cooldown,
    )


def _waited(wait_ms: int) -> int:
    return wait_ms - wait_ms * JITTER_PCT // 100


def _pulled(
    settings: QuietSettings, trigger: Trigger, raw: int, threshold: int, now_ms: int, *, at_once: bool
) -> Trigger:
    """One trigger after the score of this instant. `at_once` skips the wait on the way to busier."""
    below = (
        (trigger.below_since_ms if trigger.below_since_ms is not None else now_ms)
        if raw < threshold
        else None
    )
    calm = raw >= threshold + settings.margin
    above = (trigger.above_since_ms if trigger.above_since_ms is not None else now_ms) if calm else None
    is_set = trigger.set
    if below is not None and (at_once or now_ms - below >= _waited(settings.busier_after_ms)):
        is_set = True
    elif above is not None and now_ms - above >= _waited(settings.quieter_after_ms):
        is_set = False
    return Trigger(is_set, below, above)


# -- answers ---------------------------------------------------------------------


def _missing(settings: QuietSettings, memory: Memory, now_ms: int) -> str:
    """Why nothing can be said, or nothing (SENSE-11)."""
    last = memory.last
    if last is None:
        return "no measurement yet: two samples are needed"
    age_ms = now_ms - last.at_ms
    if age_ms > settings.stale_after_ms:
        return f"the last measurement is {age_ms // 1000} s old (limit {settings.stale_after_ms // 1000} s)"
    if last.cpu_total_ms <= 0:
        return "CPU use could not be measured"
    if last.memory_bp is None:
        return "memory use could not be measured"
    return ""


def _unknown(
    settings: QuietSettings, memory: Memory, why: str, now_ms: int
) -> tuple[Memory, QuietAssessment]:
    """UNKNOWN. Triggers that were set stay set, so that a lost minute does not read as quiet afterwards."""
    kept = tuple(Trigger(set=trigger.set) for trigger in memory.triggers)
    since = memory.since_ms if memory.state is QuietState.UNKNOWN and memory.since_ms else now_ms
    memory = msgspec.structs.replace(memory, triggers=kept, state=QuietState.UNKNOWN, since_ms=since)
    return memory, QuietAssessment(
        at_ms=now_ms,
        state=QuietState.UNKNOWN,
        quiet_score=None,
        score_raw=None,
        reasons=(f"The state of this machine is not known: {why}",),
        inputs=dict.fromkeys(settings.inputs),
        pressures={},
        since_ms=since,
        cooldown_until_ms=memory.cooldown_until_ms,
        preset=settings.preset,
    )


def _assessment(
    settings: QuietSettings,
    memory: Memory,
    raw: int,
    values: dict[str, int | None],
    pressures: dict[str, int],
    now_ms: int,
) -> QuietAssessment:
    state = QuietState.QUIET if settings.always else memory.state
    assert memory.last is not None
    shown: dict[str, float | None] = {
        name: None if value is None else value / MILLI for name, value in values.items()
    }
    shown["cpu_avg_10s"] = _percent(
        [tick for tick in memory.ticks if tick.at_ms > now_ms - settings.short_mean_ms]
    )
    shown["cpu_avg_2m"] = _percent(list(memory.ticks))
    return QuietAssessment(
        at_ms=memory.last.at_ms,
        state=state,
        quiet_score=100 if settings.always else in_band(settings, state, raw),
        score_raw=raw,
        reasons=_reasons(settings, memory, values, pressures, now_ms),
        inputs=shown,
        pressures=pressures,
        since_ms=memory.since_ms,
        cooldown_until_ms=memory.cooldown_until_ms,
        preset=settings.preset,
    )


def _percent(ticks: list[Tick]) -> float | None:
    milli = _cpu_milli(ticks, foreign=False)
    return None if milli is None else milli / MILLI


def in_band(settings: QuietSettings, state: QuietState, raw: int) -> int:
    """The raw score held within the band of the state.

    So that score and state never contradict each other.
    """
    quiet, normal, busy = _thresholds(settings)
    low, high = {
        QuietState.QUIET: (quiet, 100),
        QuietState.NORMAL: (normal, quiet - 1),
        QuietState.BUSY: (busy, normal - 1),
        QuietState.PANIC: (0, busy - 1),
    }[state]
    return min(high, max(low, raw))


def _reasons(
    settings: QuietSettings,
    memory: Memory,
    values: dict[str, int | None],
    pressures: dict[str, int],
    now_ms: int,
) -> tuple[str, ...]:
    """Plain sentences with figure and threshold, worst first."""
    assert memory.last is not None
    weighed = {
        name: x * settings.weights_pct.get(settings.inputs[name].group, 0)
        for name, x in pressures.items()
        if x
    }
    worst_first = sorted(weighed, key=lambda name: (-weighed[name], name))
    sentences = [sentence(settings, name, values[name] or 0, memory.last) for name in worst_first]
    if memory.cooldown_until_ms > now_ms:
        sentences.append(
            f"Cooling down after a PANIC ({-(-(memory.cooldown_until_ms - now_ms) // 1000)} s left)"
        )
    if not sentences and memory.state is not QuietState.QUIET:
        sentences.append(
            f"Pressure has ended; waiting until it has been calm for {settings.quieter_after_ms // 1000} s"
        )
    return tuple(sentences) or ("Nobody else uses this machine to speak of",)


def sentence(settings: QuietSettings, name: str, value_milli: int, last: Reading) -> str:
    """One input in words: `CPU used by others over 10 s is 71 % (counts from 10 %, fully at 90 %)`."""
    ends = settings.inputs[name]
    note = {"mem_pct": last.memory_note, "psi_memory": last.memory_note, "disk_free_pct": last.disk_note}.get(
        name, ""
    )
    unit = f" {ends.unit}" if ends.unit == "%" else ends.unit
    figure = _figure(value_milli)
    where = f" ({note})" if note else ""
    counts = f"it counts from {ends.zero:g}{unit} and fully at {ends.one:g}{unit}"
    return f"{ends.label or name} is {figure}{unit}{where}; {counts}"


def _figure(value_milli: int) -> str:
    """Two digits that matter: 0.85, 7.1, 71."""
    value = value_milli / MILLI
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.1f}" if abs(value) >= 1 else f"{value:.2f}"


MIDDLE_BP = FULL_BP // 2
"""LEASE-25: past the middle of its endpoints a resource counts as pressed."""


def pressed(settings: QuietSettings, assessment: QuietAssessment, last: Reading | None) -> dict[str, str]:
    """The resources that are pressed by others, with the sentence: `cpu` and `disk` (LEASE-25)."""
    if last is None:
        return {}
    found: dict[str, str] = {}
    for key, group in (("cpu", Group.CPU), ("disk", Group.IO)):
        names = [name for name in assessment.pressures if settings.inputs[name].group is group]
        worst = max(names, key=lambda name: (assessment.pressures[name], name), default=None)
        if worst is not None and assessment.pressures[worst] > MIDDLE_BP:
            found[key] = sentence(settings, worst, round((assessment.inputs[worst] or 0.0) * MILLI), last)
    return found
