"""The leader's lease, renewed from a thread and channels of its own: a busy event loop loses no place."""

from __future__ import annotations

import threading
from typing import Any

import grpc
import structlog

from leasehold.adapters.stores.etcd.errors import said
from leasehold.adapters.stores.etcd.link import OPTIONS, credentials
from leasehold.adapters.stores.etcd.messages import LEASE_KEEP_ALIVE, LeaseKeepAliveRequest
from leasehold.adapters.stores.etcd.settings import EtcdSettings

log = structlog.get_logger(__name__)

RETRY_S = 0.1
"""After a renewal that failed; the next member is asked then."""

JOIN_S = 5.0


class Tenure:
    """Renews an etcd lease until stopped, or until etcd says that it has ended: then `lost` says so.

    Each renewal is a stream of one message with a deadline, so there is none that could silently be dead.
    """

    def __init__(self, settings: EtcdSettings, lease: int, ttl_s: int) -> None:
        self.lost = ""
        self._settings = settings
        self._request = LeaseKeepAliveRequest(ID=lease)
        self._pause_s = ttl_s / 3
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leasehold-etcd-lease", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Renew no more. Returns when the thread has ended, within one renewal's deadline."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)

    def _run(self) -> None:
        channels = self._channels()
        renewals = [
            channel.stream_stream(
                LEASE_KEEP_ALIVE.path,
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=LEASE_KEEP_ALIVE.answer.FromString,
            )
            for channel in channels
        ]
        at, pause_s = 0, self._pause_s
        try:
            while not self._stopped.wait(pause_s):
                ttl_s = self._renewed(renewals[at], self._settings.endpoints[at])
                if ttl_s is None:
                    at, pause_s = (at + 1) % len(renewals), RETRY_S
                    continue
                if ttl_s <= 0:
                    self.lost = "its lease in etcd has ended"
                    log.warning("etcd_lease_ended")
                    return
                pause_s = self._pause_s
        finally:
            for channel in channels:
                channel.close()

    def _renewed(self, renewal: Any, endpoint: str) -> int | None:
        """What is left of the lease after one renewal, in s; None: that member did not answer."""
        call = None
        try:
            call = renewal(iter((self._request,)), timeout=self._pause_s)
            return int(next(call).TTL)
        except grpc.RpcError as exc:
            log.info("etcd_lease_not_renewed", why=said(endpoint, exc))
            return None
        except StopIteration:
            return None
        finally:
            if call is not None:
                call.cancel()

    def _channels(self) -> list[Any]:
        endpoints = self._settings.endpoints
        if self._settings.tls is None:
            return [grpc.insecure_channel(endpoint, options=OPTIONS) for endpoint in endpoints]
        held = credentials(self._settings.tls)
        return [grpc.secure_channel(endpoint, held, options=OPTIONS) for endpoint in endpoints]
