"""Schema-driven fuzzing of the real server: no 5xx, no undeclared answer (PROVE-6)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.api.real_server import RealServer

CONTRACT = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"
EXAMPLES = int(os.environ.get("LEASEHOLD_TEST_FUZZ", "40"))
"""Per route and mode; all routes together stay under a minute."""

LONG_URL = 60_000
"""What can't be read as HTTP is answered 400 or 431 by every route, as the contract's preface says: so long a
line among it. A few fields of 4,096 letters, each of twelve bytes when escaped, make one."""

load_all_checks()
schema = schemathesis.openapi.from_path(str(CONTRACT)).exclude(path="/api/dashboard/stream")  # It has no end.


@pytest.mark.slow
@pytest.mark.requirement("PROVE-6", "OPS-1", "OPS-2")
@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_server_error_and_no_undeclared_answer(case: schemathesis.Case, server: RealServer) -> None:
    """Whatever fits the contract, or nearly does, is answered as the contract says."""
    longest_s = 60 if case.path.endswith("/queue/claim") else 300  # More than that is to be refused.
    if isinstance(case.body, dict) and case.body.get("wait_sec") in range(1, longest_s + 1):
        case.body["wait_sec"] = 0  # A held call waits as it should: no subject of fuzzing.
    case.headers = {**(case.headers or {}), "authorization": f"Bearer {server.token}"}
    response = case.call(base_url=f"http://127.0.0.1:{server.port}")
    if response.status_code in (400, 431) and len(response.request.url or "") > LONG_URL:
        return
    case.validate_response(
        response,
        checks=[
            schemathesis.checks.not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_headers_conformance,
            response_schema_conformance,
            negative_data_rejection,
            unsupported_method,
        ],
    )
