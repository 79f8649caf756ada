"""What an agent is told: structured, with a schema, and the same in plain words."""

from __future__ import annotations

from typing import Literal

from mcp_types import CallToolResult, TextContent
from pydantic import BaseModel, Field


class Answer(BaseModel):
    """What every answer may carry."""

    news: list[str] = Field(
        default=[], description="What happened to your other leases and runs since the last answer"
    )

    def told(self, text: str) -> CallToolResult:
        """The answer as it goes over the wire: `text` for who reads words, the fields for who reads them."""
        words = "\n".join([text, *(f"News: {one}" for one in self.news)])
        return CallToolResult(
            content=[TextContent(type="text", text=words)],
            structured_content=self.model_dump(mode="json", exclude_none=True),
        )


class LeaseAnswer(Answer):
    """The answer to `request`."""

    granted: bool
    next: str = Field(description="What to do now")
    lease_id: str | None = None
    cost_units: int | None = None
    hold_sec: int | None = Field(
        default=None, description="The lease is kept for you for so long; `heartbeat` starts this time anew"
    )
    notice: str | None = Field(default=None, description="Where less was asked for than you said, and why")
    ticket: str | None = Field(default=None, description="Pass it to the next `request` to keep your place")
    place: int | None = Field(default=None, description="Place in the line; 1 is next")
    reason: str | None = None
    expected_start_sec: int | None = None
    retry_after_sec: int | None = None


class HeartbeatAnswer(Answer):
    """The answer to `heartbeat` and `report`."""

    lease_id: str
    action: Literal["continue", "pause", "stop"] = Field(
        description="stop: end the work that runs under this lease now"
    )
    state: str
    reason: str | None = None
    deadline_sec: float | None = Field(default=None, description="Until when it has to have ended")
    hold_sec: int | None = None


class ReleaseAnswer(Answer):
    """The answer to `release`."""

    lease_id: str
    state: str
    reason: str | None = None


class RunAnswer(Answer):
    """The answer to `run`, `run_status` and `run_stop`."""

    run_id: str
    state: Literal["waiting", "running", "ended"]
    next: str = Field(description="What to do now")
    exit_code: int | None = Field(
        default=None, description="The command's own; 128 + n when signal n ended it"
    )
    outcome: str | None = Field(
        default=None,
        description="How it ended: exited, signalled, lost (the owner took the machine back and the command "
        "was stopped), stopped (by run_stop), timeout, never_fits, refused, …",
    )
    reason: str | None = None
    place: int | None = Field(default=None, description="Place in the line; 1 is next")
    expected_start_sec: int | None = None
    lease_id: str | None = None
    waited_sec: float = 0.0
    ran_sec: float | None = None
    output: str = Field(default="", description="The end of standard output and error, mixed")
    output_bytes: int = Field(default=0, description="How much was written in all")
    output_cut: bool = Field(default=False, description="Whether the beginning is left out of `output`")


class JobAnswer(Answer):
    """The answer to `submit`, `job_status` and `job_cancel`."""

    job_id: str
    state: str = Field(description="QUEUED, RUNNING, DONE, FAILED, CANCELED, EXPIRED, …")
    next: str = Field(description="What to do now")
    exit_code: int | None = None
    reason: str | None = Field(default=None, description="Why it waits, or what went wrong")
    place: int | None = Field(default=None, description="Place in the line; 1 is next")
    starts_by: str | None = Field(default=None, description="When it starts although it is not quiet")
    done_by: str | None = None
    output: str = Field(default="", description="The end of standard output and error, mixed")


class ReasonAnswer(BaseModel):
    """One reason; the decisive one comes first."""

    code: str
    sentence: str
    cure: str | None = Field(default=None, description="What would change it")
    retry_after_sec: int | None = None


class WhyAnswer(Answer):
    """The answer to `why`."""

    may_start: bool | None = Field(default=None, description="Whether such work would start now")
    sentence: str
    state: str | None = None
    reasons: list[ReasonAnswer] = []
    cost_units: int | None = None
    place: int | None = None
    expected_start_sec: int | None = None


class HolderAnswer(BaseModel):
    """Somebody who holds room, or waits for it."""

    job_type: str
    holder: str
    cost_units: int
    id: str = Field(description="Of the lease or ticket")
    state: str | None = None
    label: str | None = None
    place: int | None = None
    seconds: int = Field(description="How long it runs or waits")
    expected_left_sec: int | None = None
    yours: bool = False


class StatusAnswer(Answer):
    """The answer to `status`."""

    headline: str = Field(description="May heavy work run now?")
    quiet_state: str
    quiet_score: int | None = None
    reasons: list[str] = []
    units_usable: int
    units_free: int
    active: list[HolderAnswer]
    waiting: list[HolderAnswer]
    not_shown: int = Field(default=0, description="Holders and waiters beyond those listed")
    runs: list[RunAnswer] = Field(default=[], description="Your runs, without their output")
