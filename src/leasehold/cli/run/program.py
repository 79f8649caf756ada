"""The course of one `leasehold run`, from its arguments to its exit code."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence

from leasehold.cli import exits
from leasehold.cli.amounts import spell
from leasehold.cli.run import child as start
from leasehold.cli.run import options
from leasehold.cli.run.ask import Asker, Held, NotRun, RunBare
from leasehold.cli.run.child import Child
from leasehold.cli.run.job import WATCHED, Ended, Job
from leasehold.cli.run.options import Usage, Wanted
from leasehold.cli.run.renewal import GONE, Renewal, heartbeat
from leasehold.cli.run.say import Voice
from leasehold.client import paths
from leasehold.client.endpoint import BadAddress
from leasehold.client.lean import Connection, Unreachable
from leasehold.runtime.lean import elapsed_s, pause

TYPE_CHECKING = False  # importing `typing` takes longer than all of this file
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from leasehold.client.lean import Answer

LEASE_VARIABLE = "LEASEHOLD_LEASE"
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
RELEASE_S = 0.25
RELEASE_HUNG_S = 0.05
RELEASE_FAILED_S = 2.0
"""Giving the lease back may not delay the exit: a server that did not answer the last renewal gets this
much, and one that may know why limited work has failed that much."""
CONFIRM_S = 2.0
"""How long a server that granted and then fell silent is tried before the lease is asked for anew."""


class Interrupted(BaseException):
    """A signal came while waiting for the lease."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Run `leasehold run` with what follows the verb.

    Returns the exit code; does not return where it becomes the command.
    """
    try:
        wanted = options.parse(arguments)
    except Usage as error:
        Voice().error(str(error))
        return exits.USAGE
    if wanted.help:
        print(options.help_text())
        return exits.DONE
    voice = Voice(quiet=wanted.quiet, as_json=wanted.json, fd=wanted.messages_fd)
    if env.get("LEASEHOLD", "").lower() in ("off", "0", "no"):
        return _become(wanted.command, env, voice)
    run = Run(wanted, env, voice)
    try:
        code = run.go()
    except NotRun as error:
        voice.error(error.sentence, exit_code=error.code)
        run.outcome = error.kind
        code = error.code
    except BadAddress as error:
        voice.error(str(error))
        code = exits.USAGE
    run.write_status(code)
    return code


class Run:
    """One course. `outcome` and its fellows are what the status file tells."""

    def __init__(self, wanted: Wanted, env: Mapping[str, str], voice: Voice) -> None:
        self._wanted = wanted
        self._env = env
        self._voice = voice
        self._asker: Asker | None = None
        self._ignored = frozenset(n for n in INTERRUPTS if signal.getsignal(n) is signal.SIG_IGN)
        self._mask: set[signal.Signals | int] = set()
        self.outcome = "not_started"
        self.lease_id = ""
        self.child_code: int | None = None
        self.child_signal: int | None = None
        self.memory_kills = 0
        self._limited = False

    def go(self) -> int:
        wanted, env = self._wanted, self._env
        if start.found(wanted.command[0], env) is None:
            self._voice.error(f"{wanted.command[0]}: no such command")
            return exits.NO_SUCH_COMMAND
        leases = self._outer()
        if leases is not None and not self._narrowed(leases):
            return self._share(leases)
        asker = self._asker = Asker(wanted, env, self._voice)
        try:
            held, waiting = self._obtain(asker)
        except RunBare as error:
            limits = ", and nothing limits it" if wanted.enforce else ""
            self._voice.tell("bare", f"{error}{limits}")
            self.outcome = "ran_bare"
            self.write_status(None)
            self._restore_handlers()
            return _become(wanted.command, env, self._voice)
        except Interrupted as error:
            return self._interrupted(asker, error.number)
        return self._run(asker, held, waiting)

    # -- before the command --------------------------------------------------------------------------------

    def _outer(self) -> list[dict[str, Any]] | None:
        if LEASE_VARIABLE not in self._env:
            return None
        from leasehold.client import nested

        return nested.outer(self._env, self._wanted.server)

    def _narrowed(self, leases: list[dict[str, Any]]) -> bool:
        """Ask under an outer lease only for what it lacks of locks and slots.

        False where nothing is lacking.
        """
        from leasehold.client import nested

        wanted = self._wanted
        if more := nested.wants_more(options.body(wanted), leases):
            self._voice.tell("shared", more)
        held = nested.locked(leases)
        wanted.lock = [name for name in wanted.lock if name not in held]
        wanted.slots = [slot for slot in wanted.slots if slot[0] not in held]
        wanted.cost = wanted.cpu = wanted.mem = wanted.disk = wanted.gpu = wanted.cost_class = None
        wanted.constraint = []
        if wanted.enforce and leases and not any(lease.get("enforced") for lease in leases):
            self._voice.tell(
                "shared", f"nothing limits it: {leases[0].get('lease_id')}, which it shares, has no limit"
            )
        wanted.enforce = False
        return bool(wanted.lock or wanted.slots)

    def _share(self, leases: list[dict[str, Any]]) -> int:
        self.outcome = "shared"
        self.lease_id = str(leases[0]["lease_id"]) if leases else ""
        self.write_status(None)
        return _become(self._wanted.command, self._env, self._voice)

    def _obtain(self, asker: Asker) -> tuple[Held, Child]:
        """Get a lease and a child that waits for its word, bound to it. Signals are blocked on return."""
        while True:
            self._handle_interrupts()
            held = asker.obtain()
            self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._watched())
            env = dict(self._env)
            own = f"{held.lease_id}:{held.token}"
            env[LEASE_VARIABLE] = f"{own},{before}" if (before := env.get(LEASE_VARIABLE)) else own
            waiting = start.hold(self._wanted.command, env, self._mask, self._ignored)
            if self._confirm(asker, held, waiting):
                return held, waiting
            waiting.abandon()
            asker.drop()
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _confirm(self, asker: Asker, held: Held, waiting: Child) -> bool:
        """Bind the child to the lease and learn that it is still ours. False where it was lost in between."""
        connection = asker.connection
        assert connection is not None
        pids = (waiting.pid,) if asker.endpoint.socket_path else ()
        until_s = elapsed_s() + CONFIRM_S
        while True:
            try:
                answer = heartbeat(connection, held, pids)
            except Unreachable:
                if elapsed_s() >= until_s:
                    return False
                pause(0.1)
                continue
            if answer.status == 200:
                document = answer.document()
                self._limited = bool(document.get("enforced"))
                if pids and document.get("notice") and self._wanted.enforce:
                    self._voice.tell("notice", str(document["notice"]))
                if not document.get("cgroup") and not document.get("low_weight"):
                    from leasehold.cli.run import weight

                    weight.lower(waiting.pid)
                return True
            if answer.status in GONE:
                return False
            if not pids:
                detail = str(answer.document().get("detail") or f"the server answered {answer.status}")
                waiting.abandon()
                raise NotRun(exits.of_problem(answer.status, str(answer.document().get("code", ""))), detail)
            pids = ()

    def _watched(self) -> frozenset[int]:
        return WATCHED - self._ignored

    def _handle_interrupts(self) -> None:
        def interrupt(number: int, _frame: object) -> NoReturn:
            raise Interrupted(number)

        for number in INTERRUPTS:
            if number not in self._ignored:
                signal.signal(number, interrupt)

    def _restore_handlers(self) -> None:
        for number in INTERRUPTS:
            if number not in self._ignored:
                signal.signal(number, signal.SIG_DFL)

    def _interrupted(self, asker: Asker, number: int) -> int:
        """Ctrl-C and the like while waiting: give the place up, and end as the signal would have ended us."""
        signal.pthread_sigmask(signal.SIG_BLOCK, self._watched())
        self._voice.finish_line()
        asker.leave()
        self.outcome = "interrupted"
        self.child_signal = number
        return self._die_of(number)

    # -- while it runs -------------------------------------------------------------------------------------

    def _run(self, asker: Asker, held: Held, waiting: Child) -> int:
        self.lease_id = held.lease_id
        if asker.waited or self._voice.for_program:
            self._voice.tell("running", f"running (waited {spell(asker.waited_s())})", lease_id=held.lease_id)
        trouble = waiting.go()
        connection = asker.connection
        assert connection is not None
        if trouble is not None:
            os.waitpid(waiting.pid, 0)
            _release(connection, held, {"outcome": "not executed"}, RELEASE_S)
            self._voice.error(f"{self._wanted.command[0]}: {trouble.strerror}")
            return start.exit_code(trouble)
        stops = self._wanted.on_lost == "stop" or (self._wanted.on_lost is None and bool(self._wanted.lock))
        renewal = Renewal(
            asker.endpoint, held, waiting.pid, None if stops else _again(self._wanted, waiting.pid, asker)
        )
        renewal.start()
        unbound = not asker.endpoint.socket_path
        job = Job(waiting.pid, renewal, self._voice, self._watched(), stops_when_lost=stops, unbound=unbound)
        ended = job.wait()
        renewal.end()
        timeout_s = RELEASE_HUNG_S if renewal.silent else RELEASE_S
        if self._limited and ended.status and not renewal.silent:
            timeout_s = RELEASE_FAILED_S
        answer = _release(connection, renewal.held, _usage(ended), timeout_s)
        if self._limited and answer is not None:
            self._over_limit(answer)
        return self._code(ended)

    def _over_limit(self, answer: Answer) -> None:
        """Say it where the kernel has ended some of the work: nobody else tells why it failed (LEASE-23)."""
        document = answer.document()
        self.memory_kills = int((document.get("usage") or {}).get("memory_kills") or 0)
        if self.memory_kills:
            _, _, why = str(document.get("end_reason", "")).partition("; ")
            self._voice.error(f"{why}; a greater --mem gives it more", memory_kills=self.memory_kills)

    def _code(self, ended: Ended) -> int:
        """The command's own exit code; 76 where we stopped it; 128 + n for a signal."""
        if os.WIFSIGNALED(ended.status):
            self.child_signal = os.WTERMSIG(ended.status)
        else:
            self.child_code = os.WEXITSTATUS(ended.status)
        if ended.stopped:
            self.outcome = "lost"
            return exits.LEASE_LOST
        self.outcome = "signalled" if self.child_signal else "exited"
        if self.child_signal:
            return self._die_of(self.child_signal)
        return self.child_code or 0

    def _die_of(self, number: int) -> int:
        """128 + n; of SIGINT we really die, or a script around us would go on after Ctrl-C."""
        code = exits.SIGNAL_BASE + number
        if number == signal.SIGINT:
            self.write_status(code)
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        return code

    def write_status(self, code: int | None) -> None:
        """Write the status file, if one was asked for, and tell it to a program that listens.

        `code` is None where the command takes this process over.
        """
        path = self._wanted.status_file
        if path is None and not self._voice.for_program:
            return
        document = {
            "outcome": self.outcome,
            "exit_code": code,
            "command_exit_code": self.child_code,
            "command_signal": self.child_signal,
            "memory_kills": self.memory_kills,
            "lease_id": self.lease_id or None,
            "waited_sec": round(self._asker.waited_s(), 3) if self._asker and not self.lease_id else None,
        }
        if self._voice.for_program:
            self._voice.tell("status", self.outcome, **document)
        if path is None:
            return
        try:
            with open(path, "w", encoding="utf-8") as file:
                file.write(json.dumps(document) + "\n")
        except OSError as error:
            self._voice.error(f"the status file {path} can't be written: {error.strerror}")


def _again(wanted: Wanted, pid: int, asker: Asker) -> dict[str, object]:
    """The request for a new lease for work that goes on after it lost its own."""
    bind = {"bind": {"pids": [pid]}} if asker.endpoint.socket_path else {}
    return options.body(wanted) | {"start": "now"} | bind


def _usage(ended: Ended) -> dict[str, object]:
    if os.WIFSIGNALED(ended.status):
        outcome = f"signal {os.WTERMSIG(ended.status)}"
    else:
        outcome = f"exit {os.WEXITSTATUS(ended.status)}"
    metrics = {"cpu_seconds": round(ended.cpu_s, 3), "peak_memory_bytes": ended.memory_peak_bytes}
    return {"outcome": "stopped, the lease was lost" if ended.stopped else outcome, "metrics": metrics}


def _release(
    connection: Connection, held: Held, document: dict[str, object], timeout_s: float
) -> Answer | None:
    """Give the lease back. A server that is not there learns by itself that the work has ended."""
    body = json.dumps({"fencing_token": held.token} | document).encode()
    with contextlib.suppress(Unreachable):
        return connection.call(*held.path(paths.RELEASE), body, timeout_s=timeout_s)
    return None


def _become(command: Sequence[str], env: Mapping[str, str], voice: Voice) -> int:
    """Be the command from now on: nothing of us is left."""
    sys.stdout.flush()
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        start.execute(command, env)
    except OSError as error:
        voice.error(f"{command[0]}: {error.strerror}")
        return start.exit_code(error)
