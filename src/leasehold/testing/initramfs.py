"""The first few files that a guest's kernel finds, as a cpio archive: enough to mount its root by 9p.

Format: the kernel's `driver-api/early-userspace/buffer-format.rst` ("newc").
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

FOLDER, PROGRAM, DEVICE = 0o040755, 0o100755, 0o020600
CONSOLE = (5, 1)

SCRIPT = """#!/bin/busybox sh
while read -r name; do
    /bin/busybox insmod "/modules/$name.ko" || echo "no module $name"
done < /modules/order
/bin/busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=262144 root /newroot
exec /bin/busybox switch_root /newroot {init}
"""


def archive(busybox: Path | None, modules: Path, init: Path) -> bytes:
    """A static busybox, the modules in `modules/order`, and a script that goes on with `init` of the root."""
    assert busybox is not None, "no static busybox"
    return b"".join(_member(number, *each) for number, each in enumerate(_members(busybox, modules, init), 1))


def _members(busybox: Path, modules: Path, init: Path) -> Iterator[tuple[str, int, bytes, tuple[int, int]]]:
    none = (0, 0)
    for name in ("bin", "dev", "modules", "newroot"):
        yield name, FOLDER, b"", none
    yield "dev/console", DEVICE, b"", CONSOLE
    yield "bin/busybox", PROGRAM, busybox.read_bytes(), none
    yield "init", PROGRAM, SCRIPT.format(init=init).encode(), none
    for name in ("order", *(f"{each}.ko" for each in (modules / "order").read_text().split())):
        yield f"modules/{name}", PROGRAM, (modules / name).read_bytes(), none
    yield "TRAILER!!!", 0, b"", none


def _member(number: int, name: str, mode: int, data: bytes, device: tuple[int, int]) -> bytes:
    path = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + path
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
