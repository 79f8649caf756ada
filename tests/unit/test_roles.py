"""Roles of the configuration, and of local groups (OPS-6)."""

from __future__ import annotations

import grp
import os
import socket
from pathlib import Path

import pytest

from leasehold.api.auth import PEER, Gate, Peer
from leasehold.api.connection import _groups
from leasehold.api.credentials import rights
from leasehold.api.roles import LOCAL, ROLES, Rights
from leasehold.config import ConfigError, load


@pytest.mark.requirement("OPS-6")
@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        (
            '[roles.ci]\nverbs = ["lease:requst"]',
            "roles.ci.verbs: unknown verb lease:requst; did you mean lease:request?",
        ),
        ('[roles.admin]\nverbs = ["lease:read"]', "roles.admin: a built-in role can't be changed"),
        ('[roles.ci]\nverb = ["lease:read"]', "did you mean roles.ci.verbs?"),
        ('[identity.groups]\nwheel = "operatr"', "unknown role operatr; did you mean operator?"),
        ('[roles."a b"]\nverbs = []', "roles.a b: expected a name of letters"),
        ("[tls]\nport = 7117", "tls.port: expected another than port"),
        ('[tls]\nnames = ["a b"]', "tls.names"),
        ('host = "nas.example"', "host: nas.example is no address"),
    ],
)
def test_what_is_wrong_is_said_with_the_nearest_name(tmp_path: Path, toml: str, sentence: str) -> None:
    """An unknown verb, an unknown role, a built-in one, a bad name: each is told where it stands."""
    file = tmp_path / "config.toml"
    file.write_text(toml)
    with pytest.raises(ConfigError, match=sentence.replace("?", r"\?").replace("(", r"\(")):
        load({}, {"HOME": str(tmp_path), "LEASEHOLD_CONFIG": str(file)})


@pytest.mark.requirement("OPS-6")
def test_roles_and_groups_of_the_configuration(tmp_path: Path) -> None:
    """They come out as they were written, in the environment too."""
    file = tmp_path / "config.toml"
    file.write_text('[roles.ci]\nverbs = ["lease:request"]\n[identity.groups]\nwheel = "ci"\n')
    env = {"HOME": str(tmp_path), "LEASEHOLD_CONFIG": str(file), "LEASEHOLD_TLS__NAMES": '["nas"]'}
    found = load({}, env).settings
    assert found.roles["ci"].verbs == ("lease:request",)
    assert found.identity.groups == {"wheel": "ci"}
    assert found.tls.names == ("nas",)


@pytest.mark.requirement("OPS-6", "OPS-5")
def test_local_users_have_the_roles_of_their_groups() -> None:
    """All of their groups' roles and no other; without any they are submitters; the owner is admin always."""
    given = Rights({"watch": ["lease:read"]}, {50: "watch", 60: "operator", 70: "gone"})
    gate = Gate(admin_hash=b"", owner_uid=1000, rights=given)

    def who(gid: int, *groups: int, uid: int = 1001) -> tuple[str, frozenset[str]]:
        found = gate.identify({"extensions": {PEER: Peer(1, uid, gid, groups)}}, {})
        return found.role, found.verbs

    assert who(1, 2) == ("submitter", ROLES["submitter"] | LOCAL)
    assert who(50) == ("watch", frozenset({"lease:read"}))
    assert who(1, 60, 50) == ("operator+watch", ROLES["operator"] | LOCAL)
    assert who(70) == ("gone", frozenset()), "a role that is not there allows nothing"
    assert who(50, uid=1000)[0] == "admin"


@pytest.mark.requirement("OPS-6")
def test_groups_are_taken_by_name_and_unknown_ones_are_told() -> None:
    """A group that the machine does not have gives nobody anything."""
    name = grp.getgrgid(0).gr_name
    found, unknown = rights({}, {name: "viewer", "no-such-group-here": "admin"})
    assert unknown == ["no-such-group-here"]
    assert found.of_groups([0])[0] == "viewer"


@pytest.mark.requirement("OPS-5")
def test_the_kernel_tells_the_groups_of_a_peer() -> None:
    """Those of this process, on a pair of sockets; none, where the kernel does not say."""
    here, there = socket.socketpair(socket.AF_UNIX)
    with here, there:
        found = _groups(here)
        assert set(found) <= set(os.getgroups())
        try:
            raw = here.getsockopt(socket.SOL_SOCKET, 59, 4 << 16)
        except OSError:
            pytest.skip("this kernel does not tell the groups of a peer (SO_PEERGROUPS)")
        assert len(found) == len(raw) // 4
