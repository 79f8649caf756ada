"""The contract of `ports.runner.Runner`, as a suite that every implementation runs (PROVE-1).

Give a class of tests `RunnerContract` as its base and a fixture `subject`.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec
import pytest

from leasehold.model.run import Command, Ended, Fault, LogPart, RunKey, Stream
from leasehold.ports.runner import RunFailed, Runner

ENDS_S = 100.0
"""How long anything may take that takes some milliseconds on an idle machine."""


class Deed(msgspec.Struct, frozen=True):
    """What a command does: prints, sleeps, and exits; or `waits` for a signal, which it may be `deaf` to.

    It prints a line `ready` when it can be signalled.
    """

    code: int = 0
    out: bytes = b""
    err: bytes = b""
    waits: bool = False
    deaf: bool = False
    missing: bool = False


class Subject(Protocol):
    """One implementation, and the machine below it that outlives any server."""

    def runner(self) -> AbstractAsyncContextManager[Runner]:
        """A runner of a server that has just been started. What it runs goes on after it."""
        ...

    def argv(self, deed: Deed) -> tuple[bytes, ...]:
        """A command that does this."""
        ...

    async def lose_shim(self, runner: Runner, key: RunKey) -> None:
        """Somebody kills the shim of a run."""
        ...

    cwd: bytes


class Ends:
    """Collects what is told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.told: list[tuple[RunKey, Ended]] = []
        self._changed = asyncio.Event()

    def __call__(self, key: RunKey, ended: Ended) -> None:
        self.told.append((key, ended))
        self._changed.set()

    async def of(self, key: RunKey) -> Ended:
        """The end of a run, once it is told."""
        async with asyncio.timeout(ENDS_S):
            while True:
                for each, ended in self.told:
                    if each == key:
                        return ended
                self._changed.clear()
                await self._changed.wait()


async def whole_log(runner: Runner, key: RunKey, offset: int = 0, limit: int = 65_536) -> list[LogPart]:
    """Follow a log to its end, as `logs -f` does."""
    parts = []
    async with asyncio.timeout(ENDS_S):
        while True:
            part = await runner.log(key, offset, limit)
            parts.append(part)
            if part.is_over:
                return parts
            offset = part.next_offset
            if not part.chunks:
                await runner.more(key, offset, ENDS_S)


def printed(parts: list[LogPart], stream: Stream = Stream.OUT) -> bytes:
    """What a stream said."""
    return b"".join(each.data for part in parts for each in part.chunks if each.stream is stream)


async def ready(runner: Runner, key: RunKey) -> None:
    """Wait until a waiting deed can be signalled."""
    async with asyncio.timeout(ENDS_S):
        while b"ready" not in printed([part := await runner.log(key)]):
            assert not part.is_over, "it ended without ever being ready"
            await runner.more(key, part.next_offset, ENDS_S)


class RunnerContract:
    """What any implementation does."""

    @pytest.fixture
    def subject(self) -> Subject:
        raise NotImplementedError

    def command(self, subject: Subject, deed: Deed, number: int = 7, generation: int = 1) -> Command:
        return Command(RunKey(number, generation), subject.argv(deed), subject.cwd, grace_ms=20_000)

    @pytest.mark.requirement("QUEUE-15")
    @pytest.mark.parametrize("code", [0, 3, 255])
    async def test_a_command_runs_to_its_exit_code(self, subject: Subject, code: int) -> None:
        """Its end is told once, with its exit code, and stands there to be read."""
        async with subject.runner() as runner:
            ends = Ends()
            assert list(await runner.attach(ends)) == []
            started = await runner.start(self.command(subject, Deed(code)))
            assert started.ended is None or not ends.told
            ended = started.ended or await ends.of(started.key)
            assert (ended.exit_code, ended.signal, ended.fault) == (code, "", None), ended
            assert ended.ended_wall_ms >= ended.started_wall_ms > 0
            assert await runner.result(started.key) == ended
            assert len(ends.told) == (started.ended is None)

    @pytest.mark.requirement("QUEUE-15")
    async def test_output_is_kept_by_stream(self, subject: Subject) -> None:
        """What was printed is there to the byte, each stream for itself, and reads go on where one ended."""
        async with subject.runner() as runner:
            await runner.attach(Ends())
            deed = Deed(1, b"all\xff\0is well\n", b"not all\n")
            key = (await runner.start(self.command(subject, deed))).key
            parts = await whole_log(runner, key, limit=1)
            assert (printed(parts), printed(parts, Stream.ERR)) == (deed.out, deed.err)
            assert all(len(part.chunks) <= 1 for part in parts)
            tail = await runner.log(key, -1)
            assert tail.chunks == ()
            assert printed([await runner.log(key, -(1 << 40))]) == deed.out
            assert (await runner.log(key, 1 << 40)).next_offset == parts[-1].next_offset

    @pytest.mark.requirement("QUEUE-15")
    async def test_a_key_is_run_once(self, subject: Subject) -> None:
        """Two starts at once, and one after the end, all tell of the same run."""
        async with subject.runner() as runner:
            ends = Ends()
            await runner.attach(ends)
            command = self.command(subject, Deed(out=b"once\n", waits=True))
            first, second = await asyncio.gather(runner.start(command), runner.start(command))
            assert first == second
            assert first.process is not None
            await ready(runner, command.key)
            await runner.stop(command.key)
            ended = await ends.of(command.key)
            assert (await runner.start(command)).ended == ended
            assert printed(await whole_log(runner, command.key)).count(b"once\n") == 1

    @pytest.mark.requirement("QUEUE-15")
    async def test_sigterm_ends_it(self, subject: Subject) -> None:
        """Stopping says SIGTERM, and the end says who wanted it."""
        async with subject.runner() as runner:
            ends = Ends()
            await runner.attach(ends)
            command = self.command(subject, Deed(waits=True))
            await runner.start(command)
            await ready(runner, command.key)
            assert await runner.result(command.key) is None
            await runner.stop(command.key)
            ended = await ends.of(command.key)
            assert (ended.exit_code, ended.signal, ended.fault) == (None, "SIGTERM", Fault.STOPPED), ended
            await runner.stop(command.key)

    @pytest.mark.requirement("QUEUE-15")
    async def test_sigkill_ends_what_does_not_heed(self, subject: Subject) -> None:
        """After the grace nothing is asked any more; a shorter grace counts at once."""
        async with subject.runner() as runner:
            ends = Ends()
            await runner.attach(ends)
            command = self.command(subject, Deed(waits=True, deaf=True))
            await runner.start(command)
            await ready(runner, command.key)
            await runner.stop(command.key, 3_600_000)
            assert not await runner.more(command.key, 1 << 40, 0.05)
            assert await runner.result(command.key) is None
            await runner.stop(command.key, 100)
            ended = await ends.of(command.key)
            assert (ended.exit_code, ended.signal, ended.fault) == (None, "SIGKILL", Fault.STOPPED), ended

    @pytest.mark.requirement("QUEUE-15")
    async def test_a_missing_program_is_127(self, subject: Subject) -> None:
        """What a shell would say, and a sentence that names it."""
        async with subject.runner() as runner:
            ends = Ends()
            await runner.attach(ends)
            started = await runner.start(self.command(subject, Deed(missing=True)))
            ended = started.ended or await ends.of(started.key)
            assert (ended.exit_code, ended.fault) == (127, Fault.NOT_FOUND), ended
            assert "no such program" in ended.error

    @pytest.mark.requirement("QUEUE-13")
    async def test_a_server_that_comes_back_finds_what_runs(self, subject: Subject) -> None:
        """It runs on without a server; the next one tells of it, and of its end."""
        command = self.command(subject, Deed(5, waits=True))
        async with subject.runner() as runner:
            await runner.attach(Ends())
            before = await runner.start(command)
            await ready(runner, command.key)
        async with subject.runner() as runner:
            ends = Ends()
            assert list(await runner.attach(ends)) == [before]
            assert await runner.start(command) == before
            await runner.stop(command.key)
            assert (await ends.of(command.key)).signal == "SIGTERM"

    @pytest.mark.requirement("QUEUE-13")
    async def test_a_result_waits_for_the_server(self, subject: Subject) -> None:
        """What ended while nobody looked has its result and its log."""
        command = self.command(subject, Deed(4, b"bye\n"))
        async with subject.runner() as runner:
            await runner.attach(Ends())
            await runner.start(command)
        async with subject.runner() as runner:
            ends = Ends()
            found = await runner.attach(ends)
            ended = found[0].ended or await ends.of(command.key)
            assert ended.exit_code == 4
            assert printed(await whole_log(runner, command.key)) == b"bye\n"

    @pytest.mark.requirement("QUEUE-15")
    @pytest.mark.parametrize("is_away", [False, True])
    async def test_a_lost_shim_ends_the_run(self, subject: Subject, is_away: bool) -> None:
        """With its shim killed, its end is not known: it is told so, whether or not the server was there."""
        command = self.command(subject, Deed(waits=True))
        async with subject.runner() as runner:
            ends = Ends()
            await runner.attach(ends)
            await runner.start(command)
            await ready(runner, command.key)
            if not is_away:
                await subject.lose_shim(runner, command.key)
                ended = await ends.of(command.key)
                assert (ended.exit_code, ended.signal, ended.fault) == (None, "", Fault.SHIM_LOST), ended
        if is_away:
            await subject.lose_shim(runner, command.key)
        async with subject.runner() as runner:
            (found,) = await runner.attach(Ends())
            assert found.ended is not None
            assert (found.ended.fault, await runner.result(command.key)) == (Fault.SHIM_LOST, found.ended)
            assert (await whole_log(runner, command.key))[-1].is_over

    @pytest.mark.requirement("QUEUE-15")
    async def test_a_log_is_followed_live(self, subject: Subject) -> None:
        """Who waits for more is told at once when there is more, and when there will be none."""
        async with subject.runner() as runner:
            await runner.attach(Ends())
            command = self.command(subject, Deed(waits=True))
            await runner.start(command)
            await ready(runner, command.key)
            part = await runner.log(command.key)
            assert not await runner.more(command.key, part.next_offset, 0.01)
            waiting = asyncio.create_task(runner.more(command.key, part.next_offset, ENDS_S))
            await asyncio.sleep(0)
            await runner.stop(command.key)
            assert await waiting
            assert (await whole_log(runner, command.key, part.next_offset))[-1].is_over

    @pytest.mark.requirement("QUEUE-15")
    async def test_forgetting_keeps_what_is_wanted(self, subject: Subject) -> None:
        """A running one stays; a kept one is told of no more and can be read; a forgotten one is gone."""
        async with subject.runner() as runner:
            ends = Ends()
            await runner.attach(ends)
            command = self.command(subject, Deed(waits=True))
            await runner.start(command)
            await ready(runner, command.key)
            assert not await runner.forget(command.key, keep_log=False)
            await runner.stop(command.key)
            ended = await ends.of(command.key)
            for _ in range(2):
                assert await runner.forget(command.key, keep_log=True)
            assert await runner.result(command.key) == ended
            assert b"ready" in printed(await whole_log(runner, command.key))
            assert (await runner.start(command)).ended == ended
        async with subject.runner() as runner:
            assert list(await runner.attach(Ends())) == []
            for _ in range(2):
                assert await runner.forget(command.key, keep_log=False)
            for call in (runner.result, runner.log, runner.stop):
                with pytest.raises(RunFailed) as failure:
                    await call(command.key)
                assert failure.value.code == "NO_SUCH_RUN"

    @pytest.mark.requirement("QUEUE-15")
    async def test_runs_are_told_by_key(self, subject: Subject) -> None:
        """Generations and members of a gang are runs of their own, told in order."""
        keys = [RunKey(7, 1), RunKey(7, 2), RunKey(7, 2, 1), RunKey(8, 1), RunKey(1 << 40, 3)]
        async with subject.runner() as runner:
            ends = Ends()
            await runner.attach(ends)
            for key in reversed(keys):
                command = self.command(subject, Deed(key.generation))
                await runner.start(msgspec.structs.replace(command, key=key))
        async with subject.runner() as runner:
            ends = Ends()
            found = await runner.attach(ends)
            assert [each.key for each in found] == keys
            codes = [(each.ended or await ends.of(each.key)).exit_code for each in found]
            assert codes == [1, 2, 2, 1, 3]

    @pytest.mark.requirement("QUEUE-15")
    @pytest.mark.parametrize(
        "wrong",
        [
            {"argv": ()},
            {"argv": (b"",)},
            {"argv": (b"a\0b",)},
            {"argv": (b"a",) * 5_000},
            {"argv": (b"a", b"x" * (1 << 20))},
            {"cwd": b"here"},
            {"env": ((b"A=B", b"c"),)},
            {"place": "../../x"},
            {"memory_bytes": -1},
            {"log_bytes_max": 0},
            {"key": RunKey(-1, 0)},
        ],
        ids=str,
    )
    async def test_what_can_never_run_is_refused(self, subject: Subject, wrong: dict[str, object]) -> None:
        """With a sentence, and without a trace."""
        async with subject.runner() as runner:
            await runner.attach(Ends())
            command = msgspec.structs.replace(self.command(subject, Deed()), **wrong)
            with pytest.raises(RunFailed) as failure:
                await runner.start(command)
            assert failure.value.code == "BAD_COMMAND"
            with pytest.raises(RunFailed):
                await runner.result(command.key)
