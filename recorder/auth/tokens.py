"""Authentication: the permissions that a request's credentials grant.

Where no tokens are configured everyone may do everything; the settings see to it that only this machine can connect
then. Where any are, whoever carries none is a stranger. Keys and tokens are read when the recorder is opened, and again
when it is told to (`renew`): what was granted before then counts only as long as `holds` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from recorder.auth.grants import EVERYTHING, Grant, Role
from recorder.auth.jwt import Key, Verifier, read_jwks, read_key
from recorder.auth.static_tokens import ListedTokens, token_of
from recorder.config.files import file_of_setting
from recorder.config.settings import Settings
from recorder.config.validators import Refused, Tokens, is_loopback
from recorder.core.errors import InvalidSetting, NotAuthenticated

MIN_TOKEN = 16
"""The fewest characters of a listed token where others than this machine can try one."""


class Authority:
    """Knows what each token grants.

    Args:
        listed: Tokens of the settings.
        verifier: For JWTs; None where there is no key for them.
    """

    def __init__(self, listed: ListedTokens, verifier: Verifier | None = None) -> None:
        self._listed = listed
        self._verifier = verifier
        self.edition = 0  # how often it was renewed: what was granted in this one need not be looked at

    @property
    def is_open(self) -> bool:
        """Return whether no token is needed, since none is configured."""
        return not self._listed and self._verifier is None

    def grant(self, authorization: Sequence[str], subprotocols: Sequence[str] = ()) -> Grant:
        """Return what a request may do.

        Args:
            authorization: Values of its `Authorization` headers.
            subprotocols: What its `Sec-WebSocket-Protocol` offers.

        Raises:
            NotAuthenticated: It carries no token, or one that is worth nothing.
        """
        if self.is_open:
            return EVERYTHING
        token = token_of(authorization, subprotocols)
        if token is None:
            missing = NotAuthenticated("a token is needed", hint="Authorization: Bearer TOKEN")
            missing.has_token = False
            raise missing
        grant = self._listed.grant(token)
        if grant is None and self._verifier is not None:
            grant = self._verifier.grant(token)
        if grant is None:
            raise NotAuthenticated("the token is not known here", hint="was it made for this recorder?")
        return grant

    def renew(self, other: Authority) -> None:
        """Grant what another one grants, from now on."""
        self._listed, self._verifier = other._listed, other._verifier
        self.edition += 1

    def holds(self, grant: Grant) -> bool:
        """Return whether something granted before would be granted again; that it may have expired aside."""
        if self.is_open or self._listed.holds(grant):
            return True
        return self._verifier is not None and self._verifier.holds(grant)


def authority_of(settings: Settings, now_ms: Callable[[], int]) -> Authority:
    """Return the authority that the settings describe.

    Args:
        settings: Their tokens, and the files that they name.
        now_ms: Milliseconds since 1970.

    Raises:
        InvalidSetting: A file cannot be read or used.
    """
    listed: dict[Role, list[str]] = {
        "subscribe": _tokens(
            settings, settings.subscribe_tokens, settings.subscribe_tokens_file, "SUBSCRIBE_TOKENS"
        ),
        "publish": _tokens(settings, settings.publish_tokens, settings.publish_tokens_file, "PUBLISH_TOKENS"),
        "admin": _tokens(settings, settings.admin_tokens, settings.admin_tokens_file, "ADMIN_TOKENS"),
    }
    keys: list[Key] = []
    if settings.jwt_key_file is not None:
        keys.append(read_key(settings.jwt_key_file, "JWT_KEY_FILE"))
    if settings.jwt_jwks_file is not None:
        keys += read_jwks(settings.jwt_jwks_file, "JWT_JWKS_FILE")
    audience, issuer, leeway = settings.jwt_audience, settings.jwt_issuer, settings.jwt_leeway
    verifier = Verifier(keys, now_ms, audience, issuer, leeway) if keys else None
    return Authority(ListedTokens(listed), verifier)


def _tokens(settings: Settings, given: Sequence[str], path: Path | None, name: str) -> list[str]:
    """Return the tokens of a setting, and those of its file."""
    found = [*given, *(() if path is None else _in_file(path, f"{name}_FILE"))]
    if not is_loopback(settings.host) and any(len(token) < MIN_TOKEN for token in found):
        raise InvalidSetting(
            f"{name}: has a token of less than {MIN_TOKEN} characters, and HOST is reachable from other machines",
            hint="recorder token creates one that cannot be guessed",
        )
    return found


def _in_file(path: Path, setting: str) -> tuple[str, ...]:
    """Return the tokens of a file: one a line, blank lines and `#` comments aside."""
    try:
        lines = [line.strip() for line in file_of_setting(path, setting).decode().splitlines()]
        return Tokens().parse([line for line in lines if line and not line.startswith("#")])
    except (UnicodeDecodeError, Refused) as error:
        # A file without tokens would open the recorder to everyone, so it is not passed over.
        reason = error.reason if isinstance(error, Refused) else "is not text"
        raise InvalidSetting(f"{setting}: {path} {reason}", hint="one token a line") from None
