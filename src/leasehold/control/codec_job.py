"""How jobs become bytes and back. A live one names its terms; one that has ended carries them.

Fields stand in the order of `model.job.Job`; a newer version adds at the end, so that older rows load.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from leasehold.model.ids import ALPHABET
from leasehold.model.job import Attempt, End, Job, JobState, Terms

VERSION = 1
_encode = msgspec.msgpack.Encoder().encode
_fields = msgspec.structs.astuple


class _Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    version: int
    number: int
    terms: str
    state: JobState
    since_wall_ms: int
    due_ms: int
    generation: int = 0
    attempts: int = 0
    lost: int = 0
    not_before_ms: int = 0
    earliest_wall_ms: int = 0
    deadline_wall_ms: int = 0
    anyway_wall_ms: int = 0
    after: tuple[int, ...] = ()
    after_any: bool = False
    waits_for: tuple[int, ...] = ()
    unique: str = ""
    size: int = 0
    index: int = 0
    lease_id: str = ""
    token: int = 0
    worker: str = ""
    started_ms: int = 0
    started_wall_ms: int = 0
    ended_wall_ms: int = 0
    cancel: str = ""
    memory_bytes: int = 0
    end: End | None = None
    past: tuple[Attempt, ...] = ()


class _EndedRow(_Row, frozen=True, array_like=True):
    terms: Terms  # type: ignore[assignment]


assert [*_Row.__struct_fields__][1:] == [*Job.__struct_fields__], "the row is a job in its own order"

_live = msgspec.msgpack.Decoder(_Row)
_ended = msgspec.msgpack.Decoder(_EndedRow)


def encode_live(job: Job) -> bytes:
    """A job that lives: about 90 bytes."""
    fields = _fields(job)
    return _encode((VERSION, fields[0], job.terms.key, *fields[2:]))


def encode_ended(job: Job) -> bytes:
    """A job that has ended, whole but for its cold part."""
    return _encode((VERSION, *_fields(job)))


def decode_live(value: bytes, terms: Mapping[str, Terms]) -> Job:
    """Raises msgspec.DecodeError, msgspec.ValidationError, and KeyError where its terms are unknown."""
    row = _fields(_live.decode(value))
    return Job(row[1], terms[row[2]], *row[3:])


def decode_ended(value: bytes) -> Job:
    """Raises msgspec.DecodeError and msgspec.ValidationError."""
    return Job(*_fields(_ended.decode(value))[1:])


def number_of(digits: str) -> int:
    """The number behind `model.ids.sortable`. Raises ValueError."""
    number = 0
    for digit in digits:
        number = number << 5 | ALPHABET.index(digit)
    return number
