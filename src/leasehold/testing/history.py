"""A history of batches that follows from its seed alone, and what a store must hold after each of them."""

from __future__ import annotations

import random

from leasehold.model.ids import sortable
from leasehold.ports.store import COLD, Batch, Snapshot, Store, cold_key

NOUNS = ("leases", "tickets", "jobs")
KEPT_ENDS = 50
"""The newest ends are remembered for comparison with the archive."""

KEPT_COLD = 400
"""The cold rows that were written last, and the keys of those that went, are remembered for comparison."""


class History:
    """Batch after batch, mixed like a busy ledger's: many small, some large, values that grow and shrink.

    Each value names the batch that wrote it (`store-<seq>-…`), so that a half-applied batch shows.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.seq = 0
        self.last_event = 0
        self.live: dict[str, bytes] = {}
        self.ended: list[tuple[str, bytes]] = []
        self.cold: dict[str, bytes | None] = {}

    def next(self) -> Batch:
        """The next batch. Call `apply` with it to go on."""
        seq = self.seq + 1
        chance = random.Random(f"{self.seed} {seq}")
        width = 60 if chance.random() < 0.1 else 6
        names = sorted(self.live)
        chosen = chance.sample(names, min(len(names), chance.randint(0, width)))
        cut = chance.randint(0, len(chosen))
        made = [_key(chance, seq, n) for n in range(chance.randint(0, width))]
        cold = [cold_key(key) for key in made if key.startswith("/jobs/")]
        forgotten = chance.sample(sorted(self.cold), 1) if self.cold and chance.random() < 0.2 else []
        updated = chosen[:cut] if len(names) < 300 else []
        events = chance.randint(0, 5)
        return Batch(
            seq,
            puts=[(key, self._value(chance, seq)) for key in (*made, *updated, *cold)],
            finishes=[(key, self._value(chance, seq)) for key in chosen[cut:] if chance.random() < 0.8],
            deletes=[*([] if len(names) < 300 else chosen[:cut]), *forgotten],
            events=b"events-%d " % seq + chance.randbytes(60 * events) if events else b"",
            first_event=self.last_event + 1 if events else 0,
            last_event=self.last_event + events if events else 0,
        )

    @staticmethod
    def _value(chance: random.Random, seq: int) -> bytes:
        size = 6_000 if chance.random() < 0.03 else chance.randint(0, 700)
        return b"store-%d-" % seq + chance.randbytes(size)

    def apply(self, batch: Batch) -> None:
        for key, value in batch.puts:
            self._take(key, value)
        for key, value in batch.finishes:
            self.live.pop(key, None)
            self.ended.append((key, value))
        for key in batch.deletes:
            self._take(key, None)
        del self.ended[:-KEPT_ENDS]
        for key in list(self.cold)[:-KEPT_COLD]:
            del self.cold[key]
        self.last_event = batch.last_event or self.last_event
        self.seq = batch.seq

    def _take(self, key: str, value: bytes | None) -> None:
        if key.startswith(COLD):
            self.cold[key] = value
        elif value is None:
            self.live.pop(key, None)
        else:
            self.live[key] = value

    def advance(self, seq: int) -> None:
        """Go on to just after batch `seq`."""
        while self.seq < seq:
            self.apply(self.next())

    def snapshot(self) -> Snapshot:
        return Snapshot(self.seq, self.last_event, sorted(self.live.items()))


async def check(store: Store, history: History, acknowledged: int) -> int:
    """Hold an open store against the history; return the batch it stands at.

    Raises AssertionError where an acknowledged batch is lost, or the store is not what some batch left.
    """
    snapshot = await store.load()
    seq = snapshot.batch_seq
    assert seq >= acknowledged, f"batch {acknowledged} was acknowledged; {seq} is there"
    assert seq == await store.batch_seq()
    history.advance(seq)
    assert history.seq == seq, "the checks go forward only"
    assert snapshot == history.snapshot(), f"the store is not what batch {seq} left"
    cold = {key: value for key, value in history.cold.items() if value is not None}
    assert await store.read(list(history.cold)) == cold, f"cold rows are not what batch {seq} left"
    return seq


def _key(chance: random.Random, seq: int, n: int) -> str:
    noun = chance.choice(NOUNS)
    return f"/{noun}/{sortable(seq << 8 | n)}" if noun == "jobs" else f"/{noun}/{seq}-{n}"
