"""Exit codes of the command line (OPS-30), in one table. `128 + n` means ended by signal n."""

from __future__ import annotations

DONE = 0
NO = 1
USAGE = 64
BAD_FILE = 65
NOT_FOUND = 66
UNREACHABLE = 69
OUR_FAULT = 70
CONFLICT = 73
GAVE_UP = 75
LEASE_LOST = 76
NOT_PERMITTED = 77
CONFIGURATION = 78
CANNOT_EXECUTE = 126
NO_SUCH_COMMAND = 127
SIGNAL_BASE = 128

MEANINGS: dict[int, str] = {
    DONE: "done",
    NO: "the answer is no: not now (`status --check`), never on this machine (`run`), not done",
    USAGE: "wrong usage",
    BAD_FILE: "a file that was given can't be read or used",
    NOT_FOUND: "no such object",
    UNREACHABLE: "the server can't be reached",
    OUR_FAULT: "a fault of the server's or of this program; the message has the request's id",
    CONFLICT: "the object is not in the state that this needs",
    GAVE_UP: "gave up waiting",
    LEASE_LOST: "the lease was lost or revoked, and the work was stopped",
    NOT_PERMITTED: "not permitted",
    CONFIGURATION: "the configuration is wrong",
    CANNOT_EXECUTE: "the command can't be executed",
    NO_SUCH_COMMAND: "the command was not found",
    SIGNAL_BASE: "ended by signal n",
}

BY_STATUS: dict[int, int] = {
    400: OUR_FAULT,
    401: NOT_PERMITTED,
    403: NOT_PERMITTED,
    404: NOT_FOUND,
    405: OUR_FAULT,
    408: UNREACHABLE,
    409: CONFLICT,
    410: LEASE_LOST,
    413: USAGE,
    415: OUR_FAULT,
    421: UNREACHABLE,
    422: USAGE,
    429: GAVE_UP,
    431: OUR_FAULT,
    503: UNREACHABLE,
}
BY_CODE: dict[str, int] = {"STALE_TOKEN": LEASE_LOST, "IDEMPOTENCY_MISMATCH": CONFLICT, "NEVER_FITS": NO}
"""Codes that mean something else than their status does. A test holds both tables against the API's own."""


def of_problem(status: int, code: str = "") -> int:
    """The exit code for an error answer, from its HTTP status and its code."""
    return BY_CODE.get(code) or BY_STATUS.get(status, OUR_FAULT)
