"""The TLS side of credentials."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_VALIDITY = re.compile(rb"(?:\x17\x0d|\x18\x0f)\d{12,14}Z(?:\x17\x0d|\x18\x0f)(\d{12,14})Z")
"""`notBefore` and `notAfter` in DER (RFC 5280, 4.1.2.5): UTCTime or GeneralizedTime, to the second."""
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")
"""A file of authorities in a folder, by `openssl rehash`."""
_SYSTEM_AUTHORITIES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),  # Debian, Arch, Gentoo
    Path("/etc/pki/tls/certs/ca-bundle.crt"),  # Fedora, Red Hat
    Path("/etc/ssl/ca-bundle.pem"),  # SUSE
    Path("/etc/ssl/cert.pem"),  # Alpine, macOS, BSD
)


class _SharedContext(ssl.SSLContext):
    """A context that many threads open connections with.

    urllib3 sets the protocols again for every connection, while another thread's handshake reads them: that sends a
    broken hello or crashes (python/cpython#141012). So they are set once, here.
    """

    def __init__(self, _protocol: int) -> None:
        super().set_alpn_protocols(["http/1.1"])

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        """Leave them as they are."""


def client_context(*, verify: bool, authority: str = "", client: Path | None = None) -> ssl.SSLContext:
    """A context that trusts the PEM certificates `authority` (else the system's) and shows that of the file `client`.

    As strict as kubectl, that is less than Python 3.13's default, which refuses many clusters' authorities, and an
    authority may be an intermediate one. Raises OSError (`ssl.SSLError` among it) for what cannot be used.
    """
    context = _SharedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif authority:
        context.load_verify_locations(cadata=authority)
    else:
        _trust_system(context)
    if client:
        # Without a password OpenSSL would ask the terminal for one.
        context.load_cert_chain(client, password="")
    return context


def _trust_system(context: ssl.SSLContext) -> None:
    """Trust the system's authorities, or certifi's where the system has none.

    OpenSSL looks where it was built to look. That of a bundle, or of a Python from elsewhere, may have been built for
    another system, and would trust nobody. Where the environment says whom to trust (`SSL_CERT_FILE`, `SSL_CERT_DIR`)
    nobody else is.
    """
    context.load_default_certs()
    paths = ssl.get_default_verify_paths()
    named = os.environ.keys() & {paths.openssl_cafile_env, paths.openssl_capath_env}
    if named or context.cert_store_stats()["x509_ca"] or _holds_authorities(paths.capath):
        return
    found = next((path for path in _SYSTEM_AUTHORITIES if path.is_file()), None)
    if not found:
        import certifi  # noqa: PLC0415 - hardly ever needed

        found = Path(certifi.where())
    context.load_verify_locations(cafile=found)


def _holds_authorities(folder: str | None) -> bool:
    """Whether OpenSSL finds any in a folder: it asks for files by the hash of a name, when it needs them."""
    with suppress(OSError):
        return any(_HASHED.fullmatch(path.name) for path in Path(folder or "").iterdir()) if folder else False
    return False


def not_after(certificates: str) -> datetime | None:
    """When the first of these PEM certificates expires; None where that cannot be read."""
    pem = _CERTIFICATE.search(certificates)
    validity = _VALIDITY.search(ssl.PEM_cert_to_DER_cert(pem[0])) if pem else None
    if not validity:
        return None
    digits = validity[1].decode()
    form = "%Y%m%d%H%M%S%z" if len(digits) == len("YYYYMMDDhhmmss") else "%y%m%d%H%M%S%z"
    return datetime.strptime(f"{digits}+0000", form).astimezone(timezone.utc)
