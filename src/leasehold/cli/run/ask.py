"""Waiting for a lease on the command line: the asking is the client's, the words and exit codes are ours."""

from __future__ import annotations

from collections.abc import Mapping

from leasehold.cli import exits
from leasehold.cli.run.options import Wanted, body
from leasehold.cli.run.say import Voice
from leasehold.client import asking, paths
from leasehold.client.asking import Held, NotGranted, RunBare
from leasehold.client.lean import Unreachable

TYPE_CHECKING = False  # importing `typing` takes longer than all of this file
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Asker", "Held", "NotRun", "RunBare"]


class NotRun(Exception):
    """The command will not be started: the exit code, and the sentence that says why and what to do."""

    def __init__(self, code: int, sentence: str, kind: str = "refused") -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.kind = kind


class Asker(asking.Asker):
    """Asks for what was wanted, and says what it waits for."""

    def __init__(self, wanted: Wanted, env: Mapping[str, str], voice: Voice) -> None:
        super().__init__(
            body(wanted),
            env,
            server=wanted.server,
            wait_s=wanted.wait,
            when_down=wanted.when_down,
            ticket=wanted.ticket or "",
            name="run",
        )
        self._voice = voice
        self._told_key: object = None
        self._me: str | None = None

    def obtain(self) -> Held:
        """Wait for a lease. Raises NotRun, RunBare, or whatever a signal handler raises."""
        try:
            return super().obtain()
        except NotGranted as error:
            if error.kind == "gave_up":
                self.leave()
            raise _not_run(error) from None

    def tell(self, kind: str, sentence: str) -> None:
        self._voice.tell(kind, sentence)

    def tell_waiting(self, denial: dict[str, Any]) -> None:
        from leasehold.cli.run import line

        sentence, key = line.waiting(denial, self._own_name())
        changed = key != self._told_key
        self._told_key = key
        self._voice.fleeting("waiting", sentence, changed=changed, ticket=self.ticket, **_figures(denial))

    def _own_name(self) -> str:
        """The caller's name as a holder, asked for once and only by who has to wait."""
        if self._me is None:
            try:
                assert self.connection is not None
                answer = self.connection.call(*paths.WHOAMI, timeout_s=1.0)
                self._me = str(answer.document().get("name", ""))
            except Unreachable:
                self._me = ""
        return self._me


def _not_run(error: NotGranted) -> NotRun:
    if error.kind == "gave_up":
        sentence = f"{error.sentence}; a longer --wait, or a smaller cost, may help"
        return NotRun(exits.GAVE_UP, sentence, error.kind)
    if error.kind == "never_fits":
        return NotRun(exits.NO, error.sentence, error.kind)
    if error.kind == "unreachable":
        return NotRun(exits.UNREACHABLE, f"{error.sentence}; `leasehold doctor` finds out why", error.kind)
    return NotRun(exits.of_problem(error.status, error.code), error.sentence)


def _figures(document: dict[str, Any]) -> dict[str, Any]:
    found = {
        "reason": document.get("reason"),
        "line": document.get("line"),
        "retry_after_sec": document.get("retry_after_sec"),
    }
    return {name: value for name, value in found.items() if value is not None}
