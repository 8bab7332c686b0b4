"""The token that commands show: from the environment or a file, to the recorder that is asked, and to no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from recorder.cli.commands import TABLE, load
from recorder.cli.credentials import bearer, with_token
from recorder.cli.http import UrlOption
from recorder.core.errors import InvalidSetting

Invoke = Callable[..., tuple[int, bytes, str]]


def test_every_command_that_speaks_to_a_recorder_takes_a_token_file() -> None:
    for entry in TABLE:
        names = {param.name for param in load(entry).params}
        assert ("url" in names) == ("token_file" in names), entry.name
        assert "token" not in names


def shown(*arguments: str) -> dict[str, str]:
    """The header that a command would send."""
    seen: list[dict[str, str]] = []

    def command(url: UrlOption = "") -> None:
        seen.append(bearer())

    probe = typer.Typer()
    probe.command()(with_token(command))
    probe(list(arguments), standalone_mode=False)
    return seen[0]


def test_a_token_comes_from_a_file_or_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text("of-the-file\n")
    assert shown() == {}
    assert shown("--token-file", str(file)) == {"Authorization": "Bearer of-the-file"}
    monkeypatch.setenv("RECORDER_TOKEN", "of-the-environment")
    assert shown() == {"Authorization": "Bearer of-the-environment"}
    assert shown("--token-file", str(file)) == {"Authorization": "Bearer of-the-file"}
    monkeypatch.setenv("RECORDER_TOKEN_FILE", str(file))
    assert shown() == {"Authorization": "Bearer of-the-file"}


@pytest.mark.parametrize("content", ["", "\n", "two words", "a\nb", "ü", "x" * 9000])
def test_what_cannot_be_a_token_is_refused_and_not_repeated(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(InvalidSetting, match="holds no token") as refused:
        shown("--token-file", str(file))
    assert content.strip() == "" or content not in str(refused.value)
    monkeypatch.setenv("RECORDER_TOKEN", content)
    with pytest.raises(InvalidSetting, match="RECORDER_TOKEN: holds no token"):
        shown()


def test_a_file_that_is_not_there_is_named(invoke: Invoke) -> None:
    assert invoke("stats", "--token-file", "none") == (
        2,
        b"",
        "recorder: --token-file: none: No such file or directory (correct the path or its permissions)\n",
    )


def test_commands_show_their_token_and_say_how_where_one_is_missing(
    start_server: Callable[..., Any], invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("the-token-of-the-test\n")
    server = start_server("--persist", "--admin-tokens-file", str(tokens))
    monkeypatch.setenv("RECORDER_URL", server.url)
    code, _, err = invoke("stats")
    assert (code, err) == (
        1,
        "recorder: a token is needed (set RECORDER_TOKEN, or name a file with --token-file)\n",
    )
    assert invoke("stats", "--token-file", str(tokens))[0] == 0
    code, _, err = invoke("tail")
    assert (code, "401" in err) == (1, True)
    monkeypatch.setenv("RECORDER_TOKEN", "the-token-of-the-test")
    for command in (
        ["stats"],
        ["query"],
        ["export"],
        ["heads"],
        ["snapshot"],
        ["prune", "--older-than", "1d", "--yes"],
    ):
        assert invoke(*command)[0] == 0, command
