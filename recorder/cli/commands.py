"""The table of commands, and how each becomes one: loaded when it is called, and not before.

`recorder --help` is made from the table alone. A command's module is imported when the command runs, or its own help is
asked for; what it needs beyond that (a client, a server) it imports when it runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer
from typer import _click
from typer._click.shell_completion import CompletionItem
from typer.core import TyperCommand, TyperGroup

from recorder import __version__
from recorder.cli import console
from recorder.cli.credentials import with_token
from recorder.core import deprecated

GROUPS = ("Record", "Read", "Prove", "Operate")


@dataclass(frozen=True, slots=True)
class Entry:
    """A command.

    Args:
        name: As it is typed.
        group: Of `GROUPS`.
        place: Its function: `module:name` inside `recorder.cli`.
        summary: What it does, in one line: the first of its docstring.
        examples: How it is used.
    """

    name: str
    group: str
    place: str
    summary: str
    examples: tuple[str, ...] = ()

    @property
    def replaced_by(self) -> str:
        """The command that took its place; "" for none. It works for one more version, with a warning."""
        return deprecated.COMMANDS.get(self.name, "")


TABLE = (
    Entry(
        "serve",
        "Record",
        "serve:serve",
        "Record and serve.",
        (
            "recorder serve --persist",
            "recorder serve --demo",
            "recorder serve --persist --durability commit --port 9000",
        ),
    ),
    Entry(
        "publish",
        "Record",
        "publish:publish",
        "Publish deltas from a file or stdin.",
        ("recorder publish deltas.ndjson", "my-agent | recorder publish -"),
    ),
    Entry(
        "import",
        "Record",
        "import_:import_",
        "Import logs of other programs.",
        ("recorder import --format claude-code ~/.claude/projects/app/session.jsonl",),
    ),
    Entry(
        "tail",
        "Read",
        "tail:tail",
        "Follow new deltas, live.",
        ("recorder tail", "recorder tail -n 20 --session build-7", "recorder tail --json | jq .delta"),
    ),
    Entry(
        "sessions",
        "Read",
        "session:sessions",
        "List the sessions, the last changed first.",
        ("recorder sessions", "recorder sessions -n 5 --json"),
    ),
    Entry(
        "query",
        "Read",
        "history:query",
        "List recorded deltas, newest first.",
        (
            "recorder query --session build-7",
            "recorder query --grep SyntaxError --since 2h",
            "recorder query --lineage broken --db data/sessions.sqlite",
        ),
    ),
    Entry(
        "state",
        "Read",
        "session:state",
        "Show a session's state, now or as of a point; null where it is deleted.",
        ("recorder state build-7", "recorder state build-7 --at 15m"),
    ),
    Entry(
        "diff",
        "Read",
        "session:diff",
        "Show what changed in a session between two points, as a patch.",
        ("recorder diff build-7", "recorder diff build-7 --from 1h --to 15m"),
    ),
    Entry(
        "blame",
        "Read",
        "session:blame",
        "Show the deltas that touched one place in a session's state, newest first.",
        ("recorder blame build-7 /plan/3/status",),
    ),
    Entry(
        "export",
        "Read",
        "export:export",
        "Export recorded deltas, oldest first.",
        ("recorder export -o all.ndjson", "recorder export --format csv --since 1d > day.csv"),
    ),
    Entry(
        "stats",
        "Read",
        "stats:stats",
        "Show how much is recorded, and how fresh the file is.",
        ("recorder stats", "recorder stats --db data/sessions.sqlite --json"),
    ),
    Entry(
        "doctor",
        "Prove",
        "doctor:doctor",
        "Verify a recording: its structure, every link of the chain, every receipt and signed head.",
        ("recorder doctor", "recorder doctor --url http://127.0.0.1:8765 --expect heads.log"),
    ),
    Entry(
        "heads",
        "Prove",
        "heads:heads",
        "Show the current signed head, or keep a log of heads.",
        ("recorder heads", "recorder heads --append heads.log --every 3600"),
    ),
    Entry(
        "crashtest",
        "Prove",
        "crashtest:crashtest",
        "Test durability: kill recorders, damage their files and make their disks fail.",
        ("recorder crashtest --quick", "recorder crashtest --only kills --kills 20 --dir /mnt/disk"),
    ),
    Entry(
        "torture",
        "Prove",
        "crashtest:torture",
        "Run the crash tests under their old name.",
    ),
    Entry(
        "snapshot",
        "Operate",
        "admin:snapshot",
        "Write a snapshot now; with --to also copy the database.",
        ("recorder snapshot", "recorder snapshot --to backup.sqlite"),
    ),
    Entry(
        "prune",
        "Operate",
        "admin:prune",
        "Remove old deltas now, for good.",
        ("recorder prune --older-than 30d --dry-run", "recorder prune --older-than 30d --yes"),
    ),
    Entry(
        "erase",
        "Operate",
        "admin:erase",
        "Erase the content of a session's states, from the recorder's file and its database in memory.",
        (
            "recorder erase --session build-7 --dry-run",
            "recorder erase --session build-7 --reason 'asked for by its owner' --yes",
        ),
    ),
    Entry(
        "migrate",
        "Operate",
        "migrate:migrate",
        "Migrate a database file to another version of its schema.",
        ("recorder migrate --to 3 --db data/sessions.sqlite",),
    ),
    Entry(
        "redact",
        "Operate",
        "redact:redact",
        "Show which values redaction would replace in deltas; nothing is changed.",
        ("recorder export | recorder redact --check -",),
    ),
    Entry(
        "token",
        "Operate",
        "token:token",
        "Make a token.",
        ("recorder token", "recorder token --sign-with jwt.key --role subscribe --expires 8h"),
    ),
)

_BY_NAME = {entry.name: entry for entry in TABLE}
COMPLETION = "_RECORDER_COMPLETE"
"""The variable by which a shell asks what a word may become."""

OUTPUT_RULE = (
    "On a terminal answers are tables, coloured unless NO_COLOR is set, and long ones go through $PAGER. In a pipe, and"
    " with --json, they are JSON, one value a line; serve, publish, import, tail, doctor, redact and token need --json"
    " for that. Data goes to stdout, everything else to stderr."
)


class Command(TyperCommand):
    """A command whose help has its options in sections, and examples at the end."""

    examples: tuple[str, ...] = ()

    def format_options(self, ctx: _click.Context, formatter: _click.HelpFormatter) -> None:
        """Write the options section by section, in the order in which the sections first appear."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                default = "Arguments" if param.param_type_name == "argument" else "Options"
                title = getattr(param, "rich_help_panel", None) or default
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)

    def format_epilog(self, ctx: _click.Context, formatter: _click.HelpFormatter) -> None:
        """Write the examples, each on a line of its own, ready to be copied."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"  {example}\n")


class Commands(TyperGroup):
    """The group of all commands: shown from the table, loaded one at a time."""

    def list_commands(self, ctx: _click.Context) -> list[str]:
        """Return the names, in the table's order."""
        return [entry.name for entry in TABLE if not entry.replaced_by]

    def format_commands(self, ctx: _click.Context, formatter: _click.HelpFormatter) -> None:
        """Write the commands, group by group."""
        width = max(len(entry.name) for entry in TABLE) + 2
        for group in GROUPS:
            with formatter.section(group):
                rows = [
                    (e.name.ljust(width), e.summary) for e in TABLE if e.group == group and not e.replaced_by
                ]
                formatter.write_dl(rows)

    def format_epilog(self, ctx: _click.Context, formatter: _click.HelpFormatter) -> None:
        """Write the rule of what goes where."""
        with formatter.section("Output"):
            formatter.write_text(OUTPUT_RULE)

    def shell_complete(self, ctx: _click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that begin so."""
        found = [
            CompletionItem(entry.name, help=entry.summary)
            for entry in TABLE
            if entry.name.startswith(incomplete) and not entry.replaced_by
        ]
        return [*found, *_click.Command.shell_complete(self, ctx, incomplete)]


class _Loaded(MutableMapping[str, _click.Command]):
    """The commands by their names; each is loaded when it is asked for."""

    def __init__(self) -> None:
        self._loaded: dict[str, _click.Command] = {}

    def __getitem__(self, name: str) -> _click.Command:
        if name not in self._loaded:
            self._loaded[name] = load(_BY_NAME[name])
        return self._loaded[name]

    def __setitem__(self, name: str, command: _click.Command) -> None:
        raise TypeError("commands are added to TABLE")

    def __delitem__(self, name: str) -> None:
        raise TypeError("commands are removed from TABLE")

    def __iter__(self) -> Iterator[str]:
        return (entry.name for entry in TABLE if not entry.replaced_by)

    def __len__(self) -> int:
        return len(list(iter(self)))


def load(entry: Entry) -> _click.Command:
    """Return a command, its module imported."""
    module, _, name = entry.place.partition(":")
    function = getattr(import_module(f"recorder.cli.{module}"), name)
    single = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        # Plain text: help made from the settings must not be read as markup.
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    single.command(entry.name, cls=Command, hidden=bool(entry.replaced_by))(with_token(function))
    command = typer.main.get_command(single)
    assert isinstance(command, Command)
    command.examples = entry.examples
    return command


def _version(wanted: bool) -> None:
    if wanted:
        console.out_line(f"recorder {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Record agent sessions, watch them live and read them back."""


def group() -> Commands:
    """Return the command `recorder` with all its commands."""
    app = typer.Typer(
        name="recorder",
        cls=Commands,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    made = typer.main.get_command(app)
    assert isinstance(made, Commands)
    made.commands = _Loaded()
    return made


def run(arguments: list[str]) -> int:
    """Run a command.

    Args:
        arguments: What was typed after `recorder`.

    Returns:
        The exit code.

    Raises:
        Exception: What the command raised, or typer's for what was asked wrongly.
    """
    entry = None if COMPLETION in os.environ else _BY_NAME.get(arguments[0])
    if entry is None:
        code: Any = group().main(args=arguments, prog_name="recorder", standalone_mode=False)
    else:
        if entry.replaced_by:
            console.print_error(deprecated.warning(entry.name, entry.replaced_by))
        # Not through the group: typer loads pydantic to read the group's options, which `tail --help` can do without.
        command = load(entry)
        code = command.main(args=arguments[1:], prog_name=f"recorder {entry.name}", standalone_mode=False)
    return code if isinstance(code, int) else 0
