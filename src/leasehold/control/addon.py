"""The service of add-ons: who is registered, who is allowed, what is seen of them (SENSE-5, 21, 22)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from leasehold.control.addon_watch import AddonWatch, Failure, Seen, Source
from leasehold.control.collectors import Lane
from leasehold.control.ledger import Ledger
from leasehold.control.views import rfc3339
from leasehold.core import addon as addons
from leasehold.core.state import Outcome, Stamp, State
from leasehold.model.addon import Addon, Lifecycle, RequestFigures
from leasehold.model.errors import Conflict, Invalid, NotPermitted, TooLarge, Unavailable
from leasehold.model.principal import Principal
from leasehold.ports.addon import Folders, Probe, ProbeFailed
from leasehold.wire import addon as wire

CUSTOM_BYTES_MAX = 64 << 10
CHECK_S = 5.0
"""How long a registration waits to learn where a name leads, and whether a folder is there."""

NO_IDS = frozenset({"errors"})
"""Taken by a route."""


class AddonService:
    """Registers add-ons and shows them. `room` is called when somebody may have got what it waits for.

    Every call takes the authenticated caller first. Whoever may not manage add-ons may register itself alone,
    under its own name and without an address or folder, since the server would go there with its own rights.
    """

    def __init__(
        self,
        ledger: Ledger,
        watch: AddonWatch,
        probe: Probe,
        folders: Folders,
        lane: Lane,
        room: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._clock = ledger.clock
        self._watch = watch
        self._probe = probe
        self._folders = folders
        self._lane = lane
        self._room = room

    # -- the registry

    async def register(self, principal: Principal, body: wire.AddonIn) -> wire.AddonOut:
        """Add one, or take up what has changed of it; the same again changes nothing.

        Raises Invalid, NotPermitted, Overloaded.
        """
        self._check_rights(principal, body)
        if body.id in NO_IDS:
            raise Invalid(f"id: {body.id} is taken", field="$.id", expected=f"another id than {body.id}")
        url = await self._checked_url(body.base_url) if body.base_url else ""
        if body.runtime_dir:
            await self._check_folder(body.runtime_dir)
        record = Addon(
            addon_id=body.id,
            name=body.name or body.id,
            version=body.version,
            at_wall_ms=self._clock.wall_ms(),
            by=principal.name,
            base_url=url,
            runtime_dir=body.runtime_dir or "",
        )
        known: Addon = await self._committed(
            lambda state, stamp: addons.register(state, record, stamp, principal.name)
        )
        return self._shown(known)

    async def enable(self, principal: Principal, addon_id: str) -> wire.AddonOut:
        """Allow it again: whoever waits in its name may be granted at once. Raises NotFound."""
        return await self._allow(principal, addon_id, True)

    async def disable(self, principal: Principal, addon_id: str) -> wire.AddonOut:
        """Let it have no new lease. What it holds it keeps. Raises NotFound."""
        return await self._allow(principal, addon_id, False)

    async def _allow(self, principal: Principal, addon_id: str, enabled: bool) -> wire.AddonOut:
        known: Addon = await self._committed(
            lambda state, stamp: addons.set_enabled(state, addon_id, enabled, stamp, principal.name)
        )
        return self._shown(known)

    async def remove(self, principal: Principal, addon_id: str) -> None:
        """Forget it, with all that was seen of it. Raises NotFound."""
        await self._committed(lambda state, stamp: addons.remove(state, addon_id, stamp, principal.name))

    async def _committed(self, decide: Callable[[State, Stamp], Outcome]) -> Addon:
        """Obeyed at once; answered when it is durable."""
        answer, durable = self._ledger.submit(decide)
        if durable is not None:
            await durable
        self._watch.refresh()
        self._room()
        return answer  # type: ignore[no-any-return]

    # -- looking

    async def addons(self) -> wire.AddonList:
        """All, by id."""
        return wire.AddonList(
            await self._ledger.read(
                lambda state: [self._shown(record) for _, record in sorted(state.addons.items())]
            )
        )

    async def addon(self, addon_id: str) -> wire.AddonOut:
        """One, with what is seen of it. Raises NotFound."""
        record = await self._ledger.read(lambda state: addons.find(state, addon_id))
        out = self._shown(record)
        out.stats = self.snapshot(self._seen(record))
        return out

    def errors(self) -> wire.AddonErrors:
        """All that is wrong with any of them."""
        now_ms = self._clock.now_ms()
        return wire.AddonErrors(
            [
                _error(addon_id, source, failure)
                for addon_id, seen in sorted(self._watch.seen.items())
                for source, failure in sorted(seen.failing(now_ms).items())
            ]
        )

    def snapshots(self) -> dict[str, wire.AddonStatsSnapshot]:
        """What is seen of each, by id (SENSE-5)."""
        return {addon_id: self.snapshot(seen) for addon_id, seen in sorted(self._watch.seen.items())}

    # -- being told

    async def tell(self, principal: Principal, addon_id: str, body: wire.AddonStatsIn) -> None:
        """Take in what an add-on says of itself.

        Raises NotFound, NotPermitted for somebody else's, Conflict where it is disabled, TooLarge.
        """
        if addon_id != principal.name and not principal.may("addon:manage"):
            raise NotPermitted(f"{principal.name} may tell its own figures only, as {principal.name}")
        record = addons.find(self._ledger.state, addon_id)
        if not record.enabled:
            raise Conflict(f"{addon_id} is disabled; its figures count for nothing", addon_id=addon_id)
        if len(msgspec.json.encode(body.custom)) > CUSTOM_BYTES_MAX:
            raise TooLarge(f"custom is larger than {CUSTOM_BYTES_MAX} bytes; tell less")
        requests = body.requests
        figures = (
            RequestFigures(requests.rps, requests.in_flight, requests.error_pct, requests.p95_ms)
            if requests is not None
            else RequestFigures()
        )
        self._watch.told(self._seen(record), figures, body.custom)

    # -- checking

    @staticmethod
    def _check_rights(principal: Principal, body: wire.AddonIn) -> None:
        if principal.may("addon:manage"):
            return
        if body.id != principal.name:
            raise NotPermitted(f"{principal.name} may register itself only, with the id {principal.name}")
        if body.base_url or body.runtime_dir:
            raise NotPermitted("leave out base_url and runtime_dir: they need the right addon:manage")

    async def _checked_url(self, text: str) -> str:
        """The address in its one form. Raises Invalid."""
        try:
            url = addons.base_url(text)
        except ValueError as error:
            raise Invalid(f"base_url: {error}", field="$.base_url", expected=str(error)) from None
        try:
            await self._in_time(self._probe.check(url), "the address")
        except ProbeFailed as error:
            expected = "a host that addons.allowed_hosts of the configuration lets add-ons be at"
            raise Invalid(f"base_url: {error.sentence}", field="$.base_url", expected=expected) from error
        return str(url)

    async def _check_folder(self, path: str) -> None:
        """Raises Invalid."""
        problem = await self._in_time(self._lane.run(self._folders.problem, path), "the folder")
        if problem:
            raise Invalid(f"runtime_dir: {problem}", field="$.runtime_dir", expected=problem)

    @staticmethod
    async def _in_time(work: Awaitable[str | None], what: str) -> str:
        try:
            async with asyncio.timeout(CHECK_S):
                return await work or ""
        except TimeoutError:
            raise Unavailable(f"{what} could not be checked within {CHECK_S:g} s", retry_after_s=10) from None

    # -- shapes

    def _seen(self, record: Addon) -> Seen:
        """What is watched of it; nothing yet where it is followed in a moment."""
        if record.addon_id not in self._watch.seen:
            self._watch.refresh()
        return self._watch.seen.get(record.addon_id) or Seen(record)

    def _shown(self, record: Addon) -> wire.AddonOut:
        seen, now_ms = self._seen(record), self._clock.now_ms()
        failing = seen.failing(now_ms)
        return wire.AddonOut(
            id=record.addon_id,
            name=record.name,
            version=record.version,
            enabled=record.enabled,
            lifecycle=_lifecycle(seen.lifecycle(now_ms)),
            registered_at=rfc3339(record.at_wall_ms),
            by=record.by,
            base_url=record.base_url or None,
            runtime_dir=record.runtime_dir or None,
            error=next((failure.sentence for _, failure in sorted(failing.items())), None),
        )

    def snapshot(self, seen: Seen) -> wire.AddonStatsSnapshot:
        """What is seen of one."""
        now_ms, record = self._clock.now_ms(), seen.record
        failing = seen.failing(now_ms)
        return wire.AddonStatsSnapshot(
            id=record.addon_id,
            name=record.name,
            version=record.version,
            lifecycle=_lifecycle(seen.lifecycle(now_ms)),
            health=_health(seen, failing.get("health"), now_ms),
            runtime_dir_bytes=seen.folder.disk_bytes if seen.folder is not None else None,
            folder=_folder(seen),
            requests=None if seen.figures.is_empty else seen.figures,
            requests_count=not seen.figures.is_empty and seen.is_fresh(now_ms),
            told_at=_at(seen.told_wall_ms),
            custom=msgspec.Raw(seen.custom),
            errors={source: f"{one.code}: {one.sentence}" for source, one in sorted(failing.items())},
        )


def _lifecycle(found: Lifecycle) -> wire.Lifecycle:
    return found.value


def _at(wall_ms: int | None) -> str | None:
    return None if wall_ms is None else rfc3339(wall_ms)


def _health(seen: Seen, failure: Failure | None, now_ms: int) -> wire.AddonHealthOut:
    lives = seen.lifecycle(now_ms)
    words: dict[Lifecycle, wire.HealthStatus] = {Lifecycle.LOADED: "ok", Lifecycle.ERROR: "error"}
    return wire.AddonHealthOut(
        status=words.get(lives, "unknown"),
        last_checked=_at(seen.checked_wall_ms if seen.record.base_url else seen.told_wall_ms),
        last_ok=_at(seen.ok_wall_ms if seen.record.base_url else seen.told_wall_ms),
        error_code=failure.code if failure is not None else None,
        error=failure.sentence if failure is not None else None,
        latency_ms=seen.latency_ms,
    )


def _folder(seen: Seen) -> wire.AddonFolderOut | None:
    found = seen.folder
    if found is None:
        return None
    notes = [found.stopped] if found.stopped else []
    notes += [f"{found.unread} folders could not be read"] if found.unread else []
    return wire.AddonFolderOut(
        bytes=found.disk_bytes,
        entries=found.entries,
        complete=not notes,
        measured_at=rfc3339(seen.folder_wall_ms),
        note="; ".join(notes),
    )


def _error(addon_id: str, source: Source, failure: Failure) -> wire.AddonErrorOut:
    since = rfc3339(failure.since_wall_ms)
    return wire.AddonErrorOut(addon_id, source, failure.code, failure.sentence, since)
