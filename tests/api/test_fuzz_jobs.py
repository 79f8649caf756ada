"""Fuzzing of what is done to jobs that are there: waiting, held, running, offered, ended (PROVE-6)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api.job_client import QUEUE, Queue
from tests.api.real_server import RealServer
from tests.api.test_fuzz import schema

EXAMPLES = int(os.environ.get("LEASEHOLD_TEST_FUZZ", "25"))

ROUTES = [
    *(("GET", f"/jobs/{{job_id}}{rest}") for rest in ("", "/events", "/log")),
    *(
        ("POST", f"/jobs/{{job_id}}/{each}")
        for each in ("cancel", "retry", "priority", "hold", "pause", "resume", "ack", "complete")
    ),
]


@pytest.fixture(scope="module")
def known(server: RealServer) -> Iterator[list[str]]:
    """Jobs in every state; what the fuzzing does to them is their matter."""
    queue = Queue(server, "fuzzed")
    made = [one["job_id"] for one in queue.submit_many(*[{"max_attempts": 1_000}] * 12, {"hold": True})]
    queue.claim(max=6)
    server.get(f"{QUEUE}/dispatchable?job_types=fuzzed&limit=3")
    for ident in made[-3:-1]:
        queue.change(ident, "cancel")
    made.append(queue.submit(exec={"argv": ["true"], "cwd": "/"}, after=[made[0]]))
    yield made
    queue.post("/jobs/bulk", {"action": "cancel", "job_type": "fuzzed"})


@pytest.mark.slow
@pytest.mark.requirement("PROVE-6", "QUEUE-3", "QUEUE-4")
@pytest.mark.parametrize(("method", "route"), ROUTES)
def test_jobs_that_are_there(server: RealServer, known: list[str], method: str, route: str) -> None:
    """Whatever fits the contract is answered as it says, also when it is about a job that is there."""
    ids = itertools.cycle(known)
    operation = schema[f"{QUEUE}{route}"][method]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), generation=some.integers(1, 4))
    def answered(case: schemathesis.Case, generation: int) -> None:
        case.path_parameters = {"job_id": next(ids)}
        if isinstance(case.body, dict) and "generation" in case.body:
            case.body["generation"] = generation
        if case.query and "wait_sec" in case.query:
            case.query["wait_sec"] = 0
        case.headers = {**(case.headers or {}), "authorization": f"Bearer {server.token}"}
        case.call_and_validate(
            base_url=f"http://127.0.0.1:{server.port}",
            checks=[
                schemathesis.checks.not_a_server_error,
                status_code_conformance,
                content_type_conformance,
                response_headers_conformance,
                response_schema_conformance,
            ],
        )

    answered()
