"""What the shim is to do, as the server has written it."""

from __future__ import annotations

import contextlib
import os

from leasehold.shim import layout

TYPE_CHECKING = False  # importing `typing` takes longer than all of this file
if TYPE_CHECKING:
    from collections.abc import Mapping


class Order:
    """The order of one run. Paths are files of the kernel, "" where the machine has none of the kind."""

    def __init__(
        self, folder: str, fields: Mapping[str, str], arguments: list[bytes], env: list[bytes]
    ) -> None:
        self.folder = folder
        self.cwd, *self.argv = arguments
        self.env = dict(each.split(b"=", 1) for each in env)
        self.boot_id = fields["boot_id"]
        self.uid = int(fields["uid"])
        """-1: nobody else than this process's."""
        self.gid = int(fields["gid"])
        self.groups = [int(each) for each in fields["groups"].split(",") if each]
        self.grace_ms = int(fields["grace_ms"])
        self.log_bytes_max = int(fields["log_bytes_max"])
        self.terminal = fields["terminal"] == "1"
        self.nice = int(fields["nice"])
        self.idle_io = fields["idle_io"] == "1"
        self.data_bytes = int(fields["data_bytes"])
        """RLIMIT_DATA, where no cgroup can hold memory; 0: none."""
        self.open_files = int(fields["open_files"])
        self.shim_procs = fields["shim_procs"].split("\t") if fields.get("shim_procs") else []
        self.work_procs = fields["work_procs"].split("\t") if fields.get("work_procs") else []
        """The `cgroup.procs` to be written by the shim itself and by what it starts."""
        self.thaw_file, self.thaw_text = fields.get("thaw_file", ""), fields.get("thaw_text", "")
        self.kill_file = fields.get("kill_file", "")
        self.cpu_file = fields.get("cpu_file", "")
        self.kills_file = fields.get("kills_file", "")
        self.memory_file = fields.get("memory_file", "")
        self.peak_file = fields.get("peak_file", "")


def take(folder: str) -> Order:
    """Read the order; the environment is gone from the disk after that. Raises layout.Broken."""
    fields = layout.fields_of(layout.read(f"{folder}/{layout.ORDER}") or b"")
    arguments = _list(f"{folder}/{layout.ARGS}")
    env = _list(f"{folder}/{layout.ENV}")
    with contextlib.suppress(OSError):
        os.unlink(f"{folder}/{layout.ENV}")
    if fields is None or arguments is None or env is None or len(arguments) < 2:
        raise layout.Broken("the order could not be read to its end")
    return Order(folder, fields, arguments, env)


def _list(path: str) -> list[bytes] | None:
    data = layout.read(path)
    if data is None or (data and not data.endswith(b"\0")):
        return None
    return data.split(b"\0")[:-1]
