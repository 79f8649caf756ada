"""The service of care for the store: backups that are proven, restores, compaction (OPS-15, OPS-16).

What is done by schedule asks for a lease first; what a person asks for is done at once. One piece of care
runs at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, NamedTuple, TypeVar

import structlog

from leasehold.control import storage_views as views
from leasehold.control.lease import LeaseService
from leasehold.control.storage_lease import asked
from leasehold.control.views import rfc3339
from leasehold.core import storage as decisions
from leasehold.model.errors import Conflict, LeaseholdError, NotFound, Unavailable
from leasehold.model.principal import Principal
from leasehold.model.settings import BackupSettings
from leasehold.model.storage import Care, Intent, Manifest, Sizes, StorageRun
from leasehold.ports.storage import BackupFailed, Storage
from leasehold.ports.store import StoreError
from leasehold.wire import storage as wire

log = structlog.get_logger(__name__)

LOOK_MS = 60_000
"""How often it is looked whether anything is due; also how soon after a start a stale backup is renewed."""

AGAIN_MS = 3_600_000
"""When what failed by schedule is tried again."""

COMPACT_EVERY_MS = 6 * 3_600_000
FRESH_MS = 6 * 3_600_000
"""A compaction follows a backup that is younger than this, or makes one."""

SLICE_PAGES, SLICE_PAUSE_MS = 64, 20
"""256 KiB a slice: 3 ms of the writer, and then time for others."""

WHY_MAX = 500
OWN_NAME = "leasehold"

T = TypeVar("T")


class Done(NamedTuple, Generic[T]):
    """What a piece of care has brought."""

    answer: T
    bytes: int = 0
    backup_id: str = ""


class StorageService:
    """One per server. `restart` is called once a restore has been noted: the server stops and starts anew."""

    def __init__(
        self,
        leases: LeaseService,
        storage: Storage,
        settings: Callable[[], BackupSettings],
        zone: str,
        restart: Callable[[], None],
    ) -> None:
        self._leases = leases
        self._ledger = leases.ledger
        self._clock = leases.ledger.clock
        self._storage = storage
        self._settings = settings
        self._zone = zone
        self._restart = restart
        self.running = ""
        self.last_good: Manifest | None = None
        self.failing: dict[Care, StorageRun] = {}
        """The last run of a kind, where it failed."""
        self.last_sizes: Sizes | None = None
        self.counts = (0, 0)
        """Backups that can be used, and folders that can't."""
        self._again_ms = 0
        self._compact_ms = 0
        self._loop: asyncio.Task[None] | None = None

    # -- life

    def start(self) -> None:
        """Look after the store from now on."""
        self._compact_ms = self._clock.now_ms() + COMPACT_EVERY_MS
        for run in decisions.newest_of_each(self._ledger.state):
            if run.why:
                self.failing.setdefault(run.care, run)
        self._loop = asyncio.create_task(self._look(), name="storage")

    async def stop(self) -> None:
        """End what runs: an unfinished backup leaves nothing. Idempotent."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)
        await self._storage.close()

    async def failed_restore(self, intent: Intent, why: str) -> None:
        """A restore that was asked for could not be done when the store was opened: said, and noted."""
        now_ms = self._clock.wall_ms()
        run = self._run(
            Care.RESTORE,
            now_ms,
            intent.by,
            "command",
            run_id=intent.restore_id,
            backup_id=intent.backup_id,
            why=why,
        )
        await self._note(run)

    async def _look(self) -> None:
        while True:
            try:
                await self.look()
            except (LeaseholdError, StoreError) as error:
                log.warning("storage_not_looked_after", why=str(error))
            except Exception:  # The loop outlives what it does; the next round tries again.
                log.exception("storage")
            await self._clock.sleep(LOOK_MS)
            await self._care()

    async def look(self) -> None:
        """Take up how things stand: figures, and the last good backup."""
        self.last_sizes = await self._storage.sizes()
        await self._manifests()

    async def _manifests(self) -> list[Manifest]:
        listed = await self._storage.listed()
        found = [one.manifest for one in listed if one.manifest is not None]
        self.counts = (len(found), len(listed) - len(found))
        self.last_good = decisions.last_good(found, self._clock.wall_ms())
        return found

    async def _care(self) -> None:
        try:
            await self.care()
        except (LeaseholdError, StoreError) as error:
            log.warning("care_failed", why=str(error))
        except Exception:
            log.exception("care")

    async def care(self) -> None:
        """Do what is due by schedule, each after it was granted a lease."""
        settings, now_ms = self._settings(), self._clock.now_ms()
        if self.running or now_ms < self._again_ms or not self._ledger.ready:
            return
        await self.look()
        if settings.enabled and self._is_due(settings):
            self._again_ms = now_ms + AGAIN_MS
            async with asked(self._leases, "store-backup", 60):
                await self._manifests()
                if self._is_due(settings) and not self.running:  # Somebody may have made one meanwhile.
                    await self._backup(OWN_NAME, "schedule")
            self._again_ms = 0
        if self._clock.now_ms() >= self._compact_ms:
            self._compact_ms = self._clock.now_ms() + COMPACT_EVERY_MS
            sizes = await self._storage.sizes()
            if sizes.in_slices and decisions.is_fragmented(sizes):
                async with asked(self._leases, "store-compaction", 120):
                    await self._compact(OWN_NAME, "schedule")

    def _is_due(self, settings: BackupSettings) -> bool:
        last_ms = self.last_good.made_wall_ms if self.last_good is not None else None
        return decisions.is_due(last_ms, self._clock.wall_ms(), settings.at, self._zone)

    # -- what people ask for

    async def backups(self) -> wire.Backups:
        """All backups that are there. Raises Unavailable where their folder can't be read."""
        settings = self._settings()
        try:
            listed = await self._storage.listed()
        except BackupFailed as error:
            raise Unavailable(str(error)) from error
        return wire.Backups(
            folder=self._storage.folder,
            keep=settings.keep,
            enabled=settings.enabled,
            backups=[views.listed(one) for one in listed],
            next_at=rfc3339(self._next_ms(settings)) if settings.enabled else None,
            running=self.running,
        )

    def _next_ms(self, settings: BackupSettings) -> int:
        wall_ms = self._clock.wall_ms()
        if self._is_due(settings):
            return wall_ms
        return decisions.next_ms(wall_ms, settings.at, self._zone)

    async def backup(self, principal: Principal) -> wire.BackupOut:
        """Make one now. Raises Conflict while care is being taken, Unavailable where it failed."""
        return views.backup(await self._asked_for(lambda: self._backup(principal.name, "command")))

    async def check(self, principal: Principal, backup_id: str) -> wire.BackupOut:
        """Restore it on trial again. Raises NotFound, Conflict where it is damaged."""
        await self._known(backup_id)
        return views.backup(await self._asked_for(lambda: self._check(principal.name, backup_id)))

    async def compact(self, principal: Principal) -> wire.CareOut:
        """Give free pages back now. Raises Conflict, Unavailable."""
        return views.run(await self._asked_for(lambda: self._compact(principal.name, "command")))

    async def restore(self, principal: Principal, body: wire.RestoreIn) -> wire.RestoreOut:
        """Put a backup in the place of the store, by a new start. Raises NotFound, Conflict, Unavailable."""
        manifest = await self._known(body.backup_id)
        answer = wire.RestoreOut(views.backup(manifest), await self._loss(body.backup_id))
        if body.dry_run:
            return answer
        await self._asked_for(lambda: self._check(principal.name, body.backup_id))
        wall_ms = self._clock.wall_ms()
        intent = Intent(
            restore_id=self._ledger.ids.new("care"),
            backup_id=manifest.backup_id,
            folder=f"{self._storage.folder}/{manifest.backup_id}",
            kept=decisions.kept_name(wall_ms),
            by=principal.name,
            asked_wall_ms=wall_ms,
        )
        try:
            await self._storage.intend(intent)
        except BackupFailed as error:
            raise Unavailable(str(error)) from error
        log.warning("restore_asked_for", backup_id=manifest.backup_id, by=principal.name)
        self._restart()
        answer.restarting, answer.restore_id, answer.kept = True, intent.restore_id, intent.kept
        return answer

    async def report(self) -> wire.StorageOut:
        """Sizes, fragmentation, the last backup and the last runs. Raises Unavailable."""
        try:
            self.last_sizes = await self._storage.sizes()
            await self._manifests()
        except StoreError as error:
            raise Unavailable(str(error)) from error
        runs = await self._ledger.read(lambda state: list(state.storage_runs.values()))
        runs.sort(key=lambda one: (one.ended_wall_ms, one.run_id), reverse=True)
        failed = max(self.failing.values(), key=lambda one: one.ended_wall_ms, default=None)
        return views.report(
            self.last_sizes, runs, self.last_good, failed, self.running, self._ledger.read_only
        )

    async def _known(self, backup_id: str) -> Manifest:
        """A backup by its id, or by enough letters of it. Raises NotFound, Conflict where it is damaged."""
        try:
            listed = await self._storage.listed()
        except BackupFailed as error:
            raise Unavailable(str(error)) from error
        found = [one for one in listed if one.backup_id == backup_id]
        if not found:
            raise NotFound(f"there is no backup {backup_id} in {self._storage.folder}", backup_id=backup_id)
        if found[0].manifest is None:
            raise Conflict(found[0].problem, backup_id=found[0].backup_id)
        return found[0].manifest

    async def _loss(self, backup_id: str) -> wire.Loss | None:
        try:
            return views.loss(await self._storage.since(backup_id))
        except BackupFailed as error:
            log.info("loss_unknown", why=str(error))
            return None

    async def _asked_for(self, work: Callable[[], Awaitable[T]]) -> T:
        if self.running:
            raise Conflict(f"{self.running} is under way; try again when it is done")
        return await work()

    # -- the pieces of care

    async def _backup(self, by: str, reason: str) -> Manifest:
        settings = self._settings()
        unreadable = self._ledger.state.quarantined_count

        async def work() -> Done[Manifest]:
            made = await self._storage.make(reason, samples=settings.samples, unreadable=unreadable)
            return Done(made, made.bytes, made.backup_id)

        made = await self._do(Care.BACKUP, by, reason, work)
        await self._drop_surplus(settings.keep)
        return made

    async def _drop_surplus(self, keep: int) -> None:
        for old in decisions.surplus(await self._manifests(), keep):
            try:
                await self._storage.drop(old.backup_id)
                log.info("backup_dropped", backup_id=old.backup_id)
            except BackupFailed as error:
                log.warning("backup_not_dropped", backup_id=old.backup_id, why=str(error))

    async def _check(self, by: str, backup_id: str) -> Manifest:
        async def work() -> Done[Manifest]:
            found = await self._storage.check(backup_id)
            return Done(found, found.bytes, backup_id)

        return await self._do(Care.CHECK, by, "command", work, backup_id)

    async def _compact(self, by: str, reason: str) -> StorageRun:
        sizes = await self._storage.sizes()
        if not sizes.in_slices:
            raise Conflict(
                "this store was made by a version before, and can be compacted in one piece only: "
                "`leasehold down`, `leasehold store compact`, `leasehold up`"
            )
        await self._manifests()
        if self.last_good is None or self.last_good.made_wall_ms < self._clock.wall_ms() - FRESH_MS:
            await self._backup(by, reason)

        async def work() -> Done[None]:
            await self._slices(sizes)
            after = await self._storage.sizes()
            self.last_sizes = after
            return Done(None, max(0, sizes.file_bytes - after.file_bytes))

        await self._do(Care.COMPACTION, by, reason, work)
        done = [one for one in self._ledger.state.storage_runs.values() if one.care is Care.COMPACTION]
        return max(done, key=lambda one: (one.ended_wall_ms, one.run_id))

    async def _slices(self, sizes: Sizes) -> None:
        """At most as many as there were free pages, and some more for what is freed meanwhile."""
        for _ in range(sizes.pages // SLICE_PAGES + 100):
            if self._ledger.read_only:
                raise BackupFailed(f"the store can't be written: {self._ledger.read_only}")
            if not await self._storage.compact(SLICE_PAGES):
                return
            await self._clock.sleep(SLICE_PAUSE_MS)

    async def _do(
        self,
        care: Care,
        by: str,
        reason: str,
        work: Callable[[], Awaitable[Done[T]]],
        backup_id: str = "",
    ) -> T:
        """Do it alone, and note how it ended. Raises Unavailable, or Conflict for a damaged backup."""
        began_ms = self._clock.wall_ms()
        self.running = f"a {care}"
        try:
            done = await work()
        except StoreError as error:
            await self._note(self._run(care, began_ms, by, reason, backup_id=backup_id, why=str(error)))
            kind = Conflict if care is Care.CHECK else Unavailable
            raise kind(str(error)) from error
        finally:
            self.running = ""
        await self._note(self._run(care, began_ms, by, reason, backup_id=done.backup_id, size=done.bytes))
        return done.answer

    def _run(
        self,
        care: Care,
        began_ms: int,
        by: str,
        reason: str,
        *,
        run_id: str = "",
        backup_id: str = "",
        why: str = "",
        size: int = 0,
    ) -> StorageRun:
        return StorageRun(
            run_id=run_id or self._ledger.ids.new("care"),
            care=care,
            began_wall_ms=began_ms,
            ended_wall_ms=max(began_ms, self._clock.wall_ms()),
            by=by,
            reason=reason,
            backup_id=backup_id,
            why=why[:WHY_MAX],
            bytes=size,
        )

    async def _note(self, run: StorageRun) -> None:
        """Write it down; where the store takes no writes now, it is committed first once it does."""
        if run.why:
            self.failing[run.care] = run
            log.error("care_failed", care=run.care.value, backup_id=run.backup_id, why=run.why)
        else:
            self.failing.pop(run.care, None)
        decide = partial(decisions.ran, run)
        try:
            await self._ledger.execute(decide)
        except LeaseholdError as error:
            log.info("care_noted_later", why=error.message)
            self._ledger.remember(f"care {run.run_id}", decide)
