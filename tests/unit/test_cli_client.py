"""The client: where it looks for a server, how it speaks HTTP, and that it knows the whole API."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from leasehold.api.errors import TABLE, problem
from leasehold.api.routes import ENDPOINTS
from leasehold.cli import exits
from leasehold.client import calls, endpoint
from leasehold.client.calls import Call
from leasehold.client.endpoint import BadAddress, Endpoint, candidates, ever_set_up, parse
from leasehold.client.errors import error_of
from leasehold.client.lean import Connection, Unreachable
from leasehold.model.errors import LeaseholdError
from leasehold.wire.problem import Problem


def declared() -> dict[tuple[str, str], Call[object, object]]:
    """Every call that the client knows, by method and path."""
    return {(call.method, call.template): call for call in vars(calls).values() if isinstance(call, Call)}


@pytest.mark.requirement("OPS-18")
def test_every_call_is_one_that_the_server_serves_with_the_same_types() -> None:
    """The client's description and the server's routes are two files; they may not drift apart."""
    served = {(route.method, route.path.replace(":path", "")): route for route in ENDPOINTS}
    for key, call in declared().items():
        route = served[key]
        assert call.body is (route.body or type(None)), key
        assert call.answer is (route.answer or type(None)), key


@pytest.mark.requirement("OPS-30")
def test_exit_codes_agree_with_the_table_of_errors() -> None:
    """The command line keeps a table of its own, to start quickly; it says what the API's says."""
    different = {
        kind.code: (exits.of_problem(row.http, kind.code), row.exit)
        for kind, row in TABLE.items()
        if exits.of_problem(row.http, kind.code) != row.exit
    }
    assert different == {}


@pytest.mark.parametrize("kind", sorted(TABLE, key=lambda kind: kind.__name__))
def test_each_error_comes_back_as_itself(kind: type[LeaseholdError]) -> None:
    """What the server raises is what a caller of the client catches, or its nearest base."""
    import msgspec

    document: Problem = problem(kind("it says what to do", retry_after_s=7, lease_id="lease-1"), "0" * 16)
    found = error_of(document.status, msgspec.json.encode(document))
    assert found.message == "it says what to do"
    assert found.retry_after_s == 7
    assert found.details["lease_id"] == "lease-1"
    assert found.details["request_id"] == "0" * 16
    assert isinstance(found, kind) or not kind.__module__.startswith("leasehold.model")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"status": "x"}', b"\xff"])
def test_an_answer_that_is_no_problem_document_is_an_error_all_the_same(body: bytes) -> None:
    """A proxy in between may answer whatever it likes."""
    assert "503" in error_of(503, body).message


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://h:80", "http://h:80"),
        ("http://h", "http://h:7117"),
        ("https://h/x/", "https://h:443/x"),
        ("http://[::1]:9", "http://[::1]:9"),
        ("unix:/a/b", "/a/b"),
        ("unix:///a/b", "/a/b"),
        ("/a/b", "/a/b"),
    ],
)
def test_addresses_are_read(address: str, shown: str) -> None:
    """Of TCP, with or without a port, and of Unix sockets."""
    assert str(parse(address)) == shown


@pytest.mark.parametrize("address", ["h:80", "ftp://h", "http://", "http://h:0", "http://h:x", ""])
def test_other_addresses_are_refused(address: str) -> None:
    """With the forms that are understood."""
    with pytest.raises(BadAddress, match="expected http"):
        parse(address)


@pytest.mark.requirement("OPS-5")
def test_a_server_is_looked_for_by_url_then_in_own_data_then_in_run(tmp_path: Path) -> None:
    """An explicit address is the only candidate; otherwise one's own server goes before the machine's."""
    data, run = tmp_path / "d", tmp_path / "r"
    env = {"LEASEHOLD_DATA": str(data), "LEASEHOLD_RUN_DIR": str(run), "HOME": str(tmp_path)}
    assert candidates(env) == []
    assert not ever_set_up(env)
    sockets = []
    for folder in (data, run):
        folder.mkdir()
        made = socket.socket(socket.AF_UNIX)
        made.bind(str(folder / endpoint.SOCKET))
        sockets.append(made)
    (data / endpoint.TOKEN).write_text("secret\n")
    (data / endpoint.SERVER).write_text('{"port": 7789}')
    found = candidates(env)
    assert [str(one) for one in found] == [
        str(data / endpoint.SOCKET),
        "http://127.0.0.1:7789",
        str(run / endpoint.SOCKET),
    ]
    assert found[1].token == "secret"
    assert ever_set_up(env)
    assert [str(one) for one in candidates(env | {"LEASEHOLD_URL": "http://far:1"})] == ["http://far:1"]
    for made in sockets:
        made.close()


def test_the_configuration_file_moves_the_data_folder(tmp_path: Path) -> None:
    """The client finds the server that a configured `up` started."""
    (tmp_path / "c.toml").write_text(f'data = "{tmp_path}/elsewhere"\n')
    env = {"LEASEHOLD_CONFIG": str(tmp_path / "c.toml"), "HOME": str(tmp_path)}
    assert endpoint.data_dir(env) == f"{tmp_path}/elsewhere"
    assert endpoint.data_dir({"HOME": "/h"}) == "/h/.local/share/leasehold"


Session = Callable[[socket.socket], None]


@contextmanager
def answering(tmp_path: Path, *sessions: Session) -> Iterator[Endpoint]:
    """A socket that handles one connection after the other, each with its own function."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            for session in sessions:
                accepted, _ = listener.accept()
                with accepted:
                    session(accepted)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Endpoint(socket_path=str(path))
        thread.join(5)


def replies(*texts: bytes) -> Session:
    """Answer each call that comes with the next text."""

    def session(accepted: socket.socket) -> None:
        for text in texts:
            accepted.recv(65_536)
            accepted.sendall(text)

    return session


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def test_answers_with_a_length_and_in_chunks_are_read(tmp_path: Path) -> None:
    """Both ways in which a server may delimit a body, on one connection."""
    chunked = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n3;x=y\r\n:1}\r\n0\r\n\r\n'
    early = b"HTTP/1.1 100 Continue\r\n\r\n" + OK
    with answering(tmp_path, replies(OK, chunked, early)) as found:
        connection = Connection(found)
        assert connection.call("GET", "/", timeout_s=5).document() == {}
        assert connection.call("GET", "/", timeout_s=5).document() == {"a": 1}
        assert connection.call("POST", "/", b"{}", timeout_s=5).status == 200
        connection.close()


def test_a_call_on_a_connection_that_the_server_has_closed_is_sent_again(tmp_path: Path) -> None:
    """Servers close idle connections; that is no failure."""
    with answering(tmp_path, replies(OK), replies(OK)) as found:
        connection = Connection(found)
        assert connection.call("GET", "/", timeout_s=5).status == 200
        assert connection.call("GET", "/", timeout_s=5).status == 200
        connection.close()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
    ],
)
def test_half_an_answer_and_other_protocols_are_no_answer(tmp_path: Path, text: bytes) -> None:
    """None of them hangs, and none is taken for an answer."""
    with answering(tmp_path, replies(text)) as found:
        connection = Connection(found)
        with pytest.raises(Unreachable):
            connection.call("GET", "/", timeout_s=5)


def test_a_server_that_says_nothing_runs_into_the_timeout(tmp_path: Path) -> None:
    """A hung server is told from an absent one."""
    done = threading.Event()
    with answering(tmp_path, lambda accepted: (accepted.recv(99), done.wait(5), None)[2]) as found:
        with pytest.raises(Unreachable) as caught:
            Connection(found).call("GET", "/", timeout_s=0.1)
        assert caught.value.hangs
        done.set()
    with pytest.raises(Unreachable) as absent:
        Connection(Endpoint(socket_path=str(tmp_path / "none"))).call("GET", "/", timeout_s=0.1)
    assert not absent.value.hangs


def test_a_socket_below_a_long_path_is_reached(tmp_path: Path) -> None:
    """Data folders may lie deeper than the 107 bytes that a socket's address holds."""
    deep = tmp_path.joinpath(*["a" * 40] * 4)
    deep.mkdir(parents=True)
    with answering(tmp_path, replies(OK)) as found:
        (deep / "s").symlink_to(found.socket_path)
        with closing(Connection(Endpoint(socket_path=str(deep / "s")))) as connection:
            assert connection.call("GET", "/", timeout_s=5).status == 200


def test_a_token_is_sent_and_the_host_named(tmp_path: Path) -> None:
    """What arrives is a complete request with a bearer token."""
    arrived: list[bytes] = []

    def session(accepted: socket.socket) -> None:
        arrived.append(accepted.recv(65_536))
        accepted.sendall(OK)

    with answering(tmp_path, session) as found:
        found.token = "t0ken"
        with closing(Connection(found)) as connection:
            connection.call("POST", "/x", json.dumps({"a": 1}).encode(), timeout_s=5)
    head, _, body = arrived[0].partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"POST /x HTTP/1.1"
    assert b"Authorization: Bearer t0ken" in head
    assert b"Content-Length: 8" in head
    assert body == b'{"a": 1}'
