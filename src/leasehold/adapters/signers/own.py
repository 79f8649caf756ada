"""The server's own certificate authority, made when it is first needed (CLUSTER-28).

EC P-256 keys, SHA-256, X.509 v3 as in RFC 5280. `authority.pem` holds key and certificate in one file, so
that they are replaced as one; `ca.pem` is the certificate alone, to hand out. Whoever has the key can
pass for this server with everybody who trusts `ca.pem`: it never leaves its folder.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from leasehold.adapters.signers.files import read, replace
from leasehold.ports.signer import SignerError

AUTHORITY = "authority.pem"
CERTIFICATE = "ca.pem"
CA_DAYS = 3_650
EARLIER = timedelta(hours=1)
"""Certificates hold from a little earlier on, for clients whose clock is behind."""

NO_OTHER_USE = {
    "content_commitment": False,
    "key_encipherment": False,
    "data_encipherment": False,
    "key_agreement": False,
    "encipher_only": False,
    "decipher_only": False,
}

Authority = tuple[ec.EllipticCurvePrivateKey, x509.Certificate]


class OwnSigner:
    """A CA in `folder`. `named` stands in its certificate, for people who look at what they trust."""

    def __init__(self, folder: Path, named: str, wall_ms: Callable[[], int]) -> None:
        self._folder = folder
        self._named = named
        self._wall_ms = wall_ms

    def authority(self) -> bytes:
        """See `ports.signer`. Made where it is missing; one that can't be read is never replaced."""
        return self._load()[1].public_bytes(serialization.Encoding.PEM)

    def sign(self, request: bytes, names: Sequence[str], life_ms: int) -> bytes:
        """See `ports.signer`. Nothing stands between: the certificate alone."""
        key, ca = self._load()
        try:
            asked = x509.load_pem_x509_csr(request)
        except ValueError as error:
            raise SignerError(f"this is no request for a certificate: {error}") from error
        if not asked.is_signature_valid:
            raise SignerError("the request for a certificate is not signed by the key that it names")
        now = self._now()
        until = min(now + timedelta(milliseconds=life_ms), ca.not_valid_after_utc)
        if until <= now:
            raise SignerError(
                f"the CA itself ended on {ca.not_valid_after_utc:%Y-%m-%d}; remove "
                f"{self._folder / AUTHORITY} to have another made, and give its ca.pem to every client"
            )
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])]))
            .issuer_name(ca.subject)
            .public_key(asked.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(now - EARLIER, ca.not_valid_before_utc))
            .not_valid_after(until)
            .add_extension(x509.SubjectAlternativeName([general_name(name) for name in names]), False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
            .add_extension(_usage(signs_others=False), True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(asked.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False)
            .sign(key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM)

    def _load(self) -> Authority:
        path = self._folder / AUTHORITY
        raw = read(path)
        if raw is None:
            return self._make(path)
        try:
            key = serialization.load_pem_private_key(raw, None)
            certificate = x509.load_pem_x509_certificate(raw)
            if (
                not isinstance(key, ec.EllipticCurvePrivateKey)
                or key.public_key() != certificate.public_key()
            ):
                raise ValueError("key and certificate do not belong together")
            certificate.verify_directly_issued_by(certificate)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise SignerError(
                f"{path} can't be used ({error}): put its backup there, or remove it to have another CA "
                "made, whose ca.pem every client then needs"
            ) from error
        if read(self._folder / CERTIFICATE) != certificate.public_bytes(serialization.Encoding.PEM):
            self._hand_out(certificate)
        return key, certificate

    def _make(self, path: Path) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        ident = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Leasehold"),
                x509.NameAttribute(
                    NameOID.COMMON_NAME, f"Leasehold on {self._named[:32]} ({ident.digest.hex()[:8]})"
                ),
            ]
        )
        now = self._now()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - EARLIER)
            .not_valid_after(now + timedelta(days=CA_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
            .add_extension(_usage(signs_others=True), True)
            .add_extension(ident, False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False)
            .sign(key, hashes.SHA256())
        )
        replace(path, private_pem(key) + certificate.public_bytes(serialization.Encoding.PEM))
        self._hand_out(certificate)
        return key, certificate

    def _hand_out(self, certificate: x509.Certificate) -> None:
        replace(self._folder / CERTIFICATE, certificate.public_bytes(serialization.Encoding.PEM))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._wall_ms() // 1000, UTC)


def _usage(*, signs_others: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_others, key_cert_sign=signs_others, crl_sign=signs_others, **NO_OTHER_USE
    )


def general_name(name: str) -> x509.GeneralName:
    """A host name or an address as certificates write it."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A key as PEM, not encrypted: whoever can read the file can read the process too."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
