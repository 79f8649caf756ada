"""Where the server is: a Unix socket, or an address with a token (OPS-5).

Looked for in this order: `--server`, `LEASEHOLD_URL` (with `LEASEHOLD_TOKEN` or `LEASEHOLD_TOKEN_FILE`, and
`LEASEHOLD_CA` for https), the caller's own data folder, then the folder of a server that root runs
(`/run/leasehold`, `LEASEHOLD_RUN_DIR`). The standard library's lightest parts alone.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping

DEFAULT_PORT = 7117
SOCKET = "leasehold.sock"
TOKEN = "admin.token"  # noqa: S105 - the name of a file
SERVER = "server.json"


class Endpoint:
    """One way to a server: `socket_path`, or `host` and `port` (with `tls` where the address says https).

    `ca` is the file of the CA that its certificate is checked with, "" for those of the system.
    """

    __slots__ = ("ca", "host", "port", "prefix", "socket_path", "tls", "token")

    def __init__(
        self,
        *,
        socket_path: str = "",
        host: str = "",
        port: int = 0,
        token: str = "",
        tls: bool = False,
        prefix: str = "",
        ca: str = "",
    ) -> None:
        self.ca = ca
        self.socket_path = socket_path
        self.host = host
        self.port = port
        self.token = token
        self.tls = tls
        self.prefix = prefix

    def __str__(self) -> str:
        if self.socket_path:
            return self.socket_path
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.prefix}"

    __repr__ = __str__


class BadAddress(ValueError):
    """An address that is neither `http[s]://host[:port]`, `unix:/path`, nor a path. The sentence says so."""


def data_dir(env: Mapping[str, str]) -> str:
    """The data folder: `LEASEHOLD_DATA`, else what the configuration file says, else XDG's data folder."""
    named = env.get("LEASEHOLD_DATA") or _configured(env, "data")
    if named:
        return os.path.abspath(os.path.expanduser(named))
    return os.path.join(_base(env, "XDG_DATA_HOME", ".local/share"), "leasehold")


def run_dir(env: Mapping[str, str]) -> str:
    """Where a server of root has its socket."""
    return env.get("LEASEHOLD_RUN_DIR") or _configured(env, "run_dir") or "/run/leasehold"


def _base(env: Mapping[str, str], variable: str, below_home: str) -> str:
    named = env.get(variable, "")
    return (
        named
        if named.startswith("/")
        else os.path.join(env.get("HOME") or os.path.expanduser("~"), below_home)
    )


def _configured(env: Mapping[str, str], key: str) -> str:
    """A text from the configuration file; "" without one. What is wrong with it is the server's to say."""
    default = os.path.join(_base(env, "XDG_CONFIG_HOME", ".config"), "leasehold", "config.toml")
    path = env.get("LEASEHOLD_CONFIG") or default
    if not os.path.isfile(path):
        return ""
    import tomllib

    try:
        with open(path, "rb") as file:
            found = tomllib.load(file).get(key)
    except (OSError, ValueError):
        return ""
    return found if isinstance(found, str) else ""


def parse(address: str, token: str = "", ca: str = "") -> Endpoint:
    """Read an address. Raises BadAddress."""
    if address.startswith("unix:"):
        return Endpoint(socket_path=address[5:].removeprefix("//"), token=token)
    if address.startswith("/"):
        return Endpoint(socket_path=address, token=token)
    scheme, separator, rest = address.partition("://")
    if not separator or scheme not in ("http", "https"):
        raise BadAddress(
            f"{address!r} is no server's address: expected http://HOST:PORT, https://…, or unix:/PATH"
        )
    authority, slash, prefix = rest.partition("/")
    host, port = _host_port(authority, 443 if scheme == "https" else DEFAULT_PORT, address)
    path = (slash + prefix).rstrip("/")
    return Endpoint(host=host, port=port, token=token, tls=scheme == "https", prefix=path, ca=ca)


def _host_port(authority: str, default: int, address: str) -> tuple[str, int]:
    if authority.startswith("["):
        host, _, rest = authority[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = authority.partition(":")
    if not host or (port and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise BadAddress(f"{address!r} is no server's address: expected http://HOST:PORT")
    return host, int(port) if port else default


def candidates(env: Mapping[str, str], server: str = "") -> list[Endpoint]:
    """Every place where a server may be, the likeliest first; empty where none was ever set up.

    Raises BadAddress.

    An explicit address is the only candidate: a caller who names a server must not be answered by another.
    """
    explicit = server or env.get("LEASEHOLD_URL", "")
    if explicit:
        return [parse(explicit, _given_token(env), env.get("LEASEHOLD_CA", ""))]
    data = data_dir(env)
    found = []
    own = os.path.join(data, SOCKET)
    if _is_socket(own):
        found.append(Endpoint(socket_path=own))
    by_port = _own_port(data, env)
    if by_port is not None:
        found.append(by_port)
    roots = os.path.join(run_dir(env), SOCKET)
    if _is_socket(roots) and roots != own:
        found.append(Endpoint(socket_path=roots))
    return found


def _given_token(env: Mapping[str, str]) -> str:
    """The token of a named server: LEASEHOLD_TOKEN, or what stands in LEASEHOLD_TOKEN_FILE.

    Raises BadAddress for a file that can't be read.
    """
    path = env.get("LEASEHOLD_TOKEN_FILE", "")
    if env.get("LEASEHOLD_TOKEN") or not path:
        return env.get("LEASEHOLD_TOKEN", "")
    try:
        with open(path, encoding="ascii") as file:
            return file.read(4_096).strip()
    except (OSError, ValueError) as error:
        raise BadAddress(f"LEASEHOLD_TOKEN_FILE: {path} holds no token that can be read ({error})") from None


def ever_set_up(env: Mapping[str, str], server: str = "") -> bool:
    """Whether a server was ever set up for this caller: named, or with a trace in the data or run folder."""
    if server or env.get("LEASEHOLD_URL"):
        return True
    data = data_dir(env)
    traces = [os.path.join(data, name) for name in (SOCKET, SERVER, TOKEN)]
    return any(os.path.lexists(trace) for trace in (*traces, run_dir(env)))


def _own_port(data: str, env: Mapping[str, str]) -> Endpoint | None:
    """The loopback port of the server of this data folder, where its token can be read."""
    token = read_token(data)
    if not token:
        return None
    port = DEFAULT_PORT
    try:
        with open(os.path.join(data, SERVER), encoding="utf-8") as file:
            port = int(json.load(file)["port"])
    except (OSError, ValueError, KeyError, TypeError):
        named = env.get("LEASEHOLD_PORT", "")
        port = int(named) if named.isdecimal() else port
    return Endpoint(host="127.0.0.1", port=port, token=token)


def read_token(data: str) -> str:
    """The admin token of a data folder, "" where there is none to read."""
    try:
        with open(os.path.join(data, TOKEN), encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False
