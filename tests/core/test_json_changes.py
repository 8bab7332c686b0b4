"""What changed, in one line: the rule itself, and that the page's feed has the same one."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from recorder.core.json_changes import summarise

CASES: list[tuple[str, str | None, str | None]] = [
    ("created", None, '{"task":"build","plan":[1,2],"n":0}'),
    ("created", '{"old":1}', '{"new":1}'),
    ("created", None, "[1,2,3]"),
    ("created", None, '{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6}'),
    ("created", None, "{}"),
    ("created", None, '{"":""}'),
    ("updated", None, '{"a":{"b":1},"c":[]}'),
    ("updated", '{"tool":{"status":"running"}}', '{"tool":{"status":"failed"}}'),
    ("updated", '{"n":1,"status":"a"}', '{"n":2,"status":"b"}'),
    ("updated", '{"n":1}', '{"n":1}'),
    ("updated", '{"n":1.0}', '{"n":1}'),
    ("updated", '{"n":123456789012345678901234567890}', '{"n":123456789012345678901234567891}'),
    ("updated", '{"a":1,"b":2,"c":3}', '{"c":3,"a":1}'),
    ("updated", '{"b":1,"a":1}', '{"a":1}'),
    (
        "updated",
        '{"plan":[{"id":1,"s":"a"},{"id":2,"s":"b"}]}',
        '{"plan":[{"id":0},{"id":1,"s":"a"},{"id":2,"s":"c"}]}',
    ),
    ("updated", "[1,2,3,4]", "[0,2,4,5,6]"),
    ("updated", "[1,2,3]", "[3]"),
    ("updated", '["a"]', '["a","b"]'),
    ("updated", '"x"', '"y"'),
    ("updated", "1", "[1]"),
    ("updated", '{"t":"' + "long " * 40 + '"}', '{"t":"line\\nbreak"}'),
    ("updated", '{"a.b":1,"c":{"0":1}}', '{"a.b":2,"c":{"0":"x"}}'),
    ("updated", '{"a":null}', '{"a":1}'),
    ("updated", '{"a":1}', "null"),
    ("updated", '{"a":{"x":1}}', '{"a":{ "x" : 1 }}'),
    ("updated", '{"\\u0061":1}', '{"a":1}'),
    ("updated", '{"a":1,"b":1,"c":1,"d":1,"e":1}', '{"a":"2","b":"2","c":"2","d":"2","e":2}'),
    ("deleted", '{"a":1}', None),
]


@pytest.mark.parametrize(
    ("kind", "before", "after", "line"),
    [
        (
            "updated",
            '{"tool":{"status":"running"}}',
            '{"tool":{"status":"failed"}}',
            "tool.status: running → failed",
        ),
        ("updated", '{"n":1,"plan":["a"]}', '{"n":2,"plan":["a","b"]}', "+ plan[1]: b · n: 1 → 2"),
        ("updated", '{"a":1,"b":2}', '{"b":2}', "− a"),
        ("updated", '{"a":1}', '{"a":1}', "nothing changed"),
        ("created", None, '{"task":"x","plan":[1]}', "task: x · plan: […]"),
        ("deleted", '{"a":1}', None, "deleted"),
    ],
)
def test_a_delta_is_told_by_what_it_changed(
    kind: str, before: str | None, after: str | None, line: str
) -> None:
    assert summarise(kind, before, after) == line


def test_erased_content_is_said_to_be_erased() -> None:
    assert summarise("updated", None, None, erased=True) == "erased"


def test_a_state_that_is_large_or_deep_is_not_compared_for_a_line() -> None:
    assert "too large" in summarise("updated", '"' + "a" * (3 << 20) + '"', '"' + "b" * (3 << 20) + '"')
    deep = "[" * 499 + "1" + "]" * 499
    assert summarise("updated", deep, deep.replace("1", "2"))


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_the_page_tells_the_same_of_each_delta(tmp_path: Path, project_root: Path) -> None:
    entries = []
    for seq, (kind, before, after) in enumerate(CASES, 1):
        members = [f'"type":"{kind}","sessionId":"s","timestamp":""']
        members += [
            f'"{name}":{text}' for name, text in (("before", before), ("after", after)) if text is not None
        ]
        entries.append(f'{{"seq":{seq},"recordedAt":"","delta":{{{",".join(members)}}}}}')
    # As a recorder serves them: the page's modules under /assets/, the client's beside that.
    shutil.copytree(project_root / "recorder/web/dashboard", tmp_path / "assets")
    shutil.copytree(project_root / "recorder/web/sdk/client", tmp_path / "client")
    summary = (tmp_path / "assets/summary.js").as_uri()
    script = tmp_path / "tell.mjs"
    script.write_text(
        f"import {{ summaryOf }} from {json.dumps(summary)};\n"
        f"console.log(JSON.stringify({json.dumps(entries)}.map(summaryOf)));\n"
    )
    done = subprocess.run(["node", str(script)], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == [summarise(*case) for case in CASES]
