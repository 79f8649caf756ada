"""What callers were told, held against what a power failure would have left (INV-3, INV-4, PROVE-4)."""

from __future__ import annotations

import asyncio
import json
import random
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from leasehold.adapters.stores.sqlite import SqliteStore
from leasehold.adapters.stores.sqlite_archive import SqliteArchive
from leasehold.control import codec, recovery
from leasehold.core.state import LEASES, State
from leasehold.model.lease import Lease, LeaseState
from leasehold.ports.store import StoreError
from leasehold.testing import power_loss
from leasehold.testing.power_loss import Disk, Loss, Op

STORED = re.compile(rb"(lease-[0-9a-z]{11,13})")
"""Ids of leases in what the server writes: for `flush_order.judge`, with `GRANTED` for its answers."""

GRANTED = re.compile(rb'"approved":true,.*?"lease_id":"(lease-[0-9a-z]+)"')


class Told:
    """What answers have said so far: tokens by lease, and the leases that were said to be released."""

    def __init__(self) -> None:
        self.granted: dict[str, int] = {}
        self.released: set[str] = set()

    def take(self, message: bytes) -> None:
        """One message of a server: an HTTP answer, or a part of one that holds its whole body."""
        for line in message.split(b"\r\n"):
            if not line.startswith(b"{"):
                continue
            try:
                body = json.loads(line)
            except ValueError:
                continue
            if body.get("approved"):
                self.granted[body["lease_id"]] = body["fencing_token"]
            elif body.get("state") == LeaseState.RELEASED and "lease_id" in body:
                self.released.add(body["lease_id"])

    async def wrong_in(self, folder: Path) -> list[str]:
        """Recover what is in `folder` as the server does, and compare."""
        return await what_is_wrong(folder, self)


class Listener(Protocol):
    """Keeps what answers have said so far, and holds it against what a recovery finds."""

    def take(self, message: bytes) -> None:
        """One message of a server: an HTTP answer, or a part of one that holds its whole body."""
        ...

    async def wrong_in(self, folder: Path) -> list[str]:
        """Recover what is in `folder` as the server does; sentences about what was told and is not so."""
        ...


ToldT = TypeVar("ToldT", bound=Listener)


def power_failures(
    ops: Sequence[Op], data: Path, scratch: Path, told: ToldT, *, points: int, seed: int
) -> tuple[list[str], ToldT]:
    """Fail the power at `points` places of a server's record; sentences about what was told and is not so.

    `data` is the folder as the record names it; the images are laid out below `scratch`, one at a time.
    """
    disk = Disk()
    disk.begin(data)
    wrong: list[str] = []
    place = 0
    for number, point in enumerate(power_loss.crash_points(ops, points, random.Random(seed))):
        for op in ops[place:point]:
            disk.take(op)
            if op.kind == "P":
                told.take(op.data)
        place = point
        loss = (Loss.DROPPED, Loss.TORN)[number % 2]
        folder = scratch / str(number)
        power_loss.lay_out(disk.after(loss, random.Random(f"{seed} {number}")), folder)
        wrong += [f"step {point}, {loss}: {what}" for what in asyncio.run(told.wrong_in(folder))]
        shutil.rmtree(folder)
    return wrong, told


async def what_is_wrong(folder: Path, told: Told) -> list[str]:
    """Recover what is in `folder` as the server does, and compare."""
    store = SqliteStore(folder, wall_ms=lambda: 0)
    archive = SqliteArchive(store)
    try:
        await store.open()
        state, start = await recovery.load(store, State("node"))
        ended = {}
        for lease_id in told.granted:
            value = await archive.find(codec.store_key(LEASES, lease_id))
            if value is not None:
                ended[lease_id] = codec.decode(LEASES, lease_id, value)
    except StoreError as error:
        return [str(error)]
    finally:
        await archive.close()
        await store.close()
    used = [token for token in told.granted.values() if token >= start.first_number]
    return [
        *_grants_lost(state.leases, ended, told),
        *_releases_lost(state.leases, ended, told),
        *(f"{token} was given out, and the next token would be {start.first_number}" for token in used),
    ]


def _grants_lost(live: Mapping[str, Lease], ended: Mapping[str, Lease], told: Told) -> Iterator[str]:
    for lease_id, token in told.granted.items():
        found = live.get(lease_id) or ended.get(lease_id)
        if found is None:
            yield f"{lease_id} was granted, and is gone"
        elif found.token != token:
            yield f"{lease_id} was granted with token {token}, and has {found.token}"
        if lease_id in live and lease_id in ended:
            yield f"{lease_id} is live and has ended"


def _releases_lost(live: Mapping[str, Lease], ended: Mapping[str, Lease], told: Told) -> Iterator[str]:
    for lease_id in sorted(told.released):
        if lease_id in live:
            yield f"{lease_id} was released, and is live again"
        elif lease_id not in ended or ended[lease_id].state is not LeaseState.RELEASED:
            yield f"{lease_id} was released, and the archive has not heard of it"
