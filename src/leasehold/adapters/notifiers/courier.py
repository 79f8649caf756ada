"""The notifier of the product: hands calls to a process of its own, and starts that when it is needed.

Only what is sent is made here. The process is started with the first call, ends by itself after a minute
without one, and with this server however that ends; whatever hangs in it is killed with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from leasehold.adapters.notifiers import wording
from leasehold.adapters.notifiers.keys import PushKey
from leasehold.model.notification import Parcel, Severity, Target, TargetKind
from leasehold.ports.clock import Clock
from leasehold.ports.notifier import NotifyFailed

COMMAND = (sys.executable, "-m", "leasehold.adapters.notifiers.child")

DEADLINE_S = 13.0
"""For one call with everything: the process may have to start first, on a machine that is busy."""

STUCK_MAX = 4
"""Calls that have not come back at their deadline: with so many the process is started anew."""

ANSWER_BYTES_MAX = 64 << 10

PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE")
"""Of the environment: what the network needs. Secrets of the server's own stay here."""

Environment = Mapping[str, str]


class Courier:
    """The port `Notifier`. `allowed` gives the setting `notifications.allowed_hosts`, as of now; `page_url`
    that of the page, for links, and `contact` whom push services may write to.
    """

    def __init__(
        self,
        keys: PushKey,
        clock: Clock,
        node_id: str,
        env: Environment,
        *,
        allowed: Callable[[], Sequence[str]],
        page_url: Callable[[], str] = lambda: "",
        contact: Callable[[], str] = lambda: "",
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._node_id = node_id
        self._env = {name: env[name] for name in PASSED_ON if name in env}
        self._allowed = allowed
        self._page_url = page_url
        self._contact = contact
        self._child: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._last_id = 0
        self._stuck = 0

    # -- the port

    async def check(self, target: Target) -> None:
        asked: dict[str, Any] = {"op": f"{target.kind}.check", **self._address(target)}
        await self._call(asked)

    async def send(self, parcel: Parcel) -> None:
        asked = {"op": f"{parcel.target.kind}.send", **self._address(parcel.target)}
        match parcel.target.kind:
            case TargetKind.WEBHOOK:
                body, headers = wording.webhook(parcel, self._node_id, self._clock.wall_ms() // 1000)
                asked |= {"body": body.decode(), "headers": headers}
            case TargetKind.PUSH:
                asked |= await self._pushed(parcel)
            case TargetKind.CHAT:
                asked |= {
                    "title": wording.title_of(parcel),
                    "text": wording.text_of(parcel, self._node_id, self._page_url()),
                    "severity": str(parcel.delivery.severity),
                }
        await self._call(asked)

    async def push_key(self) -> str:
        return await self._keys.public()

    async def close(self) -> None:
        self._kill("the server is stopping")

    # -- what is asked

    def _address(self, target: Target) -> dict[str, Any]:
        if target.kind is not TargetKind.PUSH:
            return {"url": target.url, "plain": target.url.startswith("http://")}
        keys = {"p256dh": target.p256dh, "auth": target.auth}
        return {
            "subscription": {"endpoint": target.url, "keys": keys},
            "plain": target.url.startswith("http://"),
        }

    async def _pushed(self, parcel: Parcel) -> dict[str, Any]:
        try:
            key = await self._keys.private()
        except OSError as error:
            raise NotifyFailed("INTERNAL", f"the key for web push can't be read: {error.strerror}") from error
        return {
            "payload": wording.push(parcel).decode(),
            "key": key,
            "contact": self._contact() or "mailto:nobody@localhost.invalid",
            "urgency": "high" if parcel.delivery.severity is Severity.CRITICAL else "normal",
            "topic": parcel.delivery.delivery_id[-32:],
        }

    # -- the process

    async def _call(self, asked: dict[str, Any]) -> None:
        """Have it done. Raises NotifyFailed."""
        self._last_id += 1
        ident = self._last_id
        line = {"id": ident, "allowed": list(self._allowed()), **asked}
        try:
            async with asyncio.timeout(DEADLINE_S):
                told = await self._asked(ident, msgspec.json.encode(line) + b"\n")
        except TimeoutError:
            self._stuck += 1
            if self._stuck >= STUCK_MAX:
                self._kill("other calls did not come back")
            raise NotifyFailed("TIMEOUT", f"it was not done within {DEADLINE_S:g} s") from None
        finally:
            self._waiting.pop(ident, None)
        if not told["ok"]:
            more = {name: told[name] for name in ("permanent", "gone", "retry_after_s") if name in told}
            raise NotifyFailed(told["code"], told["sentence"], **more)

    async def _asked(self, ident: int, line: bytes) -> dict[str, Any]:
        try:
            async with self._starting:
                child = await self._running()
                done: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
                self._waiting[ident] = done
                assert child.stdin is not None
                child.stdin.write(line)
        except OSError as error:
            raise NotifyFailed(
                "INTERRUPTED", f"no process for notifications can be started: {error}"
            ) from error
        return await done

    async def _running(self) -> asyncio.subprocess.Process:
        if self._child is None or self._child.returncode is not None or self._reader is None:
            child = await asyncio.create_subprocess_exec(
                *COMMAND,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=self._env,
                limit=ANSWER_BYTES_MAX,
                start_new_session=True,
            )
            self._child, self._stuck = child, 0
            self._reader = asyncio.create_task(self._read(child), name="notifications-child")
        return self._child

    async def _read(self, child: asyncio.subprocess.Process) -> None:
        """Hand answers to who waits for them, until the process ends."""
        assert child.stdout is not None
        with contextlib.suppress(OSError, ValueError, msgspec.DecodeError):
            while line := await child.stdout.readline():
                told = msgspec.json.decode(line, type=dict[str, Any])
                done = self._waiting.get(told["id"])
                if done is not None and not done.done():
                    done.set_result(told)
        if self._child is child:
            self._kill("the process for notifications has ended")
        await child.wait()

    def _kill(self, why: str) -> None:
        """End the process, and tell everybody who waits for it."""
        child, self._child, self._reader = self._child, None, None
        if child is not None and child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
        for done in self._waiting.values():
            if not done.done():
                done.set_exception(NotifyFailed("INTERRUPTED", why))
