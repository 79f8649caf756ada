"""Commands of all sorts under the built-in runner: each ends as it should, is measured, leaves nothing."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from leasehold.adapters.hosts import cgroups, limits, run_order
from leasehold.adapters.hosts.brakes import LinuxBrakes
from leasehold.adapters.hosts.files import read
from leasehold.adapters.hosts.processes import stat
from leasehold.model.run import Command, Ended, Fault, RunKey, Started, Stream
from leasehold.model.work import WorkQuery
from leasehold.ports.runner import RunFailed
from leasehold.testing.runner_contract import ENDS_S, Deed, Ends, printed, ready, whole_log
from tests.contract.test_runner import HOME, PLACE, OnLinux, gone

MIB = 1 << 20
EATS = "b = bytearray(512 << 20); import time; time.sleep(60)"
FORKS_AWAY = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(1, b'%d\\n' % os.getpid())
        time.sleep(600)
    os._exit(0)
time.sleep(0.2)
"""

ENDS_ITSELF = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.write(1, b'ready')
signal.sigwait([signal.SIGTERM])
os.write(1, b'bye')
os._exit(9)
"""


@pytest.fixture(params=["places", "tree"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OnLinux]:
    """With cgroups, and as if there were none."""
    groups = cgroups.find(HOME) if request.param == "places" else None
    if request.param == "places" and groups is None:
        pytest.skip("no cgroup can be made by this user on this machine")
    os.chmod(tmp_path, 0o755)
    found = OnLinux(tmp_path, groups)
    yield found
    found.close()


def script(machine: OnLinux, text: str, **more: object) -> Command:
    """A command of bash."""
    return command(machine, "bash", "-c", text, **more)


def command(machine: OnLinux, *argv: str | bytes, **more: object) -> Command:
    words = tuple(os.fsencode(each) for each in argv)
    place = PLACE if machine.groups is not None else ""
    wanted = Command(RunKey(1, 1), words, machine.cwd, place=place, grace_ms=60_000)
    return msgspec.structs.replace(wanted, **more)


async def run(machine: OnLinux, wanted: Command) -> tuple[Ended, bytes]:
    """To its end, and what it printed."""
    async with machine.runner() as runner:
        ends = Ends()
        await runner.attach(ends)
        ended = (await runner.start(wanted)).ended or await ends.of(wanted.key)
        return ended, printed(await whole_log(runner, wanted.key, limit=1 << 20))


def needs_memory_limit(machine: OnLinux) -> None:
    if machine.groups is None or not limits.tried(machine.groups).memory_bytes:
        pytest.skip("memory can't be limited as a whole here")


@pytest.mark.requirement("QUEUE-15")
async def test_a_signal_is_told_by_name(machine: OnLinux) -> None:
    """A command that dies of a signal that we have not sent has no fault, and no exit code."""
    ended, _ = await run(machine, script(machine, "kill -SEGV $$"))
    assert (ended.exit_code, ended.signal, ended.fault, ended.error) == (None, "SIGSEGV", None, "")


@pytest.mark.requirement("QUEUE-15")
async def test_what_forks_away_is_ended(machine: OnLinux) -> None:
    """A daemon that left its session and heeds no SIGTERM is killed after the grace, and that is told."""
    wanted = command(machine, sys.executable, "-c", FORKS_AWAY, grace_ms=300)
    ended, out = await run(machine, wanted)
    assert (ended.exit_code, ended.left_behind) == (0, 1)
    assert "outlived" in ended.error
    gone(int(out))


@pytest.mark.requirement("QUEUE-15")
async def test_what_ends_soon_after_is_waited_for(machine: OnLinux) -> None:
    """The tail of a pipeline may outlive the command: what it prints is kept, and nobody is killed."""
    ended, out = await run(machine, script(machine, "{ sleep 0.3; echo late; } & exit 0"))
    assert (ended.exit_code, ended.left_behind, out) == (0, 0, b"late\n")


@pytest.mark.requirement("QUEUE-15")
@pytest.mark.parametrize("is_away", [False, True])
async def test_what_forks_away_dies_with_the_shim(machine: OnLinux, is_away: bool) -> None:
    """A shim that was killed leaves nobody running on unnoticed, not even a daemon."""
    wanted = command(machine, sys.executable, "-c", FORKS_AWAY + "time.sleep(600)")
    async with machine.runner() as runner:
        ends = Ends()
        await runner.attach(ends)
        await runner.start(wanted)
        async with asyncio.timeout(ENDS_S):
            while not (out := printed([await runner.log(wanted.key)])):
                await runner.more(wanted.key, 0, ENDS_S)
        if not is_away:
            await machine.lose_shim(runner, wanted.key)
            assert (await ends.of(wanted.key)).left_behind >= 1
    if is_away:
        await machine.lose_shim(runner, wanted.key)
        assert stat(int(out)) is not None
        async with machine.runner() as runner:
            await runner.attach(Ends())
    gone(int(out))


@pytest.mark.requirement("QUEUE-15")
async def test_memory_is_limited_and_measured(machine: OnLinux) -> None:
    """What goes over its limit is ended by the kernel, and told to have run out of memory."""
    needs_memory_limit(machine)
    wanted = command(machine, sys.executable, "-c", EATS, memory_bytes=64 * MIB)
    ended, _ = await run(machine, wanted)
    assert (ended.signal, ended.fault) == ("SIGKILL", Fault.OUT_OF_MEMORY)
    assert ended.memory_kills >= 1
    assert 48 * MIB <= ended.memory_peak_bytes <= 65 * MIB


@pytest.mark.requirement("QUEUE-15")
async def test_memory_is_limited_somehow_without_cgroups(machine: OnLinux) -> None:
    """Where no cgroup can limit it, each process is held to the limit by itself, and runs at low weight."""
    if machine.groups is not None:
        pytest.skip("here it has a cgroup")
    ended, _ = await run(machine, command(machine, sys.executable, "-c", EATS, memory_bytes=64 * MIB))
    assert ended.exit_code == 1
    _, out = await run(machine, script(machine, "nice; ionice", key=RunKey(2, 1)))
    assert out == b"10\nidle\n"


@pytest.mark.requirement("QUEUE-15")
async def test_usage_is_of_all_its_processes(machine: OnLinux) -> None:
    """CPU time and the peak of memory are those of children too, also of those that nobody waited for."""
    burn = "import time\nb = bytearray(64 << 20)\nwhile time.process_time() < 0.5: pass"
    ended, _ = await run(machine, script(machine, f"{sys.executable} -c '{burn}' & exit 0"))
    assert 450 <= ended.cpu_ms <= 50_000
    assert 60 * MIB <= ended.memory_peak_bytes <= 120 * MIB


@pytest.mark.requirement("QUEUE-15")
async def test_the_number_of_processes_is_limited(machine: OnLinux) -> None:
    """One that forks without end gets no further than its limit, and can be stopped."""
    if machine.groups is None or "pids" not in machine.groups.homes:
        pytest.skip("processes can't be counted here")
    bomb = (
        "import os, time\ntry:\n while True:\n  if os.fork() == 0: time.sleep(600)\nexcept OSError: print(1)"
    )
    wanted = command(machine, sys.executable, "-uc", bomb, pids_max=20, grace_ms=100)
    ended, out = await run(machine, wanted)
    assert (ended.exit_code, out, ended.left_behind) == (0, b"1\n", 19)


@pytest.mark.requirement("QUEUE-15")
@pytest.mark.slow
async def test_a_hundred_megabytes_are_printed(machine: OnLinux) -> None:
    """The first and the newest part are kept, at most 50 MB; what is left out is counted."""
    wanted = script(machine, "seq -f '%019.0f' 5000000; echo end >&2")
    async with machine.runner() as runner:
        ends = Ends()
        await runner.attach(ends)
        started = await runner.start(wanted)
        ended = started.ended or await ends.of(wanted.key)
        parts = await whole_log(runner, wanted.key, limit=1 << 20)
    folder = machine.root / wanted.key.name
    size = sum(each.stat().st_size for each in folder.glob("log.*"))
    out = printed(parts)
    assert 45_000_000 < size <= 50_000_000
    assert (ended.log_bytes, ended.log_bytes - ended.log_dropped_bytes) == (100_000_004, len(out) + 4)
    assert out.startswith(b"0000000000000000001\n")
    assert out.endswith(b"0000000000005000000\n")
    assert printed(parts, Stream.ERR) == b"end\n"
    assert sum(part.dropped_bytes > 0 for part in parts) == 1
    framed = sum(16 + len(each.data) for part in parts for each in part.chunks)
    assert framed + sum(part.dropped_bytes for part in parts) == parts[-1].next_offset


@pytest.mark.requirement("QUEUE-15")
async def test_a_log_is_read_while_it_rotates(machine: OnLinux) -> None:
    """A reader that is slower than the log gets what is kept, in order, and hears what it has missed."""
    wanted = script(machine, "seq -f '%019.0f' 1000000", log_bytes_max=2_000_000)
    async with machine.runner() as runner:
        await runner.attach(Ends())
        await runner.start(wanted)
        parts = await whole_log(runner, wanted.key, limit=100_000)
    chunks = [each for part in parts for each in part.chunks]
    assert [each.offset for each in chunks] == sorted({each.offset for each in chunks})
    framed = sum(16 + len(each.data) for each in chunks)
    assert framed + sum(part.dropped_bytes for part in parts) == parts[-1].next_offset
    assert chunks[-1].data.endswith(b"0000000000001000000\n")


@pytest.mark.requirement("QUEUE-15")
async def test_a_terminal_is_there_for_who_needs_one(machine: OnLinux) -> None:
    """Input, output and errors are a terminal that is the command's own; without one, input is empty."""
    asks = "test -t 0 && test -t 1 && test -t 2 && tty | cut -c1-8; stty size; echo x > /dev/tty"
    _, out = await run(machine, script(machine, asks, terminal=True))
    assert out.replace(b"\r", b"") == b"/dev/pts\n24 80\nx\n"
    _, out = await run(machine, script(machine, "tty; cat; echo over", key=RunKey(2, 1)))
    assert out == b"not a tty\nover\n"


@pytest.mark.requirement("QUEUE-15")
async def test_bytes_of_any_kind_arrive(machine: OnLinux) -> None:
    """Arguments and environment are bytes: newlines, what is no UTF-8, and nothing at all."""
    odd = b"a\xff\nb\t'\"$x"
    wanted = command(machine, "bash", "-c", 'printf "%s|" "$@"; printf %s "$ODD"', "sh", odd, b"", "é")
    ended, out = await run(machine, msgspec.structs.replace(wanted, env=((b"ODD", odd),)))
    assert (ended.exit_code, out) == (0, odd + b"||" + "é|".encode() + odd)


@pytest.mark.requirement("QUEUE-15")
@pytest.mark.parametrize(
    ("name", "code", "fault"),
    [
        ("plain", 126, Fault.NOT_EXECUTABLE),
        ("folder", 126, Fault.NOT_EXECUTABLE),
        ("none", 127, Fault.NOT_FOUND),
        ("stranger", 127, Fault.NOT_FOUND),
        ("words", 0, None),
    ],
)
async def test_what_is_no_program_is_told_as_a_shell_would(
    machine: OnLinux, tmp_path: Path, name: str, code: int, fault: Fault | None
) -> None:
    """126 for what can't be executed, 127 for what is not there; a script without `#!` is run by sh."""
    (tmp_path / "plain").write_text("echo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "stranger").write_text("#!/there/is/no/such\n")
    (tmp_path / "words").write_text("echo words\n")
    for each in ("stranger", "words"):
        (tmp_path / each).chmod(0o755)
    ended, out = await run(machine, command(machine, str(tmp_path / name)))
    assert (ended.exit_code, ended.fault, out) == (code, fault, b"words\n" if name == "words" else b"")


@pytest.mark.requirement("QUEUE-15")
async def test_a_folder_that_is_gone_is_told(machine: OnLinux, tmp_path: Path) -> None:
    """The command does not run somewhere else instead."""
    ended, _ = await run(machine, script(machine, "echo no", cwd=os.fsencode(tmp_path / "gone")))
    assert (ended.exit_code, ended.fault) == (126, Fault.NO_FOLDER)
    assert "gone can't be entered: No such file" in ended.error


@pytest.mark.requirement("QUEUE-21")
async def test_it_runs_as_another_user(machine: OnLinux, tmp_path: Path) -> None:
    """With that user's groups, home and rights: not with ours."""
    if os.geteuid() != 0:
        pytest.skip("only root can run commands as others")
    nobody = pwd.getpwnam("nobody")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    asks = f'id -u; id -G; umask; echo "$HOME $USER"; test -r {closed} || echo closed; ulimit -Sn'
    wanted = script(machine, asks, uid=nobody.pw_uid, cwd=b"/")
    ended, out = await run(machine, wanted)
    groups = " ".join(map(str, os.getgrouplist("nobody", nobody.pw_gid)))
    said = f"{nobody.pw_uid}\n{groups}\n0022\n{nobody.pw_dir} nobody\nclosed\n1024\n"
    assert (ended.exit_code, out.decode()) == (0, said)
    wanted = script(machine, "echo no", uid=nobody.pw_uid, cwd=os.fsencode(closed), key=RunKey(2, 1))
    ended, _ = await run(machine, wanted)
    assert (ended.exit_code, ended.fault) == (126, Fault.NO_FOLDER)


@pytest.mark.requirement("QUEUE-21")
def test_a_server_of_one_user_refuses_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not root runs its own commands only, and says who could."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(RunFailed) as failure:
        run_order.user_of(4_000_000_000)
    assert failure.value.code == "NO_SUCH_USER"
    monkeypatch.setattr(os, "geteuid", lambda: 65_534)
    assert run_order.user_of(65_534).uid == -1
    with pytest.raises(RunFailed) as failure:
        run_order.user_of(0)
    assert failure.value.code == "NOT_PERMITTED"
    assert "start the server as root" in failure.value.sentence


@pytest.mark.requirement("QUEUE-21")
async def test_the_environment_is_nowhere_to_be_read(machine: OnLinux) -> None:
    """Gone from the disk once the command has it, in no list of processes, and the rest is private."""
    wanted = script(machine, "echo ready; sleep 600", env=((b"TOKEN", b"s3cr3t-value"),))
    async with machine.runner() as runner:
        ends = Ends()
        await runner.attach(ends)
        started = await runner.start(wanted)
        await ready(runner, wanted.key)
        assert started.shim is not None
        folder = machine.root / wanted.key.name
        assert_private(folder, started.shim.pid)
        await runner.stop(wanted.key)
        await ends.of(wanted.key)


def assert_private(folder: Path, shim: int) -> None:
    told = [each.read_bytes() for each in folder.iterdir()]
    told += [Path(f"/proc/{shim}/{name}").read_bytes() for name in ("cmdline", "environ")]
    assert not any(b"s3cr3t" in each for each in told)
    assert {each.stat().st_mode & 0o077 for each in (folder.parent, folder, *folder.iterdir())} == {0}


@pytest.mark.requirement("QUEUE-15")
async def test_the_shim_stands_apart_from_the_server(machine: OnLinux) -> None:
    """In a session of its own, not our child, outside the job's place; and the command inside it."""
    wanted = script(machine, "echo ready; sleep 600")
    async with machine.runner() as runner:
        ends = Ends()
        await runner.attach(ends)
        started = await runner.start(wanted)
        shim, process = of(started)
        seen = stat(shim)
        assert seen is not None
        assert seen.ppid != os.getpid()
        assert os.getsid(shim) not in (os.getsid(0), os.getsid(process))
        assert os.getsid(process) == process
        if machine.groups is not None:
            assert process in machine.groups.pids(PLACE)
            assert shim not in machine.groups.pids(PLACE)
            assert f"{HOME}-shims" in (read(f"/proc/{shim}/cgroup") or "")
        await runner.stop(wanted.key)
        await ends.of(wanted.key)


def of(started: Started) -> tuple[int, int]:
    assert started.shim is not None
    assert started.process is not None
    return started.shim.pid, started.process.pid


@pytest.mark.requirement("QUEUE-15")
async def test_what_is_frozen_can_be_stopped(machine: OnLinux) -> None:
    """It goes on first, so that it can end itself."""
    wanted = command(machine, sys.executable, "-c", ENDS_ITSELF)
    async with machine.runner() as runner:
        ends = Ends()
        await runner.attach(ends)
        started = await runner.start(wanted)
        await ready(runner, wanted.key)
        assert started.process is not None
        query = WorkQuery(PLACE, 1_000, 0, (started.process,), (), wanted.place)
        assert LinuxBrakes(machine.groups).freeze([query]) == {PLACE}
        await runner.stop(wanted.key)
        ended = await ends.of(wanted.key)
        assert (ended.exit_code, ended.fault) == (9, Fault.STOPPED)
        assert b"bye" in printed(await whole_log(runner, wanted.key))


@pytest.mark.requirement("QUEUE-15")
async def test_a_shutdown_is_no_stop(machine: OnLinux) -> None:
    """Where the machine tells all programs to end, the command ends too: lost, not stopped."""
    async with machine.runner() as runner:
        ends = Ends()
        await runner.attach(ends)
        wanted = command(machine, *(os.fsdecode(each) for each in machine.argv(Deed(waits=True))))
        shim, _ = of(await runner.start(wanted))
        await ready(runner, wanted.key)
        os.kill(shim, signal.SIGTERM)
        ended = await ends.of(wanted.key)
        assert (ended.signal, ended.fault) == ("SIGTERM", Fault.MACHINE_LOST)


@pytest.mark.requirement("QUEUE-15")
async def test_signals_to_the_shim_do_no_harm(machine: OnLinux) -> None:
    """Ctrl-C or a hang-up of whoever started the server reaches no command."""
    async with machine.runner() as runner:
        ends = Ends()
        await runner.attach(ends)
        wanted = command(machine, *(os.fsdecode(each) for each in machine.argv(Deed(waits=True))))
        shim, _ = of(await runner.start(wanted))
        await ready(runner, wanted.key)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            os.kill(shim, number)
        assert not await runner.more(wanted.key, 1 << 40, 0.2)
        await runner.stop(wanted.key)
        assert (await ends.of(wanted.key)).signal == "SIGTERM"
