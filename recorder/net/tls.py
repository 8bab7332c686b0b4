"""TLS for the recorder's port: made before anything is opened, so that a wrong file stops the start in one line.

A context is never changed once connections use it. To take a certificate into it that is signed with a key of another
type would leave the old one there beside it, and a file that is replaced between two reads would leave it with half of
a pair. A new context is built from the files, tried, and put in the place of the old one.
"""

from __future__ import annotations

import ssl
from contextlib import suppress

from cryptography import x509

from recorder.config.files import file_of_setting, read_file
from recorder.config.settings import Settings
from recorder.core.errors import InvalidSetting


class ServerTls:
    """The TLS of a port: the context that its next connection begins with.

    Args:
        settings: Their `TLS_CERT` and `TLS_KEY`.

    Raises:
        InvalidSetting: A file cannot be read, is not what it should be, or the two do not belong together.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.context = _checked_context(settings)

    def renew(self) -> None:
        """Read the files again, for the connections that are still to come.

        Raises:
            InvalidSetting: They cannot be used; the old context stays.
        """
        self.context = _checked_context(self._settings)

    @property
    def valid_until(self) -> str | None:
        """The end of validity of the certificate in TLS_CERT, in ISO 8601; None if it cannot be read now."""
        path = self._settings.tls_cert
        assert path is not None
        with suppress(OSError, ValueError):
            return x509.load_pem_x509_certificate(read_file(path)).not_valid_after_utc.isoformat()
        return None


def server_tls(settings: Settings) -> ServerTls | None:
    """Return the TLS that TLS_CERT and TLS_KEY describe; None where the port does not speak TLS.

    Raises:
        InvalidSetting: As `ServerTls`.
    """
    return None if settings.tls_cert is None else ServerTls(settings)


def _checked_context(settings: Settings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client could otherwise have us compute handshakes for ever on one connection.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    certificate, key = settings.tls_cert, settings.tls_key
    assert certificate is not None
    file_of_setting(certificate, "TLS_CERT")
    if key is not None:
        file_of_setting(key, "TLS_KEY")
    try:
        context.load_cert_chain(certificate, key, _no_password)
        _shake_hands(context)
    except (OSError, ValueError) as error:
        # `ssl.SSLError` is an OSError, too. A file may have gone since it was looked at.
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise InvalidSetting(
            f"TLS_CERT: {certificate} and {key or 'the key in it'} cannot be used: {reason}",
            hint="a certificate chain and its key in PEM, not encrypted",
        ) from None
    return context


def _shake_hands(context: ssl.SSLContext) -> None:
    """Try a handshake with a context, in memory. Raises ssl.SSLError where no client could end one."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = context.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server)
    for _ in range(4):  # more turns than any handshake takes
        for side in (theirs, ours):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()


def _no_password() -> str:
    # Without this OpenSSL would ask on the terminal, and the start would hang.
    raise ValueError("the key is encrypted")
