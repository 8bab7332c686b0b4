"""The command line: what to measure, of which systems, and where the figures go."""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from bench_suite.compare import as_text as compared
from bench_suite.errors import BenchError
from bench_suite.installing import install
from bench_suite.measures import growing
from bench_suite.measures.deliveries import Deliveries
from bench_suite.measures.ingest import Ingest
from bench_suite.measures.latency import Latency
from bench_suite.measures.plan import USUAL_SIZE, Plan
from bench_suite.needs import missing
from bench_suite.payload import MAX_SIZE, MIN_SIZE
from bench_suite.plot import as_svg
from bench_suite.recordings import Shelf
from bench_suite.render import as_markdown, write_into
from bench_suite.report import as_json, as_text
from bench_suite.run import Measure, run
from bench_suite.saved_runs import load
from bench_suite.systems import NAMES, named
from bench_suite.systems.base import Options, System

MOST_FILES = 16_384
MEASURES = ("deliveries", "ingest", "latency", *growing.NAMES)
QUICK = Plan(
    seconds=0.2, most=20_000, rate=1000, preload=4000, quiet_s=0.8, busy_s=1.5, rows=(1000, 3000), new=(100, 500),
    burst=500, queries=10, idle=(10, 30), kept=(1000, 3000), sessions=(1000,),
)  # fmt: skip
FULL = Plan(
    rows=(100_000, 1_000_000), new=(1000, 10_000, 100_000), burst=100_000, kept=(100_000, 200_000),
    sessions=(10_000, 100_000),
)  # fmt: skip
IDLE = "memory, idle connections"
# The bare server knows no acks and no numbers: there is nothing to be measured but deliveries. What records nothing
# is not asked for ingest or the memory of what is kept, and what isn't a WebSocket not for latency.
ONLY = {
    "bare": ("deliveries",),
    "redis-everysec": ("deliveries", "ingest", "memory", "catch-up"),
    "redis-always": ("deliveries", "ingest"),
    "nats": ("deliveries", "latency", IDLE),
    "mosquitto": ("deliveries", "latency", IDLE),
    "mosquitto-tcp": ("deliveries", IDLE),
    "socketio": ("deliveries", "latency", IDLE),
}


def _numbers(text: str) -> list[int]:
    numbers = [int(part) for part in text.split(",")]
    if any(number < 1 for number in numbers):
        raise argparse.ArgumentTypeError("must be numbers from 1, separated by commas")
    return numbers


def _systems(text: str) -> list[str]:
    names = list(NAMES) if text == "all" else text.split(",")
    if unknown := [name for name in names if name not in NAMES]:
        raise argparse.ArgumentTypeError(f"no system {unknown[0]!r}; there are {', '.join(NAMES)}")
    return names


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, not {text!r}")
    return name, value


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures the recorder beside the obvious build (websockets' broadcast and an awaited "
        "INSERT per delta), in one run on this machine, in turn, and prints ratios. Fails only when "
        "something is wrong, such as a lost delta; never because of a figure.",
    )
    plan = Plan()
    add = made.add_argument
    add("measures", nargs="*", metavar="MEASURE", help=f"of {', '.join(MEASURES)}; all unless given")
    add(
        "--systems",
        type=_systems,
        metavar="A,B",
        help=f"of {', '.join(NAMES)}; or all (recorder,obvious)",
    )
    add(
        "--install",
        action="store_true",
        help="install what the --systems (here all) need (apt, where root; npm and pip into folders of the "
        "benchmark's own), and measure nothing",
    )
    add("--bare", action="store_true", help="deliveries by bare sockets, too: the limit of the harness")
    add("--subscribers", type=_numbers, metavar="N,M", help="deliveries: how many (1,100)")
    add("--rounds", type=int, metavar="N", help="of each figure; their median counts (3)")
    add(
        "--size",
        "--sizes",
        dest="sizes",
        type=_numbers,
        metavar="N,M",
        help=f"bytes of a delta's JSON text ({plan.size}); deliveries are measured at each, all else at the first",
    )
    add(
        "--full",
        action="store_true",
        help="all systems, 1,100,1000 subscribers, sizes 500,5000 and rows 100000,1000000 unless others are asked for",
    )
    add("--seconds", type=float, metavar="S", help=f"of each throughput measurement, about ({plan.seconds})")
    add("--rate", type=int, metavar="N", help=f"latency: deltas/s ({plan.rate})")
    add("--readers", type=int, metavar="N", help=f"latency: how many ({plan.readers})")
    add("--preload", type=int, metavar="N", help=f"latency: deltas recorded beforehand ({plan.preload})")
    add(
        "--rows",
        type=_numbers,
        metavar="N,M",
        help="recorded already, ascending, for what could grow with them (10000,100000)",
    )
    add("--quick", action="store_true", help="a short look whether everything works; its figures mean little")
    add("--json", type=Path, metavar="FILE", help="keep all figures, every round, in this file")
    add("--compare", type=Path, metavar="FILE", help="ratios to an earlier run, kept by --json")
    add("--plot", type=Path, metavar="FILE.svg", help="draw the figures")
    add(
        "--render",
        type=Path,
        metavar="FILE",
        help="measure nothing: a kept run as the documentation's section on speed",
    )
    add("--into", type=Path, metavar="PAGE.md", help="with --render: write it there, between the markers")
    add(
        "--set",
        type=_setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the recorder",
    )
    add("--baseline-uvloop", action="store_true", help="give the obvious build uvloop")
    return made


def plan_of(arguments: argparse.Namespace) -> Plan:
    """The plan that the options ask for."""
    base = QUICK if arguments.quick else FULL if arguments.full else Plan()
    chosen = {
        name: value
        for name in ("seconds", "rate", "readers", "preload")
        if (value := getattr(arguments, name)) is not None
    }
    if arguments.rows:
        chosen["rows"] = tuple(arguments.rows)
    return replace(base, size=sizes_of(arguments)[0], **chosen)


def sizes_of(arguments: argparse.Namespace) -> list[int]:
    """The sizes of deltas that the options ask for, in bytes."""
    sizes: list[int] = arguments.sizes or ([USUAL_SIZE, 10 * USUAL_SIZE] if arguments.full else [USUAL_SIZE])
    return sizes


def systems_of(arguments: argparse.Namespace) -> list[System]:
    """The systems that the options ask for."""
    every = arguments.full or arguments.install
    names = arguments.systems or (list(NAMES) if every else ["recorder", "obvious"])
    if arguments.bare and "bare" not in names:
        names = [*names, "bare"]
    asked = Options(tuple(arguments.set), arguments.baseline_uvloop)
    return [named(name, asked) for name in names]


def measures_of(arguments: argparse.Namespace, plan: Plan, shelf: Shelf) -> list[Measure]:
    """Return what the options ask to measure."""
    names = arguments.measures or MEASURES
    subscribers = arguments.subscribers or ([1, 100, 1000] if arguments.full else [1, 100])
    plans = [replace(plan, size=size) for size in sizes_of(arguments)]
    made: dict[str, list[Measure]] = {
        "deliveries": [Deliveries(each, count) for each in plans for count in subscribers],
        "ingest": [Ingest(plan, 1), Ingest(plan, 100)],
        "latency": [Latency(plan)],
        **growing.growing(plan, shelf),
    }
    return [measure for name in MEASURES if name in names for measure in made[name]]


def _check(made: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    if unknown := [name for name in arguments.measures if name not in MEASURES]:
        made.error(f"no measure {unknown[0]!r}; there are {', '.join(MEASURES)}")
    if any(not MIN_SIZE <= size <= MAX_SIZE or size % 2 for size in sizes_of(arguments)):
        made.error(f"--size must be even, {MIN_SIZE} to {MAX_SIZE}")
    if arguments.rows and (len(arguments.rows) < 2 or arguments.rows != sorted(set(arguments.rows))):
        made.error("--rows must be two numbers or more, ascending")
    if arguments.into and not arguments.render:
        made.error("--into goes with --render")
    for name in ("rounds", "rate", "readers", "preload", "seconds"):
        if (value := getattr(arguments, name)) is not None and value <= 0:
            made.error(f"--{name} must be above 0")


def _stop(number: int, _: object) -> NoReturn:
    # As an exception, so that everything that was started is ended and removed.
    raise SystemExit(128 + number)


def _allow_many_files() -> None:
    """Lets the processes of the run, which inherit it, have thousands of connections, as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    # Not simply the hard limit, which may be a billion: some servers reserve memory for each file they may have.
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark.

    Returns:
        0, or 1 when something was wrong.
    """
    made = parser()
    arguments = made.parse_args(argv)
    _check(made, arguments)
    signal.signal(signal.SIGTERM, _stop)
    _allow_many_files()
    try:
        if arguments.install:
            return 0 if install(systems_of(arguments), lambda line: sys.stdout.write(f"{line}\n")) else 1
        # Read first: whether it can be read is better known before a long run than after it.
        earlier = load(arguments.compare) if arguments.compare else None
        if arguments.render:
            return _render(arguments, earlier)
        return _measure(arguments, earlier)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _render(arguments: argparse.Namespace, earlier: dict[str, Any] | None) -> int:
    kept = load(arguments.render)
    section = as_markdown(kept)
    if arguments.into:
        write_into(arguments.into, section)
    else:
        sys.stdout.write(section)
    _afterwards(arguments, kept, earlier)
    return 0


def _afterwards(arguments: argparse.Namespace, kept: dict[str, Any], earlier: dict[str, Any] | None) -> None:
    if earlier is not None:
        sys.stdout.write("\n" + compared(kept, earlier))
    if arguments.plot:
        arguments.plot.write_text(as_svg(kept))


def _measure(arguments: argparse.Namespace, earlier: dict[str, Any] | None) -> int:
    plan, systems = plan_of(arguments), systems_of(arguments)
    rounds = arguments.rounds or (1 if arguments.quick else 3)
    # Whether the machine had other things to do; at the end, it would be the benchmark's own.
    load_at_start = round(os.getloadavg()[0], 1)
    lacks = {system.name: "; ".join(missing(system.needs)) for system in systems}
    systems = [system for system in systems if not lacks[system.name]]
    with tempfile.TemporaryDirectory(prefix="recorder-bench-") as folder:
        shelf = Shelf(Path(folder), plan)
        results = run(measures_of(arguments, plan, shelf), systems, rounds, ONLY, growing.OF)
    results.skipped = {name: lacking for name, lacking in lacks.items() if lacking}
    if not systems:
        results.problems.append("nothing could be measured")
    options: dict[str, Any] = {
        "rounds": rounds,
        "quick": arguments.quick,
        "recorder_settings": dict(arguments.set),
        "baseline_uvloop": arguments.baseline_uvloop,
        "sizes": sizes_of(arguments),
        "load_at_start": load_at_start,
        **{name: getattr(plan, name) for name in Plan.__dataclass_fields__},
    }
    sys.stdout.write(as_text(results, systems, options))
    kept = as_json(results, systems, options)
    if arguments.json:
        arguments.json.write_text(json.dumps(kept, indent=1) + "\n")
    _afterwards(arguments, kept, earlier)
    return 1 if results.problems else 0
