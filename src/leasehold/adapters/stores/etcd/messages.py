"""etcd's messages and calls, from `proto/etcd.proto`.

They live in a pool of their own: another client of etcd in the same process may describe the same names.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from google.protobuf import descriptor_pool, message_factory

from leasehold.adapters.stores.etcd.descriptor import DESCRIPTOR

_POOL = descriptor_pool.DescriptorPool()
_POOL.AddSerializedFile(DESCRIPTOR)


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"etcdserverpb.{name}"))


RangeRequest = _message("RangeRequest")
PutRequest = _message("PutRequest")
DeleteRangeRequest = _message("DeleteRangeRequest")
RequestOp = _message("RequestOp")
Compare = _message("Compare")
TxnRequest = _message("TxnRequest")
CompactionRequest = _message("CompactionRequest")
WatchRequest = _message("WatchRequest")
WatchCreateRequest = _message("WatchCreateRequest")
LeaseGrantRequest = _message("LeaseGrantRequest")
LeaseRevokeRequest = _message("LeaseRevokeRequest")
LeaseKeepAliveRequest = _message("LeaseKeepAliveRequest")
AlarmRequest = _message("AlarmRequest")
StatusRequest = _message("StatusRequest")


class Method(NamedTuple):
    """A call of etcd: its path, and the class of its answer."""

    path: str
    answer: Any

    def __str__(self) -> str:
        return self.path.rpartition("/")[2]


def _method(service: str, name: str, answer: str) -> Method:
    return Method(f"/etcdserverpb.{service}/{name}", _message(answer))


RANGE = _method("KV", "Range", "RangeResponse")
PUT = _method("KV", "Put", "PutResponse")
DELETE_RANGE = _method("KV", "DeleteRange", "DeleteRangeResponse")
TXN = _method("KV", "Txn", "TxnResponse")
COMPACT = _method("KV", "Compact", "CompactionResponse")
WATCH = _method("Watch", "Watch", "WatchResponse")
LEASE_GRANT = _method("Lease", "LeaseGrant", "LeaseGrantResponse")
LEASE_REVOKE = _method("Lease", "LeaseRevoke", "LeaseRevokeResponse")
LEASE_KEEP_ALIVE = _method("Lease", "LeaseKeepAlive", "LeaseKeepAliveResponse")
ALARM = _method("Maintenance", "Alarm", "AlarmResponse")
STATUS = _method("Maintenance", "Status", "StatusResponse")


# -- operations of a transaction, and what they are compared with


def put(key: bytes, value: bytes, lease: int = 0) -> Any:
    return RequestOp(request_put=PutRequest(key=key, value=value, lease=lease))


def delete(key: bytes) -> Any:
    return RequestOp(request_delete_range=DeleteRangeRequest(key=key))


def get(key: bytes, end: bytes = b"") -> Any:
    return RequestOp(request_range=RangeRequest(key=key, range_end=end))


def created_at(key: bytes, revision: int) -> Any:
    """The key was created at this revision; 0: it does not exist."""
    return Compare(key=key, target=Compare.CREATE, result=Compare.EQUAL, create_revision=revision)


def changed_at(key: bytes, revision: int) -> Any:
    """The key was changed last at this revision; 0: it does not exist."""
    return Compare(key=key, target=Compare.MOD, result=Compare.EQUAL, mod_revision=revision)


def after(prefix: bytes) -> bytes:
    """The end of the range of all keys that begin with `prefix`, whose last byte is not 255."""
    return prefix[:-1] + bytes([prefix[-1] + 1])
