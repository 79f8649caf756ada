"""A history of batches that follows from its seed alone, and what a store must hold after each of them."""

from __future__ import annotations

import random

from leasehold.ports.store import Batch, Snapshot, Store

NOUNS = ("leases", "tickets", "jobs")
KEPT_ENDS = 50
"""The newest ends are remembered for comparison with the archive."""


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

    def next(self) -> Batch:
        """The next batch. Call `apply` with it to go on."""
        seq = self.seq + 1
        chance = random.Random(f"{self.seed} {seq}")
        width = 60 if chance.random() < 0.1 else 6
        names = sorted(self.live)
        chosen = chance.sample(names, min(len(names), chance.randint(0, width)))
        cut = chance.randint(0, len(chosen))
        made = [f"/{chance.choice(NOUNS)}/{seq}-{n}" for n in range(chance.randint(0, width))]
        updated = chosen[:cut] if len(names) < 300 else []
        events = chance.randint(0, 5)
        return Batch(
            seq,
            puts=[(key, self._value(chance, seq)) for key in (*made, *updated)],
            finishes=[(key, self._value(chance, seq)) for key in chosen[cut:] if chance.random() < 0.8],
            deletes=[] if len(names) < 300 else chosen[:cut],
            events=b"events-%d " % seq + chance.randbytes(60 * events) if events else b"",
            first_event=self.last_event + 1 if events else 0,
            last_event=self.last_event + events if events else 0,
        )

    @staticmethod
    def _value(chance: random.Random, seq: int) -> bytes:
        size = 6_000 if chance.random() < 0.03 else chance.randint(0, 700)
        return b"store-%d-" % seq + chance.randbytes(size)

    def apply(self, batch: Batch) -> None:
        self.live.update(batch.puts)
        for key, value in batch.finishes:
            self.live.pop(key, None)
            self.ended.append((key, value))
        for key in batch.deletes:
            self.live.pop(key, None)
        del self.ended[:-KEPT_ENDS]
        self.last_event = batch.last_event or self.last_event
        self.seq = batch.seq

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
    return seq
