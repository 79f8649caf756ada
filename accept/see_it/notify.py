"""Notifications on the real program: signed webhooks over crashes, e-mail, web push, quiet hours, refused addresses."""

from __future__ import annotations

import stat
import tempfile
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from accept.harness import check, expect
from accept.product import Product, Server, until
from accept.queue.schedules import Wall
from tests.api.notify_receiver import Receiver
from tests.api.push_browser import Browser, signed_by
from tests.api.smtp_server import Mailbox, text_of

NOTIFICATIONS = "/api/notifications"
TARGETS = f"{NOTIFICATIONS}/targets"
QUEUE = "/api/scheduler/queue"
HERE = {
    "LEASEHOLD_NOTIFICATIONS__ALLOWED_HOSTS": '["127.0.0.1"]',
    "LEASEHOLD_LEASE__TTL_MS": "3000",
    "LEASEHOLD_PRESET": "always",
}
"""Receivers on this machine, workers that are soon missed, and nothing that waits for a quiet machine."""


def lose_a_worker(server: Server, name: str) -> None:
    """A worker takes a job and is not heard of again."""
    asked = {"job_type": name, "cost_units": 1, "start": "now"}
    expect(server.post(f"{QUEUE}/jobs/submit", asked)[0] == 200, "the job was not taken")
    status, made = server.post("/api/tokens", {"name": name, "role": "worker"})
    expect(status == 200, f"no token: {made}")
    status, found = server.post(f"{QUEUE}/claim", {"job_types": [name], "wait_sec": 20}, token=made["token"])
    expect(status == 200 and len(found["jobs"]) == 1, f"the worker got nothing: {found}")


def add(server: Server, **body: Any) -> Any:
    """A target; the answer."""
    status, made = server.post(TARGETS, body)
    expect(status == 200, f"{body['kind']}: {status} {made}")
    return made


def outcome_of_test(server: Server, target_id: str) -> Any:
    """What comes of a test."""
    status, found = server.post(f"{TARGETS}/{target_id}/test", None, timeout_s=60)
    expect(status == 200, f"test: {status} {found}")
    return found


def delivery(server: Server, ident: str) -> Any:
    """One delivery, as it stands."""
    told = server.get(f"{NOTIFICATIONS}?limit=1000")[1]["notifications"]
    return next(each for one in told for each in one["deliveries"] if each["delivery_id"] == ident)


@check(
    "notify.outbox",
    "A webhook that answers 500, goes away and comes back, over kill -9 in the middle of a call: nothing lost, one id, each call signed",
    command="leasehold notify add https://ops.example/hook; kill -9 $(jq .pid server.json)",
    kind="quiet",
    budget_s=240,
)
def outbox(product: Product) -> str:
    """Three lost workers: one told by a receiver that fails, one before a kill, one after it."""
    receiver = Receiver()
    with product.server(**HERE) as server:
        secret = add(server, kind="webhook", url=receiver.url)["secret"]
        receiver.answer = lambda got: (500, {})
        lose_a_worker(server, "first")
        expect(until(lambda: receiver.got, 60) is not None, "nothing was told within a minute")
        first = receiver.got[0].ident
        receiver.close()
        told = until(lambda: delivery(server, first).get("code") == "UNREACHABLE", 60)
        expect(told is not None, f"its absence was not noticed: {delivery(server, first)}")
        with Receiver(receiver.port) as back:
            expect(until(lambda: back.got, 90) is not None, "it was not tried again")
            back.hold = threading.Event()
            lose_a_worker(server, "second")
            caught = until(lambda: any("second" in title for got in back.got for title in got.titles), 60)
            expect(caught is not None, "the second was not told")
            server.kill()
            back.hold.set()
            back.hold = None
            server.start()
            lose_a_worker(server, "third")
            settled = until(lambda: server.get(NOTIFICATIONS)[1]["pending"] == 0 and _all_told(back), 120)
            expect(settled is not None, f"told: {[got.titles for got in back.got]}")
            calls = [*receiver.got, *back.got]
            expect(all(got.is_signed(secret) for got in calls), "a call was not signed")
            ids = {got.ident for got in calls}
            bodies = {(got.ident, got.body) for got in calls}
            expect(len(ids) == len(bodies) == 3, f"{len(ids)} ids, {len(bodies)} contents for 3 deliveries")
            expect(back.got[0].ident == first, "another id at the retry")
            expect(server.get(NOTIFICATIONS)[1]["dead"] == 0, "something was given up")
            return f"{len(calls)} signed calls for 3 deliveries, none lost"


def _all_told(receiver: Receiver) -> bool:
    titles = {title for got in receiver.got for title in got.titles}
    return titles == {f"Worker lost: {name}" for name in ("first", "second", "third")}


@check(
    "notify.private",
    "Private, loopback and link-local addresses are refused in every writing, and no redirect leads to one",
    command="leasehold notify add https://169.254.169.254/latest/meta-data",
    kind="quiet",
    budget_s=120,
)
def private(product: Product) -> str:
    """At creation, and at the connection."""
    addresses = (
        *("10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "127.0.0.2", "100.64.0.1", "0.0.0.0"),
        *(
            "[::1]",
            "[fe80::1]",
            "[fc00::1]",
            "[::ffff:10.0.0.1]",
            "[64:ff9b::7f00:1]",
            "0x7f.2",
            "2130706434",
        ),
    )
    with product.server(**HERE) as server, Receiver() as receiver, Receiver(host="127.0.0.2") as inside:
        for address in addresses:
            status, told = server.post(TARGETS, {"kind": "webhook", "url": f"https://{address}/x"})
            expect(status == 422, f"{address}: {status} {told}")
        expect(server.get(TARGETS)[1]["targets"] == [], "something was kept")
        receiver.answer = lambda got: (307, {"location": inside.url})
        hook = add(server, kind="webhook", url=receiver.url)["target"]["target_id"]
        chat = add(server, kind="chat", url=f"json://127.0.0.1:{receiver.port}/x")["target"]["target_id"]
        for target_id in (hook, chat):
            found = outcome_of_test(server, target_id)
            expect(found["state"] == "dead", f"a redirect was taken for an answer: {found}")
        expect(len(receiver.got) == 2 and not inside.got, "a redirect was followed to a private address")
        return f"{len(addresses)} addresses refused, 2 redirects not followed"


@check(
    "notify.mail",
    "E-mail through a library, and its password in no answer, event, audit, log or file but the store",
    command="leasehold notify add 'mailto://ann:PASSWORD@mail.example?to=ann@mail.example'",
    kind="quiet",
    budget_s=120,
)
def mail(product: Product) -> str:
    """A mailbox of this machine that asks for the password; a wrong one is told."""
    password, wrong = "c0rrect-horse-battery", "wr0ng-horse-battery"
    with product.server(**HERE) as server, Mailbox("ann", password) as mailbox:
        options = "smtp=127.0.0.1&mode=insecure&from=lh@mail.example&to=ann@mail.example"
        for given, expected in ((password, "sent"), (wrong, "dead")):
            url = f"mailto://ann:{given}@mail.example:{mailbox.port}/?{options}"
            found = outcome_of_test(server, add(server, kind="chat", url=url)["target"]["target_id"])
            expect(found["state"] == expected, f"{found}")
        expect(len(mailbox.mails) == 1, f"{len(mailbox.mails)} mails")
        expect("asked whether this arrives" in text_of(mailbox.mails[0]), "the mail says something else")
        answers = [server.get(path)[1] for path in (TARGETS, NOTIFICATIONS, "/api/events", "/api/audit")]
        listed = server.run("notify", "list").stdout + server.run("notify", "list", "--messages").stdout
        files = [
            file.read_bytes()
            for file in server.data.rglob("*")
            if file.is_file() and not file.name.startswith("leasehold.sqlite3")
        ]
        for secret in (password, wrong):
            expect(secret not in f"{answers}{listed}", "a password was shown")
            expect(not any(secret.encode() in content for content in files), "a password is in a file")
        return f"1 mail; 2 passwords not found in 4 answers, 2 lists and {len(files)} files"


@check(
    "notify.push",
    "Web push: what arrives can be read by the browser alone, keys persist over restarts, dead subscriptions are dropped",
    command="the page: Tell this browser",
    kind="quiet",
    budget_s=120,
)
def push(product: Product) -> str:
    """A push service of this machine, and a browser's keys."""
    with product.server(**HERE) as server, Receiver() as service:
        key = server.get(f"{NOTIFICATIONS}/push/key")[1]["key"]
        browser = Browser()
        body = browser.subscription(f"http://127.0.0.1:{service.port}/push/1")
        status, made = server.post(f"{NOTIFICATIONS}/push/subscriptions", body)
        expect(status == 200, f"{made}")
        expect(outcome_of_test(server, made["target_id"])["state"] == "sent", "the first was not taken")
        server.kill()
        server.start()
        expect(server.get(f"{NOTIFICATIONS}/push/key")[1]["key"] == key, "another key after a restart")
        expect(outcome_of_test(server, made["target_id"])["state"] == "sent", "the second was not taken")
        for got in service.got:
            expect(browser.opened(got)["title"] == "This is a test", "it reads otherwise")
            signed_by(got, key)
            expect(b"This is a test" not in got.body, "it travels in the open")
        mode = stat.S_IMODE((server.data / "push-key.pem").stat().st_mode)
        expect(mode == 0o600, f"the key's mode is {mode:o}")
        service.answer = lambda got: (410, {})
        server.post(f"{TARGETS}/{made['target_id']}/test", None, timeout_s=60)
        expect(server.get(TARGETS)[1]["targets"] == [], "the dead subscription is still there")
        return f"{len(service.got) - 1} messages opened, 1 dead subscription dropped"


@check(
    "notify.quiet_hours",
    "Quiet hours over both changes of the clocks: held until the morning that clocks show",
    command="leasehold notify set ops --quiet-hours 22:00-07:00 --zone Europe/Berlin   # and the wall clock moved",
    kind="quiet",
    budget_s=180,
)
def quiet_hours(product: Product) -> str:
    """An evening before each change; nothing two minutes before seven, all of it at seven."""
    nights = (
        ("2027-03-27T23:30+01:00", "2027-03-28T07:00+02:00"),
        ("2027-10-30T23:30+02:00", "2027-10-31T07:00+01:00"),
    )
    with tempfile.TemporaryDirectory() as folder:
        wall = Wall(Path(folder))
        wall.to(datetime.fromisoformat(nights[0][0]))
        with wall.server(product, **HERE) as server, Receiver() as receiver:
            hours = [{"from": "22:00", "to": "07:00"}]
            add(server, kind="webhook", url=receiver.url, quiet_hours=hours, zone="Europe/Berlin")
            for number, (evening, morning) in enumerate(nights):
                wall.to(datetime.fromisoformat(evening))
                lose_a_worker(server, f"night-{number}")
                held = until(lambda: server.get(f"{NOTIFICATIONS}?state=pending")[1]["notifications"], 60)
                expect(held is not None, "nothing was held")
                (one,) = server.get(f"{NOTIFICATIONS}?state=pending")[1]["notifications"]
                due = datetime.fromisoformat(one["deliveries"][0]["next_at"])
                expect(due == datetime.fromisoformat(morning), f"held until {due}, not {morning}")
                wall.to(datetime.fromisoformat(morning) - timedelta(minutes=2))
                expect(until(lambda n=number: len(receiver.got) > n, 4) is None, "it was told too early")
                wall.to(datetime.fromisoformat(morning) + timedelta(seconds=1))
                told = until(lambda n=number: len(receiver.got) == n + 1, 60)
                expect(told is not None, "it was not told in the morning")
        return "2 nights, of 7.5 and 8.5 hours of clock time; each told at 07:00"
