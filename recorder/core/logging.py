"""The log: one line an event on stderr, JSON for programs or pretty for people.

Messages are constants; what varies is bound: `logger.bind(session_id=s).debug("delta saved")`. Invariants:
nothing from data is ever used as a format (loguru formats a message only when it is given arguments, and ours
never are); one event is one line whatever is in it; tokens do not appear, neither by the name of their
field nor as `Bearer …`.

The loggers of the standard library (uvicorn, apscheduler, websockets, warnings) are forwarded, but never
below `info`: there aiosqlite writes every row, and websockets every header, into the log.

Left out: files and rotation, which belong to what runs the process (systemd, docker, a shell).
"""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from collections.abc import Callable
from datetime import UTC
from typing import TYPE_CHECKING, Any, TextIO

import orjson
from loguru import logger

if TYPE_CHECKING:
    from loguru import Message, Record

# Silent as a library: `configure_logging` turns it on. A program may have turned it on itself before this module was
# imported, which is late; loguru has no public way to ask.
if not any(name == "recorder." for name, _ in logger._core.activation_list):  # type: ignore[attr-defined]
    logger.disable("recorder")

_STANDARD = ("time", "level", "logger", "message", "error")
_SECRET_NAME = re.compile(r"token|secret|passw|authorization|cookie|api_?key", re.IGNORECASE)
_SECRET_TEXT = re.compile(r"(?i)\b(bearer)[ .]+[^\s\"',;]+")
# apscheduler and httpx have a line at info for every run and every request.
_QUIETER = ("apscheduler", "httpx", "httpcore")
_COLOURS = {"TRACE": "2", "DEBUG": "36", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def configure_logging(level: str = "info", format: str = "auto") -> None:  # noqa: A002 - the setting's name
    """Send the log to stderr, replacing every earlier set-up of loguru and of the root logger.

    Args:
        level: trace, debug, info, warning, error or critical; less severe lines are dropped.
        format: json (one object a line), pretty, or auto: pretty on a terminal and JSON elsewhere.
    """
    stream = sys.stderr
    on_terminal = stream.isatty()
    as_json = format == "json" or (format == "auto" and not on_terminal)
    render = _json_line if as_json else _pretty_renderer(colours=on_terminal and _wants_colours())
    logger.remove()
    logger.add(
        _LineSink(stream, render), level=level.upper(), format=_no_format, diagnose=False, backtrace=False
    )
    logger.enable("recorder")
    _forward_standard_library(level.upper())


class _LineSink:
    """Writes each event in one call, so that lines of several threads do not mix."""

    def __init__(self, stream: TextIO, render: Callable[[Record], str]) -> None:
        # Where lines go: the stderr of the moment the log was configured.
        self._stream = stream
        # One event to one line, without its end.
        self._render = render

    def __call__(self, message: Message) -> None:
        self._stream.write(self._render(message.record) + "\n")
        self._stream.flush()


def _no_format(record: Record) -> str:
    """Return nothing: the sink renders the record, and loguru would format a template and the data in it once more."""
    return ""


def _wants_colours() -> bool:
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _event(record: Record) -> dict[str, Any]:
    moment = record["time"].astimezone(UTC).isoformat(timespec="milliseconds")
    event: dict[str, Any] = {
        "time": moment.replace("+00:00", "Z"),
        "level": record["level"].name.lower(),
        "logger": record["name"],
        "message": _hidden(record["message"]),
    }
    for name, value in record["extra"].items():
        event[f"{name}_" if name in _STANDARD else name] = _safe(name, value)
    error = _traceback(record)
    if error:
        event["error"] = error
    return event


def _traceback(record: Record) -> str:
    caught = record["exception"]
    if caught is None or caught.type is None:
        return ""
    return _hidden("".join(traceback.format_exception(caught.type, caught.value, caught.traceback)).rstrip())


def _safe(name: str, value: Any) -> Any:
    if _SECRET_NAME.search(name):
        return "***"
    return _hidden(value) if isinstance(value, str) else value


def _hidden(text: str) -> str:
    return _SECRET_TEXT.sub(r"\1 ***", text)


def _json_line(record: Record) -> str:
    event = _event(record)
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # an int of more than 64 bits, a lone surrogate: the line matters more than its type
        return orjson.dumps({name: ascii(value) for name, value in event.items()}).decode()


def _pretty_renderer(*, colours: bool) -> Callable[[Record], str]:
    def paint(code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if colours else text

    def render(record: Record) -> str:
        event = _event(record)
        level = record["level"].name
        fields = [
            f"{paint('2', name + '=')}{_shown(value)}"
            for name, value in event.items()
            if name not in _STANDARD
        ]
        head = (
            paint("2", event["time"][11:]),
            paint(_COLOURS.get(level, "0"), f"{level.lower():8}"),
            _one_line(event["message"]),
        )
        lines = [" ".join((*head, *fields))]
        lines += [f"    {_one_line(line)}" for line in event.get("error", "").splitlines()]
        return "\n".join(lines)

    return render


def _shown(value: Any) -> str:
    text = str(value)
    return text if text and text.isprintable() and " " not in text else repr(text)


def _one_line(text: str) -> str:
    # A control character from outside must not forge a line or recolour the terminal.
    return text if text.isprintable() else repr(text)[1:-1]


class InterceptHandler(logging.Handler):
    """Hands what the standard library's loggers say to loguru: level, logger, message and traceback."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level: str | int = logger.level(record.levelname).name
        except ValueError:
            level = record.levelno

        def name_it(event: Record) -> None:
            event["name"] = record.name

        # No arguments: loguru must not format what uvicorn has formatted already.
        logger.patch(name_it).opt(exception=record.exc_info).log(level, record.getMessage())


def _forward_standard_library(level: str) -> None:
    lowest = max(logger.level(level).no, logging.INFO)
    logging.basicConfig(handlers=[InterceptHandler()], level=lowest, force=True)
    logging.captureWarnings(True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    # A line a request, with its query string: the metrics count requests instead.
    logging.getLogger("uvicorn.access").disabled = True
    for name in _QUIETER:
        logging.getLogger(name).setLevel(max(lowest, logging.WARNING))
