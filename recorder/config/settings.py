"""The settings: one frozen table that the environment, files, flags, `--help` and the documents are all made from.

Invariant: a value is inside the range its row names, or the program does not start; nothing is clamped, guessed or
ignored. Sources, the first that has it wins: flags (the arguments of `load_settings`), `RECORDER_<NAME>` in the
environment, `<NAME>` in the environment, `RECORDER_<NAME>` and then `<NAME>` in the file `.env` of the working
directory, `<name>` in `recorder.toml` of the working directory, then in `~/.config/recorder/recorder.toml`, default.

Secrets (tokens) have no flag, and no message or `repr` shows them. Times are in milliseconds.

Left out: watching for changes (settings are read once, at start).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from recorder.config.sources import Given, gather, nearest, read_layers
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
from recorder.core import deprecated
from recorder.core.errors import InvalidSetting
from recorder.core.redaction import DEFAULT_KEYS, DEFAULT_PATTERNS

DAY_MS = 86_400_000
GIB = 1 << 30


def _setting(default: Any, description: str) -> Any:
    return Field(default, description=description, validate_default=True)


def _secret(description: str) -> Any:
    """Return a setting that is not a flag, since command lines are public, and whose value is never shown."""
    return Field((), description=f"{description} (not a flag)", validate_default=True, repr=False)


_Ms = Annotated[int, Whole(1, DAY_MS, "ms")]
_MsOrZero = Annotated[int, Whole(0, DAY_MS, "ms")]
_Bytes = Annotated[int, Whole(1, GIB, "bytes")]
_Tokens = Annotated[tuple[str, ...], Tokens()]
_File = Annotated[Path | None, FilePath(optional=True)]
_ORIGIN = r"[a-z][a-z0-9+.-]*://[^/\s,?#@*]+"
_HOST = r"[^/\s,?#@*:]+(:[0-9]{1,5})?|\[[0-9a-f:.]+\](:[0-9]{1,5})?"


class Settings(BaseModel):
    """Every setting of the recorder, checked. Frozen and hashable; made by `load_settings`.

    The attributes are the names in lower case. Their descriptions are the help of the flags and the documentation's
    table.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    persist: Annotated[bool, One()] = _setting(
        False, "1 records; with anything else nothing is recorded and no file or directory is made"
    )
    db_path: Annotated[Path, FilePath()] = _setting(
        "data/sessions.sqlite", "The database file; a relative path starts at the working directory"
    )
    allow_data_loss: Annotated[bool, OnOff()] = _setting(
        False, "Start on a damaged file with what can be saved of it; for one start, not to be left on"
    )
    accept_gap: Annotated[bool, OnOff()] = _setting(
        False,
        "Start on a file that is not as it was signed; a gap is signed. For one start, not to be left on",
    )
    new_epoch: Annotated[bool, OnOff()] = _setting(
        False, "Begin a new epoch at this start, as after a folder was put back whole; not to be left on"
    )
    snapshot_interval: _Ms = _setting(
        60_000,
        "Time between snapshots to disk when something changed: about what a crash can lose (with commit: nothing that"
        " was acked)",
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
    memory_full_policy: Annotated[str, Choice(("prune", "reject"))] = _setting(
        "prune", "At MAX_MEMORY the oldest deltas are pruned, or publishes are rejected"
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
    request_head_timeout: _Ms = _setting(20_000, "How long the head of a request may take to come")
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
    max_partial_message_bytes: Annotated[int, Whole(65_536, MAX_INT64, "bytes")] = _setting(
        268_435_456,
        "How much memory incomplete messages and requests of all connections may take together; beyond it the largest"
        " is rejected; at least MAX_MESSAGE_BYTES",
    )
    compression: Annotated[bool, OnOff()] = _setting(
        False, "Whether WebSockets that offer permessage-deflate, as those of browsers do, get it"
    )
    max_deltas_per_message: Annotated[int, Whole(1, 1_000_000, "deltas")] = _setting(
        10_000, "How many deltas one message or HTTP body may hold"
    )
    max_json_depth: Annotated[int, Whole(1, 500, "levels")] = _setting(
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
    max_concurrent_catchups: Annotated[int, Whole(1, 1_000)] = _setting(
        4,
        "For how many subscribers that catch up the next slice is read at the same time; the others wait their turn",
    )
    max_concurrent_queries: Annotated[int, Whole(1, 100_000)] = _setting(
        64, "How many questions about history are answered at the same time"
    )
    max_exports: Annotated[int, Whole(1, 100_000)] = _setting(16, "How many exports run at the same time")
    query_timeout: _Ms = _setting(
        10_000, "How long a page of history is looked for before it ends with what was found"
    )
    csv_escape_formulas: Annotated[bool, OnOff()] = _setting(
        True, "Whether exports in CSV put a ' in front of ids that begin like a formula: = + - @, tab"
    )
    keep_alive_timeout: _Ms = _setting(
        75_000,
        "How long an HTTP connection may stay open between two requests; longer than a proxy in front keeps it",
    )
    http_stall_timeout: _Ms = _setting(
        30_000, "How long an HTTP body or answer may stand still before its connection is ended"
    )
    slow_soft_bytes: _Bytes = _setting(
        1_048_576, "A subscriber with more than this unsent for SLOW_SOFT_TIME is closed as too slow"
    )
    slow_soft_time: _MsOrZero = _setting(5_000, "How long a subscriber may stay above SLOW_SOFT_BYTES")
    slow_hard_bytes: _Bytes = _setting(
        16_777_216, "A subscriber with more than this unsent is closed at once; at least SLOW_SOFT_BYTES"
    )
    slow_close_grace: _MsOrZero = _setting(
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
        if self.max_partial_message_bytes < self.max_message_bytes:
            whole, begun = self.max_message_bytes, self.max_partial_message_bytes
            raise Refused(
                f"MAX_PARTIAL_MESSAGE_BYTES: {begun} is less than MAX_MESSAGE_BYTES, which is {whole}",
                hint="raise MAX_PARTIAL_MESSAGE_BYTES or lower MAX_MESSAGE_BYTES",
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
        """Return whether a setting requires tokens."""
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


def load_settings(*, config: Path | str | None = None, **flags: Any) -> Settings:
    """Read the settings from all their sources.

    Args:
        config: A file of settings to read in place of the two files `recorder.toml`.
        flags: Values that outrank every other source, by the setting's name in lower case; None means not
            given.

    Returns:
        The settings. A `FutureWarning` names the new name of each old one that was used.

    Raises:
        InvalidSetting: A value outside its range, an unknown name, a file that cannot be read. One line, which
            names the setting, the value, the range and where the value came from.
    """
    _refuse_unknown_flags(flags)
    names = [field.upper() for field in Settings.model_fields]
    given, said = gather(read_layers(flags, None if config is None else Path(config), names), names)
    for warning in [*said, *_persist_warnings(given)]:
        warnings.warn(warning, FutureWarning, stacklevel=2)
    try:
        return Settings.model_validate({name.lower(): found.value for name, found in given.items()})
    except ValidationError as error:
        raise _explained(error, given) from None


def _persist_warnings(given: Mapping[str, Given]) -> list[str]:
    """Return a warning where PERSIST has a value that was probably meant to record and does not."""
    found = given.get("PERSIST")
    if found is None or isinstance(found.value, bool) or str(found.value) == "1":
        return []
    if str(found.value).strip().lower() in ("", "0", "false", "no", "off"):
        return []
    where = f" ({found.where})" if found.where else ""
    return [f"{found.name}={shown(found.value)[1:-1]} does not record; only {found.name}=1 does{where}"]


def _refuse_unknown_flags(flags: dict[str, Any]) -> None:
    known = [*Settings.model_fields, *(name.lower() for name in deprecated.SETTINGS)]
    for name in flags:
        if name not in known:
            raise InvalidSetting(f"{name}: no such setting", hint=nearest(name, list(Settings.model_fields)))


def _explained(error: ValidationError, given: dict[str, Given]) -> InvalidSetting:
    first = error.errors(include_url=False)[0]
    cause = first.get("ctx", {}).get("error")
    if not isinstance(cause, Refused):
        cause = Refused(f"is refused: {first['msg']}")
    if not first["loc"]:
        return InvalidSetting(cause.reason, hint=cause.hint)
    row = next(row for row in setting_rows() if row.field == first["loc"][0])
    value = "" if row.is_secret else f"{shown(first['input'])} "
    message = f"{row.name}: {value}{cause.reason} (default {row.default})"
    return InvalidSetting(message + _origin(given.get(row.name)), hint=cause.hint)


def _origin(given: Given | None) -> str:
    if given is None:
        return ""
    if given.where:
        return f", set by {given.name} {given.where}"
    return f", set by the flag --{given.name.replace('_', '-')}"


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
    """Yield the rows of the table, in its order."""
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
    """Return the table as Markdown, as recorder/docs/settings.md carries it; ends with a newline."""
    lines = ["| name | default | range | meaning |", "|---|---|---|---|"]
    for row in setting_rows():
        default = row.default if row.default in ("none", "empty", "off", "on") else f"`{row.default}`"
        lines.append(f"| `{row.name}` | {default} | {row.range} | {row.description} |")
    return "\n".join(lines) + "\n"
