"""The server's own CA and certificate: made once, for the right names, renewed in time (CLUSTER-28)."""

from __future__ import annotations

import ssl
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from leasehold.adapters.hosts.addresses import own_names
from leasehold.adapters.signers.identity import LIFE_MS, Identity
from leasehold.adapters.signers.own import CA_DAYS, OwnSigner
from leasehold.cli.checks import _lasting
from leasehold.ports.signer import SignerError
from leasehold.runtime.clock import RealClock

NOW_MS = 1_795_435_200_000  # 2026-11-23T12:00:00Z
DAY_MS = 86_400_000
NAMES = ["nas.lan", "192.0.2.7", "localhost", "127.0.0.1", "::1"]


class Place:
    """A folder with a CA and a certificate, at a time that can be moved."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "ca"
        self.now_ms = NOW_MS
        self.names = list(NAMES)
        self.signer = OwnSigner(self.folder, "nas", lambda: self.now_ms)
        self.identity = Identity(self.folder, self.signer, lambda: self.names, lambda: self.now_ms)

    def ca(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / "ca.pem").read_bytes())

    def served(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / "server.pem").read_bytes())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.requirement("CLUSTER-28")
def test_the_ca_and_the_certificate_are_what_strict_clients_want(place: Place) -> None:
    """P-256, ten years and ninety days, usages and key ids as RFC 5280 says; every name, nothing else."""
    issued = place.identity.issue()
    ca, served = place.ca(), place.served()
    assert isinstance(ca.public_key(), ec.EllipticCurvePublicKey)
    assert ca.not_valid_after_utc - ca.not_valid_before_utc == timedelta(days=CA_DAYS, hours=1)
    assert served.not_valid_after_utc - served.not_valid_before_utc == timedelta(days=90, hours=1)
    constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert not served.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = served.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert set(issued.names) == set(NAMES)
    served.verify_directly_issued_by(ca)
    context = ssl.create_default_context(cafile=str(place.folder / "ca.pem"))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    assert context.get_ca_certs()[0]["subject"][0][0][1] == "Leasehold"


@pytest.mark.requirement("CLUSTER-28", "OPS-4")
def test_keys_are_for_their_owner_alone(place: Place) -> None:
    """Files of 0600 in a folder of 0700; one that others may read is closed to them."""
    place.identity.issue()
    assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700
    for file in place.folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    (place.folder / "authority.pem").chmod(0o644)
    place.identity.issue()
    assert stat.S_IMODE((place.folder / "authority.pem").stat().st_mode) == 0o600


@pytest.mark.requirement("CLUSTER-28")
def test_a_certificate_is_kept_until_two_thirds_of_its_life(place: Place) -> None:
    """The same one until a month before its end, then another with another key, of the same CA."""
    first = place.identity.issue()
    assert place.identity.issue() == first
    key, ca = place.served().public_key(), place.ca()
    place.now_ms += LIFE_MS * 2 // 3 - DAY_MS
    assert place.identity.issue() == first
    place.now_ms += 2 * DAY_MS
    second = place.identity.issue()
    assert second.serial != first.serial
    assert second.until_wall_ms > first.until_wall_ms
    assert place.served().public_key() != key
    assert place.ca() == ca


@pytest.mark.requirement("CLUSTER-28")
def test_a_new_address_gets_a_new_certificate_and_a_lost_one_does_not(place: Place) -> None:
    """A machine that moves to another network is reachable there; one that comes home is as before."""
    first = place.identity.issue()
    place.names.append("198.51.100.3")
    second = place.identity.issue()
    assert second.serial != first.serial
    assert "198.51.100.3" in second.names
    place.names.remove("198.51.100.3")
    assert place.identity.issue() == second


@pytest.mark.requirement("CLUSTER-28")
@pytest.mark.parametrize("damage", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_damaged_certificate_is_replaced_and_a_damaged_ca_never(place: Place, damage: bytes) -> None:
    """The one can be had again; the other is what every client trusts, so only its owner may give it up."""
    place.identity.issue()
    whole = (place.folder / "authority.pem").read_bytes()
    (place.folder / "server.pem").write_bytes(damage)
    place.identity.issue()
    place.served()
    (place.folder / "authority.pem").write_bytes(damage)
    with pytest.raises(SignerError, match="remove it to have another CA made"):
        place.identity.issue()
    assert (place.folder / "authority.pem").read_bytes() == damage
    (place.folder / "authority.pem").write_bytes(whole)
    place.identity.issue()


@pytest.mark.requirement("CLUSTER-28")
def test_a_certificate_of_another_ca_is_not_served(place: Place) -> None:
    """Where the CA was made anew, the certificate follows; a lost ca.pem is written again."""
    first = place.identity.issue()
    (place.folder / "ca.pem").unlink()
    assert place.identity.issue() == first
    assert place.ca().subject == place.served().issuer
    (place.folder / "authority.pem").unlink()
    assert place.identity.issue().serial != first.serial
    place.served().verify_directly_issued_by(place.ca())


@pytest.mark.requirement("CLUSTER-28")
def test_nothing_is_signed_for_who_does_not_have_the_key(place: Place) -> None:
    """A request that is garbage, or changed on its way, is refused; an ended CA says so."""
    with pytest.raises(SignerError, match="no request"):
        place.signer.sign(b"garbage", NAMES, LIFE_MS)
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    der = bytearray(request.public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    forged = ssl.DER_cert_to_PEM_cert(bytes(der)).replace("CERTIFICATE", "CERTIFICATE REQUEST").encode()
    with pytest.raises(SignerError):
        place.signer.sign(forged, NAMES, LIFE_MS)
    place.now_ms += (CA_DAYS + 1) * DAY_MS
    with pytest.raises(SignerError, match="the CA itself ended"):
        place.signer.sign(request.public_bytes(serialization.Encoding.PEM), NAMES, LIFE_MS)


def test_a_folder_that_can_not_be_written_is_said(tmp_path: Path) -> None:
    """No trace: the sentence names the file."""
    (tmp_path / "ca").write_text("a file in the way")
    with pytest.raises(SignerError, match=r"ca/\w+\.pem can't be"):
        Place(tmp_path).identity.issue()


@pytest.mark.requirement("OPS-4")
def test_names_are_the_machines_and_no_garbage() -> None:
    """What was given comes first; loopback is always there; what can't be a name is left out."""
    names = own_names("192.0.2.9", ["NAS.example", "not a name", "192.0.2.77"])
    assert names[:2] == ["nas.example", "192.0.2.77"]
    assert {"localhost", "127.0.0.1", "::1", "192.0.2.9"} <= set(names)
    assert all(" " not in name for name in names)
    assert not any(name.startswith(("fe80", "169.254")) for name in own_names("0.0.0.0", []))


@pytest.mark.requirement("OPS-20")
def test_doctor_sees_a_certificate_that_is_late(tmp_path: Path) -> None:
    """Fine for most of its life; in its last quarter somebody should look why it was not renewed."""
    place = Place(tmp_path)
    now_ms = RealClock().wall_ms()
    place.now_ms = now_ms - 100 * DAY_MS
    place.signer.authority()
    place.now_ms = now_ms
    place.identity.issue()
    assert _lasting("certificate", place.folder / "server.pem").state == "ok"
    for age, state in ((80, "warn"), (91, "bad")):
        (place.folder / "server.pem").unlink()
        place.now_ms = now_ms - age * DAY_MS
        place.identity.issue()
        found = _lasting("certificate", place.folder / "server.pem")
        assert (found.state, "renews it" in found.cure) == (state, True)
