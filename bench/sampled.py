"""Run a module under a sampling profiler: `python -m bench.sampled OUTPUT MODULE [ARGUMENT…]`.

Every millisecond of CPU time of the process (ITIMER_PROF; 4 ms where the kernel ticks no faster), the
main thread's stack is counted. Unlike a
tracing profiler it doesn't slow small functions more than large ones, so that the shares can be trusted; time
inside C code is charged to the line that called it. Only the main thread, where the event loop runs, is seen.
"""

from __future__ import annotations

import atexit
import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

INTERVAL_S = 0.001
TOP = 45
STACK_DEPTH_MAX = 200
EVERYWHERE_SHARE = 0.995
"""What is on the stack in all samples starts the program, and says nothing."""


class Samples:
    """Counts by function: where time was spent itself, and under which functions."""

    def __init__(self) -> None:
        self.total = 0
        self.own: Counter[str] = Counter()
        self.under: Counter[str] = Counter()

    def reset(self, signum: int, frame: FrameType | None) -> None:
        """Forget what was seen so far: the program has started, and what follows is the load."""
        self.total = 0
        self.own.clear()
        self.under.clear()

    def take(self, signum: int, frame: FrameType | None) -> None:
        if frame is None:
            return
        self.total += 1
        self.own[place(frame)] += 1
        seen: set[str] = set()
        for _ in range(STACK_DEPTH_MAX):
            if frame is None:
                break
            seen.add(place(frame))
            frame = frame.f_back
        self.under.update(seen)

    def table(self) -> str:
        """Both rankings, as shares of all samples."""
        everywhere = self.total * EVERYWHERE_SHARE
        below = Counter({name: count for name, count in self.under.items() if count < everywhere})
        lines = [f"{self.total} samples"]
        for title, counts in (("itself", self.own), ("with what it calls", below)):
            ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:TOP]
            lines.append(f"\n{title}:")
            lines += [f"  {count / max(self.total, 1):6.1%}  {name}" for name, count in ranked]
        return "\n".join(lines) + "\n"


def place(frame: FrameType) -> str:
    """The function, by the last three parts of its file's path."""
    path = "/".join(frame.f_code.co_filename.split("/")[-3:])
    return f"{frame.f_code.co_qualname} ({path}:{frame.f_code.co_firstlineno})"


def start(output: Path) -> Samples:
    """Begin to sample; SIGUSR2 begins anew; the table is written to `output` when the interpreter ends."""
    samples = Samples()
    signal.signal(signal.SIGPROF, samples.take)
    signal.signal(signal.SIGUSR2, samples.reset)
    atexit.register(lambda: stop(samples, output))
    signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)
    return samples


def stop(samples: Samples, output: Path) -> None:
    signal.setitimer(signal.ITIMER_PROF, 0)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(samples.table())


if __name__ == "__main__":
    start(Path(sys.argv[1]))
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
