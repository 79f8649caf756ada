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

from leasehold.core.means import JITTER_PCT, MILLI, Tick, cpu_milli, inputs_milli, kept
from leasehold.core.pressures import pressure_bp, score, sentence
from leasehold.model.quiet import Group, QuietAssessment, QuietSettings, QuietState, Reading

BY_TRIGGERS = (QuietState.QUIET, QuietState.NORMAL, QuietState.BUSY, QuietState.PANIC)


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
        memory = msgspec.structs.replace(memory, ticks=kept(settings, memory.ticks, reading), last=reading)
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
    milli = cpu_milli(ticks, foreign=False)
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
