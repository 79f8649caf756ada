"""A lease in the hands of a program: how it stands, telling of the work, giving it back (LEASE-19, 28)."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from concurrent.futures import TimeoutError as TookTooLong
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

from leasehold.client import keeper, nested
from leasehold.client.asking import Held
from leasehold.client.endpoint import Endpoint
from leasehold.client.keeper import Actor, Kept, Standing, Watched
from leasehold.runtime.lean import elapsed_s, used

RELEASE_S = 2.0
"""Giving back holds nobody up for longer; it goes on in the background."""
LOOK_S = 0.1
"""How often work on an event loop that stands still looks whether it may go on."""


class LeaseLost(Exception):
    """The work has to end: its lease was taken back (`revoked`), or lost with on_lost=stop."""

    def __init__(self, sentence: str, *, lease_id: str = "", revoked: bool = False) -> None:
        super().__init__(sentence)
        self.lease_id = lease_id
        self.revoked = revoked


class Lease:
    """A lease that is held: its own, one that is shared with the work around it, or none (`is_bare`).

    Its methods may be called from any thread, and none but `checkpoint` and `release` waits for anything.
    In a forked child it is shared with the parent, which goes on holding it.
    """

    def __init__(
        self,
        endpoint: Endpoint | None,
        own: Kept | None,
        around: Sequence[Actor] = (),
        *,
        before: Lease | None = None,
        document: dict[str, Any] | None = None,
        stops: bool = False,
        locked: frozenset[str] = frozenset(),
    ) -> None:
        """`own` is what it holds itself, `around` what it shares, of the lease `before` it in this program or
        of those that the program was started under.

        `document` tells what is charged, like the answer to a look at a lease; `locked` names the locks and
        slots that are held. `stops` is on_lost=stop.
        """
        self.endpoint = endpoint
        self.document = document or {}
        self.locked = locked
        self._own = own
        self._around = list(around)
        self._before = before
        self._stops = stops
        self._pid = os.getpid()
        self._released = False
        self._exported: tuple[str, str | None] | None = None
        self._began = used()
        self._crowd = _open(self) if own is not None else 1

    # -- what it is

    @property
    def id(self) -> str:
        """Its id now: another one after a loss that the work went on from. "" where there is none."""
        return next((one.held.lease_id for one in self._standings()), "")

    @property
    def token(self) -> int:
        """Its fencing token, for whatever checks it. 0 where there is none."""
        return next((one.held.token for one in self._standings()), 0)

    @property
    def is_bare(self) -> bool:
        """Whether the work runs without any lease: LEASEHOLD=off, or no server and `when_down` says run."""
        return not self.document

    @property
    def is_shared(self) -> bool:
        """Whether it is that of the work around this one, and nothing was asked for."""
        return not self.is_bare and (self._own is None or self._pid != os.getpid())

    @property
    def is_over(self) -> bool:
        """Whether it has been given back, here; a forked child gives back its share alone."""
        return self._released

    def actors(self) -> list[Actor]:
        """What it stands on, its own first. In a forked child nobody keeps them: it looks for itself."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            found = [Watched(actor.standing.held) for actor in self._all()]
            self._own, self._around = None, list(found)
            if self.endpoint is not None:
                for actor in found:
                    keeper.of(self.endpoint).add(actor)
        return self._all()

    def _all(self) -> list[Actor]:
        return [self._own, *self._around] if self._own is not None else self._around

    def _standings(self) -> list[Standing]:
        return [actor.standing for actor in self.actors()]

    # -- what the work should know

    @property
    def stop_reason(self) -> str:
        """Why the work should end; "" while it may go on."""
        return next((why for one in self._standings() if (why := one.why_stop())), "")

    @property
    def should_stop(self) -> bool:
        """Whether the work should end soon: its lease was taken back, or lost with on_lost=stop."""
        return bool(self.stop_reason)

    @property
    def stop_in_s(self) -> float | None:
        """How many seconds are left to end in; None while it may go on."""
        if not self.should_stop:
            return None
        return max(0.0, min(one.stop_by_s for one in self._standings()) - elapsed_s())

    @property
    def paused(self) -> bool:
        """Whether the work should stand still, since the machine's owner needs it."""
        return any(one.paused for one in self._standings())

    def raise_if_stopped(self) -> None:
        """Raise LeaseLost where the work should end."""
        for one in self._standings():
            if why := one.why_stop():
                raise LeaseLost(why, lease_id=one.held.lease_id, revoked=one.revoked)

    def checkpoint(self) -> None:
        """Between two steps: stands still while `paused`, raises LeaseLost where the work should end."""
        self._export_again()
        while self.paused and not self.should_stop:
            one = next((one for one in self._standings() if one.paused), None)
            if one is not None:
                with one.changed:
                    one.changed.wait_for(lambda one=one: not one.paused or one.stop, 1.0)  # type: ignore[misc]
        self.raise_if_stopped()

    async def checkpoint_async(self) -> None:
        """`checkpoint` for an event loop."""
        import asyncio

        while self.paused and not self.should_stop:  # noqa: ASYNC110 - it is the keeper's thread that changes it
            await asyncio.sleep(LOOK_S)
        self.raise_if_stopped()

    # -- what others should know

    def report(
        self,
        progress: float | None = None,
        message: str | None = None,
        *,
        cpu_seconds: float | None = None,
        peak_memory_bytes: int | None = None,
        bytes_moved: int | None = None,
        checkpoint: str | None = None,
    ) -> None:
        """Tell how far the work is: `progress` from 0 to 1, a message, figures, the last checkpoint.

        Costs microseconds and waits for nothing: it is told soon, at most twice a second, the last one
        counts. Raises LeaseLost where the work should end.
        """
        self._export_again()
        self.raise_if_stopped()
        metrics = {
            "cpu_seconds": cpu_seconds,
            "peak_memory_bytes": peak_memory_bytes,
            "bytes": bytes_moved,
            "checkpoint": None if checkpoint is None else checkpoint[:1024],
        }
        document: dict[str, Any] = {
            "progress": None if progress is None else min(1.0, max(0.0, float(progress))),
            "message": None if message is None else message[:1024],
            "metrics": {name: value for name, value in metrics.items() if value is not None} or None,
        }
        actors = self.actors()
        if actors and self.endpoint is not None:
            actors[0].report({name: value for name, value in document.items() if value is not None})
            keeper.of(self.endpoint).nudge(actors[0])

    def bind(self, *pids: int) -> None:
        """Processes that this one started are the work: like that of `leasehold run`, they run at low weight,
        stand still when the owner needs the machine, and keep the lease while they live.

        Done soon, in the background. Nothing happens where the lease is shared or the server is not on the
        Unix socket.
        """
        kept = self._own
        if (
            kept is not None
            and self.endpoint is not None
            and self.endpoint.socket_path
            and not self._released
        ):
            kept.bind(pids)
            keeper.of(self.endpoint).wake(kept)

    def env(self) -> dict[str, str]:
        """The environment for what the work starts: with it a command shares this lease."""
        found = dict(os.environ)
        if chain := self.chain():
            found[nested.VARIABLE] = chain
        return found

    def chain(self) -> str:
        """All leases that this work runs under, the innermost first, as LEASEHOLD_LEASE names them."""
        return ",".join(f"{one.held.lease_id}:{one.held.token}" for one in self._standings())

    def export(self) -> None:
        """Have everything that this process starts from now on share it, until it is given back."""
        before = os.environ.get(nested.VARIABLE)
        chain = self.chain()
        self._exported = (chain, before)
        os.environ[nested.VARIABLE] = chain

    def _export_again(self) -> None:
        """After a loss the lease goes on under another id."""
        if self._exported is not None and (chain := self.chain()) != self._exported[0]:
            if os.environ.get(nested.VARIABLE) == self._exported[0]:
                os.environ[nested.VARIABLE] = chain
            self._exported = (chain, self._exported[1])

    # -- its end

    def release(self, outcome: str = "done") -> None:
        """Give it back. Idempotent, raises nothing; a server that is away is told in the background.

        In a forked child it stays with the parent.
        """
        kept = self._end(outcome)
        if kept is not None:
            with contextlib.suppress(TookTooLong):
                kept.released.result(RELEASE_S)

    async def release_async(self, outcome: str = "done") -> None:
        """`release` for an event loop."""
        import asyncio

        kept = self._end(outcome)
        if kept is not None:
            done = asyncio.shield(asyncio.wrap_future(kept.released))
            await asyncio.wait({done}, timeout=RELEASE_S)

    def _end(self, outcome: str) -> Kept | None:
        """Begin to give it back; what is to be waited for, if anything."""
        _leave(self)
        if self._released:
            return None
        self.actors()
        self._released = True
        if self._exported is not None and os.environ.get(nested.VARIABLE) == self._exported[0]:
            if self._exported[1] is None:
                del os.environ[nested.VARIABLE]
            else:
                os.environ[nested.VARIABLE] = self._exported[1]
        for actor in self._around:
            if isinstance(actor, Watched) and self._before is None:
                actor.end()
        kept = self._own
        if kept is None or self.endpoint is None:
            return None
        kept.give_back({"outcome": outcome[:1024], "metrics": self._usage()})
        keeper.of(self.endpoint).wake(kept)
        with _OPEN_LOCK:
            _OPEN.discard(self)
        return kept

    def _usage(self) -> dict[str, Any]:
        """What this process used meanwhile; shared evenly among those that were held at the same time."""
        cpu_s, memory = used()
        found: dict[str, Any] = {"cpu_seconds": round((cpu_s - self._began[0]) / self._crowd, 3)}
        return found | ({"peak_memory_bytes": memory} if self._crowd == 1 else {})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release(outcome(error))
        if error is None:
            self.raise_if_lost()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.release_async(outcome(error))
        if error is None:
            self.raise_if_lost()

    def raise_if_lost(self) -> None:
        """Raise LeaseLost where the lease had ended before it was given back, and on_lost=stop."""
        kept = self._own
        if kept is not None and self._stops and kept.standing.ended:
            one = kept.standing
            raise LeaseLost(one.ended, lease_id=one.held.lease_id, revoked=one.revoked)


def outcome(error: BaseException | None) -> str:
    """How the work ended, for the lease's record: the kind of an error, never its text."""
    if error is None:
        return "done"
    if isinstance(error, LeaseLost):
        return "stopped, the lease was taken back or lost"
    return f"ended by {type(error).__qualname__}"


_OPEN: set[Lease] = set()
"""The leases that this process holds itself."""
_OPEN_LOCK = threading.Lock()
_CURRENT: ContextVar[Lease | None] = ContextVar("leasehold_lease", default=None)


def _open(held: Lease) -> int:
    """Count it among those that this process holds; how many those are."""
    with _OPEN_LOCK:
        _OPEN.add(held)
        for one in _OPEN:
            one._crowd = max(getattr(one, "_crowd", 1), len(_OPEN))
        return len(_OPEN)


def _forked() -> None:
    """In a forked child: what its parent holds, the parent holds."""
    global _OPEN_LOCK
    _OPEN_LOCK = threading.Lock()
    _OPEN.clear()


os.register_at_fork(after_in_child=_forked)


def current_lease() -> Lease | None:
    """The lease under which this code runs, in this thread or task; None where there is none."""
    found = _CURRENT.get()
    while found is not None and found.is_over:  # Given back elsewhere, by another thread for example.
        found = found._before
    return found


def enter(held: Lease) -> Lease:
    """Make it the current one, until it is given back."""
    _CURRENT.set(held)
    return held


def _leave(held: Lease) -> None:
    """The one around it is the current one again; where others were entered since, they stay."""
    if current_lease() is held:
        _CURRENT.set(held._before)


def held_of(lease_id: str, token: int) -> Held:
    """What is known of a lease that somebody else keeps."""
    return Held({"lease_id": lease_id, "fencing_token": token}, elapsed_s())
