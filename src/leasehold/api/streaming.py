"""Answers that go on as things happen: sent piece by piece, until they are over or the caller is gone."""

from __future__ import annotations

import asyncio
from typing import Any

from leasehold.api.body import ClientGone
from leasehold.api.pipeline import Answer, Scope, while_connected
from leasehold.runtime.request_stats import HOLD

SEND_S_MAX = 30.0
"""How long one piece may wait for a reader that does not read; then its connection is given up."""


async def stream(scope: Scope, receive: Any, send: Any, answer: Answer) -> None:
    """Send the answer. It waits on purpose, so it stands in no percentile."""
    assert answer.chunks is not None
    hold = scope.get(HOLD)
    if hold is not None:
        hold()
    try:
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await while_connected(receive, _pieces(send, answer))
    except (ClientGone, TimeoutError):
        return
    finally:
        answer.chunks.close()


async def _pieces(send: Any, answer: Answer) -> None:
    assert answer.chunks is not None
    while (piece := await answer.chunks.next()) is not None:
        async with asyncio.timeout(SEND_S_MAX):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
