"""The settings: one frozen table that env, `.env`, flags, `--help` and the README are all made from.

Invariant: a value is inside the range its row names, or the program does not start; nothing is clamped,
guessed or ignored. Sources, the first that has it wins: flags (the arguments of `load_settings`),
`RECORDER_<NAME>` in the environment, `<NAME>` in the environment, `RECORDER_<NAME>` and then `<NAME>` in the
file `.env` of the working directory, default.

Secrets (tokens) have no flag, and no message or `repr` shows them.

Left out: watching for changes (settings are read once, at start).
"""

from __future__ import annotations

import difflib
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import dotenv
from dotenv.parser import parse_stream
from pydantic import Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from recorder.config.validators import (
    MAX_INT64,
    Choice,
    FilePath,
    Host,
    Keys,
    Kind,
    NameList,
    Networks,
    One,
    OnOff,
    Patterns,
    Refused,
    Text,
    Tokens,
    Whole,
    is_loopback,
    shown,
)
from recorder.core.errors import InvalidSetting
from recorder.core.redaction import DEFAULT_KEYS, DEFAULT_PATTERNS

PREFIX = "RECORDER_"
"""What an environment name may start with, so that PORT and HOST of another program need not be ours."""

URL_VARIABLE = "RECORDER_URL"
"""Read by the commands that talk to a server; not a setting of the server, so not in the table."""

TOKEN_VARIABLE, TOKEN_FILE_VARIABLE = "RECORDER_TOKEN", "RECORDER_TOKEN_FILE"
"""The same: the token those commands show, or a file that holds it."""

DAY_MS = 86_400_000
GIB = 1 << 30


def _setting(default: Any, description: str) -> Any:
    return Field(default, description=description, validate_default=True)


def _secret(description: str) -> Any:
    """A setting that is no flag, since everyone on a machine can read those, and that no text ever shows."""
    return Field((), description=f"{description} (not a flag)", validate_default=True, repr=False)


_Ms = Annotated[int, Whole(1, DAY_MS, "ms")]
_MsOrZero = Annotated[int, Whole(0, DAY_MS, "ms")]
_Bytes = Annotated[int, Whole(1, GIB, "bytes")]
_Tokens = Annotated[tuple[str, ...], Tokens()]
_File = Annotated[Path | None, FilePath(optional=True)]
_ORIGIN = r"[a-z][a-z0-9+.-]*://[^/\s,?#@*]+"
_HOST = r"[^/\s,?#@*:]+(:[0-9]{1,5})?|\[[0-9a-f:.]+\](:[0-9]{1,5})?"


class Settings(BaseSettings):
    """Every setting of the recorder, checked. Frozen and hashable; made by `load_settings`.

    The attributes are the names in lower case. Their descriptions are the help of the flags and the README's
    table.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    persist: Annotated[bool, One()] = _setting(
        False, "1 records; with anything else nothing is recorded and no file or directory is made"
    )
    db_path: Annotated[Path, FilePath()] = _setting(
        "data/sessions.sqlite", "The database file; a relative path starts at the working directory"
    )
    accept_loss: Annotated[bool, OnOff()] = _setting(
        False, "Start on a damaged file with what can be saved of it; for one start, not to be left on"
    )
    snapshot_interval: _Ms = _setting(
        60_000,
        "Time between snapshots to disk when something changed: what a crash can lose (with commit: nothing)",
    )
    retention_days: Annotated[int, Whole(0, 36_500, "days")] = _setting(
        30, "How long deltas are kept, by the time they were recorded; 0 keeps them for ever"
    )
    trust_clock: Annotated[bool, OnOff()] = _setting(
        False,
        "Prune by age even where the clock is more than 7 days ahead of the newest delta, which it should not be;"
        " for one start, not to be left on",
    )
    max_deltas: Annotated[int | None, Whole(1, MAX_INT64, "deltas", optional=True)] = _setting(
        None, "How many deltas are kept; the oldest go first"
    )
    max_db_bytes: Annotated[int | None, Whole(65_536, MAX_INT64, "bytes", optional=True)] = _setting(
        None, "How large the database may grow; the oldest deltas go first"
    )
    max_memory: Annotated[int | None, Whole(65_536, MAX_INT64, "bytes", optional=True, absent="auto")] = (
        _setting(
            None, "How much memory the database may take; auto is half of what the machine or container has"
        )
    )
    when_full: Annotated[str, Choice(("prune", "refuse"))] = _setting(
        "prune", "At MAX_MEMORY the oldest deltas are pruned, or publishers refused"
    )
    durability: Annotated[str, Choice(("snapshot", "commit"))] = _setting(
        "snapshot",
        "snapshot: an ack means recorded in memory, and a snapshot brings it to disk; "
        "commit: every delta is on disk before it is acked or broadcast",
    )
    hash_chain: Annotated[bool, OnOff()] = _setting(
        True, "Whether every delta carries the SHA-256 that links it to the one before"
    )
    key_file: Annotated[Path | None, FilePath(optional=True)] = _setting(
        "~/.config/recorder/signing.key",
        "The Ed25519 key that signs heads and receipts, apart from the database; made where there is none."
        " With none nothing is signed",
    )
    max_delta_bytes: Annotated[int, Whole(64, GIB // 4, "bytes")] = _setting(
        262_144, "The largest JSON text of one delta"
    )
    dedupe_ids: Annotated[int, Whole(0, 10_000_000, "ids")] = _setting(
        100_000, "How many of the last delta ids are remembered, so that a repeated one is not recorded twice"
    )
    host: Annotated[str, Host()] = _setting(
        "127.0.0.1",
        "The address to listen on; without tokens only this machine's own: 127.0.0.0/8, ::1, localhost",
    )
    port: Annotated[int, Whole(0, 65_535)] = _setting(
        8765, "The port to listen on; 0 lets the system choose a free one"
    )
    allowed_origins: Annotated[tuple[str, ...], NameList("https://example.org", _ORIGIN)] = _setting(
        (), "Web origins that may connect beside the recorder's own"
    )
    allowed_hosts: Annotated[tuple[str, ...], NameList("example.org or example.org:8765", _HOST)] = _setting(
        (), "Host headers that are answered beside the address listened on"
    )
    max_connections: Annotated[int, Whole(1, 1_000_000)] = _setting(
        10_000, "How many connections may be open, HTTP and WebSocket together"
    )
    max_connections_per_address: Annotated[int, Whole(1, 1_000_000)] = _setting(
        5_000, "How many of them may come from one address (of IPv6: from one /64)"
    )
    max_upgrades_per_minute: Annotated[int, Whole(1, 1_000_000)] = _setting(
        6_000, "How many WebSockets one address may open within a minute"
    )
    handshake_timeout: _Ms = _setting(20_000, "How long the head of a request may take to come")
    max_header_bytes: Annotated[int, Whole(64, 16 << 20, "bytes")] = _setting(
        131_072, "How long the head of a request may be; a WebSocket's has at most 128 lines of 8 KiB each"
    )
    subscribe_tokens: _Tokens = _secret("Who shows one of them may subscribe and read")
    publish_tokens: _Tokens = _secret("Who shows one of them may publish")
    admin_tokens: _Tokens = _secret("Who shows one of them may do everything")
    subscribe_tokens_file: _File = _setting(None, "A file with further SUBSCRIBE_TOKENS, one a line")
    publish_tokens_file: _File = _setting(None, "A file with further PUBLISH_TOKENS, one a line")
    admin_tokens_file: _File = _setting(None, "A file with further ADMIN_TOKENS, one a line")
    jwt_key_file: _File = _setting(
        None, "The key that checks JWTs: an Ed25519 public key in PEM, or a secret of 32 bytes or more"
    )
    jwt_jwks_file: _File = _setting(None, "Several such keys, as a JWKS")
    jwt_audience: Annotated[str | None, Text()] = _setting(None, "What the claim aud of a JWT must name")
    jwt_issuer: Annotated[str | None, Text()] = _setting(None, "What the claim iss of a JWT must be")
    jwt_leeway: Annotated[int, Whole(0, 600_000, "ms")] = _setting(
        30_000, "How long before its nbf and after its exp a JWT is taken, since clocks differ"
    )
    tls_cert: _File = _setting(None, "The certificate chain in PEM; with it the port speaks TLS only")
    tls_key: _File = _setting(None, "Its key in PEM, unless it stands in the same file")
    trusted_proxies: Annotated[tuple[str, ...], Networks()] = _setting(
        (), "Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed"
    )
    heartbeat_interval: _Ms = _setting(15_000, "Time between heartbeat events to a subscriber")
    head_interval: _Ms = _setting(
        60_000,
        "Time between signed heads to a subscriber, when something has been recorded since the last one",
    )
    ping_interval: _Ms = _setting(20_000, "Time between WebSocket pings")
    ping_timeout: _Ms = _setting(
        20_000, "How long a connection may leave a ping unanswered before it is closed"
    )
    max_message_bytes: _Bytes = _setting(
        16_777_216, "The largest WebSocket message and the largest HTTP body"
    )
    max_unfinished_bytes: Annotated[int, Whole(65_536, MAX_INT64, "bytes")] = _setting(
        268_435_456,
        "How much may be held of messages and requests that are not whole yet, of all connections together: the"
        " largest gives way; at least MAX_MESSAGE_BYTES",
    )
    compression: Annotated[bool, OnOff()] = _setting(
        False, "Whether WebSockets that offer permessage-deflate, as those of browsers do, get it"
    )
    max_deltas_per_message: Annotated[int, Whole(1, 1_000_000, "deltas")] = _setting(
        10_000, "How many deltas one message or HTTP body may hold"
    )
    max_nesting: Annotated[int, Whole(1, 500, "levels")] = _setting(
        500, "How deeply the JSON of a state may nest"
    )
    publish_rate: Annotated[int | None, Whole(1, 10_000_000, "deltas a second", optional=True)] = _setting(
        None, "How fast one WebSocket, or over HTTP one address, may publish: faster ones are slowed"
    )
    publish_burst: Annotated[int, Whole(1, 10_000_000, "deltas")] = _setting(
        10_000, "How many deltas may come at once beyond PUBLISH_RATE"
    )
    publish_max_delay: _MsOrZero = _setting(
        5_000, "A publish that is further ahead of PUBLISH_RATE than this is refused, not slowed"
    )
    redact_keys: Annotated[tuple[str, ...], Keys(DEFAULT_KEYS)] = _setting(
        (), "Values under these names are taken out of states before anything is recorded or broadcast"
    )
    redact_patterns: Annotated[tuple[str, ...], Patterns(DEFAULT_PATTERNS)] = _setting(
        (), "What these find in values is taken out, too"
    )
    max_subscription_sessions: Annotated[int, Whole(1, 1000, "sessions")] = _setting(
        1000, "How many sessions one subscription may name"
    )
    max_subscribes_per_minute: Annotated[int, Whole(1, 1_000_000)] = _setting(
        600, "How often one connection may change its subscription within a minute"
    )
    max_queries: Annotated[int, Whole(1, 100_000)] = _setting(
        64, "How many questions about history are answered at the same time"
    )
    max_exports: Annotated[int, Whole(1, 100_000)] = _setting(16, "How many exports run at the same time")
    query_timeout: _Ms = _setting(
        10_000, "How long a page of history is looked for before it ends with what was found"
    )
    keep_alive_timeout: _Ms = _setting(
        75_000,
        "How long an HTTP connection may stay open between two requests; longer than a proxy in front keeps it",
    )
    stall_timeout: _Ms = _setting(
        30_000, "How long an HTTP body or answer may stand still before its connection is ended"
    )
    slow_soft_bytes: _Bytes = _setting(
        1_048_576, "A subscriber with more than this unsent for SLOW_SOFT_MS is closed as too slow"
    )
    slow_soft_ms: _MsOrZero = _setting(5_000, "How long a subscriber may stay above SLOW_SOFT_BYTES")
    slow_hard_bytes: _Bytes = _setting(
        16_777_216, "A subscriber with more than this unsent is closed at once; at least SLOW_SOFT_BYTES"
    )
    slow_linger_ms: _MsOrZero = _setting(
        30_000, "How long a subscriber closed as too slow may still fetch what was sent before"
    )
    queue_max_deltas: Annotated[int, Whole(1, 100_000_000, "deltas")] = _setting(
        50_000, "How many deltas may wait to be recorded before publishers are paused"
    )
    queue_max_bytes: _Bytes = _setting(
        33_554_432, "How many bytes may wait to be recorded before publishers are paused"
    )
    shutdown_timeout: _Ms = _setting(30_000, "How long stopping in order may take")
    log_level: Annotated[str, Choice(("trace", "debug", "info", "warning", "error", "critical"))] = _setting(
        "info", "The least severe log lines that are written"
    )
    log_format: Annotated[str, Choice(("auto", "json", "pretty"))] = _setting(
        "auto", "How log lines look; auto is pretty on a terminal and JSON elsewhere"
    )

    @model_validator(mode="after")
    def _limits_fit_together(self) -> Settings:
        if self.slow_hard_bytes < self.slow_soft_bytes:
            hard, soft = self.slow_hard_bytes, self.slow_soft_bytes
            raise Refused(
                f"SLOW_HARD_BYTES: {hard} is less than SLOW_SOFT_BYTES, which is {soft}",
                hint="raise SLOW_HARD_BYTES or lower SLOW_SOFT_BYTES",
            )
        if self.max_unfinished_bytes < self.max_message_bytes:
            whole, begun = self.max_message_bytes, self.max_unfinished_bytes
            raise Refused(
                f"MAX_UNFINISHED_BYTES: {begun} is less than MAX_MESSAGE_BYTES, which is {whole}",
                hint="raise MAX_UNFINISHED_BYTES or lower MAX_MESSAGE_BYTES",
            )
        return self

    @model_validator(mode="after")
    def _strangers_stay_out(self) -> Settings:
        if self.tls_key is not None and self.tls_cert is None:
            raise Refused("TLS_KEY: is set, and TLS_CERT is not", hint="both, or neither")
        if is_loopback(self.host):
            return self
        if not self.has_tokens:
            raise Refused(
                f"HOST: {shown(self.host)} is not a loopback address; without tokens only 127.0.0.0/8, ::1 and"
                " localhost may be bound",
                hint="set ADMIN_TOKENS, PUBLISH_TOKENS, SUBSCRIBE_TOKENS, their _FILE, JWT_KEY_FILE or"
                " JWT_JWKS_FILE; or keep 127.0.0.1 and come in through an SSH tunnel",
            )
        return self

    @property
    def has_tokens(self) -> bool:
        """Whether anything is set that makes tokens necessary."""
        return any(
            (
                self.subscribe_tokens,
                self.publish_tokens,
                self.admin_tokens,
                self.subscribe_tokens_file,
                self.publish_tokens_file,
                self.admin_tokens_file,
                self.jwt_key_file,
                self.jwt_jwks_file,
            )
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Replace the stock sources, which know one spelling of a name and match it in any case."""
        return (init_settings, *(_LayerSource(settings_cls, layer) for layer in _layers()))


@dataclass(frozen=True)
class _Layer:
    """Values by their full name, and where they are, in words."""

    values: Mapping[str, str | None]
    prefix: str
    where: str


class _LayerSource(PydanticBaseSettingsSource):
    """One layer as pydantic-settings wants it. Names are matched exactly: a shell's `host` is not ours."""

    def __init__(self, settings_cls: type[BaseSettings], layer: _Layer) -> None:
        super().__init__(settings_cls)
        self._layer = layer

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._layer.values.get(self._layer.prefix + field_name.upper()), field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in Settings.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


def _layers() -> list[_Layer]:
    file = _dotenv_values(Path(".env"))
    return [
        _Layer(os.environ, PREFIX, "in the environment"),
        _Layer(os.environ, "", "in the environment"),
        _Layer(file, PREFIX, "in .env"),
        _Layer(file, "", "in .env"),
    ]


def _dotenv_values(path: Path) -> Mapping[str, str | None]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(f".env: cannot be read ({error})", hint="mend or remove the file") from None
    names = [name.upper() for name in Settings.model_fields]
    # python-dotenv skips a line it cannot read, with a warning in the log at most: a setting would be lost.
    for binding in parse_stream(io.StringIO(text)):
        is_ours = binding.key is not None and binding.key.removeprefix(PREFIX) in names
        if binding.error or (is_ours and binding.value is None):
            line, original = binding.original.line, binding.original.string.strip()
            said = "what should be a token" if "TOKEN" in original.upper() else shown(original)
            raise InvalidSetting(f".env line {line}: {said} is not of the form NAME=value")
    return dotenv.dotenv_values(stream=io.StringIO(text))


def load_settings(**flags: Any) -> Settings:
    """Read the settings from all their sources.

    Args:
        flags: Values that outrank every other source, by the setting's name in lower case; None means not
            given.

    Raises:
        InvalidSetting: A value outside its range, an unknown name, an unreadable `.env`. One line, which
            names the setting, the value, the range and where the value came from.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    _refuse_unknown(flags)
    try:
        return Settings(**given)
    except ValidationError as error:
        raise _explained(error, given) from None


def _refuse_unknown(flags: Mapping[str, Any]) -> None:
    for name in flags:
        if name not in Settings.model_fields:
            raise InvalidSetting(f"{name}: no such setting", hint=_nearest(name, list(Settings.model_fields)))
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    known += [URL_VARIABLE, TOKEN_VARIABLE, TOKEN_FILE_VARIABLE]
    for layer in _layers():
        for name in layer.values if layer.prefix else ():
            # In any case: recorder_persist=1 was meant for us and would otherwise silently not count.
            if name.upper().startswith(PREFIX) and name not in known:
                raise InvalidSetting(f"{name} {layer.where}: no such setting", hint=_nearest(name, known))


def _nearest(name: str, known: list[str]) -> str:
    same_case = {item.upper(): item for item in known}
    close = difflib.get_close_matches(name.upper(), same_case, n=1, cutoff=0.0)
    return f"did you mean {same_case[close[0]]}?"


def _explained(error: ValidationError, flags: Mapping[str, Any]) -> InvalidSetting:
    first = error.errors(include_url=False)[0]
    cause = first.get("ctx", {}).get("error")
    if not isinstance(cause, Refused):
        cause = Refused(f"is refused: {first['msg']}")
    if not first["loc"]:
        return InvalidSetting(cause.reason, hint=cause.hint)
    row = next(row for row in setting_rows() if row.field == first["loc"][0])
    given = "" if row.is_secret else f"{shown(first['input'])} "
    message = f"{row.name}: {given}{cause.reason} (default {row.default})"
    return InvalidSetting(message + _origin(row, flags), hint=cause.hint)


def _origin(row: SettingRow, flags: Mapping[str, Any]) -> str:
    if row.field in flags:
        return f", set by the flag {row.flag}"
    for layer in _layers():
        if layer.values.get(layer.prefix + row.name) is not None:
            return f", set by {layer.prefix}{row.name} {layer.where}"
    return ""


@dataclass(frozen=True)
class SettingRow:
    """One row of the table, for flags, help and documents.

    Attributes:
        field: The attribute of `Settings`.
        name: The name in the environment, without prefix.
        default: The default as one would write it.
        range: What it may be, with its unit, in words.
        description: One sentence.
        is_switch: Whether its flag is a pair like `--persist/--no-persist`.
        is_secret: Whether it has no flag and its value is never shown.
    """

    field: str
    name: str
    default: str
    range: str
    description: str
    is_switch: bool
    is_secret: bool

    @property
    def flag(self) -> str:
        return "--" + self.field.replace("_", "-")


def setting_rows() -> Iterator[SettingRow]:
    """The table, in its order."""
    for field, info in Settings.model_fields.items():
        kind = next(item for item in info.metadata if isinstance(item, Kind))
        yield SettingRow(
            field=field,
            name=field.upper(),
            default=_default_text(info.default, kind),
            range=kind.describe(),
            description=info.description or "",
            is_switch=isinstance(kind, (One, OnOff)),
            is_secret=not info.repr,
        )


def _default_text(default: object, kind: Kind) -> str:
    if isinstance(kind, One):
        return "off"
    if isinstance(default, bool):
        return "on" if default else "off"
    if default is None:
        return kind.absent if isinstance(kind, Whole) else "none"
    return str(default) if default != () else "empty"


def settings_markdown() -> str:
    """The table as Markdown, as the README carries it; ends with a newline."""
    lines = ["| name | default | range | meaning |", "|---|---|---|---|"]
    for row in setting_rows():
        default = row.default if row.default in ("none", "empty", "off", "on") else f"`{row.default}`"
        lines.append(f"| `{row.name}` | {default} | {row.range} | {row.description} |")
    return "\n".join(lines) + "\n"
