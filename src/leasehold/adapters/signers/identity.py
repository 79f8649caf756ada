"""The server's own certificate: asked for when it is first needed, renewed in time (CLUSTER-28)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from leasehold.adapters.signers.files import read, replace
from leasehold.adapters.signers.own import private_pem
from leasehold.ports.signer import Issued, Signer, SignerError

FILE = "server.pem"
LIFE_MS = 90 * 86_400_000
RENEWED_AT = 2 / 3
"""The part of its life after which a certificate is renewed: a month before its end."""


class Identity:
    """`<folder>/server.pem`: key, certificate and chain. `names` are those that it has to be for."""

    def __init__(
        self, folder: Path, signer: Signer, names: Callable[[], Sequence[str]], wall_ms: Callable[[], int]
    ) -> None:
        self._path = folder / FILE
        self._signer = signer
        self._names = names
        self._wall_ms = wall_ms

    def issue(self) -> Issued:
        """The certificate to serve: the one that is there, or a fresh one with a fresh key where that is
        damaged, of another CA, at two thirds of its life, or not for all names. Raises SignerError.
        """
        names = tuple(self._names())
        known = self._known()
        if known is not None and not self._is_due(known) and set(names) <= set(known.names):
            return known
        key = ec.generate_private_key(ec.SECP256R1())
        request = (
            x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        )
        signed = self._signer.sign(request.public_bytes(serialization.Encoding.PEM), names, LIFE_MS)
        replace(self._path, private_pem(key) + signed)
        made = self._known()
        if made is None:
            raise SignerError(
                f"the certificate that was issued for {self._path} does not fit its key or its CA"
            )
        return made

    def _is_due(self, known: Issued) -> bool:
        now_ms, life_ms = self._wall_ms(), known.until_wall_ms - known.from_wall_ms
        return not known.from_wall_ms <= now_ms < known.from_wall_ms + RENEWED_AT * life_ms

    def _known(self) -> Issued | None:
        """The certificate in the file, None where it can't be served: nothing in it is worth keeping."""
        raw = read(self._path)
        if raw is None:
            return None
        authority = x509.load_pem_x509_certificate(self._signer.authority())
        try:
            key = serialization.load_pem_private_key(raw, None)
            certificate, *between = x509.load_pem_x509_certificates(raw)
            if key.public_key() != certificate.public_key():
                return None
            for one, above in zip((certificate, *between), (*between, authority), strict=True):
                one.verify_directly_issued_by(above)
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return None
        return Issued(
            str(self._path),
            (
                *names.get_values_for_type(x509.DNSName),
                *map(str, names.get_values_for_type(x509.IPAddress)),
            ),
            certificate.serial_number,
            _wall_ms(certificate.not_valid_before_utc),
            _wall_ms(certificate.not_valid_after_utc),
        )


def _wall_ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)
