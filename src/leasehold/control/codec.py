"""How records become bytes and back.

A lease keeps what counts apart from its body, so that a damaged one still counts.

Every value is a msgpack array of [version, …]. A lease's is [version, head, body], head = [id, node, charge,
token, state] (INV-9); a job's is [version, key of its terms, body], and once it has ended [version, terms,
body]; the others' is [version, body]. Unknown fields are ignored, so that a newer minor version's records
load.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from leasehold.control import codec_job
from leasehold.core.state import COLD_JOBS, JOBS, LEASES, RECORD_OF
from leasehold.model.charge import Charge
from leasehold.model.event import Event
from leasehold.model.ids import sortable
from leasehold.model.job import Terms
from leasehold.model.lease import Ask, Flag, Lease, LeaseState

VERSION = 1
_encode = msgspec.msgpack.Encoder().encode
_decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {
    table: msgspec.msgpack.Decoder(record) for table, record in RECORD_OF.items()
}
_events = msgspec.msgpack.Decoder(list[Event])


class _Head(msgspec.Struct, frozen=True, array_like=True):
    lease_id: str
    node: str
    charge: Charge
    token: int
    state: LeaseState


class _LeaseRecord(msgspec.Struct, frozen=True, array_like=True):
    version: int
    head: _Head
    body: bytes


class _Record(msgspec.Struct, frozen=True, array_like=True):
    version: int
    body: bytes


_lease_record = msgspec.msgpack.Decoder(_LeaseRecord)
_record = msgspec.msgpack.Decoder(_Record)


class Unreadable(Exception):
    """A value that can't be decoded.

    `rescued` is what its head still told: a lease that keeps its charge, or None.
    """

    def __init__(self, key: str, rescued: Lease | None, why: str) -> None:
        super().__init__(f"{key} can't be read: {why}")
        self.key = key
        self.rescued = rescued


def store_key(table: str, key: Any) -> str:
    """The store's key of a record; numbers of jobs as digits that sort as they do."""
    return f"/{table}/{sortable(key)}" if table in (JOBS, COLD_JOBS) else f"/{table}/{key}"


def split_key(key: str) -> tuple[str, str]:
    """Table and key of a store key; an unknown table is kept as it is (a newer version's)."""
    _, table, rest = key.split("/", 2)
    return table, rest


def encode(table: str, record: Any, *, ended: bool = False) -> bytes:
    """A record's bytes; `ended` as the archive gets it."""
    if table == JOBS:
        return codec_job.encode_ended(record) if ended else codec_job.encode_live(record)
    if table == COLD_JOBS and isinstance(record, bytes):
        return record
    body = _encode(record)
    if table == LEASES:
        head = _Head(record.lease_id, record.ask.node, record.ask.charge, record.token, record.state)
        return _encode(_LeaseRecord(VERSION, head, body))
    return _encode(_Record(VERSION, body))


def decode(table: str, key: str, value: bytes, terms: Mapping[str, Terms] | None = None) -> Any:
    """The record; a live job needs the `terms` that it may name. Raises Unreadable, with what was rescued."""
    if table == JOBS:
        try:
            return codec_job.decode_ended(value) if terms is None else codec_job.decode_live(value, terms)
        except (msgspec.DecodeError, msgspec.ValidationError, KeyError) as error:
            raise Unreadable(key, None, str(error)) from error
    try:
        body = (_lease_record if table == LEASES else _record).decode(value).body
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Unreadable(key, None, str(error)) from error
    try:
        return _decoders[table].decode(body)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Unreadable(key, _rescue(table, value), str(error)) from error


def _rescue(table: str, value: bytes) -> Lease | None:
    if table != LEASES:
        return None
    head = _lease_record.decode(value).head
    ask = Ask(
        holder="unreadable", job_type="unreadable", charge=head.charge, node=head.node, principal="unreadable"
    )
    return Lease(head.lease_id, head.token, ask, head.state, 0, 0, flags=(Flag.LOST,))


def encode_events(events: list[Event]) -> bytes:
    return _encode(events)


def decode_events(value: bytes) -> list[Event]:
    return _events.decode(value)
