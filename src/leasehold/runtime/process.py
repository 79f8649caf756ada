"""What the kernel lets this process have."""

from __future__ import annotations

import resource

OPEN_FILES = 16_384
"""What the server asks the kernel for: thousands of connections on each socket, and the rest."""

OWN_FILES = 256
"""What the server itself keeps open at most: stores, logs, the kernel's figures, watched processes."""

LEAST = 16


def raise_file_limit() -> None:
    """Have as many files open as the kernel allows, up to `OPEN_FILES`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def share_of_files(shares: int) -> int:
    """How many files each of `shares` users of them may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(LEAST, (soft - OWN_FILES) // shares)
