"""Whether a charge becomes a limit, and what is said where it does not (LEASE-23). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from leasehold.core.capacity import UNITS_QUIET
from leasehold.core.cost import Wanted
from leasehold.model.charge import Charge, Totals
from leasehold.model.lease import UNLIMITED, Ask, Binding, Limits

OFF, ALWAYS = "off", "always"
TURNED_OFF = (
    "limits are turned off on this machine (lease.enforce is off): "
    "nothing holds the work to its charge, it runs at low weight"
)
NOTHING = "it is charged neither cores nor memory, so there is nothing to hold it to"
UNSEEN = (
    "nothing holds the work to its charge: this server can't see it over TCP, and no processes were named; "
    "ask on the machine itself, by its Unix socket"
)
FOREIGN = "the cgroup {cgroup} is not Leasehold's and is left as it is: bind pids to have them limited"
NO_PLACE = "no cgroup can be made for it here, so nothing holds it to its charge; `leasehold doctor` says why"
NO_CPU = "the cgroups here take no cpu quota, so nothing holds it to its cores"
NO_MEMORY = "the cgroups here take no memory limit, so nothing holds it to its memory"


def implied_millicores(charge: Charge, totals: Totals) -> int:
    """The cores of a charge; units alone imply their share (LEASE-24)."""
    cores = totals.cpu_millicores
    return charge.cpu_millicores or min(cores, cores * charge.units // UNITS_QUIET)


def asked(
    wants: bool, mode: str, charge: Charge, wanted: Wanted, totals: Totals
) -> tuple[Limits | None, str]:
    """What a request is to be held to, and what is to be said of a wish that can't be fulfilled.

    Cores that nobody spoke of (memory alone has a charge of one unit) are no limit.
    """
    if mode == OFF:
        return None, TURNED_OFF if wants else ""
    if not wants and mode != ALWAYS:
        return None, ""
    names_cores = wanted.cpu_millicores or wanted.units or wanted.cost_class
    limits = Limits(implied_millicores(charge, totals) if names_cores else 0, charge.memory_bytes)
    if limits == UNLIMITED:
        return None, NOTHING if wants else ""
    return limits, ""


def notice(ask: Ask, binding: Binding) -> str:
    """What was asked for and is not as asked, in one line; "" where all is."""
    return "; ".join(sentence for sentence in (ask.notice, unlimited(ask, binding)) if sentence)


def unlimited(ask: Ask, binding: Binding) -> str:
    """What was to be limited and is not; "" where all is that was asked for."""
    unseen = "" if ask.limits is None else _unseen(binding)
    return "; ".join(sentence for sentence in (unseen, binding.unlimited) if sentence)


def _unseen(binding: Binding) -> str:
    """The sentence for a lease that is bound to nothing that could be held; "" where it may be."""
    if binding.cgroup.startswith("/"):
        return FOREIGN.format(cgroup=binding.cgroup)
    return "" if binding.caller is not None or binding.work else UNSEEN


def short(limits: Limits, held: Limits, place: str, outside: Sequence[int]) -> str:
    """What of `limits` does not hold in a lease's place, and why; "" where all does."""
    if not place:
        return NO_PLACE
    missing = []
    if limits.cpu_millicores and not held.cpu_millicores:
        missing.append(NO_CPU)
    if limits.memory_bytes and not held.memory_bytes:
        missing.append(NO_MEMORY)
    if outside:
        named = ", ".join(map(str, outside[:8]))
        missing.append(f"not held to it, because it could not be moved: process {named}")
    return "; ".join(missing)


def told(reason: str, memory_kills: int, limits: Limits) -> str:
    """Why a lease ended, with what the kernel did to its work for it."""
    if not memory_kills:
        return reason
    who = "a process" if memory_kills == 1 else f"{memory_kills} processes"
    limit = f"{limits.memory_bytes >> 20} MiB"
    return f"{reason}; the kernel ended {who} of it for going over its memory limit of {limit}"
