"""Waiting for the command: one loop over signals, children and news of the lease (LEASE-18).

No handler runs anywhere. All signals that matter are blocked and taken one by one, with who sent them. What
the terminal sends (Ctrl-C, Ctrl-Z) has reached the child by itself, since it shares our process group, and
is not sent twice; what a process sent to us is passed on.
"""

from __future__ import annotations

import os
import signal

from leasehold.cli.run.renewal import WAKE, News, Renewal
from leasehold.cli.run.say import Voice
from leasehold.runtime.lean import elapsed_s, pause

PASSED_ON = (
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)
DEADLY = frozenset({signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT})
STOPS = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
WATCHED: frozenset[signal.Signals] = frozenset(
    {*PASSED_ON, signal.SIGTSTP, signal.SIGCONT, signal.SIGCHLD, WAKE}
)
GRACE_S = 10.0
"""From SIGTERM to SIGKILL for work that has to end because its lease is lost."""
GIVE_UP_S = 5.0
"""What SIGKILL has not ended after this long hangs in the kernel."""
KILL_AGAIN_S = 0.5
"""A tree that forks while it is being killed is looked at again."""


class Ended:
    """How the command ended: the wait status, its usage, and whether it was we who stopped it."""

    __slots__ = ("cpu_s", "memory_peak_bytes", "status", "stopped")

    def __init__(self, status: int, cpu_s: float, memory_peak_bytes: int, *, stopped: bool) -> None:
        self.status = status
        self.cpu_s = cpu_s
        self.memory_peak_bytes = memory_peak_bytes
        self.stopped = stopped


class Job:
    """A running command and its lease.

    `stops_when_lost` is on_lost=stop; `unbound` says that the server can't see the command's processes.
    """

    def __init__(
        self,
        pid: int,
        renewal: Renewal,
        voice: Voice,
        watched: frozenset[int],
        *,
        stops_when_lost: bool,
        unbound: bool,
    ):
        self._pid = pid
        self._renewal = renewal
        self._voice = voice
        self._watched = watched
        self._stops_when_lost = stops_when_lost
        self._unbound = unbound
        self._by_clock = stops_when_lost and unbound
        self._child_stopped = False
        self._kill_at_s: float | None = None

    def wait(self) -> Ended:
        """Return when the command has ended; where we ended it, when nothing of it lives."""
        while True:
            ended = self._reap()
            if ended is not None:
                return ended
            info = self._next_signal()
            if info is not None:
                self._handle(info)
            while self._renewal.news:
                self._hear(self._renewal.news.popleft())
            self._check_clock()

    def _next_signal(self) -> signal.struct_siginfo | None:
        due_s = self._due_s()
        if due_s is None:
            return signal.sigwaitinfo(self._watched)
        return signal.sigtimedwait(self._watched, max(0.0, due_s - elapsed_s()))

    def _due_s(self) -> float | None:
        if self._kill_at_s is not None:
            return self._kill_at_s
        return self._stop_by_s() if self._by_clock else None

    def _grace_s(self) -> float:
        return min(GRACE_S, self._renewal.held.ttl_s / 3)

    def _stop_by_s(self) -> float:
        """When work that may not outlive its lease has to be told to stop: trust began when a renewal was
        sent.
        """
        held = self._renewal.held
        return held.sent_s + held.ttl_s - self._grace_s()

    def _reap(self) -> Ended | None:
        while True:
            pid, status, usage = os.wait4(self._pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            if pid == 0:
                return None
            if os.WIFSTOPPED(status):
                self._child_stopped = True
                self._follow(os.WSTOPSIG(status))
            elif os.WIFCONTINUED(status):
                self._child_stopped = False
            else:
                break
        stopped = self._kill_at_s is not None
        if stopped:
            self._finish_off()
        return Ended(status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, stopped=stopped)

    def _follow(self, number: int) -> None:
        """The terminal stopped the child: stop as well, so that the shell sees a stopped job.

        A child that somebody stopped by SIGSTOP is no stopped job: it keeps its lease, and we keep renewing
        it.
        """
        if number not in STOPS or self._kill_at_s is not None:
            return
        self._voice.finish_line()
        os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        # Stopped here, until the shell (fg, bg) or somebody else continues us.
        signal.pthread_sigmask(signal.SIG_BLOCK, {number})
        os.kill(self._pid, signal.SIGCONT)

    def _handle(self, info: signal.struct_siginfo) -> None:
        number, from_process = info.si_signo, info.si_code <= 0
        if number == signal.SIGTSTP:
            if self._child_stopped:
                self._follow(number)
        elif number == signal.SIGCONT:
            if self._child_stopped:
                os.kill(self._pid, signal.SIGCONT)
        elif number in PASSED_ON:
            if from_process or self._is_ours_alone(number):
                os.kill(self._pid, number)
                if number == signal.SIGHUP:
                    os.kill(self._pid, signal.SIGCONT)
            if number in DEADLY and self._renewal.paused:
                self._wake_up()

    def _wake_up(self) -> None:
        """Ctrl-C on work that stands still: it has to go on to end. Without a server, as far as we may."""
        if not self._renewal.resume():
            from leasehold.cli.run import thaw, tree

            lease_id = self._renewal.held.lease_id
            thaw.thaw(self._pid, lease_id)
            tree.send(self._pid, lease_id, signal.SIGCONT)

    def _is_ours_alone(self, number: int) -> bool:
        """A terminal that hangs up tells its session's leader alone."""
        return number == signal.SIGHUP and os.getsid(0) == os.getpid()

    def _hear(self, news: News) -> None:
        if news.kind == "stop":
            self._stop(f"the lease is being taken back ({news.sentence}); stopping the work", news.deadline_s)
        elif news.kind == "lost" and self._stops_when_lost:
            self._stop(f"the lease is lost ({news.sentence}); stopping the work", GRACE_S)
        elif news.kind == "lost":
            self._voice.tell(
                "lost", f"the lease is lost ({news.sentence}); the work goes on, asking for a new lease"
            )
        elif news.kind in ("paused", "resumed") and self._unbound:
            self._hold(news)
        elif news.kind == "silence":
            self._voice.tell("silence", f"{news.sentence}; the work goes on")
        else:
            self._voice.tell(news.kind, news.sentence)

    def _hold(self, news: News) -> None:
        """The server can't reach the work, so it is stopped and continued here."""
        from leasehold.cli.run import tree

        lease_id = self._renewal.held.lease_id
        if news.kind == "resumed":
            tree.go_on(self._pid, lease_id)
        elif not tree.hold(self._pid, lease_id):
            self._voice.tell("running", "some of the work can't be stopped")
        self._voice.tell(news.kind, news.sentence)

    def _stop(self, sentence: str, grace_s: float) -> None:
        if self._kill_at_s is not None:
            return
        self._voice.error(sentence)
        self._kill_at_s = elapsed_s() + grace_s
        from leasehold.cli.run import tree

        tree.send(self._pid, self._renewal.held.lease_id, signal.SIGTERM)

    def _check_clock(self) -> None:
        if self._kill_at_s is None and self._by_clock and elapsed_s() >= self._stop_by_s():
            self._stop(
                "the lease could not be renewed and is about to end; stopping the work", self._grace_s()
            )
        elif self._kill_at_s is not None and elapsed_s() >= self._kill_at_s:
            from leasehold.cli.run import tree

            tree.send(self._pid, self._renewal.held.lease_id, signal.SIGKILL)
            self._kill_at_s = elapsed_s() + KILL_AGAIN_S

    def _finish_off(self) -> None:
        """The command itself has ended; what it left behind gets the rest of the grace, then is killed."""
        from leasehold.cli.run import tree

        lease_id = self._renewal.held.lease_id
        end_s = self._kill_at_s or 0.0
        while tree.members(tree.NOBODY, lease_id) and elapsed_s() < end_s + GIVE_UP_S:
            if elapsed_s() >= end_s:
                tree.send(tree.NOBODY, lease_id, signal.SIGKILL)
            pause(0.05)
