"""The one door to the etcd store: its libraries are optional, and heavy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from leasehold.adapters.stores.etcd.settings import EtcdSettings
from leasehold.ports.clock import Clock
from leasehold.ports.store import StoreError

if TYPE_CHECKING:
    from leasehold.adapters.stores.etcd.store import EtcdStore


def etcd_store(settings: EtcdSettings, clock: Clock) -> EtcdStore:
    """A store, not open yet. StoreError: settings that can't be used, or a library that is not installed."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # Its own lines on stderr say what our errors say.
    try:
        from leasehold.adapters.stores.etcd.store import EtcdStore
    except ImportError as exc:
        raise StoreError(
            f"the etcd store needs grpcio and protobuf ({exc}): pip install 'leasehold[etcd]'"
        ) from exc
    return EtcdStore(settings.checked(), clock)
