"""Work inside leased work (LEASE-18, 19): it shares the outer leases, and never waits for its ancestors.

`LEASEHOLD_LEASE` names the leases that a process runs under, the innermost first: `ID:TOKEN[,ID:TOKEN…]`.
"""

from __future__ import annotations

from collections.abc import Mapping

from leasehold.client import endpoint as where
from leasehold.client import paths
from leasehold.client.amounts import bytes_text
from leasehold.client.endpoint import Endpoint
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

    Where the server can't be reached, whoever holds the outer lease is in charge of that: an empty list, so
    shared all the same.
    """
    found = outer_at(env, server)
    return None if found is None else found[1]


def outer_at(env: Mapping[str, str], server: str = "") -> tuple[Endpoint | None, list[dict[str, Any]]] | None:
    """Like `outer`, with where the server was reached."""
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
        return (candidate, found) if found else None
    return None, []


def tokens(env: Mapping[str, str]) -> dict[str, int]:
    """The fencing tokens of the leases that this process runs under, by lease id."""
    entries = [entry.rpartition(":") for entry in env.get(VARIABLE, "").split(",")[:DEPTH_MAX]]
    return {name: int(token) for name, _, token in entries if name and token.isdecimal()}


def _look_up(connection: Connection, lease_id: str) -> dict[str, Any] | None:
    method, path = paths.LEASE
    answer = connection.call(method, path.format(lease_id=lease_id), timeout_s=ANSWER_S)
    document = answer.document()
    return document if answer.status == 200 and document.get("state") in LIVE else None


def wants_more(ask: Mapping[str, Any], leases: list[dict[str, Any]]) -> str:
    """The sentence that warns when `ask` (a request as it goes over the wire) wants more than is shared.

    "" when it is enough, or not known.
    """
    if not leases:
        return ""
    charges = [lease.get("charge") or {} for lease in leases]
    most = {
        key: max(int(charge.get(key) or 0) for charge in charges)
        for key in ("units", "cpu_millicores", "memory_bytes")
    }
    gpus = max(sum(int(n) for n in (charge.get("devices") or {}).values()) for charge in charges)
    resources = ask.get("resources") or {}
    units, cpu = int(ask.get("cost_units") or 0), int(resources.get("cpu_millicores") or 0)
    memory = int(resources.get("memory_bytes") or 0)
    gpu = sum(int(n) for n in (resources.get("devices") or {}).values())
    asked = [
        (units, most["units"], f"{units} units", f"{most['units']}"),
        (cpu, most["cpu_millicores"], f"{cpu / 1000:g} cores", f"{most['cpu_millicores'] / 1000:g}"),
        (memory, most["memory_bytes"], f"{bytes_text(memory)} of memory", bytes_text(most["memory_bytes"])),
        (gpu, gpus, f"{gpu} GPUs", f"{gpus}"),
    ]
    more = [f"wants {text}, shares {has}" for want, there, text, has in asked if want > there]
    first = leases[0]
    return f"{', '.join(more)} (of {first.get('lease_id')}, {first.get('job_type')})" if more else ""


def locked(leases: list[dict[str, Any]]) -> frozenset[str]:
    """The names of the locks and slots that leases hold."""
    return frozenset(
        name.removeprefix("lock:")
        for lease in leases
        for name in (lease.get("charge") or {}).get("locks") or {}
    )


def exported(env: Mapping[str, str], lease_id: str, token: int) -> str:
    """`LEASEHOLD_LEASE` for what runs under one more lease: the innermost first."""
    own = f"{lease_id}:{token}"
    before = env.get(VARIABLE, "")
    return f"{own},{before}" if before else own
