"""Where an etcd is, who asks, and how long anything may take. Nothing here imports grpc."""

from __future__ import annotations

from pathlib import Path

import msgspec

from leasehold.ports.store import StoreError

PREFIX_BYTES_MAX = 100


class EtcdTls(msgspec.Struct, frozen=True):
    """Files (PEM) of a mutual TLS: the CA of the members, and our certificate with its key."""

    ca: Path
    certificate: Path
    key: Path


class EtcdSettings(msgspec.Struct, frozen=True):
    """One ledger in one etcd.

    `endpoints` are its members as `host:port`. `prefix` is the ledger's own: several share an etcd by
    prefixes of which none begins another. `name` is who holds the store, for people. `ttl_s`: how long the
    leader's place outlives a leader that has gone silent; etcd makes it 2 s at least.

    `commit_s` bounds a commit with all that is done to learn its outcome, `read_s` any other call;
    `attempt_s` is what one member gets before another is asked. With `compacts` the history that nobody needs
    is thrown away for the whole etcd; switch it off where the etcd does that by itself, or others read its
    history.
    """

    endpoints: tuple[str, ...]
    prefix: str = "/leasehold"
    name: str = "a server"
    tls: EtcdTls | None = None
    ttl_s: int = 3
    commit_s: float = 5.0
    read_s: float = 4.0
    attempt_s: float = 1.5
    compacts: bool = True

    def checked(self) -> EtcdSettings:
        """The same with bare endpoints and prefix. StoreError says which of them can't be used."""
        endpoints = tuple(map(self._endpoint, self.endpoints))
        if not endpoints:
            raise StoreError("no member of etcd is named: give its addresses as host:port")
        prefix = self.prefix.rstrip("/")
        if not prefix or len(prefix.encode()) > PREFIX_BYTES_MAX:
            raise StoreError(
                f"the prefix {self.prefix!r} can't be used in etcd: give 1 to {PREFIX_BYTES_MAX} bytes, as "
                "/leasehold"
            )
        return msgspec.structs.replace(self, endpoints=endpoints, prefix=prefix)

    def _endpoint(self, named: str) -> str:
        scheme, found, address = named.rpartition("://")
        address = address.rstrip("/")
        if found and scheme != ("https" if self.tls else "http"):
            raise StoreError(
                f"{named}: with TLS files an endpoint is https, without them http; give host:port alone"
            )
        host, colon, port = address.rpartition(":")
        if not host or not colon or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise StoreError(f"{named!r} is no address of a member of etcd: give host:port, as etcd-1:2379")
        return address
