"""The administrator's token: made once, kept in a file of 0600, known in memory by its hash alone (OPS-4)."""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from leasehold.api.roles import Belonging, Rights
from leasehold.model.errors import Invalid
from leasehold.runtime.ids import token_hash

TOKEN_CHARS_MIN = 32

FILE = "admin.token"


def admin_hash(folder: Path, new_token: Callable[[], str]) -> bytes:
    """The hash of the token in `<folder>/admin.token`, which is made where it is missing.

    A file that others may read is closed to them. Raises Invalid for one that holds no token.
    """
    path = folder / FILE
    try:
        token = _read(path)
    except FileNotFoundError:
        token = _make(path, new_token())
    if len(token) < TOKEN_CHARS_MIN:
        raise Invalid(
            f"{path} holds no token of {TOKEN_CHARS_MIN} characters and more; remove it, a new one is made",
            field=FILE,
            expected=f"a token of {TOKEN_CHARS_MIN} characters and more",
        )
    return token_hash(token)


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
            os.fchmod(descriptor, 0o600)
        return os.read(descriptor, 4_096).strip()
    finally:
        os.close(descriptor)


def _make(path: Path, token: str) -> bytes:
    """Write it under another name first: a crash leaves no half a token behind."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, token.encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    draft.rename(path)
    return token.encode()


def rights(
    custom: Mapping[str, Iterable[str]], groups: Mapping[str, str], tenants: Mapping[str, str] | None = None
) -> tuple[Rights, list[str]]:
    """The roles in force, from those of the configuration and from names of groups with their roles.

    `tenants` are those of users by their names, and of groups by theirs with `@` before them.

    Also the names of groups that this machine does not have: they give nobody anything.
    """
    known: dict[int, str] = {}
    unknown = []
    for name, role in groups.items():
        try:
            known[grp.getgrnam(name).gr_gid] = role
        except KeyError:
            unknown.append(name)
    of_users = {
        f"user:{name}": tenant for name, tenant in (tenants or {}).items() if not name.startswith("@")
    }
    of_groups: dict[int, str] = {}
    for name, tenant in sorted((tenants or {}).items()):
        if name.startswith("@"):
            try:
                of_groups.setdefault(grp.getgrnam(name[1:]).gr_gid, tenant)
            except KeyError:
                unknown.append(name)
    return Rights(custom, known, Belonging(of_users, of_groups)), unknown
