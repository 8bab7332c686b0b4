"""Verifying what comes: every change of what a link covers is named, and what cannot be verified is said."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.client.decode import Violation
from recorder.client.events import ChainBroken, Delta, Erased, Event, Live, Reset
from recorder.client.proof import Proof, Verifier
from recorder.client.resume import Resume
from recorder.core.chain import GENESIS, content_digest
from recorder.core.delta import Delta as Sent
from recorder.engine.local_subscription import payload
from recorder.engine.sequencer import Sequencer
from recorder.engine.session_states import CurrentStates
from recorder.wire.subscribe import parse_since

NOW_MS = 1_763_640_000_000
DELTAS = (
    Sent("created", "a", None, '{"n": 1e2}', None, None),
    Sent("updated", "a", None, "2", "2026-11-20T12:00:00.000Z", "id-1"),
    Sent("updated", "b", "7", '"ä\\ud83d"', None, None),
    Sent("updated", "a", "[9]", "3", None, None),
    Sent("deleted", "a", None, None, None, "id-2"),
    Sent("created", "a", None, "4", None, None),
)
"""What there is: states filled in, sent, and not what was recorded last; ids; none of it."""


def recorded(deltas: Sequence[Sent] = DELTAS, head: int = 0, link: bytes | None = GENESIS) -> list[bytes]:
    """The events of a recorder that goes on at `head`."""
    sequencer = Sequencer("E", head, link, "", CurrentStates())
    found = []
    for delta in deltas:
        sent = (delta.type, delta.session_id, delta.before, delta.after, delta.timestamp)
        entry = sequencer.append(delta, NOW_MS, content_digest(*sent) if delta.id is not None else None)
        found.append(payload(entry.frame))
    return found


EVENTS = recorded()


def event(name: str, **fields: Any) -> bytes:
    return json.dumps({"event": name, **fields}).encode()


def hello(head: int = 6) -> bytes:
    return event("hello", protocol=1, epoch="E", head=head)


def hash_of(data: bytes) -> str:
    found: str = json.loads(data)["hash"]
    return found


def verify(since: str, *messages: bytes, filtered: bool = False, head: int = 6) -> list[Event]:
    resume = Resume(parse_since(since), since, filtered=filtered, verify=True)
    resume.connected()
    return [one for message in (hello(head), *messages) for one in resume.receive(message)]


def proofs(events: Sequence[Event]) -> list[str | None]:
    return [one.proof for one in events if isinstance(one, Delta)]


def test_every_delta_of_a_recorder_is_linked_from_the_first_on() -> None:
    assert {*json.loads(EVENTS[1])} >= {"beforeFilled", "idDigest"}
    assert json.loads(EVENTS[3])["lineage"] == "broken"
    assert proofs(verify("earliest", *EVENTS)) == [Proof.LINKED] * 6
    assert Proof.LINKED.is_proof
    assert not Proof.START.is_proof


def test_from_a_position_with_its_hash_the_first_delta_is_linked() -> None:
    assert proofs(verify(f"E:2:{hash_of(EVENTS[1])}", *EVENTS[2:])) == [Proof.LINKED] * 4
    assert proofs(verify("E:2", *EVENTS[2:])) == [Proof.START, *[Proof.LINKED] * 3]
    with pytest.raises(ChainBroken) as caught:
        verify(f"E:2:{hash_of(EVENTS[0])}", *EVENTS[2:])
    assert (caught.value.seq, caught.value.found) == (3, hash_of(EVENTS[2]))
    assert "the chain is broken at seq 3" in str(caught.value)


def test_live_says_the_hash_that_the_next_delta_follows() -> None:
    live = event("live", seq=2, hash=hash_of(EVENTS[1]))
    assert proofs(verify("latest", live, *EVENTS[2:], head=2)) == [Proof.LINKED] * 4
    assert proofs(verify("latest", event("live", seq=2), *EVENTS[2:4], head=2)) == [Proof.START, Proof.LINKED]
    found = verify("earliest", *EVENTS[:2], live)
    assert found[-1] == Live(2, "E", hash_of(EVENTS[1]))
    with pytest.raises(ChainBroken, match="at seq 2"):
        verify("earliest", *EVENTS[:2], event("live", seq=2, hash="0" * 64))


def test_without_a_hash_of_its_own_live_keeps_that_of_the_last_delta() -> None:
    found = verify("earliest", *EVENTS[:2], event("live", seq=2), EVENTS[2])
    assert found[-2] == Live(2, "E", hash_of(EVENTS[1]))
    assert proofs(found)[-1] == Proof.LINKED


def test_a_filter_keeps_from_verifying_exactly_what_does_not_follow_the_delta_before() -> None:
    found = verify("E:0", EVENTS[1], EVENTS[2], EVENTS[5], filtered=True)
    assert proofs(found) == [Proof.START, Proof.LINKED, Proof.FILTERED]
    live = event("live", seq=5, hash=hash_of(EVENTS[4]))
    assert proofs(verify("E:0", EVENTS[1], live, EVENTS[5], filtered=True))[-1] == Proof.LINKED


def test_where_the_chain_is_off_nothing_is_verified_and_after_it_the_chain_begins_again() -> None:
    off = recorded(DELTAS[:2], link=None)
    on = recorded(DELTAS[2:4], head=2)
    assert proofs(verify("earliest", *off, *on)) == [*[Proof.CHAIN_OFF] * 2, *[Proof.LINKED] * 2]


def test_after_a_reset_it_goes_on_from_live_or_from_the_first_delta() -> None:
    reset = event("reset", reason="fork", epoch="E", oldest=1, head=3)
    state = event("state", seq=3, sessionId="b", state=1)
    found = verify("E:1", reset, state, EVENTS[3], EVENTS[4])
    assert isinstance(found[1], Reset)
    assert found[1].reason == "fork"
    assert proofs(found) == [Proof.RESET, Proof.LINKED]
    live = event("live", seq=3, hash=hash_of(EVENTS[2]))
    assert proofs(verify("E:1", reset, state, live, EVENTS[3])) == [Proof.LINKED]


def test_what_it_resumes_from_is_a_position_with_its_hash() -> None:
    resume = Resume(parse_since("earliest"), "earliest", filtered=False, verify=True)
    for message in (hello(), *EVENTS[:3]):
        resume.connected() if message == hello() else None
        resume.receive(message)
    resume.disconnected(1006, "")
    assert resume.query == f"E:3:{hash_of(EVENTS[2])}"
    resume.connected()
    assert proofs([one for m in (hello(), EVENTS[2], EVENTS[3]) for one in resume.receive(m)]) == [
        Proof.LINKED
    ]


def erased(data: bytes) -> bytes:
    """The event, its states' digests in their place."""
    value = json.loads(data)
    value["erased"] = {
        name: sha256(_member(data, name)).hexdigest() for name in ("before", "after") if value["delta"].pop(name, None)
    }  # fmt: skip
    return json.dumps(value).encode()


def _member(data: bytes, name: str) -> bytes:
    (found,) = [one for one in verify("earliest", data, filtered=True) if isinstance(one, Delta)]
    raw = {"before": found.before_raw, "after": found.after_raw}[name]
    assert raw is not None
    return raw


def test_erased_states_are_verified_by_their_digests() -> None:
    messages = [*EVENTS[:3], erased(EVENTS[3]), *EVENTS[4:]]
    found = verify("earliest", *messages)
    assert proofs(found) == [*[Proof.LINKED] * 3, Proof.BY_DIGEST, *[Proof.LINKED] * 2]
    delta = found[4]
    assert isinstance(delta, Delta)
    assert (delta.before_raw, delta.after_raw) == (None, None)
    assert delta.erased == Erased(sha256(b"[9]").hexdigest(), sha256(b"3").hexdigest())


def test_other_digests_than_those_of_what_was_erased_break_the_chain() -> None:
    wrong = erased(EVENTS[3]).replace(sha256(b"3").hexdigest().encode(), b"0" * 64)
    with pytest.raises(ChainBroken, match="at seq 4"):
        verify("earliest", *EVENTS[:3], wrong)


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "recordedAt": lambda e: e.update(recordedAt="2025-11-20T12:00:00.001Z"),
    "hash": lambda e: e.update(hash="ab" * 32),
    "lineage": lambda e: e.pop("lineage", None) or e.update(lineage="broken"),
    "beforeFilled": lambda e: e.pop("beforeFilled", None) or e.update(beforeFilled=True),
    "idDigest": lambda e: e.pop("idDigest", None) or e.update(idDigest="ab" * 32),
    "type": lambda e: e["delta"].update(type="created" if e["delta"]["type"] != "created" else "updated"),
    "sessionId": lambda e: e["delta"].update(sessionId=e["delta"]["sessionId"] + "x"),
    "timestamp": lambda e: e["delta"].update(timestamp="1999-01-01T00:00:00.000Z"),
    "id": lambda e: e["delta"].pop("id", None) or e["delta"].update(id="x"),
    "before": lambda e: e["delta"].update(before={"other": 1}),
    "after": lambda e: e["delta"].update(after={"other": 1}),
    "no states": lambda e: [e["delta"].pop(name, None) for name in ("before", "after")],
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("seq", range(1, 7))
def test_whatever_is_changed_is_named(what: str, seq: int) -> None:
    value = json.loads(EVENTS[seq - 1])
    CHANGES[what](value)
    if value == json.loads(EVENTS[seq - 1]):
        pytest.skip("there was nothing to take away")
    changed = json.dumps(value).encode()
    with pytest.raises(ChainBroken) as caught:
        verify("earliest", *EVENTS[: seq - 1], changed, *EVENTS[seq:])
    assert caught.value.seq == seq


def test_the_bytes_of_a_state_count_and_not_only_what_they_say() -> None:
    for one, other in ((b'{"n": 1e2}', b'{"n":1e2}'), (b'{"n": 1e2}', b'{"n": 100}')):
        with pytest.raises(ChainBroken, match="at seq 1"):
            verify("earliest", EVENTS[0].replace(one, other))


@pytest.mark.parametrize(
    "change",
    [
        {"hash": "AB" * 32},
        {"hash": "ab"},
        {"hash": "no hash"},
        {"idDigest": "ab"},
        {"recordedAt": "then"},
        {"recordedAt": "9" * 2000},
    ],
)
def test_what_no_recorder_would_send_is_a_violation(change: dict[str, str]) -> None:
    broken = json.dumps({**json.loads(EVENTS[0]), **change}).encode()
    with pytest.raises(Violation):
        verify("earliest", broken)


def test_without_verifying_nothing_is_said() -> None:
    resume = Resume(parse_since("earliest"), "earliest", filtered=False)
    resume.connected()
    broken = EVENTS[0].replace(b"1e2", b"1e3")
    assert proofs([one for m in (hello(), broken) for one in resume.receive(m)]) == [None]


@given(st.lists(st.sampled_from(range(1, 7)), min_size=1, unique=True).map(sorted))
def test_any_choice_of_deltas_is_linked_where_the_one_before_is_there(chosen: list[int]) -> None:
    verifier = Verifier(None)
    deltas = [one for one in verify("earliest", *EVENTS) if isinstance(one, Delta)]
    found = [verifier.check(deltas[seq - 1]) for seq in chosen]
    for before, seq, proof in zip([0, *chosen], chosen, found, strict=False):
        assert (proof == Proof.LINKED) == (seq == before + 1)
