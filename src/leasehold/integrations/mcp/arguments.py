"""What an agent may ask for: the arguments that several tools share, and the request that they make."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from leasehold.wire.lease import HeavyLeaseRequest, Resources

WAIT_S = 20
"""How long a call is held by default: hosts give a tool call 60 s or more."""
WAIT_S_MAX = 50

Cost = Annotated[
    int | None,
    Field(
        ge=1,
        le=100,
        description="Share of the machine in units: it has 90 when quiet. 10 light, 30 ordinary, 60 heavy, "
        "90 alone. Leave it out to use what this job_type was measured to need",
    ),
]
Cpu = Annotated[
    float | None,
    Field(gt=0, le=4096, description="Cores that it keeps busy, instead of cost; e.g. 4 for `make -j4`"),
]
Memory = Annotated[int | None, Field(ge=1, le=16_777_216, description="Memory that it needs at most, in MiB")]
Gpus = Annotated[int | None, Field(ge=1, le=64, description="Whole GPUs that it needs")]
Enforce = Annotated[
    bool,
    Field(
        description="Have the kernel hold it to its cores and memory: it can't take more, and what goes over "
        "its memory is ended. Name cpu or memory with it"
    ),
]
Label = Annotated[
    str, Field(max_length=200, description="What it is for, in a few words; shown to the machine's owner")
]
JobType = Annotated[
    str,
    Field(
        max_length=128,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="Kind of work, like `make test` or `cargo build`: the same name each time, "
        "so that its cost is learned",
    ),
]
Expected = Annotated[
    int | None, Field(ge=1, le=31_536_000, description="How long the work will take, in seconds")
]
Start = Annotated[
    Literal["quiet", "now"],
    Field(description="quiet: wait until the machine is quiet for its owner. now: only if the owner said so"),
]
Wait = Annotated[
    int,
    Field(ge=0, le=WAIT_S_MAX, description="How long this call may take before it answers early, in seconds"),
]
Ticket = Annotated[
    str, Field(max_length=64, description="The ticket of the last answer: keeps your place in the line")
]


@dataclass(frozen=True)
class Ask:
    """What is asked for. Times in seconds, memory in MiB, `cpu` in cores."""

    cost: int | None = None
    cpu: float | None = None
    memory_mib: int | None = None
    gpus: int | None = None
    label: str = ""
    job_type: str = ""
    expected_s: int | None = None
    start: Literal["quiet", "now"] = "quiet"
    enforce: bool = False

    @property
    def sized(self) -> bool:
        """Whether an amount was named."""
        return any(one is not None for one in (self.cost, self.cpu, self.memory_mib, self.gpus))

    def request(self, *, wait_s: int = 0, ticket: str = "") -> HeavyLeaseRequest:
        """The request as it goes over the wire (LEASE-1)."""
        resources = Resources(
            cpu_millicores=None if self.cpu is None else max(1, round(self.cpu * 1000)),
            memory_bytes=None if self.memory_mib is None else self.memory_mib << 20,
            devices={"gpu": self.gpus} if self.gpus else {},
        )
        return HeavyLeaseRequest(
            job_type=self.job_type or "agent",
            cost_units=self.cost,
            cost_class=None if self.sized else "AUTO",
            resources=None if resources == Resources() else resources,
            expected_duration_sec=self.expected_s,
            start=self.start,
            wait_sec=wait_s,
            ticket=ticket or None,
            label=self.label,
        )

    def options(self) -> list[str]:
        """The same as options of `leasehold run`."""
        given = {
            "--cost": self.cost,
            "--cpu": None if self.cpu is None else f"{max(1, round(self.cpu * 1000))}m",
            "--mem": None if self.memory_mib is None else f"{self.memory_mib}M",
            "--gpu": self.gpus,
            "--label": self.label or None,
            "--job-type": self.job_type or None,
            "--expect": self.expected_s,
            "--start": self.start,
        }
        found = [f"{name}={value}" for name, value in given.items() if value is not None]
        return [*found, "--enforce"] if self.enforce else found


def job_type_of(command: str) -> str:
    """The kind of work that a shell line is: `make test` of `cd x && CC=gcc make -j4 test`.

    Words that could be private (paths, values) are left out; "shell" where nothing is left.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        return "shell"
    while words and (words[0] == "cd" or "=" in words[0]):
        ends = words[0] != "cd" or "&&" in words
        words = words[(words.index("&&") if words[0] == "cd" else 0) + 1 :] if ends else []
    if not words:
        return "shell"
    name = "".join(letter for letter in os.path.basename(words[0]) if letter.isprintable())
    first = next((word for word in words[1:] if not word.startswith("-")), "")
    plain = len(first) <= 32 and first[:1].isalpha() and all(c.isalnum() or c in "_-:" for c in first)
    return (f"{name} {first}" if plain else name)[:128] or "shell"
