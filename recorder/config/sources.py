"""The sources of settings: flags, the environment, `.env`, `recorder.toml`; the first that has one wins.

Invariant: whatever looks like a setting of ours and is none ends the start, with the nearest known name; nothing is
guessed or ignored. Old names (recorder/core/deprecated.py) are read in each source, with a warning.

Left out: what a value may be, which the table and its validators say.
"""

from __future__ import annotations

import difflib
import io
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recorder.config.files import read_file
from recorder.config.validators import shown
from recorder.config.variables import TOKEN_FILE_VARIABLE, TOKEN_VARIABLE, URL_VARIABLE
from recorder.core import deprecated
from recorder.core.errors import InvalidSetting

PREFIX = "RECORDER_"
"""What an environment name may start with, so that PORT and HOST of another program need not be ours."""

CONFIG_VARIABLE = "RECORDER_CONFIG"
"""Names the file of settings to read in place of those below; `none` for no file at all."""

CONFIG_NAME = "recorder.toml"
CONFIG_FILES = (Path(CONFIG_NAME), Path("~/.config/recorder") / CONFIG_NAME)
"""Files of settings that are read where no other is named; the first that has a setting wins."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value that a source gives.

    Args:
        value: As it stands there.
        name: How the setting is spelled there.
        where: Where that is, in words.
    """

    value: object
    name: str
    where: str

    @property
    def origin(self) -> str:
        """Return where the value comes from, in words."""
        return f"set by {self.name} {self.where}".rstrip()


@dataclass(frozen=True, slots=True)
class Layer:
    """One source.

    Args:
        values: Its values by the names that stand there; None is no value.
        where: Where they are, in words.
        prefix: What each name begins with.
        is_lower: Whether the names are in lower case.
        is_ours: Whether every name in it that has the prefix is a setting of ours.
    """

    values: Mapping[str, object]
    where: str
    prefix: str = ""
    is_lower: bool = False
    is_ours: bool = False

    def spelled(self, name: str) -> str:
        """Return how a setting's name is spelled here."""
        return self.prefix + (name.lower() if self.is_lower else name)

    def find(self, name: str) -> list[Given]:
        """Return what is given for a setting, by its name and by its old ones."""
        spellings = [self.spelled(each) for each in (name, *deprecated.old_names(deprecated.SETTINGS, name))]
        return [
            Given(value, spelling, self.where)
            for spelling in spellings
            if (value := self.values.get(spelling)) is not None
        ]


def gather(layers: Iterable[Layer], names: list[str]) -> tuple[dict[str, Given], list[str]]:
    """Return what is given for each setting that has a value, and warnings about old names.

    Args:
        layers: The sources, the one that wins first.
        names: The names of all settings.

    Raises:
        InvalidSetting: A name is unknown, or a setting is given twice in one source.
    """
    found: dict[str, Given] = {}
    warnings: list[str] = []
    for layer in layers:
        _refuse_unknown(layer, names)
        for name in names:
            given = layer.find(name)
            if len(given) > 1:
                raise InvalidSetting(
                    f"{given[0].name} and {given[1].name} {layer.where}: two names of one setting".strip(),
                    hint=f"remove {given[1].name}",
                )
            if given and name not in found:
                found[name], said = _renewed(name, given[0], layer)
                warnings += said
    return found, warnings


def _renewed(name: str, given: Given, layer: Layer) -> tuple[Given, list[str]]:
    """Return a value by the names of now, and a warning for each old one that was used."""
    warnings = []
    is_renamed = given.name != layer.spelled(name)
    values = deprecated.SETTING_VALUES.get(name, {})
    new = values.get(given.value.lower()) if isinstance(given.value, str) else None
    if is_renamed and new is not None:
        both = f"{given.name}={given.value}: write {layer.spelled(name)}={new}"
        return Given(new, given.name, given.where), [_place(both, layer)]
    if is_renamed:
        warnings.append(_place(deprecated.warning(given.name, layer.spelled(name)), layer))
    if new is not None:
        warnings.append(_place(deprecated.warning(f"{given.name}={given.value}", f"{name}={new}"), layer))
        given = Given(new, given.name, given.where)
    return given, warnings


def _place(warning: str, layer: Layer) -> str:
    return f"{warning} ({layer.where})" if layer.where else warning


def _refuse_unknown(layer: Layer, names: list[str]) -> None:
    if not layer.is_ours:
        return
    known = [layer.spelled(name) for name in (*names, *deprecated.SETTINGS)]
    if layer.prefix:
        known += [URL_VARIABLE, TOKEN_VARIABLE, TOKEN_FILE_VARIABLE, CONFIG_VARIABLE]
    for name in layer.values:
        # In any case: recorder_persist=1 was meant for us and would otherwise silently not count.
        if name.upper().startswith(layer.prefix) and name not in known:
            raise InvalidSetting(
                f"{name} {layer.where}: no such setting".replace(" :", ":"), hint=nearest(name, known)
            )


def nearest(name: str, known: list[str]) -> str:
    """Return the question whether the nearest of the known names was meant."""
    same_case = {item.upper(): item for item in known}
    close = difflib.get_close_matches(name.upper(), same_case, n=1, cutoff=0.0)
    return f"did you mean {same_case[close[0]]}?"


def read_layers(flags: Mapping[str, object], config: Path | None, names: list[str]) -> Iterator[Layer]:
    """Read all sources; the one that wins comes first.

    Args:
        flags: Values by the setting's name in lower case; None is not given.
        config: The file of settings to read; None for the files that are read by default.
        names: The names of all settings.

    Raises:
        InvalidSetting: A file cannot be read.
    """
    yield Layer(flags, "", is_lower=True, is_ours=True)
    file = _dotenv_values(Path(".env"), names)
    for values, where in ((os.environ, "in the environment"), (file, "in .env")):
        yield Layer(values, where, prefix=PREFIX, is_ours=True)
        yield Layer(values, where)
    for path, is_required in _config_files(config):
        if (found := _toml_values(path, is_required=is_required)) is not None:
            yield Layer(found, f"in {path}", is_lower=True, is_ours=True)


def _config_files(config: Path | None) -> list[tuple[Path, bool]]:
    """Return the files of settings to be read, each with whether it has to be there."""
    if config is None and (named := os.environ.get(CONFIG_VARIABLE)):
        config = Path(named)
    if config is None:
        return [(path.expanduser(), False) for path in CONFIG_FILES]
    return [] if str(config) == "none" else [(config.expanduser(), True)]


def _toml_values(path: Path, *, is_required: bool) -> dict[str, Any] | None:
    """Return what a file of settings holds; None where there is none, and none has to be."""
    try:
        values = tomllib.loads(read_file(path).decode("utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError) as error:
        if is_required:
            raise InvalidSetting(
                f"{path}: cannot be read ({error.strerror})", hint="name a file that is there"
            ) from None
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(
            f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})",
            hint="correct or remove the file",
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidSetting(f"{path}: is not TOML: {error}", hint='write name = "value"') from None
    for name, value in values.items():
        if isinstance(value, dict):
            raise InvalidSetting(
                f"[{name}] in {path}: no table is taken", hint="write the settings at the top level"
            )
    return values


def _dotenv_values(path: Path, names: list[str]) -> Mapping[str, object]:
    try:
        text = read_file(path).decode("utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(
            f".env: cannot be read ({getattr(error, 'strerror', None) or error})",
            hint="correct or remove the file",
        ) from None
    # Only where there is a file: the import costs as much as all that is read.
    import dotenv
    from dotenv.parser import parse_stream

    known = {*names, *deprecated.SETTINGS}
    # python-dotenv skips a line it cannot read, with a warning in the log at most: a setting would be lost.
    for binding in parse_stream(io.StringIO(text)):
        is_ours = binding.key is not None and binding.key.removeprefix(PREFIX) in known
        if binding.error or (is_ours and binding.value is None):
            line, original = binding.original.line, binding.original.string.strip()
            said = "what should be a token" if "TOKEN" in original.upper() else shown(original)
            raise InvalidSetting(f".env line {line}: {said} is not of the form NAME=value")
    return dotenv.dotenv_values(stream=io.StringIO(text))
