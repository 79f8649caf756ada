"""The leader's place: a key bound to an etcd lease. Its create revision is what every write is fenced by."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from leasehold.adapters.stores.etcd import messages as m
from leasehold.adapters.stores.etcd.layout import FORMAT, Layout
from leasehold.adapters.stores.etcd.link import Link
from leasehold.adapters.stores.etcd.settings import EtcdSettings
from leasehold.adapters.stores.etcd.tenure import Tenure
from leasehold.ports.store import Fenced, StoreError

LEAVE_S = 2.0
"""What giving it up may take; where etcd does not answer, the lease's end does the same."""


class Place:
    """Taken by `take`, kept by a thread, given up by `leave`."""

    def __init__(self, settings: EtcdSettings, link: Link, layout: Layout) -> None:
        self.revision = 0
        self._settings = settings
        self._link = link
        self._layout = layout
        self._lease = 0
        self._tenure: Tenure | None = None

    def holds(self) -> Any:
        """What a transaction compares, so that only the leader's is done."""
        return m.created_at(self._layout.leader, self.revision)

    async def take(self) -> None:
        """Become the leader; StoreError where somebody else is, or another program's keys are there."""
        granted = await self._ask(m.LEASE_GRANT, m.LeaseGrantRequest(TTL=self._settings.ttl_s))
        self._lease = granted.ID
        leader = self._layout.leader
        request = m.TxnRequest(
            compare=[m.created_at(leader, 0)],
            success=[m.put(leader, self._settings.name.encode(), self._lease)],
            failure=[m.get(leader)],
        )
        answer = await self._ask(m.TXN, request)
        if answer.succeeded:
            self.revision = answer.header.revision
        else:
            kv = first(answer, 0)
            if kv is None or kv.lease != self._lease:  # Else an earlier attempt was done after all.
                raise StoreError(self._held_by(kv))
            self.revision = kv.create_revision
        self._tenure = Tenure(self._settings, self._lease, max(granted.TTL, 1))
        self._tenure.start()
        await self._check_format()

    def _held_by(self, kv: Any) -> str:
        named = _name(kv) if kv is not None else "another server"
        return (
            f"the store {self._settings.prefix} in etcd ({self._link.named}) is held by {named}: stop that "
            f"one first; where it is gone already, its place is free within {self._settings.ttl_s} s"
        )

    async def _check_format(self) -> None:
        """Refuse keys of another program, or of a later form; mark what is empty as ours."""
        layout = self._layout
        request = m.TxnRequest(
            success=[m.get(layout.format), m.get(layout.root, m.after(layout.root))],
        )
        request.success[1].request_range.count_only = True
        answer = await self._ask(m.TXN, request)
        kv = first(answer, 0)
        if kv is not None and kv.value != FORMAT:
            raise StoreError(
                f"the store {self._settings.prefix} in etcd has form {bytes(kv.value[:20])!r}, and this "
                f"version knows {FORMAT!r}: run the newer version, or choose another prefix"
            )
        if kv is not None:
            return
        if answer.responses[1].response_range.count > 1:
            raise StoreError(
                f"etcd holds keys of another program below {self._settings.prefix}/: choose another prefix"
            )
        mark = m.TxnRequest(compare=[self.holds()], success=[m.put(layout.format, FORMAT)])
        if not (await self._ask(m.TXN, mark)).succeeded:
            raise Fenced(f"the place of the leader was lost while it was taken: {self.why_lost(None)}")

    def why_lost(self, leader: Any) -> str:
        """One sentence, from what stands in the leader's place now."""
        if leader is not None:
            return f"the store is held by {_name(leader)} now"
        why = self._tenure.lost if self._tenure is not None else ""
        return f"the leader's key is gone from etcd: {why or 'its lease has ended, or somebody removed it'}"

    async def leave(self) -> None:
        """Give it up. Never raises: what can't be told to etcd ends with the lease."""
        if self._tenure is not None:
            await asyncio.to_thread(self._tenure.stop)
            self._tenure = None
        if self._lease:
            lease, self._lease = self._lease, 0
            with contextlib.suppress(StoreError):
                await self._link.ask(m.LEASE_REVOKE, m.LeaseRevokeRequest(ID=lease), LEAVE_S)

    async def _ask(self, method: m.Method, request: Any) -> Any:
        return await self._link.ask(method, request, self._settings.read_s)


def first(answer: Any, at: int) -> Any:
    """The one key of a range in an answer, or None."""
    kvs = answer.responses[at].response_range.kvs
    return kvs[0] if kvs else None


def _name(leader: Any) -> str:
    return bytes(leader.value[:200]).decode(errors="replace") or "a server without a name"
