"""The live answers of notifications against their contract (OPS-1)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.notify_receiver import Receiver
from tests.api.push_browser import Browser
from tests.api.real_server import RealServer
from tests.api.test_openapi import CONTRACT, OF_NOTIFICATIONS, conforms

TARGETS = f"{OF_NOTIFICATIONS}/targets"
ONE = f"{TARGETS}/{{target_id}}"
SUBSCRIPTIONS = f"{OF_NOTIFICATIONS}/push/subscriptions"
RETRY = f"{OF_NOTIFICATIONS}/deliveries/{{delivery_id}}/retry"


@pytest.fixture
def telling() -> Iterator[RealServer]:
    """A server that may tell receivers of this machine."""
    folder = Path(tempfile.mkdtemp(prefix="lh-"))
    with RealServer(folder, LEASEHOLD_NOTIFICATIONS__ALLOWED_HOSTS='["localhost"]') as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.requirement("OPS-1")
def test_live_answers_of_notifications_conform(telling: RealServer) -> None:
    """Each route, called once as it is meant, answers what its schema says."""
    with Receiver() as receiver:
        receiver.answer = lambda got: (500, {})
        hours = [{"from": "22:00", "to": "07:00", "days": ["mon"]}]
        hook = {"kind": "webhook", "url": receiver.url, "quiet_hours": hours, "kinds": ["storage"]}
        made = telling.post(TARGETS, hook)
        conforms(made, "post", TARGETS)
        ident = made.json["target"]["target_id"]
        tried = telling.post(f"{TARGETS}/{ident}/test", None)
        assert tried.json["state"] == "dead", tried
        conforms(tried, "post", f"{ONE}/test")
        subscription = Browser().subscription(f"{receiver.url}/push")
        again = RETRY.replace("{delivery_id}", tried.json["delivery_id"])
        calls: list[tuple[str, str, str, Any]] = [
            ("get", OF_NOTIFICATIONS, f"{OF_NOTIFICATIONS}?limit=5&state=dead", None),
            ("post", RETRY, again, None),
            ("post", f"{OF_NOTIFICATIONS}/retry", f"{OF_NOTIFICATIONS}/retry", None),
            ("get", TARGETS, TARGETS, None),
            ("get", ONE, f"{TARGETS}/{ident}", None),
            ("put", ONE, f"{TARGETS}/{ident}", {"severity": "critical", "enabled": False}),
            ("delete", ONE, f"{TARGETS}/{ident}", None),
            ("get", f"{OF_NOTIFICATIONS}/push/key", f"{OF_NOTIFICATIONS}/push/key", None),
            ("post", SUBSCRIPTIONS, SUBSCRIPTIONS, subscription),
        ]
        for method, template, path, body in calls:
            reply = telling.call(method.upper(), path, body)
            assert reply.status < 300, (path, reply)
            conforms(reply, method, template)
    asked = {(method, template) for method, template, _, _ in calls}
    asked |= {("post", TARGETS), ("post", f"{ONE}/test")}
    declared = {(method, path) for path, item in CONTRACT["paths"].items() for method in item}
    assert asked == {(method, path) for method, path in declared if path.startswith(OF_NOTIFICATIONS)}
