"""The table of settings: its sources, its ranges and its one-line errors."""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from recorder.config.settings import SettingRow, Settings, load_settings, setting_rows, settings_markdown
from recorder.core.errors import InvalidSetting

NAMES = [row.name for row in setting_rows()]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.upper().startswith("RECORDER_") or name in NAMES:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def refusal(**flags: Any) -> str:
    with pytest.raises(InvalidSetting) as caught:
        load_settings(**flags)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_defaults_are_those_of_the_specification(tmp_path: Path) -> None:
    settings = load_settings()
    assert (settings.persist, settings.db_path) == (False, tmp_path / "data/sessions.sqlite")
    assert (settings.snapshot_interval, settings.retention_days) == (60_000, 30)
    assert (settings.max_deltas, settings.max_db_bytes) == (None, None)
    assert (settings.durability, settings.hash_chain) == ("snapshot", True)
    assert (settings.max_delta_bytes, settings.dedupe_ids) == (262_144, 100_000)
    assert (settings.host, settings.port) == ("127.0.0.1", 8765)
    assert (settings.slow_soft_bytes, settings.slow_soft_time) == (1_048_576, 5_000)
    assert (settings.slow_hard_bytes, settings.slow_close_grace) == (16_777_216, 30_000)


def test_each_source_outranks_those_behind_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=5\n")
    assert load_settings().port == 5
    (tmp_path / ".env").write_text("PORT=5\nRECORDER_PORT=4\n")
    assert load_settings().port == 4
    monkeypatch.setenv("PORT", "3")
    assert load_settings().port == 3
    monkeypatch.setenv("RECORDER_PORT", "2")
    assert load_settings().port == 2
    assert load_settings(port=1).port == 1
    assert load_settings(port=None).port == 2


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"TLS_KEY"}))
def test_every_setting_can_be_given_in_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = {
        "PERSIST": "1", "DB_PATH": "/x/y", "DURABILITY": "SNAPSHOT", "HASH_CHAIN": "off", "COMPRESSION": "on",
        "HOST": "127.9.9.9",
        "ALLOW_DATA_LOSS": "on", "TRUST_CLOCK": "on", "CSV_ESCAPE_FORMULAS": "off",
        "ACCEPT_GAP": "on", "NEW_EPOCH": "on",
        "ALLOWED_ORIGINS": "https://a.example", "ALLOWED_HOSTS": "a.example", "LOG_LEVEL": "DEBUG",
        "LOG_FORMAT": "json", "SLOW_HARD_BYTES": "99999999", "MAX_DB_BYTES": "70000",
        "MAX_MEMORY": "70000", "REDACT_KEYS": "default", "REDACT_PATTERNS": "default", "MEMORY_FULL_POLICY": "reject",
        "TRUSTED_PROXIES": "10.0.0.0/8", "MAX_PARTIAL_MESSAGE_BYTES": "99999999",
    }  # fmt: skip
    default = getattr(load_settings(), name.lower())
    for variable in (name, f"RECORDER_{name}"):
        monkeypatch.setenv(variable, samples.get(name, "77"))
        assert getattr(load_settings(), name.lower()) != default or name == "DURABILITY"
        monkeypatch.delenv(variable)


@pytest.mark.parametrize("text", ["true", "yes", "0", "", "on", " 1", "1 ", "01", "TRUE"])
def test_persist_is_on_for_the_text_1_alone_and_never_an_error(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSIST", text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        assert load_settings().persist is False
    monkeypatch.setenv("PERSIST", "1")
    assert load_settings().persist is True


@pytest.mark.parametrize("text", ["true", "yes", "on", "2"])
def test_a_persist_that_was_meant_to_record_and_does_not_is_warned_of(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSIST", text)
    with pytest.warns(FutureWarning, match=f"^PERSIST={text} does not record; only PERSIST=1 does"):
        assert load_settings().persist is False
    for off in ("0", "", "false", "off"):
        monkeypatch.setenv("PERSIST", off)
        assert load_settings().persist is False


def test_the_flag_persist_wins_over_the_environment_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSIST", "1")
    assert load_settings(persist=False).persist is False
    monkeypatch.setenv("PERSIST", "0")
    assert load_settings(persist=True).persist is True


@pytest.mark.parametrize(
    "value", ["abc", "1.5", "", "NaN", "-1", "36501", "1_0", "1e3", "٣", "9" * 5000, "0x1f"]
)
def test_a_text_that_is_no_number_in_range_is_refused_in_one_line(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETENTION_DAYS", value)
    message = refusal()
    assert "is not a whole number from 0 to 36500 (default 30)" in message
    assert message.startswith("RETENTION_DAYS: '")
    assert message.endswith("set by RETENTION_DAYS in the environment")
    assert len(message) < 250


@pytest.mark.parametrize("value", [math.nan, 1.5, -1, 36_501, True, math.inf, [30]])
def test_a_value_from_code_that_is_no_number_in_range_is_refused(value: object) -> None:
    assert "is not a whole number from 0 to 36500 (default 30), set by the flag" in refusal(
        retention_days=value
    )


@given(st.integers(min_value=0, max_value=36_500))
def test_every_number_in_range_is_taken_as_it_is(days: int) -> None:
    assert load_settings(retention_days=str(days)).retention_days == days
    assert load_settings(retention_days=days).retention_days == days


@given(st.sampled_from(list(setting_rows())), st.text(max_size=20))
def test_any_text_is_a_value_in_range_or_one_clear_line(row: SettingRow, text: str) -> None:
    message = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            load_settings(**{row.field: text})
        except InvalidSetting as error:
            message = str(error)
    assert message == "" or message.startswith(f"{row.name}: ")
    assert "\n" not in message


def test_an_error_says_where_the_value_came_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("RECORDER_PORT=x\n")
    assert refusal().endswith("(default 8765), set by RECORDER_PORT in .env")
    monkeypatch.setenv("PORT", "y")
    assert refusal().endswith("(default 8765), set by PORT in the environment")
    assert refusal(port="z") == (
        "PORT: 'z' is not a whole number from 0 to 65535 (default 8765), set by the flag --port"
    )


def test_a_limit_that_is_not_set_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_DELTAS", "10")
    assert load_settings().max_deltas == 10
    assert load_settings(max_deltas="none").max_deltas is None
    assert "is not none or a whole number from 1 (default none)" in refusal(max_deltas="0")


def test_durability_is_one_of_two() -> None:
    assert load_settings(durability="commit").durability == "commit"
    assert "is not one of snapshot, commit" in refusal(durability="always")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.255.0.9", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_loopback_hosts_are_taken(host: str) -> None:
    assert load_settings(host=host).host == host.lower().strip("[]")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "128.0.0.1"])
def test_any_other_host_is_refused_with_what_to_do(host: str) -> None:
    message = refusal(host=host)
    assert "only 127.0.0.0/8, ::1 and localhost may be bound" in message
    assert "SSH tunnel" in message


@pytest.mark.parametrize("host", ["", " ", "127.1", "a b", "a/b", "a:1", "-", "http://a", "[::1", "x" * 300])
def test_what_is_neither_an_address_nor_a_name_is_no_host(host: str) -> None:
    if host != "[::1":  # brackets are taken off, paired or not
        assert "is neither an address nor a name" in refusal(host=host)


def test_with_tokens_any_address_may_be_listened_on() -> None:
    for name in ("subscribe_tokens", "publish_tokens", "admin_tokens", "jwt_key_file", "admin_tokens_file"):
        assert load_settings(host="0.0.0.0", **{name: "a-token-of-some-length"}).host == "0.0.0.0"


def test_a_list_of_tokens_that_is_set_and_empty_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", " , "):
        monkeypatch.setenv("ADMIN_TOKENS", value)
        assert refusal().startswith(
            "ADMIN_TOKENS: holds no token (default empty), set by ADMIN_TOKENS in the env"
        )


def test_no_message_and_no_repr_shows_a_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "hush" not in repr(load_settings(admin_tokens="hush"))
    assert "hush" not in refusal(admin_tokens="good,hush hush")
    assert "number 2" in refusal(admin_tokens="good,hush hush")
    (tmp_path / ".env").write_text("ADMIN_TOKENS hush\n")
    assert refusal() == ".env line 1: what should be a token is not of the form NAME=value"


def test_a_key_without_a_certificate_is_refused() -> None:
    assert refusal(tls_key="k.pem") == "TLS_KEY: is set, and TLS_CERT is not (both, or neither)"


def test_proxies_are_addresses_and_networks() -> None:
    settings = load_settings(trusted_proxies="127.0.0.1, 10.0.0.0/8,::1")
    assert settings.trusted_proxies == ("127.0.0.1/32", "10.0.0.0/8", "::1/128")
    for wrong in ("proxy.example", "10.0.0.1/8", "10.0.0.0/99"):
        assert "TRUSTED_PROXIES: " in refusal(trusted_proxies=wrong)


def test_the_path_is_made_absolute_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(db_path="a/b.sqlite")
    monkeypatch.chdir("/")
    assert settings.db_path == tmp_path / "a/b.sqlite"


def test_a_path_through_a_link_is_the_path_of_the_file_behind_it(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real.sqlite")
    assert load_settings(db_path="link").db_path == tmp_path / "real.sqlite"


@pytest.mark.parametrize("path", ["", "  ", ".", "a\0b", "x" * 5000, "~no-such-user-here/x"])
def test_what_is_not_the_path_of_a_file_is_refused(path: str) -> None:
    assert refusal(db_path=path).startswith("DB_PATH: ")


def test_lists_are_split_at_commas_and_lower_cased() -> None:
    settings = load_settings(
        allowed_origins="https://A.example, http://b:80,", allowed_hosts="A.example,[::1]:5"
    )
    assert settings.allowed_origins == ("https://a.example", "http://b:80")
    assert settings.allowed_hosts == ("a.example", "[::1]:5")
    assert load_settings(allowed_hosts=["b", "b"]).allowed_hosts == ("b",)


@pytest.mark.parametrize("origin", ["*", "a.example", "https://a.example/", "https://a.example/path", "null"])
def test_an_origin_that_no_browser_would_send_is_refused(origin: str) -> None:
    assert "is not of the form https://example.org" in refusal(allowed_origins=origin)


def test_the_hard_limit_may_not_be_below_the_soft_one() -> None:
    assert refusal(slow_hard_bytes=5, slow_soft_bytes=6) == (
        "SLOW_HARD_BYTES: 5 is less than SLOW_SOFT_BYTES, which is 6"
        " (raise SLOW_HARD_BYTES or lower SLOW_SOFT_BYTES)"
    )
    assert load_settings(slow_hard_bytes=6, slow_soft_bytes=6).slow_hard_bytes == 6


def test_an_unknown_name_is_refused_with_the_nearest_known_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert refusal(retention=1) == "retention: no such setting (did you mean retention_days?)"
    monkeypatch.setenv("RECORDER_SNAPSHOT_INTREVAL", "1")
    assert refusal().endswith("no such setting (did you mean RECORDER_SNAPSHOT_INTERVAL?)")
    monkeypatch.delenv("RECORDER_SNAPSHOT_INTREVAL")
    (tmp_path / ".env").write_text("recorder_port=1\n")
    assert refusal() == "recorder_port in .env: no such setting (did you mean RECORDER_PORT?)"


def test_names_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OTHER=1\nexport RECORDER_PORT='12' # ours\n")
    monkeypatch.setenv("RECORDER_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("host", "some.machine")
    assert load_settings().port == 12


@pytest.mark.parametrize("text", ["PORT", "RECORDER_PORT # none", "PORT='1", "= 5"])
def test_a_line_of_dotenv_that_cannot_be_read_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"A=1\n{text}\n")
    assert refusal() == f".env line 2: {text!r} is not of the form NAME=value"


def test_a_dotenv_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"PORT=\xff\n")
    assert refusal().startswith(".env: cannot be read")
    (tmp_path / ".env").unlink()
    (tmp_path / ".env").mkdir()
    assert refusal().startswith(".env: cannot be read")


def test_settings_are_frozen_and_hashable() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]
    assert hash(settings) == hash(load_settings())
    assert settings == load_settings()
    assert settings != load_settings(port=1)


def test_the_markdown_has_every_setting_with_its_default_range_and_meaning() -> None:
    table = settings_markdown()
    assert table.count("\n") == 2 + len(Settings.model_fields)
    for row in setting_rows():
        assert f"| `{row.name}` |" in table
        assert row.description in table
        assert "|" not in row.description + row.range + row.default
    assert "| `RETENTION_DAYS` | `30` | 0 to 36500 days |" in table
    assert "| `MAX_DELTAS` | none | from 1 deltas, or none |" in table
