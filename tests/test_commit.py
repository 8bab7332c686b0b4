"""`DURABILITY=commit`: what is acked or seen is on disk; what the disk refuses was never there; and it recovers."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.frames import CloseCode

from recorder.app import open_recorder
from recorder.core.errors import StoreError, StoreUnreadable
from recorder.store.sqlite.commit_log import MAGIC, segment_files
from tests.support.app import App, delta, running_app, settings_for, some, turn_until
from tests.support.store import file_rows


@contextmanager
def full_disk(app: App) -> Iterator[None]:
    """The commit log's file may not grow within the block: every write to it fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def database(folder: Path) -> Path:
    return folder / "sessions.sqlite"


async def test_an_ack_says_durable_and_so_do_hello_and_stats(tmp_path: Path) -> None:
    async with running_app(tmp_path, durability="commit") as app, app.connect("/publish") as wire:
        hello = await wire.event()
        assert (hello["durability"], hello["lossWindowMs"]) == ("commit", 0)
        await wire.text(some(3))
        ack = await wire.event()
        assert (ack["seq"], ack["durable"]) == (3, True)
        async with httpx.AsyncClient(base_url=app.url, trust_env=False) as client:
            stats = (await client.get("/api/stats")).json()
            assert (stats["durability"], stats["lossWindowMs"], stats["durable"]) == ("commit", 0, 3)
            answer = await client.post("/api/deltas", json=delta())
            assert answer.json() == {"epoch": app.epoch, "firstSeq": 4, "seq": 4, "count": 1, "durable": True}
        # On disk, and not yet in the file.
        assert file_rows(database(tmp_path)) == []
        assert len(segment_files(database(tmp_path))) == 1
    assert len(file_rows(database(tmp_path))) == 4
    assert segment_files(database(tmp_path)) == []


async def test_nobody_sees_a_delta_before_it_is_on_disk(tmp_path: Path) -> None:
    async with running_app(tmp_path, durability="commit") as app, app.connect() as live:
        await live.until("live")
        await app.publish(delta("a", 1))
        assert (await live.event())["seq"] == 1
        app.publish_nowait(delta("a", 2), delta("b", 1))
        # They have their numbers; what may be seen, the head, the states, is as before.
        assert (app.head, app.recorder.ingest._sequencer.head) == (1, 3)
        assert app.recorder.hub.states(None) == [(1, "a", '{"n":1}')]
        assert await live.deltas(3) == [2, 3]
        assert app.recorder.recording.durable == 3
        assert app.recorder.hub.states(None) == [(2, "a", '{"n":2}'), (3, "b", '{"n":1}')]


async def test_what_the_disk_refuses_is_answered_with_an_error_and_was_never_there(tmp_path: Path) -> None:
    async with (
        running_app(tmp_path, durability="commit") as app,
        app.connect("/publish") as wire,
        app.connect("/publish?ack=none") as quiet,
        app.connect() as live,
    ):
        await live.until("live")
        await wire.event()
        await quiet.event()
        await app.publish(delta("a", 1, id="one"))
        with full_disk(app):
            await wire.texts([delta("a", 2, id="two"), delta("b", 1)])
            refused = [await wire.event(), await wire.event()]
            assert [event["code"] for event in refused] == ["store_error"] * 2
            assert "File too large" in refused[0]["message"]
            await quiet.text(delta("c"))
            assert (await quiet.event())["code"] == "store_error"
            with pytest.raises(StoreError, match="when /readyz is green"):
                await app.publish(delta("d"))
            async with httpx.AsyncClient(base_url=app.url, trust_env=False) as client:
                answer = await client.get("/readyz")
                assert (answer.status_code, "File too large" in answer.text) == (503, True)
                posted = await client.post("/api/deltas", json=delta())
                assert (posted.status_code, posted.json()["code"]) == (503, "store_error")
            assert (app.head, app.recorder.ingest._sequencer.head) == (1, 1)
            assert app.recorder.hub.states(None) == [(1, "a", '{"n":1}')]
        # It recovers by itself, and the same numbers, ids and states are free.
        await turn_until(lambda: app.recorder.not_ready() is None)
        assert await app.publish(delta("a", 3, id="two")) == 2
        first, second = await live.event(), await live.event()
        assert (first["seq"], second["seq"]) == (1, 2)
        assert second["delta"]["before"] == {"n": 1}
    rows = file_rows(database(tmp_path))
    assert [(row[0], row[7]) for row in rows] == [(1, "one"), (2, "two")]


async def test_an_id_of_before_stays_known_when_what_came_after_is_rolled_back(tmp_path: Path) -> None:
    async with running_app(tmp_path, durability="commit") as app:
        await app.publish(delta("a", 1, id="one"))
        with full_disk(app), pytest.raises(StoreError):
            await app.publish(delta("a", 1, id="one"), delta("a", 2, id="two"))
        await turn_until(lambda: app.recorder.not_ready() is None)
        assert await app.publish(delta("a", 1, id="one")) == 1


async def test_a_commit_log_removed_under_it_costs_nothing_that_was_acked(tmp_path: Path) -> None:
    async with running_app(tmp_path, durability="commit", snapshot_interval=86_400_000) as app:
        await app.publish(*some(5))
        (segment,) = segment_files(database(tmp_path))
        segment.path.unlink()
        with pytest.raises(StoreError, match="No such file"):
            await app.publish(delta("x"))
        assert app.recorder.recording.durable == app.recorder.recording.on_file
        await turn_until(lambda: app.recorder.not_ready() is None)
        # A snapshot has brought what was acked to the file before anything else is acked.
        assert len(file_rows(database(tmp_path))) == 5
        assert await app.publish(delta("x")) == 6


async def crash(folder: Path, copy: Path, **flags: Any) -> None:
    """What a power cut would leave of a recorder with ten deltas, four of them in the file: copied to `copy`."""
    async with running_app(folder, durability="commit", snapshot_interval=86_400_000, **flags) as app:
        await app.publish(*some(4, "a"))
        await app.recorder.maintenance.snapshot()
        await app.publish(*some(6, "b"))
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.lock"))


@pytest.mark.parametrize("durability", ["commit", "snapshot"])
async def test_after_a_crash_the_epoch_goes_on_with_everything_whatever_the_mode_now(
    tmp_path: Path, durability: str
) -> None:
    await crash(tmp_path / "a", tmp_path / "b")
    async with running_app(tmp_path / "b", durability=durability) as app:
        recording = app.recorder.recording
        assert (app.head, recording.durable, recording.on_file) == (10, 10, 4)
        async with app.connect(f"/ws?since={app.at(3)}") as wire:
            assert await wire.deltas(10) == list(range(4, 11))
        await app.recorder.maintenance.snapshot()
        # What is in the file is in no segment; with `commit` an empty one is there for what comes.
        left = segment_files(database(tmp_path / "b"))
        assert [segment.path.read_bytes() for segment in left] == [MAGIC] * (durability == "commit")
        epoch = app.epoch
    rows = file_rows(database(tmp_path / "b"), "SELECT epoch FROM epochs")
    assert rows == [(epoch,)]


async def test_a_crash_in_snapshot_mode_after_one_in_commit_mode_begins_a_new_epoch(tmp_path: Path) -> None:
    await crash(tmp_path / "a", tmp_path / "b")
    async with running_app(tmp_path / "b", durability="snapshot") as app:
        epoch = app.epoch
        await app.publish(delta("only in memory"))
        shutil.copytree(tmp_path / "b", tmp_path / "c", ignore=shutil.ignore_patterns("*.lock"))
    async with running_app(tmp_path / "c", durability="snapshot") as app:
        assert app.epoch != epoch
        assert app.head == 10


async def test_a_torn_end_of_the_commit_log_is_dropped_and_said(tmp_path: Path) -> None:
    await crash(tmp_path / "a", tmp_path / "b")
    segment = segment_files(database(tmp_path / "b"))[-1].path
    segment.write_bytes(segment.read_bytes() + b"G\x00\x00\x01")
    async with running_app(tmp_path / "b", durability="commit") as app:
        assert app.head == 10


async def test_damage_in_the_commit_log_refuses_the_start_and_leaves_everything_as_it_is(
    tmp_path: Path,
) -> None:
    await crash(tmp_path / "a", tmp_path / "b")
    segment = segment_files(database(tmp_path / "b"))[-1].path
    flipped = bytearray(segment.read_bytes())
    flipped[200] ^= 1
    segment.write_bytes(flipped)
    before = database(tmp_path / "b").read_bytes()
    with pytest.raises(StoreUnreadable, match=r"damaged at byte 19; deltas up to seq 10 were acked"):
        async with open_recorder(settings_for(tmp_path / "b", durability="commit")):
            pass
    assert segment.read_bytes() == flipped
    assert database(tmp_path / "b").read_bytes() == before


@pytest.mark.parametrize("byte", [25, 400, -200])
async def test_damage_in_the_commit_log_that_is_accepted_costs_what_is_behind_it_and_the_epoch(
    tmp_path: Path, byte: int
) -> None:
    async with running_app(tmp_path / "a", durability="commit", snapshot_interval=86_400_000) as app:
        await app.publish(*some(4, "a"))
        await app.recorder.maintenance.snapshot()
        for n in range(6):
            await app.publish(delta("b", n))
        shutil.copytree(tmp_path / "a", tmp_path / "b", ignore=shutil.ignore_patterns("*.lock"))
        epoch = app.epoch
    segment = segment_files(database(tmp_path / "b"))[-1].path
    flipped = bytearray(segment.read_bytes())
    flipped[byte] ^= 1
    segment.write_bytes(flipped)
    async with running_app(tmp_path / "b", durability="commit", allow_data_loss="on") as app:
        head = app.head
        assert 4 <= head < 10
        assert app.epoch > epoch
        async with httpx.AsyncClient(base_url=app.url, trust_env=False) as client:
            loss = (await client.get("/api/stats")).json()["lastLoss"]
        assert loss["lost"] == [{"first": head + 1, "last": 10}]
        assert await app.publish(delta("c")) == head + 1
        (copy,) = (tmp_path / "b").glob("*.corrupt-*")
        assert copy.read_bytes() == flipped
        shutil.copytree(tmp_path / "b", tmp_path / "c", ignore=shutil.ignore_patterns("*.lock"))
    async with running_app(tmp_path / "c", durability="commit") as app:
        assert app.head == head + 1


async def test_a_segment_that_is_missing_is_noticed(tmp_path: Path) -> None:
    await crash(tmp_path / "a", tmp_path / "b")
    async with running_app(tmp_path / "b", durability="commit", snapshot_interval=86_400_000) as app:
        await app.publish(delta("more"))
        shutil.copytree(tmp_path / "b", tmp_path / "c", ignore=shutil.ignore_patterns("*.lock"))
    first, *_ = segment_files(database(tmp_path / "c"))
    first.path.unlink()
    with pytest.raises(StoreUnreadable, match="deltas 5 to 10 are missing"):
        async with open_recorder(settings_for(tmp_path / "c")):
            pass


async def test_a_file_has_a_signed_head_from_its_first_moment_on(tmp_path: Path) -> None:
    async with running_app(tmp_path, durability="commit", snapshot_interval=86_400_000):
        rows = file_rows(database(tmp_path), "SELECT seq, count, length(signature) FROM heads")
        assert rows == [(0, 0, 64)]


async def test_pruning_keeps_what_is_only_in_the_commit_log(tmp_path: Path) -> None:
    async with running_app(tmp_path, durability="commit", snapshot_interval=86_400_000) as app:
        await app.publish(*some(4))
        await app.recorder.maintenance.snapshot()
        await app.publish(*some(4))
        assert await app.recorder.recording.prune(8, "all") == 4
        assert app.recorder.recording.oldest == 5


async def test_stopping_in_order_answers_what_was_sent_first(tmp_path: Path) -> None:
    async with running_app(tmp_path, durability="commit") as app, app.connect("/publish") as wire:
        await wire.event()
        await wire.texts([delta(n=n) for n in range(100)])
        assert [event["seq"] for event in await wire.take(100)] == list(range(1, 101))
        app.gateway.stop_ingest()
        for connection in list(app.gateway.connections._sockets):
            connection.shutdown()
        assert (await wire.ending()).code == CloseCode.GOING_AWAY


async def test_while_another_file_has_the_databases_place_nothing_is_acked(tmp_path: Path) -> None:
    """What was acked before is not all on disk then: a new ack would promise more than a start could keep."""
    path = database(tmp_path)
    async with running_app(tmp_path, durability="commit", snapshot_interval=86_400_000) as app:
        await app.publish(*some(5))
        await app.recorder.maintenance.snapshot()
        path.rename(tmp_path / "ours")
        path.write_bytes(b"somebody else's")
        with pytest.raises(StoreError, match="another file has taken its place"):
            await app.recorder.maintenance.snapshot(even_if_clean=True)
        with pytest.raises(StoreError, match="the database file is gone"):
            await app.publish(delta("x"))
        assert path.read_bytes() == b"somebody else's"
        path.unlink()
        await turn_until(lambda: app.recorder.recording.disk_error is None)
        assert await app.publish(delta("x")) == 6
        assert app.recorder.recording.durable == 6
    assert len(file_rows(path)) == 6
