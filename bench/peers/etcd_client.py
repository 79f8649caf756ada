"""Drive grant + put + revoke cycles against one etcd; runs inside the peers' environment, not in ours.

Usage: python etcd_client.py TARGET CLIENTS WARM_S MEASURE_S STUBS_FOLDER

Each of CLIENTS tasks repeats: grant a lease of 30 s, put one key under it, revoke the lease (which
deletes the key). One line of JSON comes out: cycles that ended inside the window, its length, the
latency of each such cycle in microseconds, and the keys left behind (0, or the cycles did not do what
they say). All share one channel: 2, 4
and 16 were tried, and were not faster.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from typing import Any

CHANNELS_MAX = 1


class Window:
    """The span in which cycles count; those that end after it are finished but not counted."""

    def __init__(self, warm_s: float, measure_s: float) -> None:
        self.opens_at = time.perf_counter() + warm_s
        self.closes_at = self.opens_at + measure_s
        self.latencies_us: list[int] = []

    def note(self, began_at: float, ended_at: float) -> None:
        if self.opens_at <= ended_at < self.closes_at:
            self.latencies_us.append(round((ended_at - began_at) * 1e6))


async def client(number: int, window: Window, rpc: Any, kv: Any, lease: Any) -> None:
    """Repeat whole cycles until the window has closed."""
    key = b"bench/%d" % number
    grant_request = rpc.LeaseGrantRequest(TTL=30)
    while (began_at := time.perf_counter()) < window.closes_at:
        lease_id = (await lease.LeaseGrant(grant_request)).ID
        await kv.Put(rpc.PutRequest(key=key, value=b"1", lease=lease_id))
        await lease.LeaseRevoke(rpc.LeaseRevokeRequest(ID=lease_id))
        window.note(began_at, time.perf_counter())


async def drive(target: str, clients: int, warm_s: float, measure_s: float) -> dict[str, Any]:
    """Run CLIENTS tasks over up to CHANNELS_MAX channels and return the figures."""
    rpc, stubs, grpc = map(importlib.import_module, ("etcd_pb2", "etcd_pb2_grpc", "grpc"))
    channel_count = min(clients, CHANNELS_MAX)
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(target, options=options) for _ in range(channel_count)]
    kvs = [stubs.KVStub(channel) for channel in channels]
    leases = [stubs.LeaseStub(channel) for channel in channels]
    await asyncio.gather(*(channel.channel_ready() for channel in channels))
    window = Window(warm_s, measure_s)
    await asyncio.gather(
        *(client(n, window, rpc, kvs[n % channel_count], leases[n % channel_count]) for n in range(clients))
    )
    left = await kvs[0].Range(rpc.RangeRequest(key=b"bench/", range_end=b"bench0", count_only=True))
    await asyncio.gather(*(channel.close() for channel in channels))
    return {
        "cycles": len(window.latencies_us),
        "seconds": measure_s,
        "latencies_us": window.latencies_us,
        "left_behind": left.count,
    }


def main(arguments: list[str]) -> None:
    target, clients, warm_s, measure_s, stubs_folder = arguments
    sys.path.insert(0, stubs_folder)
    print(json.dumps(asyncio.run(drive(target, int(clients), float(warm_s), float(measure_s)))))


if __name__ == "__main__":
    main(sys.argv[1:])
