"""What a server leaves in its folder when it stops (OPS-28)."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import msgspec
import pytest

from leasehold.api.listening import remove_files
from leasehold.api.server import Listener, unix_socket
from leasehold.api.server_file import SERVER_FILE, remove_server_file, write_server_file


@pytest.mark.requirement("OPS-28")
def test_what_the_next_server_has_written_stays(tmp_path: Path) -> None:
    """A server that ends late takes its own files with it, and none of the one that follows."""
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        write_server_file(tmp_path, tcp, 1_000)
        mine = msgspec.json.decode((tmp_path / SERVER_FILE).read_bytes())
        assert mine["pid"] == os.getpid()
        (tmp_path / SERVER_FILE).write_bytes(msgspec.json.encode({**mine, "pid": 1}))
        remove_server_file(tmp_path)
        assert (tmp_path / SERVER_FILE).exists()
        (tmp_path / SERVER_FILE).write_bytes(msgspec.json.encode(mine))
        remove_server_file(tmp_path)
        assert not (tmp_path / SERVER_FILE).exists()
    path = tmp_path / "a.sock"
    first = Listener(unix_socket(path, 0o600))
    first.sock.close()
    path.rename(tmp_path / "moved")  # Its inode is not used again, as it would be were it removed.
    second = Listener(unix_socket(path, 0o600))
    remove_files([first])
    assert path.exists()
    remove_files([second])
    assert not path.exists()
    second.sock.close()
