"""Watching add-ons: whether they answer, what they tell, what their folders hold (SENSE-5, 21, 22).

Each add-on has collectors of its own, so that one which is slow, broken or gone delays no other. All that is
seen is volatile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Literal

import msgspec

from leasehold.control.collectors import Collector, Collectors, CollectorState, Lane
from leasehold.core import addon as addons
from leasehold.core import samples
from leasehold.model.addon import Addon, FolderSize, Lifecycle, RequestFigures, Worst
from leasehold.ports.addon import Folders, Probe, ProbeFailed
from leasehold.ports.clock import Clock

FOLLOW_MS = 2_000
"""How often the registry is compared with what is watched: a change of it is taken up at once, this is the
safety net (a recovery, a commit that was taken back)."""

HEALTH_MS, HEALTH_TIMEOUT_S = 30_000, 5.0
STATS_MS, STATS_TIMEOUT_S = 10_000, 3.0
FOLDER_MS, FOLDER_TIMEOUT_S = 90_000, 10.0
SPARE_MS = 2_000
"""The collector's own limit is later than that of the call, which tells better what was the matter."""

FRESH_MS = 30_000
"""Figures that are older count for nothing."""

ABSENT_MS = 300_000
"""How long an add-on that has no stats is not asked for them again."""

ANSWER_BYTES_MAX = 64 << 10
NO_STATS = (404, 405, 501)
WALKS_AT_ONCE = 1

Source = Literal["health", "stats", "folder"]


class Failure(msgspec.Struct, frozen=True):
    """Why something can't be told of an add-on, and since when (wall time)."""

    code: str
    sentence: str
    since_wall_ms: int


class Seen:
    """What is known of one add-on. Times end in `_ms` on the ledger's clock, in `_wall_ms` in wall time."""

    def __init__(self, record: Addon) -> None:
        self.record = record
        self.answered: bool | None = None
        self.checked_wall_ms: int | None = None
        self.ok_wall_ms: int | None = None
        self.latency_ms: int | None = None
        self.failures: dict[Source, Failure] = {}
        self.folder: FolderSize | None = None
        self.folder_wall_ms = 0
        self.figures = RequestFigures()
        self.told_ms: int | None = None
        self.told_wall_ms: int | None = None
        self.custom = b"null"
        self.numbers: dict[str, float] = {}
        self.no_stats_until_ms = 0

    def is_fresh(self, now_ms: int) -> bool:
        """Whether what it told counts."""
        return self.told_ms is not None and now_ms - self.told_ms <= FRESH_MS

    def lifecycle(self, now_ms: int) -> Lifecycle:
        """One that has no address shows by what it tells that it lives."""
        if not self.record.enabled:
            return Lifecycle.INSTALLED
        answers = self.answered
        if not self.record.base_url and self.told_ms is not None:
            answers = self.is_fresh(now_ms)
        if answers is None:
            return Lifecycle.ENABLED
        return Lifecycle.LOADED if answers else Lifecycle.ERROR

    def failing(self, now_ms: int) -> dict[Source, Failure]:
        """What is wrong with it now. Silence is a failure too, of one that has told something before."""
        found = dict(self.failures)
        if self.lifecycle(now_ms) is Lifecycle.ERROR and "health" not in found:
            age_s = (now_ms - (self.told_ms or 0)) // 1000
            sentence = f"nothing was told for {age_s} s (expected every {STATS_MS // 1000} s)"
            found["health"] = Failure("SILENT", sentence, self.told_wall_ms or 0)
        return found


class AddonWatch:
    """Follows the registry. `registered` gives the records as they are now; `lane` makes a thread by name."""

    def __init__(
        self,
        registered: Callable[[], Mapping[str, Addon]],
        probe: Probe,
        folders: Folders,
        clock: Clock,
        jitter: Callable[[], float],
        lane: Callable[[str], Lane],
    ) -> None:
        self.seen: dict[str, Seen] = {}
        self._registered = registered
        self._probe = probe
        self._folders = folders
        self._clock = clock
        self._lane = lane
        self._walks = asyncio.Semaphore(WALKS_AT_ONCE)
        self._collectors = Collectors(clock, jitter, lane)
        self._collectors.add(Collector("addons", FOLLOW_MS, FOLLOW_MS, take=lambda _: self.refresh()))

    def start(self) -> None:
        """Begin to watch."""
        self.refresh()
        self._collectors.start()

    async def stop(self) -> None:
        """Within two seconds, also where a folder hangs."""
        await self._collectors.stop()

    def states(self) -> list[CollectorState]:
        """SENSE-8."""
        return self._collectors.states()

    def errors(self) -> dict[str, str]:
        """By collector."""
        return self._collectors.errors()

    # -- following the registry

    def refresh(self) -> None:
        """Watch whoever is registered and enabled, as it is registered now."""
        registered = self._registered()
        for addon_id in [each for each in self.seen if each not in registered]:
            self._unfollow(addon_id)
        for addon_id, record in registered.items():
            seen = self.seen.get(addon_id)
            if seen is not None and seen.record is record:
                continue
            if seen is not None and _place(seen.record) == _place(record):
                seen.record = record
                continue
            self._unfollow(addon_id)
            self._follow(record)

    def _unfollow(self, addon_id: str) -> None:
        self.seen.pop(addon_id, None)
        for what in ("health", "stats", "folder"):
            self._collectors.remove(f"addon:{addon_id}:{what}")

    def _follow(self, record: Addon) -> None:
        seen = self.seen[record.addon_id] = Seen(record)
        if not record.enabled:
            return
        url = _url(record)
        if record.base_url and url is None:  # Written by a version that knows more: no reason to stop here.
            self._failed(seen, "health", "INVALID", f"{record.base_url} is no address that is known here")
        if url is not None:
            self._add(seen, "health", HEALTH_MS, HEALTH_TIMEOUT_S, partial(self._health, seen, url))
            self._add(seen, "stats", STATS_MS, STATS_TIMEOUT_S, partial(self._stats, seen, url))
        if record.runtime_dir:
            lane = self._lane(f"folder-{record.addon_id}")
            walk = partial(self._folder, seen, lane)
            self._add(seen, "folder", FOLDER_MS, FOLDER_TIMEOUT_S * addons.ADDONS_MAX, walk, close=lane.close)

    def _add(
        self,
        seen: Seen,
        what: Source,
        every_ms: int,
        timeout_s: float,
        fetch: Callable[[], Awaitable[None]],
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._collectors.add(
            Collector(
                name=f"addon:{seen.record.addon_id}:{what}",
                interval_ms=every_ms,
                timeout_ms=int(timeout_s * 1000) + SPARE_MS,
                take=lambda _: None,
                fetch=partial(self._noted, seen, what, fetch),
                removed=close,
            )
        )

    async def _noted(self, seen: Seen, what: Source, fetch: Callable[[], Awaitable[None]]) -> None:
        """One call, with its failure kept until one succeeds. Raises what it raised."""
        try:
            await fetch()
        except ProbeFailed as error:
            self._failed(seen, what, error.code, error.sentence)
            raise
        except Exception as error:
            self._failed(seen, what, _code_of(error), str(error))
            raise
        seen.failures.pop(what, None)

    def _failed(self, seen: Seen, what: Source, code: str, sentence: str) -> None:
        before = seen.failures.get(what)
        same = before is not None and before.code == code
        since_ms = before.since_wall_ms if same and before is not None else self._clock.wall_ms()
        seen.failures[what] = Failure(code, sentence[:500], since_ms)

    # -- asking

    async def _health(self, seen: Seen, url: addons.Url) -> None:
        started_ms = self._clock.now_ms()
        try:
            answer = await _within(
                HEALTH_TIMEOUT_S,
                f"{url}/health",
                self._probe.get(url, "/health", bytes_max=ANSWER_BYTES_MAX),
            )
            if not 200 <= answer.status < 300:
                raise ProbeFailed(f"HTTP_{answer.status}", f"{url}/health answered {answer.status}")
        except Exception:
            seen.answered, seen.latency_ms = False, None
            seen.checked_wall_ms = self._clock.wall_ms()
            raise
        seen.answered, seen.latency_ms = True, self._clock.now_ms() - started_ms
        seen.checked_wall_ms = seen.ok_wall_ms = self._clock.wall_ms()

    async def _stats(self, seen: Seen, url: addons.Url) -> None:
        if self._clock.now_ms() < seen.no_stats_until_ms:
            return
        path = f"/api/addons/{seen.record.addon_id}/stats"
        answer = await _within(
            STATS_TIMEOUT_S, f"{url}{path}", self._probe.get(url, path, bytes_max=ANSWER_BYTES_MAX)
        )
        if answer.status in NO_STATS:
            seen.no_stats_until_ms = self._clock.now_ms() + ABSENT_MS
            return
        if answer.status != 200:
            raise ProbeFailed(f"HTTP_{answer.status}", f"{url}{path} answered {answer.status}")
        document = _document(answer.body)
        said = document.pop("requests", None)
        figures, why = addons.judged({} if said is None else said)
        self.told(seen, figures, document)
        if why:
            raise ProbeFailed("INVALID", why)

    def told(self, seen: Seen, figures: RequestFigures, custom: dict[str, Any]) -> None:
        """Take in what an add-on has told of itself, as of now."""
        seen.figures, seen.custom = figures, msgspec.json.encode(custom)
        seen.numbers = addons.numbers(custom)
        seen.told_ms, seen.told_wall_ms = self._clock.now_ms(), self._clock.wall_ms()

    async def _folder(self, seen: Seen, lane: Lane) -> None:
        if lane.busy:
            raise TimeoutError(f"an earlier walk of {seen.record.runtime_dir} has not come back")
        async with self._walks:
            what = f"a walk of {seen.record.runtime_dir}"
            walk = lane.run(self._folders.size, seen.record.runtime_dir)
            seen.folder = await _within(FOLDER_TIMEOUT_S, what, walk)
        seen.folder_wall_ms = self._clock.wall_ms()

    # -- what follows from it

    def worst(self) -> Worst:
        """What presses on quietness: the figures that are fresh, of those that are enabled (SENSE-22)."""
        now_ms = self._clock.now_ms()
        return addons.worst(
            {
                addon_id: seen.figures
                for addon_id, seen in self.seen.items()
                if seen.record.enabled and seen.is_fresh(now_ms)
            }
        )

    def samples(self) -> dict[str, dict[str, float]]:
        """What history keeps: the fields of each enabled add-on, by metric group."""
        now_ms = self._clock.now_ms()
        return {
            f"addon:{addon_id}": samples.addon(
                up=seen.lifecycle(now_ms) is Lifecycle.LOADED,
                latency_ms=seen.latency_ms,
                folder_bytes=seen.folder.disk_bytes if seen.folder is not None else None,
                figures=seen.figures if seen.is_fresh(now_ms) else RequestFigures(),
                custom=seen.numbers if seen.is_fresh(now_ms) else {},
            )
            for addon_id, seen in sorted(self.seen.items())
            if seen.record.enabled
        }


def _url(record: Addon) -> addons.Url | None:
    try:
        return addons.base_url(record.base_url)
    except ValueError:
        return None


def _code_of(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "TIMEOUT"
        case OSError():
            return "UNREADABLE"
        case _:
            return "FAILED"


def _place(record: Addon) -> tuple[bool, str, str]:
    """What has to be watched anew where it changes."""
    return record.enabled, record.base_url, record.runtime_dir


async def _within(limit_s: float, what: str, work: Awaitable[Any]) -> Any:
    try:
        async with asyncio.timeout(limit_s):
            return await work
    except TimeoutError:
        raise TimeoutError(f"{what} took longer than {limit_s:g} s") from None


def _document(body: bytes) -> dict[str, Any]:
    """The stats of an add-on. Raises ProbeFailed."""
    try:
        found = msgspec.json.decode(body)
    except RecursionError:
        raise ProbeFailed("TOO_DEEP", "the stats are nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ProbeFailed("NOT_JSON", "the stats are not JSON in UTF-8") from None
    if not isinstance(found, dict):
        raise ProbeFailed("NOT_JSON", "the stats are no JSON object")
    if addons.deeper_than(found, addons.DEPTH_MAX):
        raise ProbeFailed("TOO_DEEP", f"the stats are nested deeper than {addons.DEPTH_MAX} levels")
    return found
