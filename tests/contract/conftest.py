"""What tests of the store in etcd share: one etcd per module, and a prefix of its own per test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.etcd_subject import EtcdSubject, behind_a_network


@pytest.fixture(scope="module")
def etcd_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real etcd, the network before it, a hand on it. A module that wants TLS has its own."""
    with behind_a_network(tmp_path_factory.mktemp("etcd")) as network:
        yield network


@pytest.fixture
def subject(etcd_network: Any) -> Iterator[Any]:
    """A prefix of that etcd. Suites of other stores have their own."""
    subject = EtcdSubject(*etcd_network)
    yield subject
    subject.heal()
