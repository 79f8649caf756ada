"""Programs ask for leases: what they say, how they wait, and what happens where there is no server."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from leasehold import LeaseLost, NotGranted, current_lease, lease
from tests.unit.cli_scripted_server import (
    Scripted,
    granted,
    problem,
    serving,
)

pytestmark = pytest.mark.requirement("LEASE-19")

EXPIRED = problem(410, "LEASE_ENDED", "lease-1 has ended (EXPIRED)", details={"state": "EXPIRED"})
DENIAL = {
    "approved": False, "reason": "Capacity exceeded: used=80, requested=40, capacity=90",
    "reasons": [{"code": "CAPACITY", "sentence": "Capacity exceeded: used=80, requested=40, capacity=90"}],
    "ticket": "tkt-1", "retry_after_sec": 1,
}  # fmt: skip


# -- asking ------------------------------------------------------------------------------------------------


def test_it_asks_renews_and_gives_back(scripted: Scripted) -> None:
    """One call to ask, one at once to take it up, renewals, and one at the end with how it ended."""
    with lease(cost=7, job_type="build", label="nightly") as held:
        assert (held.id, held.token, held.is_shared, held.is_bare) == ("lease-1", 7, False, False)
        assert current_lease() is held
        scripted.wait_for("/heartbeat", 3)
    assert current_lease() is None
    ask, *_ = scripted.wait_for("/request")
    assert ask == {"job_type": "build", "cost_units": 7, "start": "now", "label": "nightly"}
    (given_back,) = scripted.wait_for("/release")
    assert (given_back["fencing_token"], given_back["outcome"]) == (7, "done")
    assert given_back["metrics"]["cpu_seconds"] >= 0


def test_all_that_a_request_can_say_is_said(scripted: Scripted) -> None:
    """Each option goes over the wire in the form that the API takes."""
    asked = lease(
        cpu=1.5, mem="2G", disk=4096, gpu=1, locks=["a"], slots={"scanner": 3, "old": None}, job_type="x",
        priority="LOW", start="quiet", constraints=["disk_write_heavy"], path="/var", expect="10m",
        on_busy="pause", on_lost="stop", enforce=True, node="here", addon="shop",
    )  # fmt: skip
    with asked:
        pass
    assert scripted.wait_for("/request") == [
        {
            "addon_id": "shop",
            "job_type": "x",
            "resources": {
                "cpu_millicores": 1500,
                "memory_bytes": 2 << 30,
                "disk_bytes": 4096,
                "devices": {"gpu": 1},
            },
            "locks": ["a"],
            "slots": [{"name": "scanner", "size": 3}, {"name": "old"}],
            "expected_duration_sec": 600,
            "priority": "LOW",
            "constraints": ["disk_write_heavy"],
            "path": "/var",
            "node": "here",
            "start": "quiet",
            "on_busy": "pause",
            "on_lost": "stop",
            "enforce": True,
        }
    ]
    # It is held to its charge as a process: that one is bound.
    assert scripted.wait_for("/heartbeat")[0]["bind"] == {"pids": [os.getpid()]}


def test_without_a_cost_the_learned_one_is_asked_for(scripted: Scripted) -> None:
    """A block is named after the function that it stands in, so that its cost can be learned."""
    with lease():
        pass
    (ask,) = scripted.wait_for("/request")
    assert ask["cost_class"] == "AUTO"
    assert ask["job_type"].endswith("test_client_lease.test_without_a_cost_the_learned_one_is_asked_for")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cost": 0}, "1 to 100"),
        ({"cost": "30"}, "1 to 100"),
        ({"cost": 30, "cost_class": "LOW"}, "twice"),
        ({"mem": "lots"}, "mem='lots': expected a size"),
        ({"cpu": 0}, "cpu=0: expected a number of cores"),
        ({"wait": "soon"}, "wait='soon': expected a duration"),
        ({"wait": -1}, "expected seconds from 0"),
        ({"start": "later"}, "start='later': expected one of now, quiet"),
        ({"on_lost": "cry"}, "on_lost='cry'"),
        ({"when_down": "weep"}, "when_down='weep'"),
        ({"locks": "a"}, 'expected a list, like ["a"]'),
        ({"prioritty": "LOW"}, "did you mean priority"),
    ],
)
def test_what_can_not_be_meant_is_said_before_anybody_is_asked(options: dict[str, Any], said: str) -> None:
    """A wrong option raises where it is written, and names itself and what was expected."""
    with pytest.raises((ValueError, TypeError)) as caught:
        lease(**options)
    assert said in str(caught.value)


# -- waiting -----------------------------------------------------------------------------------------------


def test_who_waits_comes_back_with_its_ticket(scripted: Scripted, caplog: pytest.LogCaptureFixture) -> None:
    """Held calls with the ticket until there is room; what it waits for is in the program's log, once."""
    answers = [(200, DENIAL), (200, DENIAL), (200, granted())]
    scripted.on["POST", "/request"] = lambda body: answers.pop(0)
    with caplog.at_level(logging.INFO, logger="leasehold"), lease(cost=40):
        pass
    asks = scripted.wait_for("/request", 3)
    assert [ask.get("ticket") for ask in asks] == [None, "tkt-1", "tkt-1"]
    assert [bool(ask.get("wait_sec")) for ask in asks] == [False, True, True]
    assert [one.message for one in caplog.records].count(f"waiting for a lease: {DENIAL['reason']}") == 1


def test_patience_ends_with_reasons(scripted: Scripted) -> None:
    """When `wait` is over it raises NotGranted with why, and gives its place up."""
    scripted.on["POST", "/request"] = lambda body: (200, DENIAL)
    with pytest.raises(NotGranted) as caught, lease(cost=40, wait=0):
        pytest.fail("the body may not run")
    error = caught.value
    assert str(error) == f"no room now: {DENIAL['reason']}"
    assert (error.kind, error.retry_after_s, error.ticket) == ("gave_up", 1, "")
    assert error.reasons[0]["code"] == "CAPACITY"
    scripted.wait_for("/ticket/tkt-1")
    with pytest.raises(NotGranted, match=r"gave up after 0\.1 s of waiting"), lease(cost=40, wait=0.1):
        pass


def test_a_place_in_line_can_be_kept(scripted: Scripted) -> None:
    """With keep_place who gives up gets the ticket, and takes it up again later."""
    scripted.on["POST", "/request"] = lambda body: (200, granted() if body.get("ticket") else DENIAL)
    with pytest.raises(NotGranted) as caught, lease(cost=40, wait=0, keep_place=True):
        pass
    with lease(cost=40, ticket=caught.value.ticket):
        pass
    assert [path for method, path, _ in scripted.calls if method == "DELETE"] == []


def test_what_no_waiting_mends_is_told_at_once(scripted: Scripted) -> None:
    """Never fits, forbidden and wrong requests raise at once, each with its kind and the server's words."""
    never = {"approved": False, "reason": "memory: never", "reasons": [{"code": "NEVER_FITS", "cure": "buy"}]}
    scripted.on["POST", "/request"] = lambda body: (200, never)
    with pytest.raises(NotGranted, match="memory: never; buy") as caught, lease(mem="1T"):
        pass
    assert caught.value.kind == "never_fits"
    scripted.on["POST", "/request"] = lambda body: problem(403, "NOT_PERMITTED", "ask your administrator")
    with pytest.raises(NotGranted, match="ask your administrator") as caught, lease(cost=1):
        pass
    assert (caught.value.kind, caught.value.status, caught.value.code) == ("refused", 403, "NOT_PERMITTED")


def test_an_offer_that_lapsed_is_asked_for_anew(scripted: Scripted) -> None:
    """The body starts only under a lease that is known to be held."""
    grants = [granted("lease-1", 7), granted("lease-2", 8)]
    scripted.on["POST", "/request"] = lambda body: (200, grants.pop(0))
    scripted.on["POST", "/lease-1/heartbeat"] = lambda body: EXPIRED
    scripted.on["POST", "/heartbeat"] = scripted.on.pop(("POST", "/heartbeat"))
    with lease(cost=1) as held:
        assert held.id == "lease-2"


def test_a_grant_that_could_not_be_confirmed_is_given_back(scripted: Scripted) -> None:
    """A server that grants and then falls silent may hold it for us: it gets it back when it hears again."""
    grants = [granted("lease-1", 7), granted("lease-2", 8)]
    scripted.on["POST", "/request"] = lambda body: (200, grants.pop(0))
    silent = ("POST", "/lease-1/heartbeat")
    scripted.on = {silent: lambda body: problem(503, "UNAVAILABLE", "not now"), **scripted.on}
    with lease(cost=1) as held:
        assert held.id == "lease-2"
        assert scripted.wait_for("/lease-1/release")[0]["fencing_token"] == 7


def test_errors_survive_pickling() -> None:
    """Result backends and process pools send exceptions on; nothing of them is lost."""
    denied = pickle.loads(pickle.dumps(NotGranted("no", "gave_up", DENIAL, 0, "tkt-1")))
    assert (str(denied), denied.kind, denied.ticket, denied.reasons) == (
        "no", "gave_up", "tkt-1", DENIAL["reasons"],
    )  # fmt: skip
    lost = pickle.loads(pickle.dumps(LeaseLost("gone", lease_id="lease-1", revoked=True)))
    assert (str(lost), lost.lease_id, lost.revoked) == ("gone", "lease-1", True)


# -- no server ---------------------------------------------------------------------------------------------


def test_without_a_server_it_does_what_when_down_says(program_data: Path) -> None:
    """run: without a lease; fail: NotGranted; wait: until patience ends. No body of the last two runs."""
    with lease(cost=30, when_down="run") as held:
        assert (held.is_bare, held.id, held.token, held.should_stop) == (True, "", 0, False)
        held.report(0.5)
    with pytest.raises(NotGranted) as caught, lease(cost=30, when_down="fail"):
        pass
    assert caught.value.kind == "unreachable"
    with pytest.raises(NotGranted, match="gave up after"), lease(cost=30, when_down="wait", wait=0.2):
        pass


def test_who_waits_for_a_server_gets_its_lease_when_it_comes(program_data: Path) -> None:
    """A server that is started later grants what was asked for before."""
    got: list[str] = []

    def work() -> None:
        with lease(cost=30, when_down="wait") as held:
            got.append(held.id)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.2)
    assert got == []
    with serving(program_data) as scripted:
        thread.join(10)
        assert got == ["lease-1"]
        scripted.wait_for("/release")


def test_off_means_nobody_is_asked(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """LEASEHOLD=off in the environment runs everything at once."""
    monkeypatch.setenv("LEASEHOLD", "off")
    with lease(cost=30) as held, lease(cost=90) as inner:
        assert held.is_bare
        assert inner.is_bare
    assert scripted.calls == []


def test_a_lease_that_can_not_be_given_back_is_given_back_later(scripted: Scripted) -> None:
    """A server that can't take it back holds the program up for two seconds at most, and hears it again."""
    failing = [problem(503, "UNAVAILABLE", "not now")] * 4
    scripted.on["POST", "/release"] = lambda body: failing.pop() if failing else (200, {})
    held = lease(cost=30).acquire()
    began_s = time.monotonic()
    held.release()
    assert time.monotonic() - began_s < 10
    scripted.wait_for("/release", 5)
    assert not failing


def test_the_package_itself_imports_nothing() -> None:
    """`import leasehold` stays cheap; a lease for plain code brings in no event loop and no HTTP library."""
    program = (
        "import sys, leasehold; assert not [n for n in sys.modules if n.startswith('leasehold.')]; "
        "from leasehold import lease; lease(cost=1); assert 'lease' in dir(leasehold); "
        "print(sorted({'asyncio', 'httpx', 'msgspec', 'ssl'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
