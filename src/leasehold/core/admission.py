"""May this start here, now?

The policy of LEASE-4, as a pure function that returns every reason that applies.
"""

from __future__ import annotations

from leasehold.core import capacity, quota, window_gate
from leasehold.core.state import State
from leasehold.model.charge import DEVICE, Charge, Totals
from leasehold.model.lease import Ask, Constraint, OnBusy
from leasehold.model.node import STALE_AFTER_MS, NodeView
from leasehold.model.owner import InForce
from leasehold.model.priority import Priority
from leasehold.model.refusal import RANK, Code, Reason
from leasehold.model.settings import PolicySettings

RETRY_DEFAULT_S = 2
NO_TOTALS = Totals(0, 0, 0)
NOTHING_USABLE = capacity.Usable(0, 0, 0, 0)
RETRY_MAX_S = 300
DISABLED_RETRY_S = 30
"""Only a person ends it; a call that is held is judged anew in the moment that one does."""


def admissible(state: State, ask: Ask, now_ms: int, settings: PolicySettings) -> bool:
    """Whether nothing at all stands against it (the line apart). The cheap form of `reasons(...) == []`."""
    return not gates(state, ask, now_ms, settings) and not rooms(state, ask, settings)


def reasons(state: State, ask: Ask, now_ms: int, settings: PolicySettings) -> list[Reason]:
    """All reasons that apply, the decisive one first. Empty when it may start (the line apart)."""
    impossible = never(state, ask, settings)
    found = impossible and [*disabled(state, ask), *impossible]
    found = found or [*gates(state, ask, now_ms, settings), *rooms(state, ask, settings)]
    return sorted(found, key=lambda reason: RANK[reason.code])


def never(state: State, ask: Ask, settings: PolicySettings) -> list[Reason]:
    """NEVER_FITS: what no moment could ever hold. No retry time."""
    if state.view is None:
        return []
    return [
        Reason(
            Code.NEVER_FITS,
            f"This node can never hold it: {capacity.sentence(short)}",
            "ask for less, or for another node",
            capacity.figures(short),
        )
        for short in capacity.never_fits(ask.charge, state.view.totals, settings.capacity)
    ]


def disabled(state: State, ask: Ask) -> list[Reason]:
    """ADDON_DISABLED: whoever holds it is switched off, for locks too. It decides before everything else."""
    addon = state.addons.get(ask.holder)
    if addon is None or addon.enabled:
        return []
    return [
        Reason(
            Code.ADDON_DISABLED,
            f"The add-on {addon.addon_id} is disabled; it gets no lease",
            f"`leasehold addon enable {addon.addon_id}`",
            {},
            DISABLED_RETRY_S,
        )
    ]


def gates(state: State, ask: Ask, now_ms: int, settings: PolicySettings) -> list[Reason]:
    """Reasons that are about the machine's state, not about room.

    Locks and slots alone skip them (LEASE-24).
    """
    found = disabled(state, ask)
    if state.broken:
        return [*found, _broken(state)]
    found += _blocked(state.owner, ask, now_ms)
    if ask.waits_for_window and (outside := window_gate.reason(state.owner.no_window, now_ms)) is not None:
        found.append(outside)
    if not ask.charge.is_work:
        return found
    view = state.view
    if (
        view is None
        or view.state == "UNKNOWN"
        or view.score is None
        or now_ms - view.measured_ms > STALE_AFTER_MS
    ):
        return [*found, _unknown(view, now_ms)]
    if state.unsettled:
        found.append(_unsettled(state))
    if _would_give_way(view, ask):
        found.append(_gives_way(view, ask))
    if not view.always:
        found.extend(_quiet_gates(view, ask, now_ms, lenient=_lenient(state.owner, ask)))
    if ask.constraints:
        found.extend(_pressed(view, ask))
    return found


def _blocked(owner: InForce, ask: Ask, now_ms: int) -> list[Reason]:
    """What the owner has said against it: of the node, of a device that it names, of work outside windows."""
    if not owner.blocks and owner.closed is None:
        return []
    blocks = [owner.blocks[""]] if "" in owner.blocks else []
    blocks += [
        owner.blocks[name.removeprefix(DEVICE)]
        for name, _ in ask.charge.named
        if name.startswith(DEVICE) and name.removeprefix(DEVICE) in owner.blocks
    ]
    if owner.closed is not None and ask.charge.is_work and ask.waits_for_quiet:
        blocks.append(owner.closed)
    return [
        Reason(Code.BLOCKED, block.sentence, block.cure, {}, max(1, -(-(block.until_ms - now_ms) // 1000)))
        for block in blocks
    ]


def _unknown(view: NodeView | None, now_ms: int) -> Reason:
    if view is None:
        sentence = "Nothing is known of this machine yet; the first measurement takes about a second"
    else:
        why = f": {view.reasons[0]}" if view.reasons and view.state == "UNKNOWN" else ""
        age_s = max(0, now_ms - view.measured_ms) // 1000
        sentence = f"Measurements are missing or {age_s} s old; nothing new starts{why}"
    return Reason(
        Code.STATS_UNKNOWN, sentence, "a fresh measurement; see `leasehold doctor`", {}, RETRY_DEFAULT_S
    )


def _unsettled(state: State) -> Reason:
    key = min(state.unsettled)
    return Reason(
        Code.MAINTENANCE,
        f"{len(state.unsettled)} lease record(s) can't be read, {key} among them; nothing starts until then",
        f"`leasehold revoke {key}` when its work has ended",
        {"unreadable": len(state.unsettled)},
    )


def _lenient(owner: InForce, ask: Ask) -> bool:
    """Whether a window is open in which state NORMAL is quiet enough for it (QUEUE-19)."""
    return owner.lenient or (ask.window and owner.foreseen)


def _quiet_gates(view: NodeView, ask: Ask, now_ms: int, *, lenient: bool) -> list[Reason]:
    figures: dict[str, int | float | str] = {"score": view.score or 0, "state": view.state}
    if view.state == "PANIC":
        cure = view.reasons[0] if view.reasons else "less load"
        return [Reason(Code.PANIC, "System is PANIC; nothing starts", cure, figures, 10)]
    left_ms = view.cooldown_until_ms - now_ms
    if left_ms > 0:
        left_s = -(-left_ms // 1000)
        sentence = f"Recent PANIC detected; cooling down ({left_s} s left)"
        return [Reason(Code.COOLING_DOWN, sentence, "time", {"left_sec": left_s}, left_s)]
    enough = lenient and view.state == "NORMAL" and ask.priority <= Priority.NORMAL
    if ask.waits_for_quiet and view.state != "QUIET" and not enough:
        cure = f"{view.reasons[0]} must pass" if view.reasons else "a quieter machine"
        sentence = f"System is {view.state}; waiting for QUIET"
        return [Reason(Code.NOT_QUIET, sentence, f"{cure}; or start=now", figures, RETRY_DEFAULT_S)]
    return []


def _would_give_way(view: NodeView, ask: Ask) -> bool:
    """Whether it would be frozen or taken back as soon as it had started (LEASE-14)."""
    if view.state != "BUSY" or ask.on_busy not in (OnBusy.PAUSE, OnBusy.STOP):
        return False
    return ask.on_busy is OnBusy.STOP or Constraint.NETWORK_HEAVY not in ask.constraints


def _gives_way(view: NodeView, ask: Ask) -> Reason:
    sentence = f"System is {view.state}; with on_busy={ask.on_busy} it would give way at once"
    cure = f"{view.reasons[0]} must pass" if view.reasons else "a quieter machine"
    return Reason(
        Code.NOT_QUIET, sentence, f"{cure}; or on_busy=keep", {"state": view.state}, RETRY_DEFAULT_S
    )


PRESSED_BY = {
    Constraint.CPU_HEAVY: "cpu",
    Constraint.DISK_WRITE_HEAVY: "disk",
    Constraint.NETWORK_HEAVY: "network",
    Constraint.GPU: "gpu",
}


def _pressed(view: NodeView, ask: Ask) -> list[Reason]:
    found = []
    for constraint in ask.constraints:
        name = PRESSED_BY[constraint]
        names = [name]
        if constraint is Constraint.DISK_WRITE_HEAVY and ask.disk:
            names.append(f"disk:{ask.disk}")
        if constraint is Constraint.GPU:
            names = [
                held.removeprefix(DEVICE) for held, _ in ask.charge.named if held.startswith(DEVICE)
            ] or [name]
        for pressed in names:
            if pressed in view.pressed:
                sentence = f"{constraint}: {view.pressed[pressed]}"
                found.append(
                    Reason(Code.CONSTRAINT, sentence, "less pressure by others on it", {}, RETRY_DEFAULT_S)
                )
    return found


def rooms(state: State, ask: Ask, settings: PolicySettings) -> list[Reason]:
    """Reasons that are about room: dimensions, counts, constraints at a time, the tenant's quota."""
    view, book, charge = state.view, state.book, ask.charge
    limits = settings.capacity
    if view is None:
        if charge.is_work:
            return [_unknown(None, 0)]
        # Locks and slots are no matter of the machine: they exclude each other before it is measured too.
        short_of = capacity.shortfalls(book, NOTHING_USABLE, NO_TOTALS, state.sizes, charge)
        return [_shortfall(short) for short in short_of]
    usable = capacity.usable(view, limits, without_curve=ask.anyway)
    found: list[Reason] = []
    if not capacity.fits(book, usable, view.totals, state.sizes, charge):
        found.extend(
            _shortfall(short, _guarded(state, view, usable))
            for short in capacity.shortfalls(book, usable, view.totals, state.sizes, charge)
        )
    if not charge.is_work:
        return found
    if book.leases >= limits.max_per_node:
        found.append(_at_most(Code.MAX_PER_NODE, "This node", book.leases, limits.max_per_node))
    held = book.per_holder.get(ask.holder, 0)
    if held >= limits.max_per_holder_per_node:
        found.append(_at_most(Code.MAX_PER_HOLDER, ask.holder, held, limits.max_per_holder_per_node))
    if ask.constraints:
        found.extend(_at_once(state, ask, settings))
    if state.tenants:
        found.extend(quota.reasons(state.tenants, book, ask))
    return found


def _guarded(state: State, view: NodeView, usable: capacity.Usable) -> str:
    """The guarded software that uses most of what is not there, with what it uses."""
    if not usable.guarded_units:
        return ""
    most = max(view.guarded, key=lambda lease_id: (view.guarded[lease_id], lease_id))
    lease = state.leases.get(most)
    who = lease.ask.holder if lease is not None else "guarded software"
    return f"less use by {who} ({capacity.units_used(view.guarded[most], view.totals)} units now)"


def _shortfall(short: capacity.Shortfall, guarded: str = "") -> Reason:
    cure = "the end of what holds it"
    if guarded and short.dimension in ("units", "cpu"):
        cure = f"{guarded}, or {cure}"
    if short.dimension == "units" and short.capacity < capacity.UNITS_QUIET:
        cure += ", or a quieter machine (usable units shrink with the quiet score)"
    return Reason(Code.CAPACITY, capacity.sentence(short), cure, capacity.figures(short), None)


def _broken(state: State) -> Reason:
    """INV-9: what adds up no longer is not added to."""
    sentence = (
        f"An invariant was broken ({state.broken}); nothing is granted until the server has been restarted"
    )
    return Reason(Code.MAINTENANCE, sentence, "`leasehold down` and `leasehold up`; please report it", {})


def _at_most(code: Code, who: str, used: int, limit: int) -> Reason:
    sentence = f"{who} holds {used} leases of at most {limit}"
    return Reason(code, sentence, "a release", {"used": used, "capacity": limit}, RETRY_DEFAULT_S)


def _at_once(state: State, ask: Ask, settings: PolicySettings) -> list[Reason]:
    assert state.view is not None
    found = []
    for key, limit in capacity.constraint_limits(ask, state.view.totals, settings.capacity):
        used = state.book.constraints.get(key, 0)
        if used >= limit:
            sentence = f"{key}: {used} of at most {limit} at a time are running"
            figures: dict[str, int | float | str] = {"used": used, "capacity": limit}
            found.append(Reason(Code.CONSTRAINT, sentence, "the end of one of them", figures, None))
    return found


def retry_after_s(found: list[Reason], known_s: int | None, seed: int) -> int | None:
    """When to ask again.

    The earliest known change, else 2 s; between 1 and 300; spread by up to a fifth (LEASE-5).

    None for NEVER_FITS, which no waiting mends. `known_s` is when the line expects room, where it does.
    """
    if any(reason.code is Code.NEVER_FITS for reason in found):
        return None
    told = [reason.retry_after_s for reason in found if reason.retry_after_s is not None]
    base = max(told, default=RETRY_DEFAULT_S)
    if known_s is not None:
        base = max(base, known_s)
    base = min(max(1, base), RETRY_MAX_S)
    return min(RETRY_MAX_S, base + seed % (base // 5 + 1))


def charge_sentence(charge: Charge) -> str:
    """The charge in words, for events and listings: `40 units, 2 cores, 8192 MiB`."""
    parts = [f"{charge.units} units"] if charge.units else []
    if charge.cpu_millicores:
        parts.append(f"{charge.cpu_millicores / 1000:g} cores")
    if charge.memory_bytes:
        parts.append(f"{charge.memory_bytes >> 20} MiB memory")
    if charge.disk_bytes:
        parts.append(f"{charge.disk_bytes >> 20} MiB disk")
    parts.extend(name if amount == 1 else f"{amount} {name}" for name, amount in charge.named)
    return ", ".join(parts) or "nothing"
