"""A hand on an etcd from outside of any store: what an operator could do with `etcdctl`. Blocking."""

from __future__ import annotations

from typing import Any, Self

import grpc

from leasehold.adapters.stores.etcd import messages as m
from leasehold.adapters.stores.etcd.link import OPTIONS, credentials
from leasehold.adapters.stores.etcd.settings import EtcdTls
from leasehold.runtime.lean import elapsed_s, pause

CALL_S = 20.0
NOSPACE = 1


class Hand:
    """One channel to one member. A context manager."""

    def __init__(self, endpoint: str, tls: EtcdTls | None = None) -> None:
        self.endpoint = endpoint
        self._channel = (
            grpc.insecure_channel(endpoint, options=OPTIONS)
            if tls is None
            else grpc.secure_channel(endpoint, credentials(tls), options=OPTIONS)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def call(self, method: m.Method, request: Any) -> Any:
        """One call that may be repeated: it waits for the member, and for its cluster, to be there."""
        made = self._channel.unary_unary(
            method.path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=method.answer.FromString,
        )
        gives_up_at = elapsed_s() + CALL_S
        while True:
            try:
                return made(request, timeout=CALL_S, wait_for_ready=True)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE or elapsed_s() > gives_up_at:
                    raise
            pause(0.1)

    def put(self, key: str, value: bytes) -> None:
        self.call(m.PUT, m.PutRequest(key=key.encode(), value=value))

    def delete(self, key: str) -> None:
        self.call(m.DELETE_RANGE, m.DeleteRangeRequest(key=key.encode()))

    def keys(self, prefix: str) -> list[str]:
        """All keys that begin so."""
        asked = m.RangeRequest(key=prefix.encode(), range_end=m.after(prefix.encode()), keys_only=True)
        return [kv.key.decode() for kv in self.call(m.RANGE, asked).kvs]

    def revision(self) -> int:
        """The newest revision of the whole etcd."""
        return int(self.call(m.RANGE, m.RangeRequest(key=b"none")).header.revision)

    def at(self, revision: int) -> Any:
        """Some range as of an old revision; grpc.RpcError where that has been compacted."""
        return self.call(m.RANGE, m.RangeRequest(key=b"none", revision=revision))

    def version_of(self, key: str) -> int:
        """How often a key has been written since it was made."""
        (kv,) = self.call(m.RANGE, m.RangeRequest(key=key.encode())).kvs
        return int(kv.version)

    def lease_of(self, key: str) -> int:
        """The etcd lease that a key is bound to; 0: none."""
        (kv,) = self.call(m.RANGE, m.RangeRequest(key=key.encode())).kvs
        return int(kv.lease)

    def revoke(self, lease: int) -> None:
        self.call(m.LEASE_REVOKE, m.LeaseRevokeRequest(ID=lease))

    def compact(self, revision: int) -> None:
        self.call(m.COMPACT, m.CompactionRequest(revision=revision))

    def full(self, is_full: bool) -> None:
        """Raise, or end, the alarm of an etcd whose space is used up."""
        actions = m.AlarmRequest
        action = actions.ACTIVATE if is_full else actions.DEACTIVATE
        member = self.call(m.STATUS, m.StatusRequest()).header.member_id
        self.call(m.ALARM, actions(action=action, memberID=member, alarm=NOSPACE))

    def is_leader(self) -> bool:
        """Whether this member leads its cluster."""
        status = self.call(m.STATUS, m.StatusRequest())
        return bool(status.leader == status.header.member_id)
