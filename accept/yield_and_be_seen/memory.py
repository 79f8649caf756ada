"""What is lost when memory runs out: shown where nothing else is harmed, in a guest machine of 512 MB."""

from __future__ import annotations

import json
import subprocess
from itertools import pairwise
from pathlib import Path

from accept.harness import Skipped, check, expect
from accept.product import ROOT, Product
from leasehold.testing import guest
from leasehold.testing.short_of_memory import faults, instant

MEMORY_MIB = 512


@check(
    "ladder.memory",
    "Memory runs out under leased work in 512 MB: the lease with least lost work ends first, one each 5 s, the "
    "others live, and the kernel kills nothing",
    command="leasehold run -- python3 -c 'grow' & … & leasehold events",
    budget_s=240,
)
def memory(product: Product) -> str:
    """The server with default settings and four leases, in a guest with cgroup v2 alone."""
    subprocess.run([str(ROOT / "tools" / "guest_kernel.sh")], check=False)
    programs = product.bin.absolute()
    command = [str(programs / "python"), "-m", "leasehold.testing.short_of_memory", str(programs)]
    python = (programs / "python").resolve()
    try:
        done = guest.run(
            command,
            memory_mib=MEMORY_MIB,
            timeout_s=200,
            shown=[ROOT, programs.parent, Path(python).parent.parent],
        )
    except guest.NoGuest as why:
        raise Skipped(f"no guest machine here: {why}") from None
    expect(done.code == 0, f"it could not be shown: {done.output[-600:]} {done.kernel[-300:]}")
    told = json.loads(done.output.splitlines()[-1])
    expect(not faults(told), "; ".join(faults(told)))
    expect("Out of memory" not in done.kernel, "the kernel says that it is out of memory")
    apart = [later - sooner for sooner, later in pairwise(instant(each) for each in told["revoked"])]
    ended = ", then ".join(
        f"“{each['job_type']}” ({each['needs'][each['job_type']][0]:.1f} CPU s lost) after {each['after_s']:.0f} s "
        f"with {each['available_mib']} MiB left"
        for each in told["revoked"]
    )
    return (
        f"of {told['before_mib']} MiB at rest: {ended}, {apart[0]:.1f} s apart; {' and '.join(told['alive'])} live, "
        f"never less than {told['least_mib']} MiB left, {told['oom_kills']} killed by the kernel "
        f"({done.way}, {done.seconds:.0f} s)"
    )
