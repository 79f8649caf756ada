"""How work under a lease begins: shared with what is around it, asked for, or done without (LEASE-18, 19)."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping
from typing import Any

from leasehold.client import asked, asking, keeper, nested
from leasehold.client.asked import LeaseOptions
from leasehold.client.asking import Held, NotGranted, RunBare
from leasehold.client.endpoint import Endpoint
from leasehold.client.held import Lease, current_lease, enter, held_of
from leasehold.client.keeper import Actor, Kept, Watched

log = logging.getLogger("leasehold")

OFF = ("off", "0", "no")


class Around:
    """What the work is already inside of: the lease of this program, or those that it was started under."""

    def __init__(
        self,
        endpoint: Endpoint | None,
        actors: list[Actor],
        documents: list[dict[str, Any]],
        before: Lease | None,
    ) -> None:
        self.endpoint = endpoint
        self.actors = actors
        self.documents = documents
        self.before = before
        self.locked = nested.locked(documents) if before is None else before.locked


def acquire(options: LeaseOptions) -> Lease:
    """Have a lease for the work that follows. Raises NotGranted, BadAddress."""
    if os.environ.get("LEASEHOLD", "").lower() in OFF:
        return _bare("LEASEHOLD=off", quietly=True)
    around = _around(current_lease(), options)
    wanted = _wanted(options, around)
    if wanted is None:
        assert around is not None
        return _shared(around)
    asker = _Asker(**_arguments(wanted))
    try:
        while True:
            held = asker.obtain()
            endpoint = asker.endpoint
            kept = _keep(endpoint, held, wanted)
            if _confirmed(endpoint, kept):
                break
            asker.drop()
    except RunBare as error:
        return _bare(str(error))
    except BaseException as error:
        if not _keeps_place(error, options):
            asker.leave()
        raise
    finally:
        asker.drop()
    return _own(endpoint, kept, wanted, around, exports=_exports(options))


async def acquire_async(options: LeaseOptions) -> Lease:
    """Have a lease for the work that follows, on the event loop. Raises NotGranted, BadAddress."""
    import asyncio

    from leasehold.client.asking_aio import AsyncAsker

    if os.environ.get("LEASEHOLD", "").lower() in OFF:
        return _bare("LEASEHOLD=off", quietly=True)
    current = current_lease()
    if current is None and nested.VARIABLE in os.environ:
        around = await asyncio.to_thread(_around, None, options)
    else:
        around = _around(current, options)
    wanted = _wanted(options, around)
    if wanted is None:
        assert around is not None
        return _shared(around)
    asker = AsyncAsker(_Says(**_arguments(wanted)))
    try:
        while True:
            held = await asker.obtain()
            endpoint = asker.endpoint
            assert endpoint is not None
            kept = _keep(endpoint, held, wanted)
            if await _confirmed_async(endpoint, kept):
                break
            await asker.close()
    except RunBare as error:
        return _bare(str(error))
    except BaseException as error:
        ticket, where = asker.asking.ticket, asker.endpoint
        if not _keeps_place(error, options) and ticket and where is not None:
            keeper.of(where).leave(ticket)
        raise
    finally:
        await asker.close()
    return _own(endpoint, kept, wanted, around, exports=bool(options.get("export")))


def _keeps_place(error: BaseException, options: LeaseOptions) -> bool:
    """Whether who gave up is to find its place in line again."""
    if isinstance(error, NotGranted) and error.kind == "gave_up":
        if options.get("keep_place"):
            return True
        error.ticket = ""
    return False


def _confirmed(endpoint: Endpoint, kept: Kept) -> bool:
    """Whether it is ours. Who is interrupted meanwhile gives it back."""
    try:
        return kept.confirmed.result()
    except BaseException:
        _give_up(endpoint, kept)
        raise


async def _confirmed_async(endpoint: Endpoint, kept: Kept) -> bool:
    """Whether it is ours. A task that is cancelled meanwhile gives it back."""
    import asyncio

    try:
        return await asyncio.shield(asyncio.wrap_future(kept.confirmed))
    except BaseException:
        _give_up(endpoint, kept)
        raise


def _give_up(endpoint: Endpoint, kept: Kept) -> None:
    kept.give_back({"outcome": "nobody waits for it any more"})
    keeper.of(endpoint).wake(kept)


# -- inside of other work


def _around(current: Lease | None, options: LeaseOptions) -> Around | None:
    """What this is inside of; None where it is inside of nothing that lives."""
    if current is not None and not current.is_bare:
        return Around(current.endpoint, current.actors(), [current.document], current)
    found = nested.outer_at(os.environ, options.get("server", ""))
    if found is None:
        return None
    endpoint, documents = found
    known = nested.tokens(os.environ)
    actors: list[Actor] = [
        Watched(held_of(document["lease_id"], known.get(document["lease_id"], 0))) for document in documents
    ]
    return Around(endpoint, actors, documents, None)


def _wanted(options: LeaseOptions, around: Around | None) -> LeaseOptions | None:
    """What is to be asked for; None where all of it is there."""
    if around is None:
        return options
    if more := nested.wants_more(asked.body(options), [one for one in around.documents if one]):
        log.warning("%s", more)
    return asked.only_locks(options, around.locked)


def _shared(around: Around) -> Lease:
    held = Lease(
        around.endpoint,
        None,
        around.actors,
        before=around.before,
        document=around.documents[0] if around.documents else {"lease_id": ""},
        locked=around.locked,
    )
    _watch(around)
    return enter(held)


def _watch(around: Around) -> None:
    """Look how it stands with the leases that this program was started under."""
    if around.before is None and around.endpoint is not None:
        for actor in around.actors:
            keeper.of(around.endpoint).add(actor)


# -- on its own


def _arguments(options: LeaseOptions) -> dict[str, Any]:
    return {
        "ask": asked.body(options),
        "env": dict(os.environ),
        "server": options.get("server", ""),
        "wait_s": asked.seconds("wait", options.get("wait")),
        "when_down": options.get("when_down"),
        "ticket": options.get("ticket", ""),
    }


class _Says(asking.Asking):
    """Says what is waited for, where the program logs it: each change once."""

    _told = ""

    def tell(self, kind: str, sentence: str) -> None:
        log.log(logging.WARNING if kind in ("down", "notice") else logging.INFO, "%s", sentence)

    def tell_waiting(self, denial: dict[str, Any]) -> None:
        sentence = str(denial.get("reason") or "no room now")
        if sentence != self._told:
            self._told = sentence
            log.info("waiting for a lease: %s", sentence)


class _Asker(_Says, asking.Asker):
    """The same, by blocking calls."""


def _keep(endpoint: Endpoint, held: Held, options: LeaseOptions) -> Kept:
    """Have it kept by the thread that does, from its first renewal on."""
    binds = (options.get("bind") or options.get("enforce")) and endpoint.socket_path
    pids = (os.getpid(),) if binds else ()
    again = asked.body(options) | {"start": "now"} | ({"bind": {"pids": list(pids)}} if pids else {})
    kept = Kept(held, stops=asked.stops(options), pids=pids, ask_again=again)
    keeper.of(endpoint).add(kept)
    return kept


def _own(
    endpoint: Endpoint, kept: Kept, options: LeaseOptions, around: Around | None, *, exports: bool
) -> Lease:
    locks = frozenset([*(options.get("locks") or ()), *(options.get("slots") or {})])
    held = Lease(
        endpoint,
        kept,
        around.actors if around is not None else (),
        before=around.before if around is not None else current_lease(),
        document=_document(kept, options) if around is None else around.documents[0],
        stops=asked.stops(options),
        locked=locks | (around.locked if around is not None else frozenset()),
    )
    if around is not None:
        _watch(around)
    enter(held)
    if exports:
        held.export()
    return held


def _document(kept: Kept, options: LeaseOptions) -> dict[str, Any]:
    """What is charged, as far as it was asked for, in the form of a look at the lease."""
    body = asked.body(options)
    charge: dict[str, Any] = dict(body.get("resources") or {})
    # Units that were not named are not known here: nobody is warned of wanting more than those.
    charge["units"] = body.get("cost_units", 100)
    return {"lease_id": kept.standing.held.lease_id, "job_type": body["job_type"], "charge": charge}


def _exports(options: Mapping[str, Any]) -> bool:
    """Whether what is started meanwhile shares the lease: as asked, else where it is the process's own.

    The environment is the whole process's, and so is what the main thread does; a task of an event loop and a
    thread among others are not.
    """
    given = options.get("export")
    if given is not None:
        return bool(given)
    if threading.current_thread() is not threading.main_thread():
        return False
    loops = sys.modules.get("asyncio")
    return loops is None or loops._get_running_loop() is None


def _bare(why: str, *, quietly: bool = False) -> Lease:
    """No lease: the work runs all the same."""
    log.log(logging.DEBUG if quietly else logging.WARNING, "%s", why)
    return enter(Lease(None, None, before=current_lease()))
