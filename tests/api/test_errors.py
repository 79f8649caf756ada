"""The one table of errors covers every class, on every transport (OPS-2)."""

from __future__ import annotations

import pytest

from leasehold.api.errors import TABLE, TITLES, all_errors, problem
from leasehold.cli import exits
from leasehold.model import errors
from leasehold.model.refusal import Code, Reason


@pytest.mark.requirement("OPS-2", "OPS-30")
def test_every_error_has_a_row_and_its_own_code() -> None:
    """Whoever adds an error class has to say what it means over HTTP, gRPC, WebSocket and to a shell."""
    found = list(all_errors())
    assert len(found) > 20
    assert set(found) == set(TABLE)
    assert len({kind.code for kind in found}) == len(found)
    assert {row.http for row in TABLE.values()} <= set(TITLES)
    known = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert {row.exit for row in TABLE.values()} <= known


@pytest.mark.requirement("OPS-2")
@pytest.mark.parametrize("kind", list(all_errors()), ids=lambda kind: kind.__name__)
def test_every_error_makes_a_problem_document(kind: type[errors.LeaseholdError]) -> None:
    """Each has its status, title, code and the request's id; 429 and 503 always say when to come back."""
    document = problem(kind("what is wrong; what to do", lease_id="lease-1"), "0123456789abcdef")
    assert document.status == TABLE[kind].http
    assert document.title == TITLES[document.status]
    assert (document.code, document.request_id) == (kind.code, "0123456789abcdef")
    assert document.details == {"lease_id": "lease-1"}
    assert (document.retry_after_sec is not None) == (document.status in (429, 503))


@pytest.mark.requirement("LEASE-4")
def test_a_429_has_the_members_of_a_denial() -> None:
    """Who asks too often gets what a denied request would get: approved, reasons, retry time, ticket."""
    reason = Reason(Code.RATE_LIMITED, "too often", "wait", retry_after_s=7)
    error = errors.RateLimited("too often", retry_after_s=7, reasons=[reason], ticket="tkt-1")
    document = problem(error, "0123456789abcdef")
    assert (document.approved, document.ticket, document.retry_after_sec) == (False, "tkt-1", 7)
    assert [one.code for one in document.reasons] == ["RATE_LIMITED"]


def test_fields_stand_apart_from_other_details() -> None:
    """`field` and `expected` of an error become a list of fields: programs need not look elsewhere."""
    error = errors.Invalid("no", field="$.node", expected="a node", other=1)
    document = problem(error, "0123456789abcdef")
    assert [(one.field, one.expected) for one in document.fields] == [("$.node", "a node")]
    assert document.details == {"other": 1}
