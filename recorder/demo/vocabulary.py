"""The work of the demonstration's agents: jobs with their steps and tool calls. Data, no code.

Braces are filled in for each session; every value is made up.
"""

from __future__ import annotations

from typing import NamedTuple


class Call(NamedTuple):
    """A tool call of a step.

    Args:
        tool: Its name.
        input: Its arguments.
        output: What it gives when it succeeds.
        error: What it says when it fails.
        approval: What a person is asked first; empty where nobody is asked.
    """

    tool: str
    input: dict[str, str]
    output: str
    error: str
    approval: str = ""


class Job(NamedTuple):
    """Something an agent is asked to do.

    Args:
        agent: Which agent does it.
        task: What it was asked.
        steps: Titles of the plan's steps, each with its tool calls.
        result: What it says at the end.
    """

    agent: str
    task: str
    steps: tuple[tuple[str, tuple[Call, ...]], ...]
    result: str


VALUES: dict[str, tuple[str, ...]] = {
    "module": ("billing", "search", "exports", "inbox", "catalogue", "scheduler", "uploads", "sessions"),
    "file": ("parser.py", "retry.py", "cursor.py", "limits.py", "totals.py", "render.py", "paging.py"),
    "service": ("api-gateway", "worker-pool", "mail-relay", "thumbnailer", "ledger", "feed-builder"),
    "table": ("orders", "invoices", "shipments", "refunds", "visits", "subscriptions"),
    "package": ("httpkit", "yamlet", "fastqueue", "imgtools", "dateparse", "tinylog"),
    "region": ("north-1", "south-2", "east-3", "west-1"),
}

JOBS: tuple[Job, ...] = (
    Job(
        "code-agent",
        "Fix the failing test in {module}/{file} (ticket {ticket})",
        (
            (
                "Reproduce the failure",
                (
                    Call(
                        "run_tests",
                        {"path": "tests/{module}", "args": "-x -q"},
                        "1 failed, {n} passed in {s}s: AssertionError at {module}/{file}:{line}",
                        "collection error: cannot import name 'normalise' from '{module}'",
                    ),
                ),
            ),
            (
                "Find the cause",
                (
                    Call(
                        "search_code",
                        {"query": "def normalise", "in": "{module}/"},
                        "{module}/{file}:{line}: def normalise(value, *, strict=False):",
                        "index is being rebuilt, try again",
                    ),
                    Call(
                        "read_file",
                        {"path": "{module}/{file}", "lines": "{line}-+40"},
                        "40 lines read; the last element is dropped when the page is exactly full",
                        "file changed while it was read",
                    ),
                ),
            ),
            (
                "Change the code",
                (
                    Call(
                        "edit_file",
                        {
                            "path": "{module}/{file}",
                            "replace": "if len(page) > size:",
                            "with": "if len(page) >= size:",
                        },
                        "1 replacement in {module}/{file}",
                        "the text to replace was found 0 times",
                    ),
                ),
            ),
            (
                "Run all tests",
                (
                    Call(
                        "run_tests",
                        {"path": "tests", "args": "-q"},
                        "{n} passed in {s}s",
                        "timed out after 120 s",
                    ),
                ),
            ),
            (
                "Push the branch",
                (
                    Call(
                        "git_push",
                        {"branch": "fix/{ticket}"},
                        "pushed 1 commit to fix/{ticket}",
                        "remote rejected the push: branch is behind",
                        "Push branch fix/{ticket}?",
                    ),
                ),
            ),
        ),
        "Off by one in {module}/{file}: a full page lost its last element. Fixed, tested, pushed as fix/{ticket}.",
    ),
    Job(
        "ops-agent",
        "Find out why {service} in {region} is slow",
        (
            (
                "Look at the metrics",
                (
                    Call(
                        "query_metrics",
                        {"service": "{service}", "series": "latency_p99", "window": "1h"},
                        "p99 {n} ms, was {line} ms yesterday; rises since 40 minutes",
                        "upstream timeout",
                    ),
                    Call(
                        "query_metrics",
                        {"service": "{service}", "series": "memory", "window": "1h"},
                        "instances 2 and 5 at 91 %, the others at 55 %",
                        "upstream timeout",
                    ),
                ),
            ),
            (
                "Read the logs",
                (
                    Call(
                        "search_logs",
                        {"service": "{service}", "query": "level:error", "limit": "50"},
                        "{n} lines; most frequent: connection pool exhausted (waited 5000 ms)",
                        "query rejected: too many results",
                    ),
                ),
            ),
            (
                "Restart the instances that are stuck",
                (
                    Call(
                        "restart_instance",
                        {"service": "{service}", "instance": "2", "region": "{region}"},
                        "instance 2 restarted, healthy after {s} s",
                        "health check failed after 60 s",
                        "Restart instance 2 of {service} in {region}?",
                    ),
                ),
            ),
            (
                "Watch for ten minutes",
                (
                    Call(
                        "query_metrics",
                        {"service": "{service}", "series": "latency_p99", "window": "10m"},
                        "p99 {line} ms, steady",
                        "upstream timeout",
                    ),
                ),
            ),
        ),
        "Two instances of {service} had run out of connections; after the restart p99 is back at its usual value.",
    ),
    Job(
        "data-agent",
        "Reconcile {table} with the warehouse for last week",
        (
            (
                "Count on both sides",
                (
                    Call(
                        "run_query",
                        {"db": "primary", "sql": "SELECT count(*) FROM {table} WHERE week = 34"},
                        "{n}412 rows in {s} s",
                        "canceling statement due to statement timeout",
                    ),
                    Call(
                        "run_query",
                        {"db": "warehouse", "sql": "SELECT count(*) FROM {table} WHERE week = 34"},
                        "{n}409 rows in {s} s",
                        "warehouse is suspended, resuming",
                    ),
                ),
            ),
            (
                "Find the rows that differ",
                (
                    Call(
                        "run_query",
                        {
                            "db": "primary",
                            "sql": "SELECT id FROM {table} EXCEPT SELECT id FROM staged.{table}",
                        },
                        "3 rows: {line}07, {line}11, {line}38; all updated during the nightly copy",
                        "relation staged.{table} does not exist",
                    ),
                ),
            ),
            (
                "Copy them again",
                (
                    Call(
                        "run_job",
                        {"job": "copy-{table}", "ids": "{line}07,{line}11,{line}38"},
                        "3 rows copied",
                        "job queue is full",
                        "Write 3 rows of {table} to the warehouse?",
                    ),
                ),
            ),
        ),
        "3 rows of {table} were missing, changed while the nightly copy ran. Copied; both sides agree.",
    ),
    Job(
        "support-agent",
        "Answer ticket {ticket}: export from {module} arrives empty",
        (
            (
                "Read the ticket",
                (
                    Call(
                        "get_ticket",
                        {"id": "{ticket}"},
                        "customer reports an empty file since the last release; plan: team; {s} messages",
                        "rate limit reached",
                    ),
                ),
            ),
            (
                "Look for a known problem",
                (
                    Call(
                        "search_docs",
                        {"query": "{module} export empty file filter"},
                        "2 articles; the second: a saved filter with no matching rows gives an empty file",
                        "search is unavailable",
                    ),
                    Call(
                        "get_settings",
                        {"account": "acct-{line}", "area": "{module}"},
                        "saved filter 'active only' matches 0 rows",
                        "not permitted for this account",
                        "Read the settings of acct-{line}?",
                    ),
                ),
            ),
            (
                "Write the answer",
                (
                    Call(
                        "reply",
                        {
                            "ticket": "{ticket}",
                            "text": "The saved filter 'active only' matches no rows. Without it…",
                        },
                        "sent",
                        "mail gateway refused the message",
                        "Send the reply to {ticket}?",
                    ),
                ),
            ),
        ),
        "The export was empty because of a saved filter. Explained in {ticket}, with the steps to remove it.",
    ),
    Job(
        "release-agent",
        "Update {package} in {module} and release",
        (
            (
                "Check what changed",
                (
                    Call(
                        "read_changelog",
                        {"package": "{package}", "from": "2.{s}", "to": "3.0"},
                        "1 breaking change: timeout is now in seconds; {s} fixes",
                        "no changelog found for 3.0",
                    ),
                ),
            ),
            (
                "Update and adapt",
                (
                    Call(
                        "edit_file",
                        {
                            "path": "{module}/requirements.txt",
                            "replace": "{package}==2.{s}",
                            "with": "{package}==3.0",
                        },
                        "1 replacement",
                        "file is locked",
                    ),
                    Call(
                        "edit_file",
                        {"path": "{module}/{file}", "replace": "timeout=5000", "with": "timeout=5"},
                        "2 replacements in {module}/{file}",
                        "the text to replace was found 0 times",
                    ),
                ),
            ),
            (
                "Build and test",
                (
                    Call(
                        "build",
                        {"target": "{module}", "profile": "release"},
                        "built in {s} s, {n} tests passed",
                        "resolver: {package} 3.0 conflicts with {package}-extras 2.1",
                    ),
                ),
            ),
            (
                "Release",
                (
                    Call(
                        "deploy",
                        {"service": "{service}", "region": "{region}", "strategy": "rolling"},
                        "4 of 4 instances on the new version",
                        "instance 3 did not become ready",
                        "Deploy {module} with {package} 3.0 to {region}?",
                    ),
                ),
            ),
            (
                "Clean up",
                (Call("delete_branch", {"branch": "bump/{package}"}, "deleted", "branch is protected"),),
            ),
        ),
        "{module} runs on {package} 3.0 in {region}; the timeout's unit was adapted.",
    ),
)
