"""Notifications on the real server, to receivers that really listen (OPS-14, CLUSTER-27)."""

from __future__ import annotations

import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import http_ece
import pytest

from tests.api.job_client import Queue, refused
from tests.api.notify_receiver import Receiver, until
from tests.api.push_browser import Browser, signed_by
from tests.api.real_server import RealServer
from tests.api.smtp_server import Mailbox, text_of

NOTIFICATIONS = "/api/notifications"
TARGETS = f"{NOTIFICATIONS}/targets"
SETTINGS = {
    "LEASEHOLD_NOTIFICATIONS__ALLOWED_HOSTS": '["127.0.0.1"]',
    "LEASEHOLD_NOTIFICATIONS__PAGE_URL": "https://nuc.example:7118",
    "LEASEHOLD_LEASE__TTL_MS": "3000",
}
"""Receivers on one address of loopback, and workers that are soon missed."""


@pytest.fixture(scope="module")
def telling() -> Iterator[RealServer]:
    """A server that may tell receivers on 127.0.0.1."""
    folder = Path(tempfile.mkdtemp(prefix="lh-"))
    with RealServer(folder, **SETTINGS) as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Somebody who takes webhooks."""
    with Receiver() as found:
        yield found


def add(server: RealServer, url: str, kind: str = "webhook", **fields: Any) -> Any:
    """A target that is gone after its test; the answer."""
    reply = server.post(TARGETS, {"kind": kind, "url": url, **fields})
    assert reply.status == 200, reply
    return reply.json


@pytest.fixture(autouse=True)
def _forgotten(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "telling" in request.fixturenames:
        server: RealServer = request.getfixturevalue("telling")
        for one in server.get(TARGETS).json["targets"]:
            assert server.call("DELETE", f"{TARGETS}/{one['target_id']}").status == 204


def outcome_of_test(server: RealServer, target_id: str) -> Any:
    """What comes of a test."""
    reply = server.post(f"{TARGETS}/{target_id}/test", None)
    assert reply.status == 200, reply
    return reply.json


def lose_a_worker(server: RealServer, name: str) -> None:
    """A worker takes a job and is not heard of again: something to tell."""
    queue = Queue(server, name)
    queue.submit()
    queue.worker(name).claim_one()


@pytest.mark.requirement("OPS-14", "CLUSTER-27")
def test_a_lost_worker_is_told_signed_by_a_receiver_that_can_check_it(
    telling: RealServer, receiver: Receiver
) -> None:
    """From the event to the call, by itself; the key is in the answer to the creation and nowhere else."""
    made = add(telling, receiver.url, name="ops")
    lose_a_worker(telling, "lost-worker")
    until(lambda: receiver.got, "the worker was missed")
    got = receiver.got[0]
    assert got.is_signed(made["secret"])
    (message,) = got.messages
    assert (message["kind"], message["severity"], message["link"]) == ("worker", "warning", "/queue")
    assert "no heartbeat came" in message["text"]
    shown = until(
        lambda: [
            one
            for one in telling.get(NOTIFICATIONS).json["notifications"]
            if one["notification_id"] == message["id"] and one["deliveries"][0]["state"] == "sent"
        ],
        "it is known to be sent",
    )
    assert shown[0]["deliveries"][0]["delivery_id"] == got.ident
    assert made["secret"] not in telling.get(TARGETS).body.decode()


@pytest.mark.requirement("CLUSTER-27")
def test_a_receiver_that_goes_away_and_comes_back_gets_it_all_under_the_same_id(telling: RealServer) -> None:
    """First it answers 500, then nobody is there, then it takes it: one delivery."""
    receiver = Receiver()
    receiver.answer = lambda got: (500, {})
    add(telling, receiver.url, name="shaky")
    lose_a_worker(telling, "shaky-worker")
    until(lambda: receiver.got, "a first attempt")
    ident = receiver.got[0].ident

    def shown() -> Any:
        found = telling.get(NOTIFICATIONS).json["notifications"]
        return next(d for one in found for d in one["deliveries"] if d["delivery_id"] == ident)

    until(lambda: shown().get("code") == "HTTP_500", "its answer is known")
    receiver.close()
    until(lambda: shown().get("code") == "UNREACHABLE", "nobody is there")
    with Receiver(receiver.port) as back:
        until(lambda: back.got, "it is tried again")
        assert {one.ident for one in [*receiver.got, *back.got]} == {ident}
        assert back.got[0].body == receiver.got[0].body
        until(lambda: shown()["state"] == "sent", "it is taken")
        assert shown()["attempts"] >= 3


@pytest.mark.requirement("CLUSTER-27")
def test_one_that_hangs_holds_up_no_other_and_is_given_up(telling: RealServer, receiver: Receiver) -> None:
    """A call has its deadline."""
    receiver.hold = threading.Event()
    slow = add(telling, receiver.url, name="slow")["target"]["target_id"]
    with Receiver() as quick:
        fast = add(telling, quick.url, name="quick")["target"]["target_id"]
        outcome: list[Any] = []
        waiting = threading.Thread(target=lambda: outcome.append(outcome_of_test(telling, slow)))
        waiting.start()
        until(lambda: receiver.got, "the slow one was called")
        assert outcome_of_test(telling, fast)["state"] == "sent"
        assert waiting.is_alive()
        waiting.join(60)
    assert (outcome[0]["state"], outcome[0]["code"]) == ("dead", "TIMEOUT")


@pytest.mark.requirement("CLUSTER-27")
def test_no_redirect_is_followed_to_a_private_address(telling: RealServer, receiver: Receiver) -> None:
    """Nor to any other."""
    with Receiver() as inside:
        receiver.answer = lambda got: (307, {"location": inside.url})
        target_id = add(telling, receiver.url)["target"]["target_id"]
        found = outcome_of_test(telling, target_id)
        assert (found["state"], found["code"], inside.got) == ("dead", "REDIRECT", [])


@pytest.mark.requirement("OPS-14", "CLUSTER-27")
def test_no_library_gets_to_a_private_address(telling: RealServer, receiver: Receiver) -> None:
    """A service of apprise follows redirects: the connection itself is what is refused."""
    with Receiver(host="127.0.0.2") as inside:
        receiver.answer = lambda got: (307, {"location": f"http://127.0.0.2:{inside.port}/hook"})
        target_id = add(telling, f"json://127.0.0.1:{receiver.port}/x", "chat")["target"]["target_id"]
        found = outcome_of_test(telling, target_id)
        assert (found["state"], len(receiver.got), inside.got) == ("dead", 1, [])
        receiver.answer = lambda got: (200, {})
        assert outcome_of_test(telling, target_id)["state"] == "sent"


@pytest.mark.requirement("OPS-14", "CLUSTER-27")
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.2:1/x",
        "https://10.0.0.1/x",
        "https://192.168.0.1/x",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/x",
        "https://[::ffff:10.0.0.1]/x",
        "https://0x7f.2/x",
        "https://2130706434/x",
    ],
)
def test_private_addresses_are_refused_however_they_are_written(telling: RealServer, url: str) -> None:
    """Unless the setting names them."""
    problem = refused(telling.post(TARGETS, {"kind": "webhook", "url": url}), 422, "INVALID")
    assert "no public address" in problem["detail"] or "not known" in problem["detail"]
    assert telling.get(TARGETS).json["targets"] == []


@pytest.mark.requirement("OPS-14", "CLUSTER-27")
def test_the_address_that_is_connected_to_is_checked_not_the_one_before(scratch: Path) -> None:
    """What was allowed when it was made and is not any more is not called: settings count as they are."""
    with Receiver() as receiver:
        with RealServer(scratch, **SETTINGS) as server:
            target_id = add(server, receiver.url)["target"]["target_id"]
            assert outcome_of_test(server, target_id)["state"] == "sent"
        with RealServer(scratch) as server:
            found = outcome_of_test(server, target_id)
            assert (found["state"], found["code"]) == ("dead", "NOT_ALLOWED")
            assert len(receiver.got) == 1


@pytest.mark.requirement("OPS-14", "OPS-8")
def test_mail_arrives_and_its_password_stands_nowhere(telling: RealServer) -> None:
    """Through apprise, with the page's address; a wrong password is told, and never shown."""
    password, wrong = "c0rrect-horse-battery", "wr0ng-horse-battery"
    with Mailbox("ann", password) as mailbox:
        options = "smtp=127.0.0.1&mode=insecure&from=lh@mail.example&to=ann@mail.example"
        place = f"mail.example:{mailbox.port}/?{options}"
        target_id = add(telling, f"mailto://ann:{password}@{place}", "chat")["target"]["target_id"]
        found = outcome_of_test(telling, target_id)
        assert found["state"] == "sent", found
        (mail,) = mailbox.mails
        assert mail["subject"] == "This is a test"
        assert "https://nuc.example:7118/settings" in text_of(mail)
        assert "ann@mail.example" in mailbox.recipients[0]
        bad = add(telling, f"mailto://ann:{wrong}@{place}", "chat")["target"]["target_id"]
        found = outcome_of_test(telling, bad)
        assert (found["state"], found["code"]) == ("dead", "REFUSED")
        assert found["error"]
    seen = telling.get(TARGETS).body + telling.get(NOTIFICATIONS).body + telling.get("/api/events").body
    seen += telling.get("/api/audit").body
    seen += b"".join(file.read_bytes() for file in (telling.data / "log").iterdir())
    seen += (telling.folder / "stderr").read_bytes()
    for secret in (password, wrong):
        assert secret.encode() not in seen


@pytest.mark.requirement("OPS-14")
@pytest.mark.parametrize("url", ["dbus://", "nonsense://x/y", "syslog://", "mailto://"])
def test_what_is_no_service_of_the_network_is_told(telling: RealServer, url: str) -> None:
    """Where the list of services is, too."""
    problem = refused(telling.post(TARGETS, {"kind": "chat", "url": url}), 422, "INVALID")
    assert "$.url" in str(problem["fields"])


@pytest.mark.requirement("OPS-14")
def test_a_browser_gets_what_only_it_can_read(telling: RealServer, receiver: Receiver) -> None:
    """Encrypted for its keys, signed with ours, which stay the same over restarts."""
    key = telling.get(f"{NOTIFICATIONS}/push/key").json["key"]
    browser = Browser()
    subscription = browser.subscription(f"http://127.0.0.1:{receiver.port}/push/abc")
    made = telling.post(f"{NOTIFICATIONS}/push/subscriptions", subscription)
    assert made.status == 200, made
    assert made.json["address"] == f"http://127.0.0.1:{receiver.port}/…"
    assert outcome_of_test(telling, made.json["target_id"])["state"] == "sent"
    (got,) = receiver.got
    assert browser.opened(got)["title"] == "This is a test"
    assert (got.headers["ttl"], got.headers["urgency"]) == ("86400", "normal")
    claims = signed_by(got, key)
    assert claims["aud"] == f"http://127.0.0.1:{receiver.port}"
    with pytest.raises(http_ece.ECEException):
        Browser().opened(got)
    file = telling.data / "push-key.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    telling.stop()
    telling.start()
    assert telling.get(f"{NOTIFICATIONS}/push/key").json["key"] == key
    assert outcome_of_test(telling, made.json["target_id"])["state"] == "sent"
    assert browser.opened(receiver.got[1])["title"] == "This is a test"


@pytest.mark.requirement("OPS-14")
@pytest.mark.parametrize("status", [404, 410])
def test_a_browser_that_is_gone_is_dropped(telling: RealServer, receiver: Receiver, status: int) -> None:
    """As the push service says it."""
    receiver.answer = lambda got: (status, {})
    made = telling.post(f"{NOTIFICATIONS}/push/subscriptions", Browser().subscription(receiver.url))
    assert made.status == 200, made
    refused(telling.post(f"{TARGETS}/{made.json['target_id']}/test", None), 404, "NOT_FOUND")
    assert telling.get(TARGETS).json["targets"] == []


@pytest.mark.requirement("OPS-14")
def test_keys_that_are_none_are_told(telling: RealServer, receiver: Receiver) -> None:
    """Before anything is kept."""
    body = Browser().subscription(receiver.url)
    body["keys"]["p256dh"] = "A" * 87
    problem = refused(telling.post(f"{NOTIFICATIONS}/push/subscriptions", body), 422, "INVALID")
    assert "keys" in problem["detail"]


@pytest.mark.requirement("CLUSTER-27", "INV-4")
def test_kill_9_between_commit_and_delivery_loses_nothing(scratch: Path) -> None:
    """Killed while the receiver holds the call; the next server sends it again, under the same id."""
    with Receiver() as receiver:
        receiver.hold = threading.Event()
        server = RealServer(scratch, **SETTINGS)
        server.start()
        made = add(server, receiver.url)
        lose_a_worker(server, "killed")
        until(lambda: receiver.got, "the first call")
        assert server.process is not None
        server.process.kill()
        server.process.wait()
        receiver.hold.set()
        receiver.hold = None
        with server:
            until(lambda: len(receiver.got) >= 2, "the second call")
            assert len({one.ident for one in receiver.got}) == 1
            assert receiver.got[1].is_signed(made["secret"])
            until(lambda: server.get(NOTIFICATIONS).json["pending"] == 0, "it is settled")


@pytest.mark.requirement("OPS-6", "OPS-14")
def test_rights(telling: RealServer, receiver: Receiver) -> None:
    """Viewers see what was told and no address; only administrators say where it goes."""
    add(telling, f"{receiver.url}/with/a-secret-path")
    token = telling.post("/api/tokens", {"name": "v", "role": "viewer"}).json["token"]
    headers = {"authorization": f"Bearer {token}"}
    found = telling.call("GET", TARGETS, headers=headers)
    assert (found.status, b"secret-path" in found.body) == (200, False)
    body = {"kind": "webhook", "url": receiver.url}
    assert telling.call("POST", TARGETS, body, headers=headers).status == 403
    assert telling.call("POST", f"{NOTIFICATIONS}/retry", headers=headers).status == 403
    assert telling.call("GET", NOTIFICATIONS, headers={"authorization": "Bearer no"}).status == 401
