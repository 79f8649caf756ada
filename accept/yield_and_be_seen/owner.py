"""The owner's word on the real program: a block survives a crash, windows keep to the clocks of their zones."""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from accept.ask_first.pauses import moved_clock
from accept.harness import check, expect
from accept.product import Product, Server, until

ADMISSION = "/api/nodes/self/admission"
WINDOWS = "/api/nodes/self/windows"

DAYS = (
    # Zone, a time before the change, the window, and at which times it is open and closed.
    (
        "Europe/Berlin",
        ("02:15", "04:00"),
        {"2027-03-28T01:59+01:00": False, "2027-03-28T03:01+02:00": True, "2027-03-28T04:01+02:00": False},
    ),
    (
        "Europe/Berlin",
        ("02:15", "02:45"),
        {"2027-03-28T03:14+02:00": False, "2027-03-28T03:16+02:00": True, "2027-03-28T03:46+02:00": False},
    ),
    (
        "Europe/Berlin",
        ("01:00", "02:30"),
        {"2026-10-25T02:29+02:00": True, "2026-10-25T02:29+01:00": True, "2026-10-25T02:31+01:00": False},
    ),
    (
        "America/New_York",
        ("22:00", "03:00"),
        {"2027-03-14T01:59-05:00": True, "2027-03-14T03:01-04:00": False, "2027-03-14T22:01-04:00": True},
    ),
    (
        "America/New_York",
        ("00:30", "01:30"),
        {"2026-11-01T01:29-04:00": True, "2026-11-01T01:29-05:00": True, "2026-11-01T01:31-05:00": False},
    ),
)


def admission(server: Server) -> dict[str, Any]:
    """What is in force."""
    status, found = server.get(ADMISSION)
    expect(status == 200, f"{ADMISSION} answers {status}: {found}")
    return dict(found)


@check(
    "owner.block",
    "A block is obeyed at once, survives kill -9, and ends by itself; whoever waited is granted then",
    command="leasehold block --for 1h; kill -9 SERVER; leasehold up; leasehold run -- true",
    kind="quiet",
    budget_s=90,
)
def block(product: Product) -> str:
    """By the command line, then a crash in the middle, then its end."""
    with product.server() as server:
        said = server.run("block", "--for", "20s", "--note", "a call", "--json")
        expect(said.returncode == 0, said.stderr)
        denied = server.request(cost_units=1, start="now", priority="URGENT")
        expect(denied["reasons"][0]["code"] == "BLOCKED", f"blocked, and the answer is {denied}")
        expect("a call" in denied["reason"], f"the note is not told: {denied['reason']}")
        began = time.monotonic()
        server.kill()
        server.start()
        again = server.request(cost_units=1, start="now")
        expect(again["reasons"] and again["reasons"][0]["code"] == "BLOCKED", f"after kill -9: {again}")
        waiting = server.spawn("run", "--", "true")
        found = until(lambda: waiting.poll() is not None, 40)
        expect(found is not None and waiting.returncode == 0, "whoever waited was not granted at its end")
        waited = time.monotonic() - began
        expect(waited > 15, f"it started {waited:.1f} s into a block of 20 s")
        kinds = [event["kind"] for event in server.get("/api/events?limit=1000")[1]["events"]]
        expect({"NodeBlocked", "BlockEnded"} <= set(kinds), f"events: {kinds}")
        return f"denied at once and after kill -9 with its note; granted {waited:.0f} s after it was said, for 20 s"


@check(
    "owner.windows",
    "Windows over both daylight-saving changes, in two time zones",
    command="leasehold window add block --from 02:15 --to 04:00 --zone Europe/Berlin   # and the wall clock moved to both changes",
    kind="quiet",
    budget_s=120,
)
def windows(product: Product) -> str:
    """The wall clock of the real program is moved to minutes around each change."""
    with tempfile.TemporaryDirectory() as folder:
        offset, library = moved_clock(Path(folder))
        seen = 0
        with product.server(preload=library, WALL_CLOCK_OFFSET_FILE=str(offset)) as server:
            for zone, (start, end), times in DAYS:
                body = {"effect": "block", "from": start, "to": end, "zone": zone}
                status, window = server.post(WINDOWS, body)
                expect(status == 200, f"{body}: {status} {window}")
                for text, is_open in times.items():
                    away = datetime.fromisoformat(text) - datetime.now(UTC)
                    offset.write_text(str(round(away / timedelta(seconds=1))))
                    time.sleep(1.2)  # The next tick takes the clock up.
                    said, denied = admission(server), server.request(cost_units=1, start="now")
                    expect(
                        (said["admission"] == "block") is is_open and denied["approved"] is not is_open,
                        f"{zone} {start} to {end} at {text}: {said}, {denied['reason']}",
                    )
                    seen += 1
                expect(server.call("DELETE", f"{WINDOWS}/{window['wid']}")[0] == 204, "it was not removed")
        return f"{seen} instants around {len(DAYS)} changes, each open or closed as the clocks there show"


@check(
    "owner.pretend",
    "A person can pretend busy and quiet, until a time, over whatever is measured",
    command="leasehold pretend busy --for 5s; leasehold status",
    kind="quiet",
    budget_s=60,
)
def pretend(product: Product) -> str:
    """Busy at once, and what is measured again when it ends."""
    with product.server() as server:
        expect(
            until(lambda: server.status()["quiet_state"] == "QUIET", 40) is not None,
            "the machine is not quiet, so nothing can be shown on it",
        )
        said = server.run("pretend", "busy", "--for", "6s", "--note", "recording")
        expect(said.returncode == 0, said.stderr)
        denied = server.request(cost_units=1)
        expect(denied["reason"] == "System is BUSY; waiting for QUIET", f"pretended busy: {denied['reason']}")
        granted = server.request(cost_units=1, wait_sec=40, ticket=denied["ticket"])
        expect(granted["approved"], f"it did not end by itself: {granted['reason']}")
        return "denied at once with the exact sentence, granted again by itself after 6 s"
