"""A server with something on every page, for the tests of how they look."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leasehold.testing import browser as real
from tests.api.real_server import LEASE, RealServer
from tests.browser.conftest import held
from tests.browser.jobs import command
from tests.browser.past import recorded

ALERTS_AT_ONCE = {"LEASEHOLD_ALERTS__CHECK_MS": "200", "LEASEHOLD_ALERTS__START_DELAY_MS": "0"}
THRESHOLDS = "/api/config/alert-thresholds"
TOLD = {"requests": {"rps": 2.5, "in_flight": 1, "p95_ms": 80, "error_pct": 0}, "custom": {"streams": 2}}


def furnished(folder: Path) -> RealServer:
    """Not started yet: it has two days behind it. Call `furnish` when it runs."""
    recorded(folder / "data")
    return RealServer(folder, **ALERTS_AT_ONCE)


@contextlib.contextmanager
def working(machine: RealServer) -> Iterator[None]:
    """Three leases that are renewed, one that waits and keeps asking, an add-on that tells its figures."""
    labels = {"train the model": 40, "make test": 25, "backup of the photos": 15}
    leases = [held(machine, label=label, cost_units=units) for label, units in labels.items()]
    ids = {lease["lease_id"]: lease["fencing_token"] for lease in leases}
    over = threading.Event()

    def keep() -> None:
        ticket: dict[str, str] = {}
        while True:
            asked = {"cost_units": 60, "label": "render the film", **ticket}
            ticket = {"ticket": machine.post(f"{LEASE}/request", asked).json["ticket"]}
            machine.post(f"{LEASE}/heartbeat", {"ids": ids})
            machine.post("/api/addons/jellyfin/stats", TOLD)
            if over.wait(5):
                return

    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()


def furnish(machine: RealServer) -> None:
    """Schedules, add-ons, a window, a token, an alert."""
    schedule(machine, "backup")
    paused = schedule(machine, "photos")["schedule_id"]
    assert machine.post(f"/api/schedules/{paused}/pause", {}).status == 200
    addon(machine, "jellyfin", name="Jellyfin", version="10.9")
    addon(machine, "photoprism", name="PhotoPrism", base_url="http://127.0.0.1:1")
    window(machine, note="films")
    token(machine, "ci")
    alerted(machine)


def schedule(machine: RealServer, name: str) -> Any:
    """One that runs at night."""
    body = {"name": name, "cron": "0 3 * * *", "zone": "UTC", "job": command("true", title=name)}
    reply = machine.post("/api/schedules", body)
    assert reply.status in (200, 201), reply
    return reply.json


def addon(machine: RealServer, ident: str, **more: str) -> None:
    """A registered add-on."""
    assert machine.post("/api/addons", {"id": ident, **more}).status == 200


def window(machine: RealServer, **more: Any) -> Any:
    """A block on Friday evenings."""
    body = {"effect": "block", "from": "18:00", "to": "22:00", "days": ["fri"], "zone": "UTC", **more}
    reply = machine.post("/api/nodes/self/windows", body)
    assert reply.status in (200, 201), reply
    return reply.json


def token(machine: RealServer, name: str) -> str:
    """A token of a submitter; its id."""
    reply = machine.post("/api/tokens", {"name": name, "role": "submitter"})
    assert reply.status in (200, 201), reply
    ident: str = reply.json["about"]["token_id"]
    return ident


def alerted(machine: RealServer) -> None:
    """Callers that send what makes no sense, and a rule that minds a single one of them."""
    change = {"thresholds": {"validation_failures": {"warning": 1}}}
    assert machine.call("PUT", THRESHOLDS, change).status == 200
    for _ in range(4):
        assert machine.post("/api/scheduler/lease/request", {"cost_units": "many"}).status == 422
    assert real.until(lambda: machine.get("/api/alerts").json["active"] == 1)
