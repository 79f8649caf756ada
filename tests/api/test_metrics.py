"""What `/metrics` exports is what was committed to, read by a real parser (OPS-12)."""

from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from leasehold.runtime.telemetry import BY_NAME, DROPPED, METRICS, Telemetry
from tests.api.real_server import LEASE, RealServer

UNITS = ("_total", "_seconds", "_bytes", "_info")


def samples(server: RealServer) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample by its name and label values."""
    text = server.get("/metrics").body.decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name, tuple(sample.labels.values())] = sample.value
    return found


@pytest.mark.requirement("OPS-12")
def test_only_what_is_committed_is_exported_with_its_labels(server: RealServer) -> None:
    """Each exported series has a committed name, its labels, a help text, and stays within its budget."""
    server.lease()
    server.get("/nope")
    server.post("/api/addons", {"id": "shop"})
    text = server.get("/metrics").body.decode()
    series: dict[str, int] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            name = family.name if family.type == "histogram" else sample.name
            metric = BY_NAME[name]
            labels = {*sample.labels, "le"} if family.type == "histogram" else {*sample.labels}
            assert (metric.kind, set(metric.labels)) == (family.type, labels), sample
            series[name] = series.get(name, 0) + 1
    assert all(count <= BY_NAME[name].series_max for name, count in series.items())
    silent = {metric.name for metric in METRICS} - set(series)
    silent -= {"leasehold_denials_total", "leasehold_certificate_end_seconds"}  # No denial, no TLS.
    assert silent == set(), "a committed metric that nothing feeds is none"


@pytest.mark.requirement("OPS-12")
def test_the_committed_list_follows_the_rules_of_prometheus() -> None:
    """Names in one style with their unit last, counters end in _total, no label is without bound."""
    assert len(BY_NAME) == len(METRICS)
    for metric in METRICS:
        assert re.fullmatch(r"(leasehold|process)(_[a-z]+)+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.help.endswith(".")
        assert (metric.series_max > 1) == (bool(metric.labels) and metric.name != "leasehold_info")
        assert not {"holder", "lease_id", "request_id", "path", "label"} & set(metric.labels)


@pytest.mark.requirement("OPS-12")
def test_figures_follow_what_happens(server: RealServer) -> None:
    """A grant, a denial and a release are seen in the counters, and live leases by state."""
    before = samples(server)
    lease = server.lease(cost_units=60)
    denied = server.post(f"{LEASE}/request", {"cost_units": 60}).json
    assert denied["approved"] is False
    during = samples(server)
    server.release(lease)
    server.call("DELETE", f"/api/scheduler/ticket/{denied['ticket']}")
    after = samples(server)

    def grown(name: str, *labels: str) -> float:
        return after[name, labels] - before.get((name, labels), 0.0)

    assert during["leasehold_leases", ("OFFERED",)] - before["leasehold_leases", ("OFFERED",)] == 1
    assert during["leasehold_capacity", ("units", "used")] >= 60
    assert during["leasehold_waiters", ("polling",)] == 1
    assert after["leasehold_waiters", ("polling",)] == 0
    assert grown("leasehold_events_total", "LeaseGranted") == 1
    assert grown("leasehold_events_total", "LeaseReleased") == 1
    assert grown("leasehold_denials_total", "CAPACITY") == 1
    assert grown("leasehold_http_requests_total", f"POST {LEASE}/request", "200") == 2
    assert grown("leasehold_dispatch_attempts_total", "nobody_fits") >= 1
    assert grown("leasehold_dispatch_attempts_total", "granted") == 0
    assert after["leasehold_ready", ()] == 1
    assert after["process_resident_memory_bytes", ()] > 1 << 20


@pytest.mark.requirement("OPS-12", "QUEUE-5")
def test_jobs_are_counted_by_state_and_by_how_long_they_waited(server: RealServer) -> None:
    """A submission, a start and an end are seen, with the waiting time in its histogram."""
    before = samples(server)
    submit = {"jobs": [{"job_type": "metrics", "cost_units": 1}] * 2}
    first = server.post("/api/scheduler/queue/jobs/submit", submit).json["jobs"][0]["job_id"]
    waiting = samples(server)
    claim = {"job_types": ["metrics"], "capabilities": [], "max": 1}
    (job,) = server.post("/api/scheduler/queue/claim", claim).json["jobs"]
    assert job["job_id"] == first
    done = {"generation": job["generation"], "fencing_token": job["fencing_token"]}
    assert server.post(f"/api/scheduler/queue/jobs/{first}/complete", done).status == 200
    assert (
        server.post("/api/scheduler/queue/jobs/bulk", {"action": "cancel", "job_type": "metrics"}).status
        == 200
    )
    after = samples(server)

    def grown(name: str, *labels: str) -> float:
        return after[name, labels] - before.get((name, labels), 0.0)

    assert waiting["leasehold_jobs", ("QUEUED",)] - before["leasehold_jobs", ("QUEUED",)] == 2
    assert waiting["leasehold_jobs_payload_bytes", ()] - before["leasehold_jobs_payload_bytes", ()] == 4
    assert grown("leasehold_jobs_submitted_total") == 2
    assert grown("leasehold_jobs_started_total") == 1
    assert grown("leasehold_jobs_ended_total", "DONE") == 1
    assert grown("leasehold_jobs_ended_total", "CANCELED") == 1
    assert grown("leasehold_job_wait_seconds_bucket", "+Inf") == 1
    assert grown("leasehold_job_wait_seconds_count") == 1
    assert grown("leasehold_job_run_seconds_count") == 1
    assert grown("leasehold_commit_seconds_count") >= 4
    assert grown("leasehold_job_wait_seconds_bucket", "86400") == 1
    assert after["leasehold_jobs", ("QUEUED",)] == before["leasehold_jobs", ("QUEUED",)]


@pytest.mark.requirement("OPS-12", "INV-8")
def test_more_series_than_the_budget_are_dropped_and_counted() -> None:
    """A label that runs away costs a bounded answer, and is seen."""
    telemetry = Telemetry()
    telemetry.source("leasehold_waiters", lambda: (((f"kind{n}",), 1.0) for n in range(10)))
    text = telemetry.render().decode()
    assert text.count("leasehold_waiters{") == BY_NAME["leasehold_waiters"].series_max
    assert f"{DROPPED} 8.0" in text
    with pytest.raises(KeyError):
        telemetry.source("leasehold_made_up", list)
