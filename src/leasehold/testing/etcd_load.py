"""A process that grants leases from a ledger on etcd and says which are durable: what a killed server is.

    python -m leasehold.testing.etcd_load ENDPOINT PREFIX

It writes `<lease id> <token>` to its output when a grant is durable and before the next begins.
"""

from __future__ import annotations

import asyncio
import os
import sys

from leasehold.adapters.stores.etcd.opening import etcd_store
from leasehold.adapters.stores.etcd.settings import EtcdSettings
from leasehold.adapters.stores.etcd.store import EtcdStore
from leasehold.control.ledger import Ledger
from leasehold.core import lease as life
from leasehold.core.state import Outcome, Stamp, State
from leasehold.model.charge import Charge
from leasehold.model.lease import Ask, Lease
from leasehold.model.settings import PolicySettings
from leasehold.runtime.clock import RealClock
from leasehold.runtime.ids import RandomIds

NODE = "node-1"
TTL_S = 5
_POLICY = PolicySettings()


def store_at(endpoint: str, prefix: str, name: str) -> EtcdStore:
    """A store of the server `name`, not open."""
    settings = EtcdSettings((endpoint,), prefix=prefix, name=name, ttl_s=TTL_S)
    return etcd_store(settings, RealClock())


def ledger_on(store: EtcdStore) -> Ledger:
    """A ledger as the server makes it, not started."""
    return Ledger(store, RealClock(), RandomIds(), lambda: State(NODE))


async def granted(ledger: Ledger, holder: str) -> Lease:
    """One more lease of one unit, durable."""
    ask = Ask(holder, "test", Charge(units=1), NODE, principal=holder, quiet_gate=False)

    def decide(state: State, stamp: Stamp) -> Outcome:
        outcome = Outcome()
        outcome.answer = life.grant(state, ask, stamp, _POLICY, outcome)
        return outcome

    lease: Lease = await ledger.execute(decide)
    return lease


async def load(endpoint: str, prefix: str) -> None:
    """Grant until killed."""
    ledger = ledger_on(store_at(endpoint, prefix, f"process {os.getpid()}"))
    await ledger.start()
    while True:
        lease = await granted(ledger, "child")
        print(lease.lease_id, lease.token, flush=True)


if __name__ == "__main__":
    asyncio.run(load(*sys.argv[1:3]))
