"""Roles, built from verbs; what a role lacks is denied (OPS-6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Role = Literal["admin", "operator", "submitter", "worker", "node", "viewer"]

VERBS: Mapping[str, str] = {
    "lease:request": "ask for leases, wait, renew, report, release; end one's own",
    "lease:now": "skip the quiet gate: `start=now`, and priority HIGH or above",
    "lease:for-others": "ask in another holder's name",
    "lease:bind-any": "bind another user's processes, or a cgroup by its path",
    "limits:exempt": "ask as often as it likes",
    "lease:read": "see leases, the waiting line, capacity, and explanations",
    "lease:revoke": "end somebody else's lease",
    "lock:set": "set the size of a lock or semaphore, and remove one",
    "node:admission": "block and allow new work on a node, set its windows, pretend that it is busy or quiet",
    "addon:read": "see the registered add-ons, whether they answer, and what is wrong with them",
    "addon:self": "register oneself as an add-on under one's own name, and tell one's own figures",
    "addon:manage": "register, enable, disable and remove add-ons, and say where they answer and work",
    "stats:read": "see what the machine is doing, and the metrics",
    "events:read": "read the event stream and the counts of decisions",
    "admin:log-level": "change log levels until restart",
}
"""Every verb that a route or a service asks for, with what it allows."""

_SEE = frozenset({"lease:read", "stats:read", "events:read", "addon:read"})

ROLES: Mapping[Role, frozenset[str]] = {
    "admin": frozenset(VERBS),
    "operator": _SEE
    | {
        "lease:request",
        "lease:now",
        "lease:for-others",
        "lease:revoke",
        "limits:exempt",
        "lock:set",
        "node:admission",
        "addon:self",
        "addon:manage",
    },
    "submitter": _SEE | {"lease:request", "addon:self"},
    "worker": frozenset({"lease:request", "lease:read", "stats:read", "addon:self"}),
    "node": frozenset({"lease:read", "stats:read"}),
    "viewer": _SEE,
}

LOCAL = frozenset({"lease:now", "limits:exempt"})
"""What users on the Unix socket may do beyond their role (LEASE-4)."""
