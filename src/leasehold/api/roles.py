"""Roles, built from verbs; what a role lacks is denied (OPS-6)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal, NamedTuple

from leasehold.model.tenant import DEFAULT

Role = Literal["admin", "operator", "submitter", "worker", "node", "viewer"]

VERBS: Mapping[str, str] = {
    "lease:request": "ask for leases, wait, renew, report, release; end one's own",
    "lease:now": "skip the quiet gate: `start=now`, and priority HIGH or above",
    "lease:for-others": "ask in another holder's name",
    "lease:bind-any": "bind another user's processes, or a cgroup by its path",
    "guard:manage": "guard containers, units and cgroups, so that they give way; others' guards too",
    "limits:exempt": "ask as often as it likes",
    "lease:read": "see leases, the waiting line, capacity, and explanations",
    "lease:revoke": "end, pause or resume somebody else's lease",
    "job:submit": "submit jobs; look at, hold, cancel and retry one's own",
    "job:read": "see the queue, its jobs, and why they wait",
    "job:work": "take jobs that are for workers, and say how they ended",
    "job:cancel": "cancel others' jobs",
    "job:manage": "hold, resume, retry and reorder others' jobs, and read their output",
    "job:run-as": "submit commands that run as another user of the machine",
    "lock:set": "set the size of a lock or semaphore, and remove one",
    "node:admission": "block and allow new work on a node, set its windows, pretend that it is busy or quiet",
    "addon:read": "see the registered add-ons, whether they answer, and what is wrong with them",
    "addon:self": "register oneself as an add-on under one's own name, and tell one's own figures",
    "addon:manage": "register, enable, disable and remove add-ons, and say where they answer and work",
    "schedule:read": "see schedules, when they run next, and what came of their runs",
    "schedule:set": "make schedules that submit jobs in one's own name; change, pause, run, remove one's own",
    "schedule:manage": "change, pause, run and remove other people's schedules",
    "alert:read": "see what is wrong, and what each alert fires at",
    "alert:manage": "acknowledge and mute alerts, switch rules on and off, set what they fire at",
    "stats:read": "see what the machine is doing, and the metrics",
    "events:read": "read the event stream and the counts of decisions",
    "audit:read": "see who changed or tried what, from where, and what came of it",
    "notification:read": "see what people were told of, and where news goes; be told in one's own browser",
    "notification:manage": "say where notifications go, test that, and send again what was given up",
    "config:read": "see what is configured, and where each value comes from",
    "admin:log-level": "change log levels until restart",
    "tenant:read": "see tenants: their weights, their quotas, and what they use of them",
    "tenant:set": "set weights and quotas of tenants; say whose work or token something is",
    "storage:read": "see backups, what the store takes, and how it is cared for",
    "storage:care": "make and check backups, compact the store",
    "storage:restore": "put a backup in the place of the store",
    "token:create": "make tokens that allow no more than it has itself",
    "token:list": "see which tokens there are, never their secrets",
    "token:revoke": "revoke any token",
}
"""Every verb that a route or a service asks for, with what it allows."""

_SEE = frozenset(
    {
        "lease:read",
        "job:read",
        "stats:read",
        "events:read",
        "addon:read",
        "alert:read",
        "schedule:read",
        "tenant:read",
        "notification:read",
    }
)

ROLES: Mapping[Role, frozenset[str]] = {
    "admin": frozenset(VERBS),
    "operator": _SEE
    | {
        "lease:request",
        "lease:now",
        "lease:for-others",
        "lease:revoke",
        "limits:exempt",
        "job:submit",
        "job:work",
        "job:cancel",
        "job:manage",
        "lock:set",
        "node:admission",
        "addon:self",
        "addon:manage",
        "alert:manage",
        "guard:manage",
        "schedule:set",
        "schedule:manage",
        "tenant:set",
        "token:list",
        "audit:read",
        "storage:read",
        "storage:care",
        "config:read",
    },
    "submitter": _SEE | {"lease:request", "job:submit", "addon:self", "schedule:set"},
    "worker": frozenset(
        {"lease:request", "lease:read", "job:submit", "job:read", "job:work", "stats:read", "addon:self"}
    ),
    "node": frozenset({"lease:read", "stats:read"}),
    "viewer": _SEE,
}

LOCAL = frozenset({"lease:now", "limits:exempt"})
"""What users on the Unix socket may do beyond their role (LEASE-4)."""


class Belonging(NamedTuple):
    """Whose the work of local users is: by their principals' names, else by their groups' ids, in order."""

    users: Mapping[str, str] = {}
    groups: Mapping[int, str] = {}

    def tenant_of(self, name: str, gids: Collection[int]) -> str:
        """The tenant of a user with this principal's name who is in these groups."""
        found = self.users.get(name)
        if found is None:
            found = next((tenant for gid, tenant in self.groups.items() if gid in gids), DEFAULT)
        return found


class Rights:
    """The roles in force: those above and those of the configuration; and which local groups have one.

    `custom` maps names of roles to verbs, `groups` ids of the system's groups to names of roles. One version,
    never changed: a change of the configuration makes another.
    """

    def __init__(
        self,
        custom: Mapping[str, Iterable[str]] | None = None,
        groups: Mapping[int, str] | None = None,
        belonging: Belonging | None = None,
    ) -> None:
        self.tenant_of = (belonging or Belonging()).tenant_of
        own = {name: frozenset(verbs) for name, verbs in (custom or {}).items()}
        self.roles: dict[str, frozenset[str]] = {str(name): verbs for name, verbs in ROLES.items()} | own
        self._groups = dict(groups or {})

    def of_groups(self, gids: Iterable[int]) -> tuple[str, frozenset[str]]:
        """The role of a local user who is in these groups, and its verbs: all of those that its groups have,
        submitter without any.
        """
        names = sorted({self._groups[gid] for gid in gids if gid in self._groups}) or ["submitter"]
        verbs = frozenset().union(*(self.roles.get(name, frozenset()) for name in names))
        return "+".join(names), verbs | LOCAL if "lease:request" in verbs else verbs
