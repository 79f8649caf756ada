"""The ports of add-ons: asking them over HTTP, and measuring their folders (SENSE-5, 21)."""

from __future__ import annotations

from typing import Protocol

import msgspec

from leasehold.core.addon import Url
from leasehold.model.addon import FolderSize


class ProbeFailed(Exception):
    """An add-on that gave no usable answer.

    `code` is stable: UNREACHABLE, UNRESOLVED, NOT_ALLOWED, TIMEOUT, TLS, NOT_HTTP, REDIRECT, HTTP_503 (any
    status), TOO_LARGE, NOT_JSON, TOO_DEEP.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


class Answered(msgspec.Struct, frozen=True):
    """An answer of any status but a redirect."""

    status: int
    body: bytes


class Probe(Protocol):
    """Asks add-ons. A call holds up no other, and is over when it is cancelled."""

    async def check(self, url: Url) -> None:
        """Whether the configuration lets an add-on be there: every address of its host, as of now.

        Raises ProbeFailed with NOT_ALLOWED or UNRESOLVED.
        """
        ...

    async def get(self, url: Url, path: str, *, bytes_max: int) -> Answered:
        """`GET <url><path>` on a connection of its own, to an address that has just been checked.

        No redirect is followed, nothing is decompressed, and no more than `bytes_max` of a body is read.
        Raises ProbeFailed.
        """
        ...


class Folders(Protocol):
    """Measures folders. Both calls block, and are run off the event loop."""

    def problem(self, path: str) -> str:
        """What keeps this from being the folder of an add-on, as "expected …"; "" where nothing does."""
        ...

    def size(self, path: str) -> FolderSize:
        """What lies below a folder: bounded in entries and time, following no link, on one file system.

        Raises OSError where the folder itself can't be read.
        """
        ...
