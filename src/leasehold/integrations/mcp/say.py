"""Answers in plain words, for hosts that show a model the text and not the fields. Complete, and short."""

from __future__ import annotations

from leasehold.integrations.mcp.answers import (
    HeartbeatAnswer,
    HolderAnswer,
    JobAnswer,
    LeaseAnswer,
    ReleaseAnswer,
    RunAnswer,
    StatusAnswer,
    WhyAnswer,
)


def lease(answer: LeaseAnswer) -> str:
    """`request`."""
    notice = f" ({answer.notice})" if answer.notice else ""
    if answer.granted:
        return f"Granted: {answer.lease_id}, {answer.cost_units} units{notice}. {answer.next}"
    place = f" (place {answer.place} in the line)" if answer.place else ""
    return f"Not now{place}: {answer.reason}{notice}.{_expected(answer.expected_start_sec)} {answer.next}"


def heartbeat(answer: HeartbeatAnswer) -> str:
    """`heartbeat` and `report`."""
    if answer.action == "continue":
        return f"Go on: {answer.lease_id} is {answer.state}, kept for you for {answer.hold_sec} s."
    within = f" within {answer.deadline_sec:g} s" if answer.deadline_sec else " now"
    what = "Stop the work" if answer.action == "stop" else "Pause the work"
    return f"{what}{within}: {answer.lease_id} is {answer.state} ({answer.reason})."


def release(answer: ReleaseAnswer) -> str:
    """`release`."""
    return f"{answer.lease_id} is {answer.state}{f': {answer.reason}' if answer.reason else ''}."


def run(answer: RunAnswer) -> str:
    """`run`, `run_status`, `run_stop`: how it stands, then the output as it was written."""
    head = f"{answer.run_id}: {_stands(answer)}"
    if not answer.output:
        return head
    size = len(answer.output.encode())
    cut = f", the last {size} of {answer.output_bytes} bytes" if answer.output_cut else ""
    return f"{head}\nOutput{cut}:\n{answer.output}"


def job(answer: JobAnswer) -> str:
    """`submit`, `job_status`, `job_cancel`."""
    place = f", place {answer.place} in the line" if answer.place else ""
    code = "" if answer.exit_code is None else f", exit code {answer.exit_code}"
    why = f" ({answer.reason})" if answer.reason else ""
    by = f" It starts by {answer.starts_by} at the latest." if answer.starts_by else ""
    head = f"{answer.job_id} is {answer.state}{place}{code}{why}.{by} {answer.next}"
    return f"{head}\nOutput, its end:\n{answer.output}" if answer.output else head


def _stands(answer: RunAnswer) -> str:
    why = f" ({answer.reason})" if answer.reason else ""
    if answer.state == "waiting":
        place = f", place {answer.place} in the line" if answer.place else ""
        return f"waiting{place}{why}.{_expected(answer.expected_start_sec)} {answer.next}"
    if answer.state == "running":
        return f"running for {answer.ran_sec:g} s{why}. {answer.next}"
    ran = "was not started" if answer.ran_sec is None else f"ran {answer.ran_sec:g} s"
    return f"ended ({answer.outcome}), exit code {answer.exit_code}; {ran}{why}."


def why(answer: WhyAnswer) -> str:
    """`why`."""
    rows = [answer.sentence]
    rows += [f"- {one.code}: {one.sentence}{f'; {one.cure}' if one.cure else ''}" for one in answer.reasons]
    if answer.place:
        rows.append(f"Place in the line: {answer.place}.{_expected(answer.expected_start_sec)}")
    return "\n".join(rows)


def status(answer: StatusAnswer) -> str:
    """`status`."""
    score = "" if answer.quiet_score is None else f", score {answer.quiet_score}"
    room = f"{answer.units_free} of {answer.units_usable} units free"
    rows = [
        f"{answer.headline} ({answer.quiet_state}{score}; {room})",
        *(f"- {one}" for one in answer.reasons),
        *(f"runs: {_holder(one)}" for one in answer.active),
        *(f"waits: {_holder(one)}" for one in answer.waiting),
        *(f"your run {_stands_short(one)}" for one in answer.runs),
    ]
    if answer.not_shown:
        rows.append(f"{answer.not_shown} more are not shown")
    return "\n".join(rows)


def _stands_short(one: RunAnswer) -> str:
    return f"{one.run_id}: {one.state}" + (f", exit code {one.exit_code}" if one.state == "ended" else "")


def _holder(one: HolderAnswer) -> str:
    place = f"place {one.place}, " if one.place else ""
    left = f", about {one.expected_left_sec} s left" if one.expected_left_sec is not None else ""
    whose = "yours" if one.yours else one.holder
    return f'"{one.job_type}" ({whose}), {one.cost_units} units, {place}for {one.seconds} s{left}, {one.id}'


def _expected(seconds: int | None) -> str:
    return f" Expected to start in about {seconds} s." if seconds else ""
