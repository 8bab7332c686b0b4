"""How much memory there is to use."""

from __future__ import annotations

from pathlib import Path

from recorder.memory import available_memory


def test_the_least_of_what_machine_and_container_give_counts(tmp_path: Path) -> None:
    machine = available_memory([])
    assert machine is not None
    assert machine > 1 << 20
    (tmp_path / "v2").write_text("max\n")
    (tmp_path / "v1").write_text("9223372036854771712\n")
    (tmp_path / "odd").write_bytes(b"\xff\n")
    files = [tmp_path / name for name in ("v2", "v1", "odd", "none")]
    assert available_memory(files) == machine
    (tmp_path / "v2").write_text("1048576\n")
    assert available_memory(files) == 1_048_576
