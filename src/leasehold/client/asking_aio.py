"""Waiting for a lease on an event loop: `asking` decides, httpx sends (LEASE-19)."""

from __future__ import annotations

import asyncio

from leasehold.client import endpoint as where
from leasehold.client import paths
from leasehold.client.aio import AsyncClient
from leasehold.client.asking import Asking, Held, Message, nobody
from leasehold.client.endpoint import Endpoint
from leasehold.client.lean import Answer, Unreachable
from leasehold.runtime.lean import elapsed_s


class AsyncAsker:
    """Asks for what `asking` says. Close it; cancelling `obtain` leaves a place in line to be given up."""

    def __init__(self, asking: Asking) -> None:
        self.asking = asking
        self._client: AsyncClient | None = None

    @property
    def endpoint(self) -> Endpoint | None:
        """Where the server was reached; None while it was not."""
        return self._client.endpoint if self._client is not None else None

    async def obtain(self) -> Held:
        """Wait for a lease. Raises NotGranted, RunBare, BadAddress."""
        while True:
            message = self.asking.message()
            try:
                answer, sent_s = await self._send(message)
            except Unreachable as error:
                await self.close()
                await asyncio.sleep(self.asking.unanswered(error))
                continue
            found = self.asking.answered(message, answer, sent_s)
            if isinstance(found, Held):
                return found
            await asyncio.sleep(found)

    async def _send(self, message: Message) -> tuple[Answer, float]:
        """Send to the server in use, else to the first place where somebody listens."""
        if self._client is not None:
            return await self._send_to(self._client, message)
        problem: Unreachable | None = None
        for candidate in where.candidates(self.asking.env, self.asking.server):
            client = AsyncClient(candidate, connections_max=1)
            try:
                found = await self._send_to(client, message)
            except Unreachable as error:
                await client.close()
                problem = problem or error
                if error.hangs:
                    break
                continue
            except BaseException:
                self._client = client
                raise
            self._client = client
            return found
        raise problem or nobody()

    async def _send_to(self, client: AsyncClient, message: Message) -> tuple[Answer, float]:
        sent_s = elapsed_s()
        answer = await client.exchange(
            *paths.REQUEST, message.body, timeout_s=message.timeout_s, headers=message.headers
        )
        return answer, sent_s

    async def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()
