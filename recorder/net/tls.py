"""TLS for the recorder's port: made before anything is opened, so that a wrong file stops the start in one line."""

from __future__ import annotations

import ssl
from pathlib import Path

from recorder.config.settings import Settings
from recorder.core.errors import InvalidSetting


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """What TLS_CERT and TLS_KEY describe; None where the port does not speak TLS.

    Raises:
        InvalidSetting: A file cannot be read, is not what it should be, or the two do not belong together.
    """
    if settings.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client could otherwise have us compute handshakes for ever on one connection.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    _check_readable(settings.tls_cert, "TLS_CERT")
    if settings.tls_key is not None:
        _check_readable(settings.tls_key, "TLS_KEY")
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, _no_password)
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        raise InvalidSetting(
            f"TLS_CERT: {settings.tls_cert} and {settings.tls_key or 'the key in it'} cannot be used: {reason}",
            hint="a certificate chain and its key in PEM, not encrypted",
        ) from None
    return context


def renew_tls(context: ssl.SSLContext, settings: Settings) -> None:
    """Read the certificate and the key again, for the connections that are still to come.

    Args:
        context: Of `tls_context`.
        settings: The same.

    Raises:
        InvalidSetting: They cannot be used; the old ones stay.
    """
    # Tried apart first: one of two files that don't fit would leave the port without either.
    tls_context(settings)
    assert settings.tls_cert is not None
    context.load_cert_chain(settings.tls_cert, settings.tls_key, _no_password)


def _check_readable(path: Path, name: str) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise InvalidSetting(f"{name}: {path}: {error.strerror}", hint="mend the path or its mode") from None


def _no_password() -> str:
    # Without this OpenSSL would ask on the terminal, and the start would hang.
    raise ValueError("the key is encrypted")
