"""The kinds of settings: one small class each, with its parser and the words for its range.

Invariant: `parse` gives a value inside the range that `describe` names, or raises `Refused` with the reason;
it never clamps. Left out: names, defaults and sources, which are the table's (recorder/config/settings.py).
"""

from __future__ import annotations

import ipaddress
import os
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

# A machine's name; its last part holds a letter, so that `127.1` is none.
_NAME = r"(?=.{1,253}\Z)([a-z0-9_-]{1,63}\.)*(?=[0-9_-]*[a-z])[a-z0-9_-]{1,63}"

MAX_INT64 = 2**63 - 1
"""The largest number SQLite can keep; as an upper bound it reads as none."""


class Refused(ValueError):
    """The reason why a value was refused ("is not …"), without the setting's name, and what to do about it."""

    def __init__(self, reason: str, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


class Kind(ABC):
    """The values that a setting accepts: its parser and the words for its range; as in `Annotated[int, Whole(0, 9)]`."""

    @abstractmethod
    def parse(self, value: object) -> object:
        """Return the value in its Python type; raises `Refused` with the reason."""

    @abstractmethod
    def describe(self) -> str:
        """Return the range in a few words, for help and documents."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return a schema that calls `parse` before pydantic's own check of the type."""
        # Not at the top: who only wants to know what is a loopback address need not wait for pydantic.
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(self.parse, handler(source))


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number from `low` to `high`, in `unit`; with `optional` also the word `absent`."""

    low: int
    high: int
    unit: str = ""
    optional: bool = False
    absent: str = "none"

    def parse(self, value: object) -> int | None:
        if self.optional and (value is None or (isinstance(value, str) and value.lower() == self.absent)):
            return None
        number = _whole_number(value)
        if number is None or not self.low <= number <= self.high:
            raise Refused(f"is not {f'{self.absent} or ' * self.optional}a whole number {self._range()}")
        return number

    def describe(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        range_ = self._range() if self.high == MAX_INT64 else self._range().removeprefix("from ")
        return f"{range_}{unit}{f', or {self.absent}' * self.optional}"

    def _range(self) -> str:
        return f"from {self.low}" if self.high == MAX_INT64 else f"from {self.low} to {self.high}"


@dataclass(frozen=True)
class One(Kind):
    """On exactly for "1" (and for a bool given in code or by a flag); never an error."""

    def parse(self, value: object) -> bool:
        return value if isinstance(value, bool) else str(value) == "1"

    def describe(self) -> str:
        return "1, or anything else"


@dataclass(frozen=True)
class OnOff(Kind):
    """A switch, written on or off."""

    def parse(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        if value not in ("on", "off"):
            raise Refused("is neither on nor off")
        return value == "on"

    def describe(self) -> str:
        return "on, off"


@dataclass(frozen=True)
class Choice(Kind):
    """One of some words, in any case."""

    words: tuple[str, ...]

    def parse(self, value: object) -> str:
        word = str(value).lower()
        if word not in self.words:
            raise Refused(f"is not one of {', '.join(self.words)}")
        return word

    def describe(self) -> str:
        return ", ".join(self.words)


@dataclass(frozen=True)
class Host(Kind):
    """An address or a name to listen on; without the brackets that an IPv6 address has in a URL."""

    def parse(self, value: object) -> str:
        host = str(value).strip().lower().removeprefix("[").removesuffix("]")
        if not is_loopback(host) and not _is_address(host) and not re.fullmatch(_NAME, host):
            raise Refused("is neither an address nor a name")
        return host

    def describe(self) -> str:
        return "address or name"


@dataclass(frozen=True)
class Tokens(Kind):
    """Tokens between commas. The characters are those that both an `Authorization` header and a subprotocol can carry.

    Set and empty is refused: a list that came out empty by mistake would let everyone in.
    """

    def parse(self, value: object) -> tuple[str, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)):
            raise Refused("is not a list of tokens with commas between them")
        tokens = [str(part).strip() for part in parts]
        tokens = [token for token in tokens if token]
        if not tokens and value != ():
            raise Refused("holds no token", hint="name one, or leave it unset")
        for number, token in enumerate(tokens, 1):
            # By its number: a token must not come into a message.
            if not re.fullmatch(r"[A-Za-z0-9._~+-]{1,512}", token):
                raise Refused(
                    f"has a token (number {number}) with other characters than A-Z a-z 0-9 . _ ~ + -"
                )
        return tuple(dict.fromkeys(tokens))

    def describe(self) -> str:
        return "tokens, comma between"


@dataclass(frozen=True)
class Text(Kind):
    """Any text of 1 to 256 characters, or none."""

    def parse(self, value: object) -> str | None:
        if value is None or value == "none":
            return None
        if not isinstance(value, str) or not 0 < len(value) <= 256:
            raise Refused("is not a text of 1 to 256 characters")
        return value

    def describe(self) -> str:
        return "a text, or none"


@dataclass(frozen=True)
class Networks(Kind):
    """Addresses and networks between commas."""

    def parse(self, value: object) -> tuple[str, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)):
            raise Refused("is not a list of addresses with commas between them")
        texts = [text for part in parts if (text := str(part).strip())]
        try:
            return tuple(dict.fromkeys(str(ipaddress.ip_network(text)) for text in texts))
        except ValueError as error:
            raise Refused(f"has what is no address or network: {shown(str(error))}") from None

    def describe(self) -> str:
        return "10.0.0.1 or 10.0.0.0/8, comma between"


@dataclass(frozen=True)
class FilePath(Kind):
    """A file, made absolute once: a later change of the working directory must not move the database.

    With `optional` also "none".
    """

    optional: bool = False

    def parse(self, value: object) -> Path | None:
        if self.optional and (value is None or value == "none"):
            return None
        text = os.fspath(value) if isinstance(value, (str, Path)) else ""
        if not text.strip() or "\0" in text:
            raise Refused("is not the path of a file")
        try:
            # Links are followed here: a rename onto a link would replace the link, not the file behind it.
            path = Path(text).expanduser().resolve()
            is_dir = path.is_dir()
        except (OSError, RuntimeError) as error:  # a name too long, a loop of links, no such user in ~user
            raise Refused(f"is not the path of a file: {error}") from None
        if is_dir:
            raise Refused("is a directory, not a file")
        return path

    def describe(self) -> str:
        return f"path of a file{', or none' * self.optional}"


@dataclass(frozen=True)
class NameList(Kind):
    """Names between commas, each matching `pattern`; lower-cased, since hosts and schemes have no case."""

    what: str
    pattern: str

    def parse(self, value: object) -> tuple[str, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)):
            raise Refused(f"is not a list of names like {self.what}, with commas between them")
        names = [str(part).strip().lower() for part in parts]
        names = [name for name in names if name]
        for name in names:
            if not re.fullmatch(self.pattern, name):
                raise Refused(f"has {shown(name)}, which is not of the form {self.what}")
        return tuple(dict.fromkeys(names))

    def describe(self) -> str:
        return f"{self.what}, comma between"


@dataclass(frozen=True)
class Patterns(Kind):
    """Regular expressions, one a line; the word `default` stands for some."""

    default: tuple[str, ...]

    def parse(self, value: object) -> tuple[str, ...]:
        lines = value.splitlines() if isinstance(value, str) else value
        if not isinstance(lines, (list, tuple)):
            raise Refused("is not a list of regular expressions, one a line")
        found: list[str] = []
        for line in map(str, lines):
            if line.strip() == "default":
                found += self.default
            elif line.strip():
                found.append(line)
                self._check(line)
        return tuple(dict.fromkeys(found))

    def _check(self, pattern: str) -> None:
        try:
            is_empty = re.compile(pattern).search("") is not None
        except re.error as error:
            raise Refused(f"has {shown(pattern)}, which is no regular expression: {error}") from None
        if is_empty:
            raise Refused(f"has {shown(pattern)}, which finds nothing at all everywhere")

    def describe(self) -> str:
        return "regular expressions, one a line; default"


@dataclass(frozen=True)
class Keys(Kind):
    """Names of members, between commas, in any case; the word `default` stands for some."""

    default: tuple[str, ...]

    def parse(self, value: object) -> tuple[str, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)):
            raise Refused("is not a list of names, with commas between them")
        names = [str(part).strip().lower() for part in parts]
        found = [each for name in names if name for each in (self.default if name == "default" else (name,))]
        return tuple(dict.fromkeys(found))

    def describe(self) -> str:
        return "names of members, comma between; default"


def _whole_number(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    # The length is bounded because int() raises on texts of thousands of digits.
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,20}", value.strip()):
        return int(value)
    return None


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine only."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address == ipaddress.ip_address("::1") or address in ipaddress.ip_network("127.0.0.0/8")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def shown(value: object) -> str:
    """Return the value as a message quotes it: bounded, on one line."""
    text = repr(value if isinstance(value, (str, int, float, type(None))) else str(value))
    return text if len(text) <= 80 else f"{text[:77]}..."
