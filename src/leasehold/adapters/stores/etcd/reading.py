"""Reading many records: at one revision, in pages, or by key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leasehold.adapters.stores.etcd import messages as m
from leasehold.adapters.stores.etcd.errors import Refused, Unsure
from leasehold.adapters.stores.etcd.layout import OPERATIONS, Layout
from leasehold.adapters.stores.etcd.link import Link

PAGE_KEYS = 2_000
"""Live records of one answer: about 1 MB of them as they are."""

SMALLEST = 8


class Reader:
    """Pages become smaller where an answer is larger than the link takes, or slower than its time."""

    def __init__(self, link: Link, layout: Layout, read_s: float) -> None:
        self._link = link
        self._layout = layout
        self._read_s = read_s

    async def live(self, revision: int) -> list[tuple[str, bytes]]:
        """All live records as of a revision, sorted by key."""
        records: list[tuple[str, bytes]] = []
        begin, end = self._layout.live + b"/", m.after(self._layout.live + b"/")
        size = PAGE_KEYS
        while True:
            request = m.RangeRequest(key=begin, range_end=end, limit=size, revision=revision)
            try:
                page = await self._link.ask(m.RANGE, request, self._read_s)
            except (Refused, Unsure):
                if size <= 1:
                    raise
                size = max(1, size // SMALLEST)
                continue
            for kv in page.kvs:
                key = self._layout.live_key(kv.key)
                assert key is not None, "the range holds live records only"
                records.append((key, kv.value))
            if not page.more:
                return records
            begin = page.kvs[-1].key + b"\0"

    async def by_key(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values of these keys; absent ones are left out."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, bytes] = {}
        size = OPERATIONS
        while wanted:
            part = wanted[:size]
            request = m.TxnRequest(success=[m.get(self._layout.place(key)) for key in part])
            try:
                answer = await self._link.ask(m.TXN, request, self._read_s)
            except (Refused, Unsure):
                if size <= 1:
                    raise
                size = max(1, size // SMALLEST)
                continue
            found.update(_values(part, answer))
            wanted = wanted[size:]
        return found


def _values(keys: Sequence[str], answer: Any) -> dict[str, bytes]:
    kvs = [response.response_range.kvs for response in answer.responses]
    return {key: kv[0].value for key, kv in zip(keys, kvs, strict=True) if kv}
