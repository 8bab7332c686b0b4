"""Names that were replaced, and work for one more version: settings, their values, metrics, commands.

One table for all of them. Whoever reads a name looks here and warns with the new one; nothing else knows an old name.
To end a deprecation, remove its line.
"""

from __future__ import annotations

SETTINGS = {
    "MAX_UNFINISHED_BYTES": "MAX_PARTIAL_MESSAGE_BYTES",
    "WHEN_FULL": "MEMORY_FULL_POLICY",
    "ACCEPT_LOSS": "ALLOW_DATA_LOSS",
    "SLOW_LINGER_MS": "SLOW_CLOSE_GRACE",
    "SLOW_SOFT_MS": "SLOW_SOFT_TIME",
    "STALL_TIMEOUT": "HTTP_STALL_TIMEOUT",
    "HANDSHAKE_TIMEOUT": "REQUEST_HEAD_TIMEOUT",
    "MAX_NESTING": "MAX_JSON_DEPTH",
    "MAX_QUERIES": "MAX_CONCURRENT_QUERIES",
}
"""Old name of a setting → its name now."""

SETTING_VALUES = {"MEMORY_FULL_POLICY": {"refuse": "reject"}}
"""Setting → its old values, each with the value now."""

METRICS = {
    "recorder_unfinished_bytes": "recorder_partial_message_bytes",
    "recorder_publishes_slowed": "recorder_publishes_throttled",
    "recorder_publishes_refused": "recorder_publishes_rejected",
    "recorder_connections_refused": "recorder_connections_rejected",
    "recorder_queries_refused": "recorder_queries_rejected",
}
"""Old name of a metric, without the `_total` of counters → its name now. Both are shown."""

COMMANDS = {"torture": "crashtest"}
"""Old name of a command → its name now."""


def old_names(names: dict[str, str], new: str) -> list[str]:
    """Return the old names in a table whose name now is `new`."""
    return [old for old, name in names.items() if name == new]


def warning(old: str, new: str) -> str:
    """Return the sentence that says to use `new` in place of `old`."""
    return f"{old} is the old name of {new}: use {new}, the old one will be gone in the next version"
