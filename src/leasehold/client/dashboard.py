"""The dashboard's one stream, read and followed: a state first, then what changes, again after each loss.

The protocol stands in `wire/dashboard.py`: server-sent events (https://html.spec.whatwg.org/#server-sent-events)
`state`, `patch` and `bye`; a comment each 15 s of silence.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

import httpx
import msgspec

from leasehold.client import paths
from leasehold.client.aio import AsyncClient
from leasehold.client.endpoint import Endpoint
from leasehold.client.lean import Unreachable
from leasehold.client.sync import Client
from leasehold.model.errors import LeaseholdError
from leasehold.wire.dashboard import DashboardPatch, DashboardState

SILENCE_S = 40.0
"""So long without a byte, and the connection is taken for lost: a sign of life comes each 15 s."""

AGAIN_S = (0.5, 1.0, 2.0, 5.0)
"""How long after the first, second… failure in a row it is tried again."""

EVENT_BYTES_MAX = 4 << 20
"""A state is some tens of kilobytes; what never ends is no event."""

_state = msgspec.json.Decoder(DashboardState)
_patch = msgspec.json.Decoder(DashboardPatch)


class Lost(msgspec.Struct, frozen=True):
    """There is no connection, and why. It is tried again."""

    why: str


class BadStream(Exception):
    """What came is not this protocol. The sentence says what was wrong."""


class EventReader:
    """Takes text in any pieces, and gives the events in it as (kind, data). Comments are left out."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, text: str) -> list[tuple[str, str]]:
        """The events that are whole by now. Raises BadStream for one without end."""
        *blocks, self._rest = (self._rest + text).replace("\r\n", "\n").split("\n\n")
        if len(self._rest) > EVENT_BYTES_MAX:
            raise BadStream(f"an event of more than {EVENT_BYTES_MAX >> 20} MiB came")
        events = [_event(block) for block in blocks]
        return [event for event in events if event[1]]


def _event(block: str) -> tuple[str, str]:
    kind, data = "message", []
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            data.append(value)
    return kind, "\n".join(data)


class Mirror:
    """The state as the events have it so far."""

    def __init__(self) -> None:
        self.state: DashboardState | None = None

    def take(self, kind: str, data: str) -> bool:
        """Take one event; whether the state has changed. Raises BadStream."""
        try:
            if kind == "state":
                self.state = _state.decode(data)
            elif kind == "patch" and self.state is not None:
                self.state = patched(self.state, _patch.decode(data))
            else:
                return False
        except msgspec.MsgspecError as error:
            raise BadStream(f"a {kind} that can't be read: {error}") from error
        return True


DECISIONS_KEPT = 100


def patched(state: DashboardState, patch: DashboardPatch) -> DashboardState:
    """The state after a patch; the one before stays as it is."""
    changed = {
        name: value
        for name in patch.__struct_fields__
        if name not in ("leases", "decisions") and (value := getattr(patch, name)) is not None
    }
    if patch.leases is not None:
        gone = {*patch.leases.gone, *(row.id for row in patch.leases.set)}
        rows = [row for row in state.leases if row.id not in gone] + patch.leases.set
        changed["leases"] = sorted(rows, key=lambda row: row.granted_ms)
    if patch.decisions:
        known = {row.seq for row in state.decisions}
        new = [row for row in patch.decisions if row.seq not in known]
        changed["decisions"] = (state.decisions + new)[-DECISIONS_KEPT:]
    return msgspec.structs.replace(state, **changed)


async def watch(places: Callable[[], Iterable[Endpoint]]) -> AsyncIterator[DashboardState | Lost]:
    """Each state as it comes, and `Lost` where the connection is; for ever.

    `places` is asked before each attempt: a server that has started again may be elsewhere.
    """
    failures = 0
    while True:
        try:
            async for state in follow(await first_that_answers(places)):
                failures = 0
                yield state
            why = "the server has ended the stream"
        except (Unreachable, LeaseholdError, BadStream, ValueError) as error:
            why = str(error)
        yield Lost(why)
        await asyncio.sleep(AGAIN_S[min(failures, len(AGAIN_S) - 1)])
        failures += 1


async def first_that_answers(places: Callable[[], Iterable[Endpoint]]) -> Endpoint:
    """Where somebody listens. Raises Unreachable, BadAddress (a ValueError)."""

    def look() -> Endpoint:
        with Client.first_of(places()) as client:
            return client.endpoint

    return await asyncio.to_thread(look)


async def follow(endpoint: Endpoint) -> AsyncIterator[DashboardState]:
    """Each state of one connection until it ends.

    Raises Unreachable where it breaks, BadStream, and the error that the server answers with.
    """
    reader, mirror = EventReader(), Mirror()
    async with AsyncClient(endpoint) as client:
        try:
            async for text in client.pieces(*paths.DASHBOARD_STREAM, silence_s=SILENCE_S):
                for kind, data in reader.feed(text):
                    if mirror.take(kind, data) and mirror.state is not None:
                        yield mirror.state
                    elif kind == "bye":
                        raise Unreachable(_bye(data))
        except httpx.TimeoutException as error:
            raise Unreachable(f"nothing came from {endpoint} for {SILENCE_S:g} s", hangs=True) from error
        except httpx.TransportError as error:
            raise Unreachable(f"the connection to {endpoint} broke ({error})") from error


def _bye(data: str) -> str:
    try:
        reason = msgspec.json.decode(data, type=dict[str, str]).get("reason", "")
    except msgspec.MsgspecError:
        reason = ""
    return reason or "the server has ended the stream"
