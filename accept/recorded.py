"""The server as the disk and the kernel see it: what it writes and flushes, and when it answers."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from accept.harness import Skipped
from accept.product import Product, Server
from leasehold.testing import flush_order, power_loss
from leasehold.testing.flush_order import Step
from leasehold.testing.power_loss import Op


@contextmanager
def recorded(product: Product, load: Callable[[Server], None]) -> Iterator[tuple[list[Op], Path, Path]]:
    """What `load` had a recorded server write, flush and answer; its data folder; a folder for images of it."""
    if shutil.which("cc") is None:
        raise Skipped("no C compiler: the recording library can't be built")
    with tempfile.TemporaryDirectory(prefix="leasehold-power-") as name:
        folder = Path(name).resolve()
        data, log = folder / "data", folder / "log"
        data.mkdir(mode=0o700)
        recording = power_loss.environment(power_loss.build(folder), data, log)
        preload = recording.pop("LD_PRELOAD")
        with product.server(preload=preload, data=data, **recording) as server:
            load(server)
        yield list(power_loss.recorded(log)), data, folder / "images"


@contextmanager
def traced(product: Product, load: Callable[[Server], None]) -> Iterator[Iterator[Step]]:
    """The same through strace's eyes: the system calls that `load` had a server make, in their order."""
    if shutil.which("strace") is None:
        raise Skipped("strace is not installed")
    with tempfile.TemporaryDirectory(prefix="leasehold-trace-") as name:
        folder = Path(name).resolve()
        data, trace = folder / "data", folder / "trace"
        with product.server(data=data) as server:
            strace, *options = flush_order.STRACE
            attached = [strace, "-p", str(server.pid), "-o", str(trace), *options]
            with subprocess.Popen(attached, stderr=subprocess.PIPE, text=True) as tracer:
                assert tracer.stderr is not None
                said = tracer.stderr.readline()
                if "attached" not in said:
                    raise Skipped(f"this machine lets nothing be traced: {said.strip()}")
                load(server)
                tracer.terminate()
        with trace.open() as lines:
            yield flush_order.from_strace(lines, data)
