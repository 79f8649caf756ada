"""Alerts and figures on the real program: lives of rules, thresholds over a kill, a full disk, what is exported."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from accept.harness import check, expect
from accept.product import ROOT, Product, Server, until
from accept.small_disk import small_disk

ALERTS, THRESHOLDS = "/api/alerts", "/api/config/alert-thresholds"
CHECK_S = 10
START_DELAY_S = 30
QUICK: dict[str, Any] = {"LEASEHOLD_ALERTS__CHECK_MS": "500", "LEASEHOLD_ALERTS__START_DELAY_MS": "0"}


def alert(server: Server, rule: str) -> dict[str, Any]:
    """One rule as the server shows it."""
    status, found = server.get(ALERTS)
    expect(status == 200, f"{ALERTS}: {status} {found}")
    return next(dict(one) for one in found["alerts"] if one["rule"] == rule)


def wait_for(server: Server, rule: str, state: str, timeout_s: float = 30) -> float:
    """How long it took until the rule was in this state."""
    took = until(lambda: alert(server, rule)["state"] == state, timeout_s, every_s=0.05)
    expect(took is not None, f"{rule} is not {state} within {timeout_s:g} s: {alert(server, rule)}")
    return took or 0.0


def set_threshold(server: Server, rule: str, **values: Any) -> None:
    status, answer = server.call("PUT", THRESHOLDS, {"thresholds": {rule: values}})
    expect(status == 200, f"{THRESHOLDS}: {status} {answer}")


@check(
    "alerts.lives",
    "Every alert rule whose part exists fires, is acknowledged, clears and stays quiet as specified, on a virtual clock",
    kind="quiet",
    budget_s=120,
)
def lives(product: Product) -> str:
    """Each rule with the specified times; those of the running server are all among them."""
    script = Path(__file__).with_name("alert_lives.py")
    done = subprocess.run(
        [product.python, str(script)], capture_output=True, text=True, timeout=110, check=False
    )
    expect(done.returncode == 0, done.stderr[-600:])
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for row in rows:
        name = row["rule"]
        fires_s = START_DELAY_S + row["for_s"]
        expect(row["first_s"] == fires_s, f"{name} fired after {row['first_s']} s, not {fires_s}: {row}")
        expect(row["told_while_it_stood"] == 1, f"{name} was told {row['told_while_it_stood']} times: {row}")
        expect(row["acknowledged"] == "acknowledged", f"{name}: {row}")
        expect(row["clears_after_s"] == 3 * CHECK_S, f"{name} cleared after {row['clears_after_s']} s: {row}")
        quiet_s = 0 if row["severity"] == "critical" else row["cooldown_s"]
        again_s = max(row["for_s"] + CHECK_S, quiet_s)
        expect(
            row["again_after_s"] == again_s, f"{name} came back after {row['again_after_s']} s, not {again_s}"
        )
        expect(row["told_in_all"] == 2, f"{name}: {row}")
    with product.server() as server:
        there = {one["rule"] for one in server.get(ALERTS)[1]["alerts"]}
    known = {row["rule"] for row in rows}
    expect(there <= known, f"rules without a life: {there - known}")
    expect(len(there) >= 14, f"only {len(there)} rules are measured: {sorted(there)}")
    return f"{len(rows)} rules lived, {len(there)} of them measured by the running server"


@check(
    "alerts.thresholds",
    "A threshold changed through the API takes effect at the next check and survives a restart (kill -9)",
    command="leasehold alert thresholds set disk --warning 100; leasehold alert list",
    kind="quiet",
    budget_s=120,
)
def thresholds(product: Product) -> str:
    """The disk is fine until its threshold says else: an alert. Killed: as it was. Set back: cleared."""
    with product.server(**QUICK) as server:
        seen = until(lambda: alert(server, "disk")["value"] is not None, 20)
        expect(seen is not None, f"the disk is not looked at: {alert(server, 'disk')}")
        set_threshold(server, "disk", warning=0.2, critical=0.1)
        time.sleep(1.5)
        expect(alert(server, "disk")["state"] == "inactive", f"it fires below 0.2: {alert(server, 'disk')}")
        set_threshold(server, "disk", warning=100)
        took_s = wait_for(server, "disk", "active", 10)
        expect(server.post(f"{ALERTS}/disk/acknowledge", {"note": "mine"})[0] == 200, "not acknowledged")
        server.kill()
        server.start()
        kept = alert(server, "disk")
        expect(kept["warning"] == 100, f"after kill -9 the threshold is {kept['warning']}")
        expect(kept["state"] == "acknowledged", f"after kill -9 it is {kept['state']}")
        refused, why = server.call("PUT", THRESHOLDS, {"thresholds": {"disc": {"warning": 5}}})
        expect(refused == 422 and "disk" in why["detail"], f"an unknown rule: {refused} {why}")
        refused, why = server.call("PUT", THRESHOLDS, {"thresholds": {"disk": {"warning": 101}}})
        expect(refused == 422 and "0.1 to 100" in why["detail"], f"an impossible value: {refused} {why}")
        set_threshold(server, "disk", warning=0.2)
        cleared_s = wait_for(server, "disk", "cleared", 20)
    return f"fired {took_s:.1f} s after the change (checks every 0.5 s), same after kill -9, cleared in {cleared_s:.1f} s"


@check(
    "alerts.full_disk",
    "An alert is told although the store takes no writes, and is written when that is possible again",
    command="fallocate a tmpfs full under LEASEHOLD_DATA; leasehold alert list",
    kind="quiet",
    budget_s=90,
)
def full_disk(product: Product) -> str:
    """A small file system is filled under the running server."""
    with small_disk(24) as disk, product.server(data=disk / "data", **QUICK) as server:
        return filled(server, disk)


def filled(server: Server, folder: Path) -> str:
    """Fill, look, free, look."""
    hog = folder / "hog"
    with open(hog, "wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    took_s = wait_for(server, "store_trouble", "active", 60)
    found = server.get(ALERTS)[1]
    expect(found["worst"] == "critical", f"the worst is {found['worst']}")
    full = alert(server, "store_trouble")
    expect("full" in full["sentence"], f"the reason is not said: {full['sentence']}")
    shown = [row["rule"] for row in server.get("/api/dashboard/state")[1]["alerts"]]
    expect("store_trouble" in shown, f"the page shows {shown}")
    hog.unlink()
    wait_for(server, "store_trouble", "cleared", 30)
    fired = [
        event
        for event in server.get("/api/events?limit=1000")[1]["events"]
        if (event["kind"], event["subject"]) == ("AlertFired", "store_trouble")
    ]
    expect(len(fired) == 1, f"{len(fired)} events of its firing")
    expect(fired[0]["details"].get("late") is True, f"the event says nothing of being late: {fired[0]}")
    return f"told {took_s:.1f} s after the disk was full, written and cleared once there was room"


@check(
    "alerts.figures",
    "Metrics: snapshot in true windows, Prometheus for all parts, a dashboard and rules whose every metric is there",
    command="curl -s -H 'Authorization: Bearer …' http://127.0.0.1:7117/metrics",
    kind="quiet",
    budget_s=60,
)
def figures(product: Product) -> str:
    """What is shipped for Grafana and Prometheus is asked of the running server."""
    asked: set[str] = set()
    for shipped in ("grafana/leasehold.json", "prometheus/leasehold.rules.yml"):
        text = (ROOT / "deploy" / shipped).read_text()
        asked |= set(re.findall(r"\b(?:leasehold|process)_[a-z_]+", text))
    asked = {re.sub(r"_bucket$", "", name) for name in asked}
    with product.server(**QUICK) as server:
        answer = server.request(cost_units=1, start="now")
        expect(answer["approved"], f"{answer}")
        until(lambda: alert(server, "disk")["value"] is not None, 20)
        exported = set(re.findall(r"^# TYPE (\S+) ", str(server.get("/metrics")[1]), re.MULTILINE))
        missing = asked - exported
        expect(not missing, f"asked for and not exported: {sorted(missing)}")
        first = server.get("/api/metrics")[1]
        server.request(cost_units=1, start="now")
        expect(server.get("/api/metrics")[1] == first, "the snapshot is not kept for ten seconds")
        for part, latency in first["latencies"].items():
            expect(latency["window_sec"] in (60, 3600), f"{part}: {latency}")
        expect(first["latencies"]["commits"]["count"] >= 1, f"no commit within a minute: {first}")
        expect(first["storage"]["trouble"] == "", first["storage"]["trouble"])
    return f"{len(asked)} metrics asked for are among {len(exported)} exported"
