"""An id names one delta for ever: across restarts, crashes, pruning and erasing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from recorder.core.clock import FakeClock
from tests.support.app import delta, running_app
from tests.support.http import client, get, refused
from tests.support.server import ServerProcess

AT = "2026-11-20T12:00:00.000Z"


async def publish(http: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    response = await http.post("/api/deltas", json=delta(**fields))
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


@pytest.mark.parametrize("durability", ["snapshot", "commit"])
async def test_a_repetition_is_known_after_stops_prunes_and_erasures(tmp_path: Path, durability: str) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock, durability=durability) as app, client(app) as http:
        first = await publish(http, session="a", after={"n": 1}, id="one")
        await publish(http, session="b", after=2, id="two", timestamp=AT)
        again = await publish(http, session="a", after={"n": 1}, id="one")
        assert again == {**first, "duplicates": 1, "durable": again["durable"]}
    async with running_app(tmp_path, clock=clock, durability=durability) as app, client(app) as http:
        assert (await publish(http, session="a", after={"n": 1}, id="one"))["seq"] == 1
        assert app.epoch == first["epoch"]
        # The content as it was sent counts: its bytes, and whether there was a time.
        for other in ({"n": 2}, {"n": 1.0}):
            await refused(
                await http.post("/api/deltas", json=delta(session="a", after=other, id="one")),
                409,
                "conflict",
            )
        stamped = delta(session="a", after={"n": 1}, id="one", timestamp=AT)
        await refused(await http.post("/api/deltas", json=stamped), 409, "conflict")
        clock.advance(60)
        assert (await http.post("/api/admin/prune", json={"olderThan": "2999-01-01T00:00:00Z"})).json()[
            "deleted"
        ] == 2
        assert (await http.post("/api/admin/erase", json={"sessionId": "a"})).json()["receipt"][
            "lastSeq"
        ] == 1
    async with running_app(tmp_path, clock=clock, durability=durability) as app, client(app) as http:
        assert (await publish(http, session="a", after={"n": 1}, id="one"))["seq"] == 1
        assert (await publish(http, session="b", after=2, id="two", timestamp=AT))["seq"] == 2
        assert (await publish(http, session="b", after=3, id="three"))["seq"] == 3
        assert (await get(http, "/api/stats"))["deltaCount"] == 1
        async with app.connect("/publish") as wire:
            await wire.until("hello")
            await wire.text([delta("b", after=3, id="three"), delta("b", after=4, id="four")])
            ack = await wire.event()
            assert (ack["firstSeq"], ack["seq"], ack["duplicates"]) == (3, 4, 1)


async def test_every_id_that_is_kept_is_known_after_a_restart_as_before_it(tmp_path: Path) -> None:
    async with running_app(tmp_path, dedupe_ids=2) as app, client(app) as http:
        for number in range(1, 4):
            await publish(http, after=number, id=f"{number}")
    async with running_app(tmp_path, dedupe_ids=2) as app, client(app) as http:
        seqs = [(await publish(http, after=number, id=f"{number}"))["seq"] for number in (3, 2, 1)]
        assert seqs == [3, 2, 1]


async def test_more_deltas_than_ids_are_remembered_are_not_doubled_when_they_come_again(
    tmp_path: Path,
) -> None:
    lines = [delta(f"s{number % 7}", after=number, id=f"{number}") for number in range(1050)]
    async with running_app(tmp_path, dedupe_ids=100) as app, client(app) as http:
        for again in range(2):
            known = 0
            for start in range(0, 1050, 50):
                answer = await http.post("/api/deltas", json=lines[start : start + 50])
                known += answer.json().get("duplicates", 0)
            assert known == 1050 * again
        assert (await get(http, "/api/stats"))["deltaCount"] == 1050
        changed = await http.post("/api/deltas", json={**lines[3], "after": "other"})
        await refused(changed, 409, "conflict")


@pytest.mark.parametrize("durability", ["snapshot", "commit"])
def test_after_a_crash_an_id_is_known_exactly_where_its_delta_is(tmp_path: Path, durability: str) -> None:
    flags = ("--persist", "--durability", durability)
    with ServerProcess(tmp_path, *flags) as server:

        def send(**fields: Any) -> dict[str, Any]:
            answer = httpx.post(f"{server.url}/api/deltas", json=delta(**fields), trust_env=False)
            assert answer.status_code == 201, answer.text
            found: dict[str, Any] = answer.json()
            return found

        kept = send(after=1, id="kept")
        assert httpx.post(f"{server.url}/api/admin/snapshot", trust_env=False).status_code == 200
        lost = send(after=2, id="late")
        assert (kept["seq"], lost["seq"], lost["durable"]) == (1, 2, durability == "commit")
        server.kill()
        server.start()
        again = [send(after=1, id="kept"), send(after=2, id="late")]
        assert [answer["seq"] for answer in again] == [1, 2]
        # What was acked as being on disk is a repetition; what was lost is recorded anew, in another epoch.
        assert [answer.get("duplicates", 0) for answer in again] == [1, int(durability == "commit")]
        assert (again[1]["epoch"] == lost["epoch"]) == (durability == "commit")
