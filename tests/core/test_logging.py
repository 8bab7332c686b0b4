"""The log: real processes, whose stderr is read (a pipe, or a pseudo-terminal)."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.core.logging import _one_line

ROOT = Path(__file__).resolve().parents[2]
SETUP = "from loguru import logger\nimport logging\nfrom recorder.core.logging import configure_logging\n"


def stderr_of(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", SETUP + code], cwd=ROOT, capture_output=True, check=True
    )
    assert done.stdout == b""
    return done.stderr.decode()


def stderr_on_terminal(code: str, **env: str) -> str:
    master, slave = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-c", SETUP + code],
            cwd=ROOT,
            stderr=slave,
            env={**os.environ, "TERM": "xterm", **env},
        ) as process:
            assert process.wait(timeout=30) == 0
        return os.read(master, 65_536).decode()
    finally:
        os.close(master)
        os.close(slave)


def events_of(code: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr_of(code).splitlines()]


def test_json_is_one_object_a_line_with_time_level_message_and_fields() -> None:
    code = "configure_logging('debug', 'json')\nlogger.bind(session_id='a', n=3).debug('delta saved')"
    (event,) = events_of(code)
    assert event["level"] == "debug"
    assert event["message"] == "delta saved"
    assert event["logger"] == "__main__"
    assert (event["session_id"], event["n"]) == ("a", 3)
    assert len(event["time"]) == 24
    assert event["time"].endswith("Z")


def test_less_severe_lines_are_dropped() -> None:
    code = (
        "configure_logging('warning', 'json')\nlogger.info('no')\nlogging.info('no')\nlogger.warning('yes')"
    )
    assert [event["message"] for event in events_of(code)] == ["yes"]


def test_an_error_carries_its_traceback_as_text_without_the_values_of_variables() -> None:
    code = (
        "configure_logging('info', 'json')\nsecret_value = 'hunter2'\n"
        "try: raise KeyError('x')\nexcept KeyError: logger.exception('failed')"
    )
    (event,) = events_of(code)
    assert event["error"].startswith("Traceback (most recent call last):")
    assert event["error"].endswith("KeyError: 'x'")
    assert "hunter2" not in event["error"]


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_braces_and_tags_from_data_are_never_formatted(form: str) -> None:
    code = (
        f"configure_logging('info', '{form}')\n"
        "logger.bind(a='{x}', b='<red>', c='{0.__class__}').info('took {this} <b>{}')\n"
        "logging.warning('std %s', '{y} <blue>')"
    )
    text = stderr_of(code)
    for part in ("{x}", "<red>", "{0.__class__}", "took {this} <b>{}", "std {y} <blue>"):
        assert part in text
    assert len(text.splitlines()) == 2


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_one_event_is_one_line_whatever_is_in_it(form: str) -> None:
    code = (
        f"configure_logging('info', '{form}')\n"
        "logger.bind(a='x\\ny', b='\\x1b[31m', c=10**40, d='\\ud800', e={1: 2}, f=b'z').info('one\\ntwo\\r')"
    )
    text = stderr_of(code)
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text
    assert "1" + "0" * 40 in text


def test_the_loggers_of_the_standard_library_are_forwarded_with_their_level_and_name() -> None:
    code = (
        "configure_logging('info', 'json')\n"
        "logging.getLogger('uvicorn.error').error('went %s', 'wrong')\n"
        "logging.getLogger('apscheduler.scheduler').warning('missed')\n"
        "logging.getLogger('websockets.server').info('open')\n"
        "import warnings\nwarnings.warn('old', UserWarning)\n"
        "logging.log(35, 'between')\n"
        "try: raise OSError('disk')\nexcept OSError: logging.getLogger('apscheduler').exception('job')"
    )
    events = events_of(code)
    assert [(e["level"], e["logger"]) for e in events] == [
        ("error", "uvicorn.error"),
        ("warning", "apscheduler.scheduler"),
        ("info", "websockets.server"),
        ("warning", "py.warnings"),
        ("level 35", "root"),
        ("error", "apscheduler"),
    ]
    assert events[0]["message"] == "went wrong"
    assert events[-1]["error"].endswith("OSError: disk")


def test_access_lines_and_what_libraries_say_while_debugging_stay_out() -> None:
    code = (
        "configure_logging('trace', 'json')\n"
        "logging.getLogger('uvicorn.access').critical('GET /?token=x')\n"
        "logging.getLogger('aiosqlite').debug('executing with a row')\n"
        "logging.getLogger('apscheduler.executors').info('Running job')\n"
        "logger.trace('ours')"
    )
    assert [event["message"] for event in events_of(code)] == ["ours"]


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_secrets_do_not_appear(form: str) -> None:
    code = (
        f"configure_logging('info', '{form}')\n"
        "logger.bind(token='hunter2', Authorization='hunter2', note='Bearer hunter2').info('m')\n"
        "logger.info('got bearer.hunter2')\n"
        "try: raise ValueError('Bearer hunter2')\nexcept ValueError: logger.exception('bad')"
    )
    text = stderr_of(code)
    assert "hunter2" not in text
    assert "***" in text


def test_a_field_named_like_a_part_of_the_event_does_not_replace_it() -> None:
    (event,) = events_of("configure_logging('info', 'json')\nlogger.bind(level='x', time=1).info('m')")
    assert (event["level"], event["level_"], event["time_"]) == ("info", "x", 1)


def test_auto_is_json_where_stderr_is_no_terminal_and_pretty_has_no_colours_there() -> None:
    assert events_of("configure_logging('info', 'auto')\nlogger.info('m')")[0]["message"] == "m"
    text = stderr_of("configure_logging('info', 'pretty')\nlogger.bind(a=1, b='c d').info('m')")
    assert text.endswith("Z info     m a=1 b='c d'\n")


def test_auto_is_pretty_with_colours_on_a_terminal() -> None:
    code = "configure_logging('info', 'auto')\nlogger.bind(a=1).info('m')"
    text = stderr_on_terminal(code, NO_COLOR="")
    assert "\x1b[32minfo    \x1b[0m m" in text
    assert "\x1b" not in stderr_on_terminal(code, NO_COLOR="1")
    assert "\x1b" not in stderr_on_terminal(code, NO_COLOR="", TERM="dumb")


def test_pretty_shows_a_traceback_under_the_line() -> None:
    code = "configure_logging('info', 'pretty')\ntry: 1 / 0\nexcept ZeroDivisionError: logger.exception('m')"
    lines = stderr_of(code).splitlines()
    assert lines[0].endswith("error    m")
    assert lines[-1] == "    ZeroDivisionError: division by zero"


def test_configuring_twice_does_not_double_the_lines() -> None:
    code = "configure_logging('info', 'json')\n" * 2 + "logger.info('a')\nlogging.warning('b')"
    assert [event["message"] for event in events_of(code)] == ["a", "b"]


def test_what_the_package_logs_is_enabled_by_configuring() -> None:
    code = (
        "import recorder\nlogger.disable('recorder')\n"
        "configure_logging('info', 'json')\n"
        "exec(compile(\"logger.info('inside')\", 'x', 'exec'), {'logger': logger, '__name__': 'recorder.x'})"
    )
    assert [event["message"] for event in events_of(code)] == ["inside"]


@given(st.text())
@settings(max_examples=200)
def test_no_text_leaves_its_line(text: str) -> None:
    assert len(_one_line(text).splitlines()) <= 1
