"""Mutual TLS between a server and its etcd (CLUSTER-28), and what is said when it does not come about."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from leasehold.adapters.stores.etcd.errors import is_definite, said
from leasehold.adapters.stores.etcd.link import credentials
from leasehold.adapters.stores.etcd.opening import etcd_store
from leasehold.adapters.stores.etcd.settings import EtcdSettings, EtcdTls
from leasehold.ports.store import Batch, StoreError
from leasehold.runtime.clock import RealClock
from leasehold.testing.certificates import TestAuthority
from leasehold.testing.etcd import Cluster, missing

pytestmark = pytest.mark.requirement("CLUSTER-28")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return TestAuthority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def member(authority: TestAuthority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if why := missing():
        pytest.skip(why)
    with Cluster(tmp_path_factory.mktemp("etcd"), tls=authority.pair("member")) as cluster:
        yield cluster.endpoints[0]


async def opening(member: str, tls: EtcdTls | None) -> str:
    """What the store says when it can't be opened; "" where it can."""
    store = etcd_store(EtcdSettings((member,), tls=tls, read_s=2.0), RealClock())
    try:
        await store.open()
        await store.commit(Batch(await store.batch_seq() + 1))
    except StoreError as error:
        return str(error)
    finally:
        await store.close()
    return ""


async def test_each_side_shows_a_certificate(member: str, authority: TestAuthority) -> None:
    """With files of the members' CA it opens and commits, by address and by name."""
    ours = authority.pair("ours")
    assert await opening(member, ours) == ""
    assert await opening(f"https://localhost:{member.rpartition(':')[2]}", ours) == ""


@pytest.mark.slow
async def test_a_member_of_another_ca_is_not_trusted(
    member: str, authority: TestAuthority, tmp_path: Path
) -> None:
    """Whoever answers under the address, nothing is sent to it; the reason is OpenSSL's."""
    stranger = TestAuthority(tmp_path, "another CA")
    assert "CERTIFICATE_VERIFY_FAILED" in await opening(member, stranger.pair("ours"))
    ours = authority.pair("ours")
    mixed = EtcdTls(ours.ca, *(stranger.pair("client").certificate, stranger.pair("client").key))
    assert "no member of etcd can be reached" in await opening(member, mixed)


@pytest.mark.slow
async def test_without_tls_a_member_is_not_reached(member: str) -> None:
    """It says that it can't be reached, and does not hang."""
    assert "etcd" in await opening(member, None)


@pytest.mark.slow
async def test_a_certificate_for_another_name_is_not_trusted(
    authority: TestAuthority, tmp_path: Path
) -> None:
    """A member is who its own certificate names, not just anybody whom the CA has signed."""
    if why := missing():
        pytest.skip(why)
    elsewhere = authority.pair("elsewhere", ("etcd.example", "127.0.0.2"))
    with Cluster(tmp_path, tls=elsewhere) as cluster:
        assert "no member of etcd can be reached" in await opening(
            cluster.endpoints[0], authority.pair("ours")
        )


async def test_files_that_cannot_be_read_are_named(authority: TestAuthority, tmp_path: Path) -> None:
    """The path, and what the system says."""
    tls = EtcdTls(tmp_path / "none.pem", authority.pair("ours").certificate, authority.pair("ours").key)
    assert await opening("127.0.0.1:1", tls) == (
        f"{tmp_path / 'none.pem'}, for the TLS to etcd, can't be read: No such file or directory"
    )


# -- users


def field(number: int, content: bytes) -> bytes:
    """One field of a protobuf message. What only this test calls has no place in the product's protocol."""
    return bytes([number << 3 | 2, len(content)]) + content


def with_users(endpoint: str, root: EtcdTls, user: str, prefix: bytes) -> None:
    """Switch etcd's users on: root, and one that may write below the prefix."""
    grant = field(1, b"ledger") + field(2, b"\x08\x02" + field(2, prefix + b"/") + field(3, prefix + b"0"))
    calls = {
        "UserAdd": [field(1, b"root") + field(2, b"x"), field(1, user.encode()) + field(2, b"x")],
        "RoleAdd": [field(1, b"root"), field(1, b"ledger")],
        "RoleGrantPermission": [grant],
        "UserGrantRole": [
            field(1, b"root") + field(2, b"root"),
            field(1, user.encode()) + field(2, b"ledger"),
        ],
        "AuthEnable": [b""],
    }
    with grpc.secure_channel(endpoint, credentials(root)) as channel:
        for name, requests in calls.items():
            for request in requests:
                channel.unary_unary(f"/etcdserverpb.Auth/{name}")(request, timeout=20, wait_for_ready=True)


async def test_the_certificate_names_the_user(authority: TestAuthority, tmp_path: Path) -> None:
    """Where etcd has users, ours is the certificate's name: it writes below its prefix and nowhere else."""
    if why := missing():
        pytest.skip(why)
    with Cluster(tmp_path, tls=authority.pair("member")) as cluster:
        member = cluster.endpoints[0]
        with_users(member, authority.pair("root"), "leasehold", b"/ledger")
        ours = authority.pair("leasehold")
        store = etcd_store(EtcdSettings((member,), prefix="/ledger", tls=ours), RealClock())
        await store.open()
        await store.commit(Batch(1, puts=[("/a", b"1")], events=b"e", first_event=1, last_event=1))
        assert (await anext(store.watch(0))).seq == 1
        assert (await store.load()).records == [("/a", b"1")]
        await store.forget(1)
        await store.close()
        elsewhere = etcd_store(EtcdSettings((member,), prefix="/other", tls=ours), RealClock())
        with pytest.raises(StoreError, match="grant it a role with readwrite on the prefix"):
            await elsewhere.open()
        assert "etcdserver" in await opening(member, authority.pair("stranger"))


# -- errors, in etcd's words


def refusal(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    none = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(code, none, none, details=details)


@pytest.mark.requirement("INV-4")
@pytest.mark.parametrize(
    ("code", "details", "definite", "told"),
    [
        ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded", True, "etcdctl alarm disarm"),
        ("RESOURCE_EXHAUSTED", "grpc: received message larger than max (9 vs. 2)", True, "1.5 MiB"),
        ("RESOURCE_EXHAUSTED", "too_many_pings", False, "too_many_pings"),
        ("INVALID_ARGUMENT", "etcdserver: request is too large", True, "--max-request-bytes"),
        ("INVALID_ARGUMENT", "etcdserver: too many operations in txn request", True, "--max-txn-ops"),
        ("INVALID_ARGUMENT", "etcdserver: user name is empty", True, "client's certificate"),
        ("PERMISSION_DENIED", "etcdserver: permission denied", True, "readwrite on the prefix"),
        ("UNAUTHENTICATED", "etcdserver: invalid auth token", True, "client's certificate"),
        ("DATA_LOSS", "etcdserver: corrupt cluster", True, "alarm CORRUPT"),
        ("UNIMPLEMENTED", "unknown service etcdserverpb.KV", True, "check the address"),
        ("UNAVAILABLE", "etcdserver: request timed out", False, "request timed out"),
        ("UNAVAILABLE", "etcdserver: leader changed", False, "leader changed"),
        ("UNAVAILABLE", "Socket closed", False, "Socket closed"),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", False, "Deadline Exceeded"),
        ("PERMISSION_DENIED", "a proxy between says no", False, "a proxy between"),
        ("INTERNAL", "RST_STREAM", False, "RST_STREAM"),
    ],
)
def test_only_etcds_own_refusals_are_definite(code: str, details: str, definite: bool, told: str) -> None:
    """What may come from between, or after it was done, leaves the outcome open; each says what to do."""
    error = refusal(grpc.StatusCode[code], details)
    assert is_definite(error) is definite
    assert told in said("etcd-1:2379", error)
    assert "etcd-1:2379" in said("etcd-1:2379", error)


# -- optional libraries


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_grpc_the_extra_is_named() -> None:
    """The error of an installation without the extra says what to type."""
    said = run(
        "import sys; sys.modules['grpc'] = None\n"
        "from leasehold.adapters.stores.etcd.opening import etcd_store\n"
        "from leasehold.adapters.stores.etcd.settings import EtcdSettings\n"
        "from leasehold.ports.store import StoreError\n"
        "from leasehold.runtime.clock import RealClock\n"
        "try: etcd_store(EtcdSettings(('etcd:2379',)), RealClock())\n"
        "except StoreError as error: print(error)\n"
    )
    assert "pip install 'leasehold[etcd]'" in said


def test_one_machine_loads_none_of_it() -> None:
    """What `leasehold up` imports on one machine has neither grpc nor protobuf nor numpy in it."""
    program = (
        "import sys, leasehold.bootstrap.program, leasehold.adapters.stores.etcd.opening\n"
        "print([name for name in ('grpc', 'google.protobuf', 'numpy') if name in sys.modules])"
    )
    assert run(program).strip() == "[]"
