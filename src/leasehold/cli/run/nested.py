"""`run` inside `run` (LEASE-18): the inner one shares the outer leases, and never waits for its ancestors.

`LEASEHOLD_LEASE` names the leases that a process runs under, the innermost first: `ID:TOKEN[,ID:TOKEN…]`.
"""

from __future__ import annotations

from collections.abc import Mapping

from leasehold.cli.amounts import bytes_text
from leasehold.cli.run.options import Wanted
from leasehold.client import endpoint as where
from leasehold.client import paths
from leasehold.client.lean import Connection, Unreachable

TYPE_CHECKING = False  # importing `typing` takes longer than all of this file
if TYPE_CHECKING:
    from typing import Any

VARIABLE = "LEASEHOLD_LEASE"
LIVE = frozenset({"OFFERED", "ACTIVE", "REVOKING"})
ANSWER_S = 2.0
DEPTH_MAX = 32
"""Leases looked up: nobody nests deeper, and the variable comes from outside."""


def outer(env: Mapping[str, str], server: str = "") -> list[dict[str, Any]] | None:
    """The live leases that this process runs under, the innermost first; None when it runs under none.

    Where the server can't be reached the outer `run` is in charge of that: an empty list, so shared all the
    same.
    """
    named = [entry.rpartition(":")[0] for entry in env.get(VARIABLE, "").split(",") if ":" in entry][
        :DEPTH_MAX
    ]
    if not named:
        return None
    found: list[dict[str, Any]] = []
    for candidate in where.candidates(env, server):
        connection = Connection(candidate)
        try:
            for lease_id in named:
                document = _look_up(connection, lease_id)
                if document is not None:
                    found.append(document)
        except Unreachable:
            continue
        finally:
            connection.close()
        return found or None
    return []


def _look_up(connection: Connection, lease_id: str) -> dict[str, Any] | None:
    method, path = paths.LEASE
    answer = connection.call(method, path.format(lease_id=lease_id), timeout_s=ANSWER_S)
    document = answer.document()
    return document if answer.status == 200 and document.get("state") in LIVE else None


def wants_more(wanted: Wanted, leases: list[dict[str, Any]]) -> str:
    """The sentence that warns when more is wanted than is shared; "" when it is enough or not known."""
    if not leases:
        return ""
    charges = [lease.get("charge") or {} for lease in leases]
    most = {
        key: max(int(charge.get(key) or 0) for charge in charges)
        for key in ("units", "cpu_millicores", "memory_bytes")
    }
    gpus = max(sum(int(n) for n in (charge.get("devices") or {}).values()) for charge in charges)
    asked = [
        (wanted.cost or 0, most["units"], f"{wanted.cost} units", f"{most['units']}"),
        (
            wanted.cpu or 0,
            most["cpu_millicores"],
            f"{(wanted.cpu or 0) / 1000:g} cores",
            f"{most['cpu_millicores'] / 1000:g}",
        ),
        (
            wanted.mem or 0,
            most["memory_bytes"],
            f"{bytes_text(wanted.mem or 0)} of memory",
            bytes_text(most["memory_bytes"]),
        ),
        (wanted.gpu or 0, gpus, f"{wanted.gpu} GPUs", f"{gpus}"),
    ]
    more = [f"wants {text}, shares {has}" for want, there, text, has in asked if want > there]
    first = leases[0]
    return f"{', '.join(more)} (of {first.get('lease_id')}, {first.get('job_type')})" if more else ""


def missing(wanted: Wanted, leases: list[dict[str, Any]]) -> tuple[list[str], list[tuple[str, int | None]]]:
    """Locks and slots that no outer lease holds: those alone have to be asked for."""
    held = {
        name.removeprefix("lock:")
        for lease in leases
        for name in (lease.get("charge") or {}).get("locks") or {}
    }
    return [name for name in wanted.lock if name not in held], [
        slot for slot in wanted.slots if slot[0] not in held
    ]
