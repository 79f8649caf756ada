"""Our queue as the benchmarks drive it: a server, its tokens, the client's process, and the events."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections import Counter
from typing import Any

import msgspec

from bench.machine import Meter
from bench.product import PROJECT, Product
from bench.queue_client import Keys, Result
from bench.setup import Setup

TOKENS_MAX = 8
"""Of each role."""
CLIENT_TIMEOUT_S = 400.0
EVENTS_A_PAGE = 1_000
KINDS = ("JobSubmitted", "JobStarted", "JobDone")


class QueueDriver:
    """One running server, and the tokens of some submitters and workers."""

    def __init__(
        self, ours: Product, setup: Setup, *, submits_as: str = "submitter", works_as: str = "worker"
    ) -> None:
        """The roles are those of the tokens."""
        self.ours = ours
        self.others_share = self.server_cpu_s = self.client_cpu_s = 0.0
        self._setup = setup
        self._admin = ours.token_file.read_text().strip()
        self._keys = Keys(
            [self._token(f"submit-{number}", submits_as) for number in range(TOKENS_MAX)],
            [self._token(f"work-{number}", works_as) for number in range(TOKENS_MAX)],
        )
        self._events_seen = self._last_event()

    def play(
        self,
        mode: str,
        jobs: int,
        *options: str,
        submitters: int = 1,
        workers: int = 1,
        wrapper: tuple[str, ...] = (),
        are_alone: bool = True,
    ) -> Result:
        """One round from another process; then every job must have left each of its events exactly once.

        Not `are_alone`: other jobs waited before, so that the ones submitted are not the ones that ran.
        """
        keys = self._setup.folder("keys") / "keys.json"
        keys.write_bytes(msgspec.json.encode(Keys(self._keys.submit[:submitters], self._keys.work[:workers])))
        argv = [sys.executable, "-m", "bench.queue_client", str(keys), mode, "--port", str(self.ours.port)]
        self.ours.program.check_alive()
        with Meter(self.ours.program) as meter:
            done = subprocess.run(
                [*wrapper, *argv, "--jobs", str(jobs), *options],
                capture_output=True,
                text=True,
                cwd=PROJECT,
                env=self.ours.env,
                timeout=CLIENT_TIMEOUT_S,
            )
        if done.returncode:
            log = self.ours.program.log_tail()
            raise RuntimeError(f"client:\n{done.stderr[-2_000:]}\nserver:\n{log}")
        self.others_share, self.server_cpu_s, self.client_cpu_s = (
            meter.others_share,
            meter.server_s,
            meter.client_s,
        )
        if are_alone:
            self._check_events(jobs)
        return msgspec.json.decode(done.stdout, type=Result)

    def _check_events(self, jobs: int) -> None:
        seen: Counter[tuple[str, str]] = Counter()
        while events := self._get(f"/api/events?after={self._events_seen}&limit={EVENTS_A_PAGE}")["events"]:
            self._events_seen = events[-1]["seq"]
            seen.update((event["subject"], event["kind"]) for event in events if event["kind"] in KINDS)
        subjects = {subject for subject, _ in seen}
        wrong = [key for key, count in seen.items() if count != 1]
        if wrong or len(subjects) != jobs or len(seen) != jobs * len(KINDS):
            by_kind = Counter(kind for _, kind in seen)
            raise RuntimeError(
                f"{jobs} jobs left {dict(by_kind)} of {len(subjects)} jobs; twice: {wrong[:5]}"
            )

    def _last_event(self) -> int:
        after = 0
        while events := self._get(f"/api/events?after={after}&limit={EVENTS_A_PAGE}")["events"]:
            after = events[-1]["seq"]
        return after

    def _token(self, name: str, role: str) -> str:
        token: str = self._call("POST", "/api/tokens", {"name": name, "role": role})["token"]
        return token

    def _get(self, path: str) -> Any:
        return self._call("GET", path, None)

    def _call(self, method: str, path: str, body: object) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.ours.port, timeout=60)
        headers = {"Authorization": f"Bearer {self._admin}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status not in (200, 201):
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:500]!r}")
        return json.loads(content)
