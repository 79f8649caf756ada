"""A CA and certificates of a test's own, for programs on loopback that speak mutual TLS."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from leasehold.adapters.signers.own import general_name, private_pem
from leasehold.adapters.stores.etcd.settings import EtcdTls
from leasehold.runtime.clock import local_now

LIFE = timedelta(days=2)
NAMES = ("127.0.0.1", "localhost")


class TestAuthority:
    """Signs for `NAMES`; its files stand in one folder."""

    __test__ = False

    def __init__(self, folder: Path, common_name: str = "test CA") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        made = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(True, 0), True)
        self.file = folder / "ca.pem"
        self.file.write_bytes(_pem(made.sign(self._key, hashes.SHA256())))

    def pair(self, common_name: str, names: Sequence[str] = NAMES) -> EtcdTls:
        """Files of a new certificate for these names, for either side of a connection."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        alternatives = x509.SubjectAlternativeName([general_name(name) for name in names])
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        made = self._builder(subject, key).add_extension(alternatives, False).add_extension(uses, False)
        certificate, private = self._folder / f"{common_name}.pem", self._folder / f"{common_name}.key"
        certificate.write_bytes(_pem(made.sign(self._key, hashes.SHA256())))
        private.write_bytes(private_pem(key))
        return EtcdTls(self.file, certificate, private)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = local_now().astimezone(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - LIFE)
            .not_valid_after(now + LIFE)
        )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
