"""Where settings come from: the order of the sources, the files of settings, and names that were replaced."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from recorder.config.settings import Settings, load_settings, setting_rows
from recorder.config.sources import CONFIG_VARIABLE
from recorder.core import deprecated
from recorder.core.errors import InvalidSetting
from recorder.core.metrics import Metrics


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.upper().startswith("RECORDER_") or name.lower() in Settings.model_fields:
            monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")


def home_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "home/.config/recorder/recorder.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def refusal(**options: Any) -> str:
    with pytest.raises(InvalidSetting) as caught:
        load_settings(**options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Files of settings


def test_flags_outrank_the_environment_then_dotenv_then_the_files_of_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home_file(tmp_path, "port = 6\nhead_interval = 60\n")
    assert load_settings().port == 6
    Path("recorder.toml").write_text("port = 5\n")
    assert (load_settings().port, load_settings().head_interval) == (5, 60)
    Path(".env").write_text("PORT=4\n")
    assert load_settings().port == 4
    monkeypatch.setenv("PORT", "3")
    assert load_settings().port == 3
    monkeypatch.setenv("RECORDER_PORT", "2")
    assert load_settings().port == 2
    assert load_settings(port=1).port == 1


def test_a_file_takes_numbers_texts_switches_and_lists() -> None:
    Path("recorder.toml").write_text(
        'persist = true\nretention_days = 7\nmax_deltas = "none"\nhash_chain = false\ndurability = "commit"\n'
        'allowed_hosts = ["a.example", "b.example"]\nadmin_tokens = ["one", "two"]\ndb_path = "x/y.sqlite"\n'
    )
    settings = load_settings()
    assert (settings.persist, settings.retention_days, settings.max_deltas) == (True, 7, None)
    assert (settings.hash_chain, settings.durability) == (False, "commit")
    assert (settings.allowed_hosts, settings.admin_tokens) == (("a.example", "b.example"), ("one", "two"))
    assert settings.db_path == Path.cwd() / "x/y.sqlite"


def test_a_file_that_is_named_is_read_in_place_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home_file(tmp_path, "head_interval = 60\n")
    Path("recorder.toml").write_text("port = 5\n")
    other = tmp_path / "other.toml"
    other.write_text("ping_interval = 7\n")
    for settings in (load_settings(config=other), load_settings(config=str(other))):
        assert (settings.port, settings.head_interval, settings.ping_interval) == (8765, 60_000, 7)
    monkeypatch.setenv(CONFIG_VARIABLE, str(other))
    assert load_settings().ping_interval == 7
    monkeypatch.setenv(CONFIG_VARIABLE, "none")
    assert load_settings().port == 8765
    assert "missing.toml: cannot be read" in refusal(config="missing.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port = ", "recorder.toml: is not TOML: "),
        ("prot = 1", "prot in recorder.toml: no such setting (did you mean port?)"),
        ("PORT = 1", "PORT in recorder.toml: no such setting (did you mean port?)"),
        ("[server]\nport = 1", "[server] in recorder.toml: no table is taken"),
        ("port = 1.5", "PORT: 1.5 is not a whole number from 0 to 65535 (default 8765), set by port in recorder.toml"),
        ("retention_days = -1", "RETENTION_DAYS: -1 is not a whole number"),
        ("port = 2020-01-01", "PORT: '2020-01-01' is not a whole number"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_said_in_one_line_with_its_place(text: str, said: str) -> None:
    Path("recorder.toml").write_text(text)
    assert refusal().startswith(said)


def test_a_token_in_a_file_is_never_shown() -> None:
    Path("recorder.toml").write_text('admin_tokens = ["hush hush"]')
    assert "hush" not in refusal()


# Names that were replaced

VALUES = {"WHEN_FULL": "prune", "ACCEPT_LOSS": "on", "MAX_UNFINISHED_BYTES": "300000000"}


def test_every_old_name_is_of_a_setting_that_is_there_and_is_none_itself() -> None:
    names = {row.name for row in setting_rows()}
    assert set(deprecated.SETTINGS.values()) <= names
    assert not set(deprecated.SETTINGS) & names
    assert set(deprecated.SETTING_VALUES) <= names


@pytest.mark.parametrize("old", sorted(deprecated.SETTINGS))
def test_an_old_name_works_in_each_source_and_warns_with_the_new_one(
    old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, text = deprecated.SETTINGS[old], VALUES.get(old, "123")
    expected = getattr(load_settings(**{new.lower(): text}), new.lower())

    def check(said: str, **flags: str) -> None:
        with pytest.warns(FutureWarning, match=said):
            assert getattr(load_settings(**flags), new.lower()) == expected

    check(f"^{old.lower()} is the old name of {new.lower()}: use {new.lower()}", **{old.lower(): text})
    for prefix in ("", "RECORDER_"):
        monkeypatch.setenv(prefix + old, text)
        check(rf"^{prefix}{old} is the old name of {prefix}{new}: .* \(in the environment\)$")
        monkeypatch.delenv(prefix + old)
        Path(".env").write_text(f"{prefix}{old}={text}\n")
        check(rf"^{prefix}{old} is the old name of {prefix}{new}: .* \(in .env\)$")
        Path(".env").unlink()
    Path("recorder.toml").write_text(f'{old.lower()} = "{text}"\n')
    check(rf"{old.lower()} is the old name of {new.lower()}: .* \(in recorder.toml\)$")


def test_an_old_value_works_and_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMORY_FULL_POLICY", "Refuse")
    with pytest.warns(
        FutureWarning, match="^MEMORY_FULL_POLICY=Refuse is the old name of MEMORY_FULL_POLICY=reject"
    ):
        assert load_settings().memory_full_policy == "reject"
    monkeypatch.delenv("MEMORY_FULL_POLICY")
    monkeypatch.setenv("WHEN_FULL", "refuse")
    with pytest.warns(FutureWarning) as caught:
        assert load_settings().memory_full_policy == "reject"
    said = [str(warning.message) for warning in caught]
    assert said == ["WHEN_FULL=refuse: write MEMORY_FULL_POLICY=reject (in the environment)"]


def test_a_setting_by_both_of_its_names_in_one_source_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STALL_TIMEOUT", "1")
    monkeypatch.setenv("HTTP_STALL_TIMEOUT", "2")
    assert refusal() == (
        "HTTP_STALL_TIMEOUT and STALL_TIMEOUT in the environment: two names of one setting (remove STALL_TIMEOUT)"
    )
    monkeypatch.delenv("STALL_TIMEOUT")
    Path(".env").write_text("STALL_TIMEOUT=1\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_settings().http_stall_timeout == 2


def test_an_error_in_a_value_names_the_old_name_where_that_was_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_QUERIES", "x")
    with pytest.warns(FutureWarning):
        message = refusal()
    assert message.startswith("MAX_CONCURRENT_QUERIES: 'x' is not a whole number")
    assert message.endswith("set by MAX_QUERIES in the environment")


def test_names_of_now_give_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_settings(memory_full_policy="reject", max_json_depth=5)


def test_a_metric_that_was_renamed_is_shown_by_both_names() -> None:
    metrics = Metrics()
    metrics.refuse("conflict")
    for name in deprecated.METRICS.values():
        if name.endswith("_bytes"):
            metrics.gauge(name, "A gauge", lambda: 7)
    text = metrics.render().decode()
    for old, new in deprecated.METRICS.items():
        assert f"Deprecated: use {new}" in text, old
        values = {
            name: re.findall(rf"^{name}(?:_total)?((?:{{.*}})? .*)$", text, re.MULTILINE)
            for name in (old, new)
        }
        assert values[old] == values[new]


# What it costs


def test_asking_what_an_address_is_does_not_import_pydantic() -> None:
    code = (
        "import sys, types\n"
        f"package = types.ModuleType('recorder'); package.__path__ = [{str(Path(deprecated.__file__).parents[1])!r}]\n"
        "sys.modules['recorder'] = package\n"
        "import recorder.config.validators, recorder.config.sources\n"
        "assert not [name for name in sys.modules if name.startswith('pydantic')]\n"
        "import recorder.config.settings\n"
        "assert 'pydantic_settings' not in sys.modules\n"
        "assert 'dotenv' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# What the documentation says


def test_the_documents_example_of_a_file_of_settings_is_taken_and_every_old_name_is_listed() -> None:
    page = (Path(deprecated.__file__).parents[1] / "docs/settings.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    Path("recorder.toml").write_text(example)
    settings = load_settings()
    assert (settings.persist, settings.snapshot_interval, settings.max_deltas) == (True, 1000, None)
    for old, new in deprecated.SETTINGS.items():
        assert f"| `{old}` | `{new}` |" in page
