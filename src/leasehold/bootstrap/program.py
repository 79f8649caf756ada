"""The server from start to stop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Coroutine, Mapping
from typing import Any

from leasehold import __version__
from leasehold.api.listening import remove_files
from leasehold.api.server_file import SERVER_FILE, remove_server_file, write_server_file
from leasehold.api.tls import keep
from leasehold.bootstrap.assembly import Assembly, StartError
from leasehold.bootstrap.machine import detect, disk_is_full
from leasehold.bootstrap.measures import publish_process
from leasehold.config import ConfigError, Loaded, load
from leasehold.control import figures
from leasehold.control.alerts import figures as alert_figures
from leasehold.model.errors import LeaseholdError
from leasehold.ports.store import CommitFailed, CommitUnknown, StoreError
from leasehold.runtime.lanes import ThreadLane
from leasehold.runtime.logging import get_logger
from leasehold.runtime.process import raise_file_limit

log = get_logger(__name__)

PAGES_S, COLLECTORS_S, COMMIT_S, DRAIN_S = 1.0, 1.5, 3.0, 2.0
"""How long a stop waits for pages, collectors, the last commit, answers: all of it under 10 s (OPS-28)."""

RETRY_START_S = 2.0
"""How often a store that can't be written at start (a full disk) is tried again."""


class Program(Assembly):
    """A server, from `start` to `stop`."""

    # -- life

    async def run(self) -> None:
        """Serve until told to stop. Raises StartError."""
        self._on_signals()
        self.logs.start(self.settings.log.level, self.settings.log.levels)
        self._take_up_rights()
        await self.server.start()
        self._announce()
        certificate = asyncio.create_task(self._keep_certificate(), name="certificate")
        recovery = asyncio.create_task(self._recover(), name="recovery")
        stopped = asyncio.create_task(self.stopping.wait(), name="until-stopped")
        try:
            await asyncio.wait((recovery, stopped), return_when=asyncio.FIRST_COMPLETED)
            if recovery.done():
                recovery.result()
            await stopped
        finally:
            for task in (recovery, stopped, certificate):
                task.cancel()
            await asyncio.gather(recovery, stopped, certificate, return_exceptions=True)
            await self._stop()

    def _announce(self) -> None:
        try:
            lan = next((one for one in self.listeners if one.tls is not None), None)
            write_server_file(self.data, self.listeners[0].sock, self.clock.wall_ms(), lan)
        except OSError as error:  # A full disk: the sockets answer all the same, and it is tried again.
            log.warning("server_file_not_written", why=str(error))

    async def _keep_certificate(self) -> None:
        """Renew it in time, and when the machine gets another address or the settings are read again."""
        for tls in (one.tls for one in self.listeners if one.tls is not None):
            await keep(tls, ThreadLane("certificate").run, self.reloaded, self._announce)

    async def _recover(self) -> None:
        await asyncio.to_thread(self.app.prepare)
        while True:
            try:
                await self.supervisor.start()
                break
            except (StoreError, LeaseholdError) as error:
                if not isinstance(error, CommitFailed | CommitUnknown) and not disk_is_full(self.data):
                    raise StartError(str(error)) from error
                self.pipeline.not_ready = f"the store can't be written: {error}"
                log.error("store_unavailable_at_start", why=str(error))
                await self.store.close()
                await asyncio.sleep(RETRY_START_S)
        figures.publish(self.telemetry, self.leases, self.supervisor, self.sense)
        figures.of_storage(self.telemetry, self.storage)
        await self._tell_restored()
        preset, started_s = lambda: self.settings.quiet.preset, self.clock.wall_ms() / 1_000
        publish_process(
            self.telemetry, self.server, self.requests, self.logs, preset=preset, started_s=started_s
        )
        alert_figures.publish(
            self.telemetry,
            self.alerts,
            self.pulse,
            self.measures,
            self.timed.commits,
            self.clock,
            lambda: self.logs.errors,
        )
        self.telemetry.figure("leasehold_pages_open", lambda: self.dashboard.viewers)
        gc.collect()
        gc.freeze()
        self.pipeline.services = self.services()
        await self.sense.start()
        self.forecast.start()
        self.storage.start()
        await asyncio.to_thread(self.telemetry.prepare)
        if not (self.data / SERVER_FILE).exists():
            self._announce()
        log.info(
            "ready",
            version=__version__,
            preset=self.settings.quiet.preset,
            preset_reason=self.loaded.preset_reason,
            data=str(self.data),
        )

    async def _tell_restored(self) -> None:
        """A restore that could not be done is said where people look for it; one that was, by the store."""
        if self.restored is not None and self.restored[1]:
            await self.storage.failed_restore(*self.restored)

    async def _stop(self) -> None:
        """Stop accepting, answer held calls, commit what is open, end every loop (OPS-28)."""
        log.info("stopping")
        self.pipeline.stopping = True
        await self.server.stop_accepting()
        await self._within(PAGES_S, "pages", self.dashboard.close())
        await self._within(PAGES_S, "sessions", self.sessions.close())
        await self._within(COLLECTORS_S, "forecast", self.forecast.stop())
        await self._within(COLLECTORS_S, "collectors", self.sense.stop())
        await self._within(COLLECTORS_S, "storage", self.storage.stop())
        await self._within(COMMIT_S, "store", self.supervisor.stop(self.archive.close))
        late = await self.server.drain(DRAIN_S)
        await self.server.close()
        remove_server_file(self.data)
        remove_files(self.listeners)
        log.info("stopped", calls_cut=late)
        self.logs.close()

    async def _within(self, limit_s: float, what: str, work: Coroutine[Any, Any, None]) -> None:
        """One step of a stop: it may fail or hang, and the next one is taken all the same."""
        try:
            async with asyncio.timeout(limit_s):
                await work
        except TimeoutError:
            log.error("stop_gave_up", what=what, after_s=limit_s)
        except Exception:
            log.exception("stop_failed", what=what)

    # -- signals

    def _on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_soon, number)
        loop.add_signal_handler(signal.SIGHUP, self.reload)

    def _stop_soon(self, number: int) -> None:
        if self.stopping.is_set():
            os._exit(128 + number)
        self.stopping.set()

    def reload(self) -> None:
        """Take up what can be changed while running (SIGHUP); one with an error changes nothing."""
        try:
            self.loaded = load(self.loaded.flags, self.env, detect)
        except ConfigError as error:
            log.error("config_refused", why=str(error))
            return
        self.settings = self.loaded.settings
        self.policy = self.settings.policy
        self.sense.settings = self.settings.quiet
        self._take_up_rights()
        self.reloaded.set()
        self.leases.line.dispatch()  # There may be more room now.
        for name, level in {"leasehold": self.settings.log.level, **self.settings.log.levels}.items():
            self.logs.set_level(name, level)
        log.info("config_taken_up", file=str(self.loaded.file))


def serve(loaded: Loaded, env: Mapping[str, str]) -> None:
    """Run the server in this process until it is stopped. Raises ConfigError, StartError."""
    import uvloop

    if loaded.settings.preset == "auto":
        loaded = load(loaded.flags, env, detect)
    raise_file_limit()

    async def main() -> bool:
        program = Program(loaded, env)
        await program.run()
        return program.starts_anew

    if uvloop.run(main()):
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
