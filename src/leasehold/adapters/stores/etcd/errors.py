"""What etcd and gRPC say, as errors whose sentence tells what to do."""

from __future__ import annotations

from typing import Any

import grpc

from leasehold.ports.store import StoreError

Code = grpc.StatusCode


class Unreachable(StoreError):
    """No member could be reached: nothing was sent."""


class Refused(StoreError):
    """etcd has said no: nothing was changed."""

    def __init__(self, sentence: str, details: str) -> None:
        super().__init__(sentence)
        self.details = details


class Unsure(StoreError):
    """It was sent, and no answer came: whether it was done can't be told."""


class Closed(StoreError):
    """The store was closed meanwhile."""


COMPACTED = "required revision has been compacted"
LEASE_GONE = "requested lease not found"

DEFINITE = frozenset(
    {
        Code.INVALID_ARGUMENT,
        Code.NOT_FOUND,
        Code.ALREADY_EXISTS,
        Code.PERMISSION_DENIED,
        Code.RESOURCE_EXHAUSTED,
        Code.FAILED_PRECONDITION,
        Code.OUT_OF_RANGE,
        Code.DATA_LOSS,
        Code.UNAUTHENTICATED,
    }
)
"""Codes with which etcd refuses. Others (UNAVAILABLE, DEADLINE_EXCEEDED …) may also come from between."""

_CURES = (
    (
        "database space exceeded",
        (
            "etcd has used up its space and takes no writes (alarm NOSPACE): free some by `etcdctl compact` "
            "and `etcdctl defrag`, or give it more with --quota-backend-bytes; then `etcdctl alarm disarm`"
        ),
    ),
    (
        "request is too large",
        "etcd refuses a request of this size: give it the default --max-request-bytes (1.5 MiB) or more",
    ),
    ("larger than max", "the request is larger than etcd or a proxy before it takes: allow 1.5 MiB or more"),
    ("too many operations", "etcd refuses so many operations: start it with --max-txn-ops of 128 or more"),
    (
        "permission denied",
        "etcd's user of our certificate may not do this: grant it a role with readwrite on the prefix",
    ),
    (
        "user name is empty",
        "etcd asks for a user: its name is taken from the client's certificate, so TLS files are needed",
    ),
    ("invalid auth token", "etcd asks for a user: its name is taken from the client's certificate"),
    ("corrupt cluster", "etcd calls its data corrupt (alarm CORRUPT): replace the member that it names"),
)


def is_definite(error: Any) -> bool:
    """Whether this error of a call tells for sure that nothing was done."""
    if error.code() is Code.UNIMPLEMENTED:
        return True
    details = error.details() or ""
    is_theirs = details.startswith("etcdserver: ") or "essage larger than max" in details
    return is_theirs and error.code() in DEFINITE


def said(member: str, error: Any) -> str:
    """One sentence of an error of a call: what to do where that is known, and etcd's own words."""
    details = (error.details() or "").strip()
    words = f"{member}: {details} ({error.code().name})"
    if error.code() is Code.UNIMPLEMENTED:
        return f"what answers at {words} does not speak etcd's v3 API: check the address"
    for mark, cure in _CURES:
        if mark in details:
            return f"{cure} [{words}]"
    return f"etcd at {words}"
