"""The process for notifications: an address is checked when it is connected to."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from tests.api.notify_receiver import Receiver

PROGRAM = """
    import json, socket, sys
    from leasehold.adapters.notifiers import child

    sys.addaudithook(child.GUARD.hook)
    asked = json.loads(sys.stdin.read())
    real, answers = socket.getaddrinfo, list(asked["answers"])

    def changing(host, port, *more, **others):
        if host != "rebinding.example":
            return real(host, port, *more, **others)
        return real(answers.pop(0) if len(answers) > 1 else answers[0], port, *more, **others)

    socket.getaddrinfo = changing
    told = []
    for call in asked["calls"]:
        child.answer({"id": 1, **call}, told.append)
    print(json.dumps(told))
"""


def outcomes(answers: list[str], *calls: dict[str, Any]) -> list[dict[str, Any]]:
    """What comes of calls in a process of their own, whose name service gives these, one after the other."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        input=json.dumps({"answers": answers, "calls": calls}),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.requirement("OPS-14", "CLUSTER-27")
def test_a_name_that_changes_its_mind_leads_nowhere() -> None:
    """Public when it is checked, loopback when it is called (DNS rebinding): the connection is refused."""
    with Receiver() as receiver:
        url = f"https://rebinding.example:{receiver.port}/x"
        check = {"op": "webhook.check", "url": url, "allowed": []}
        send = {"op": "webhook.send", "url": url, "allowed": [], "body": "{}", "headers": {}}
        checked, sent = outcomes(["93.184.216.34", "127.0.0.1"], check, send)
        assert checked["ok"]
        assert (sent["ok"], sent["code"]) == (False, "NOT_ALLOWED")
        assert "127.0.0.1 is no public address" in sent["sentence"]
        assert receiver.got == []


@pytest.mark.requirement("OPS-14")
def test_nothing_goes_to_a_public_address_in_the_open() -> None:
    """Plain http is for hosts that the owner has named, whatever the name of the receiver says."""
    url = "http://rebinding.example/x"
    call = {"op": "webhook.send", "url": url, "plain": True, "body": "{}", "headers": {}, "allowed": []}
    (sent,) = outcomes(["93.184.216.34"], call)
    assert (sent["code"], "only https" in sent["sentence"]) == ("NOT_ALLOWED", True)


@pytest.mark.requirement("OPS-14")
def test_what_a_call_is_asked_with_never_comes_back_in_an_error() -> None:
    """Not even where it is nonsense that no code expects."""
    secret = "hunter2-hunter2"
    calls = [
        {"op": "webhook.send", "url": f"https://[{secret}", "allowed": [], "body": "", "headers": {}},
        {"op": "chat.send", "url": f"json://{secret}:x", "allowed": [], "title": "t", "text": "x"},
        {"op": f"no.{secret}", "allowed": []},
        {"op": "push.send", "allowed": [], "subscription": {"endpoint": f"https://p.example/{secret}"}},
    ]
    for told in outcomes(["127.0.0.1"], *calls):
        assert not told["ok"]
        assert secret not in told["sentence"]
