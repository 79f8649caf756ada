"""Which addresses may be talked to: public ones by TLS, others only where a setting names them (OPS-14)."""

from __future__ import annotations

import pytest

from leasehold.core.address import is_public, networks, why_not


@pytest.mark.requirement("OPS-14", "CLUSTER-27")
@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "fe80::1%eth0",
        "fc00::1", "0.0.0.0", "::", "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "ff02::1",
        "240.0.0.1",
        "255.255.255.255", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::", "2002:c0a8:101::", "2001:0:c0a8:101:0:0:f5ff:fffe", "2001:db8::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_refused_in_every_writing(address: str) -> None:
    """Loopback, private, link-local, shared, documentation, multicast; IPv4 wrapped into IPv6 too."""
    assert not is_public(address)
    assert "notifications.allowed_hosts" in why_not(address, [], encrypted=True)


@pytest.mark.requirement("OPS-14")
@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::101:101"])
def test_public_addresses_take_what_is_encrypted_only(address: str) -> None:
    """Plain http is for places that the owner has named."""
    assert why_not(address, [], encrypted=True) == ""
    assert "only https" in why_not(address, [], encrypted=False)
    assert why_not(address, networks(["0.0.0.0/0", "::/0"]), encrypted=False) == ""


@pytest.mark.requirement("OPS-14")
def test_a_setting_lets_named_networks_in_and_no_others() -> None:
    """`localhost` is loopback; what is no network is told."""
    allowed = networks(["localhost", "192.168.1.0/24"])
    assert why_not("127.0.0.1", allowed, encrypted=False) == ""
    assert why_not("::ffff:192.168.1.9", allowed, encrypted=False) == ""
    assert why_not("192.168.2.9", allowed, encrypted=True)
    with pytest.raises(ValueError, match=r"router\.lan: expected an address"):
        networks(["router.lan"])
