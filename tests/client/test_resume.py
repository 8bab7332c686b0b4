"""Tests of resuming: each rule by itself, then all of them against a correct server that is cut anywhere."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from recorder.client.decode import Violation
from recorder.client.events import Delta, Erasure, Event, Heartbeat, Hello, Live, Reset, State
from recorder.client.resume import MAX_STRIKES, Fail, Phase, Resume, Retry
from recorder.core.errors import ClientError
from recorder.wire.subscribe import parse_since
from tests.client.model_server import ModelConnection, ModelServer, Row


def resume_from(since: str, *, filtered: bool = False) -> Resume:
    return Resume(parse_since(since), since, filtered=filtered)


def event(name: str, **fields: Any) -> bytes:
    return orjson.dumps({"event": name, **fields})


def hello(head: int, epoch: str = "E", protocol: int = 1) -> bytes:
    return event("hello", protocol=protocol, epoch=epoch, head=head)


def delta(seq: int) -> bytes:
    return event(
        "delta",
        seq=seq,
        recordedAt="t",
        delta={"type": "created", "sessionId": "s", "timestamp": "t", "after": seq},
    )


def state(seq: int) -> bytes:
    return event("state", seq=seq, sessionId=f"s{seq}", state=seq)


def live(seq: int) -> bytes:
    return event("live", seq=seq)


def reset(reason: str = "pruned", epoch: str = "E", head: int = 10) -> bytes:
    return event("reset", reason=reason, epoch=epoch, oldest=5, head=head)


def feed(resume: Resume, *messages: bytes) -> list[Event]:
    resume.connected()
    return [one for message in messages for one in resume.receive(message)]


def cut(resume: Resume) -> str:
    assert isinstance(resume.disconnected(1006, ""), Retry)
    return resume.query


# Where the next connection begins


@pytest.mark.parametrize("since", ["latest", "earliest", "state", "E:7", "7", "2026-11-20T12:00:00.000Z"])
def test_before_hello_a_cut_changes_nothing(since: str) -> None:
    resume = resume_from(since)
    assert resume.query == since
    feed(resume)
    assert cut(resume) == since


def test_latest_that_is_cut_before_the_first_delta_resumes_from_the_head_of_hello() -> None:
    resume = resume_from("latest")
    feed(resume, hello(41))
    assert cut(resume) == "E:41"
    feed(resume, hello(50))
    assert cut(resume) == "E:41"


def test_latest_begins_where_live_says() -> None:
    resume = resume_from("latest")
    feed(resume, hello(41), live(43))
    assert cut(resume) == "E:43"


def test_a_number_alone_is_of_the_epoch_that_is_met_first() -> None:
    resume = resume_from("7")
    feed(resume, hello(41))
    assert cut(resume) == "E:7"


def test_it_resumes_after_the_last_delta_handed_out() -> None:
    resume = resume_from("earliest")
    feed(resume, hello(41), delta(3), delta(4))
    assert cut(resume) == "E:4"
    feed(resume, hello(41), delta(5), live(5), delta(6))
    assert cut(resume) == "E:6"


def test_a_filtered_subscription_resumes_from_live_though_nothing_matched() -> None:
    resume = resume_from("2026-11-20T12:00:00.000Z", filtered=True)
    feed(resume, hello(41), live(41))
    assert cut(resume) == "E:41"


@pytest.mark.parametrize("start", [(), (reset(),)])
def test_a_list_of_states_that_was_cut_begins_again_and_says_so(start: tuple[bytes, ...]) -> None:
    resume = resume_from("state" if not start else "E:2")
    feed(resume, hello(10), *start, state(3))
    assert cut(resume) == "state"
    again = feed(resume, hello(12, "E2"), state(4), live(12))
    assert [type(one) for one in again] == [Hello, Reset, State, Live]
    assert again[1] == Reset("cut", "E2", None, 12)
    assert cut(resume) == "E2:12"


def test_a_list_of_which_nothing_was_handed_out_begins_again_in_silence() -> None:
    resume = resume_from("state")
    feed(resume, hello(10))
    assert cut(resume) == "state"
    assert [type(one) for one in feed(resume, hello(12), live(12))] == [Hello, Live]


def test_after_reset_the_old_position_is_never_asked_for_again() -> None:
    # With "ahead", the server might have reached it by then, with other deltas.
    resume = resume_from("E:100")
    feed(resume, hello(10), reset("ahead"))
    assert cut(resume) == "state"


def test_the_first_delta_ends_a_list_of_states() -> None:
    resume = resume_from("state")
    feed(resume, hello(10), state(3), delta(11))
    assert cut(resume) == "E:11"


def test_a_reset_in_the_middle_of_history_is_handed_out() -> None:
    resume = resume_from("E:2")
    events = feed(resume, hello(10), delta(3), reset(), state(9), live(10))
    assert [type(one) for one in events] == [Hello, Delta, Reset, State, Live]
    assert events[2] == Reset("pruned", "E", 5, 10)


def test_not_recording_is_a_reset_each_time() -> None:
    resume = resume_from("latest")
    feed(resume, hello(0), live(0), delta(1))
    assert cut(resume) == "E:1"
    feed(resume, hello(1), reset("not_recording"), live(1), delta(2))
    assert cut(resume) == "E:2"


# What is handed out


def test_events_carry_what_was_sent() -> None:
    resume = resume_from("earliest")
    events = feed(
        resume,
        hello(3),
        delta(1),
        live(1),
        event("heartbeat", epoch="E", head=9, durable=2, at="now"),
        event("pong"),
        event("news"),
    )
    assert events[0] == Hello("E", 3, None, True, "snapshot", None)
    assert events[1:] == [
        Delta(1, "E", "t", None, None, False, None, None, "created", "s", "t", None, None, b"1", delta(1)),
        Live(1, "E"),
        Heartbeat("E", 9, 2, "now"),
    ]
    assert resume.head == 9


def test_what_was_erased_is_handed_out_and_moves_nothing() -> None:
    resume = resume_from("E:1")
    erased = event("erased", sessionId="s", through=9, count=2, erasedAt="then")
    events = feed(resume, hello(9), erased, delta(2))
    assert events[1] == Erasure("s", 9, 2, "then", "E")
    assert [type(one) for one in events] == [Hello, Erasure, Delta]
    assert cut(resume) == "E:2"
    resume.connected()
    with pytest.raises(Violation, match="before hello"):
        resume.receive(erased)


def test_what_came_already_is_dropped_and_counted() -> None:
    resume = resume_from("E:5")
    events = feed(resume, hello(9), delta(4), delta(5), delta(6), delta(6), live(6), delta(3), delta(7))
    assert [one.seq for one in events if isinstance(one, Delta)] == [6, 7]
    assert resume.duplicates == 4


# What is broken


@pytest.mark.parametrize(
    ("since", "messages"),
    [
        ("E:5", [hello(9), delta(7)]),
        ("5", [hello(9), delta(7)]),
        ("latest", [hello(9), live(9), delta(11)]),
        ("earliest", [hello(9), delta(7), live(9), delta(11)]),
        ("state", [hello(9), state(3), delta(10), delta(12)]),
        ("E:5", [hello(9), live(9)]),
        ("E:5", [hello(9), live(4)]),
    ],
)
def test_a_gap_is_noticed_where_it_can_be_told(since: str, messages: list[bytes]) -> None:
    with pytest.raises(Violation, match=r"gap|live at"):
        feed(resume_from(since), *messages)


@pytest.mark.parametrize(
    ("since", "filtered", "messages"),
    [
        ("E:5", True, [hello(9), delta(7), live(9), delta(12)]),
        ("earliest", False, [hello(9), delta(2), delta(7), live(9)]),
        ("2026-11-20T12:00:00.000Z", False, [hello(9), delta(2), delta(7), live(9)]),
        ("state", False, [hello(9), state(3), delta(12)]),
    ],
)
def test_holes_that_may_be_are_no_gap(since: str, filtered: bool, messages: list[bytes]) -> None:
    resume = resume_from(since, filtered=filtered)
    feed(resume, *messages)
    assert resume.violations == 0


@pytest.mark.parametrize(
    "messages",
    [
        [live(1)],
        [delta(1)],
        [state(1)],
        [reset()],
        [event("heartbeat", epoch="E", head=1)],
        [hello(1), hello(1)],
        [hello(9), state(1)],
        [hello(9), live(9), live(9)],
        [hello(9), live(9), state(1)],
        [hello(9), live(9), event("heartbeat", epoch="F", head=1)],
        [hello(9), b"nonsense"],
    ],
)
def test_what_the_protocol_does_not_allow_is_a_violation(messages: list[bytes]) -> None:
    with pytest.raises(Violation):
        feed(resume_from("latest"), *messages)


@pytest.mark.parametrize("message", [delta(6), live(6)])
def test_another_epoch_without_a_reset_is_a_violation(message: bytes) -> None:
    with pytest.raises(Violation, match="no reset"):
        feed(resume_from("E:5"), hello(9, "F"), message)


def test_a_violation_is_retried_from_the_position_and_final_when_it_comes_again_and_again() -> None:
    resume = resume_from("E:5")
    for _ in range(MAX_STRIKES - 1):
        with pytest.raises(Violation) as caught:
            feed(resume, hello(9), delta(7))
        verdict = resume.violated(caught.value)
        assert verdict == Retry(str(caught.value), broken=True)
        assert (resume.query, resume.phase) == ("E:5", Phase.DOWN)
    verdict = resume.violated(Violation("again"))
    assert isinstance(verdict, Fail)
    assert "E:5" in str(verdict.error)
    assert resume.violations == MAX_STRIKES


def test_progress_forgives_violations() -> None:
    resume = resume_from("E:0")
    for seq in range(1, 10):
        feed(resume, hello(9), delta(seq))
        assert isinstance(resume.violated(Violation("x")), Retry)


def test_going_back_and_forth_with_resets_is_no_progress() -> None:
    resume = resume_from("latest")
    verdicts = []
    for _ in range(MAX_STRIKES + 1):
        feed(resume, hello(9), reset(head=9), live(9))
        verdicts.append(resume.violated(Violation("x")))
    assert isinstance(verdicts[-1], Fail)


# How a connection ends


@pytest.mark.parametrize("code", [4400, 4401, 4403])
def test_some_close_codes_are_final(code: int) -> None:
    verdict = resume_from("latest").disconnected(code, "because")
    assert isinstance(verdict, Fail)
    assert f"{code}: because" in str(verdict.error)


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011, 1012, 4408, 4429, 4999])
def test_after_any_other_it_comes_back(code: int) -> None:
    assert resume_from("latest").disconnected(code, "x") == Retry(f"closed with {code}: x")


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1009])
def test_codes_of_a_broken_protocol_are_final_in_the_end(code: int) -> None:
    resume = resume_from("latest")
    verdicts = [resume.disconnected(code, "") for _ in range(MAX_STRIKES)]
    assert [type(verdict) for verdict in verdicts] == [Retry] * (MAX_STRIKES - 1) + [Fail]


def test_a_refused_subscription_is_final_with_the_servers_words() -> None:
    resume = resume_from("latest")
    with pytest.raises(ClientError, match="no such type"):
        feed(resume, event("error", code="bad_subscription", message="no such type"))


def test_what_the_server_complained_of_is_told_when_it_closes() -> None:
    resume = resume_from("latest")
    feed(resume, hello(1), event("error", code="unavailable", message="loading"))
    assert resume.disconnected(1012, "") == Retry("closed with 1012: loading")
    resume.connected()
    assert resume.disconnected(1012, "") == Retry("closed with 1012")


def test_another_version_of_the_protocol_is_final() -> None:
    with pytest.raises(ClientError, match="protocol 2"):
        feed(resume_from("latest"), hello(1, protocol=2))


# All of it at once

SESSIONS = ("a", "b", "c")
KINDS = ("created", "updated", "deleted")


class Interleavings(RuleBasedStateMachine):
    """A correct server, a caller who keeps books, and whatever may happen between them."""

    def __init__(self) -> None:
        super().__init__()
        self.server = ModelServer()
        self.connection: ModelConnection | None = None
        self.epochs = 0
        self.values = 0
        self.seen: dict[str, tuple[int, int]] = {}  # the caller's states
        self.at: int | None = None  # the caller has everything up to here, in this epoch
        self.at_epoch = ""
        self.knows_all = False  # whether the caller's states are meant to be whole

    @initialize(
        since=st.sampled_from(["latest", "state", "earliest", "state", "E0:0", "E0:2", "E9:1", "3", "0"]),
        sessions=st.sampled_from([frozenset[str](), frozenset(["a"]), frozenset(["a", "c"])]),
        types=st.sampled_from([frozenset[str](), frozenset[str](), frozenset(["created", "deleted"])]),
        rows=st.integers(0, 6),
    )
    def begin(self, since: str, sessions: frozenset[str], types: frozenset[str], rows: int) -> None:
        self.sessions, self.types = sessions, types
        self.resume = Resume(parse_since(since), since, filtered=bool(sessions or types))
        self.knows_all = since == "state"
        for number in range(rows):
            self.publish(SESSIONS[number % 3], KINDS[number % 2])

    @rule(session=st.sampled_from(SESSIONS), kind=st.sampled_from(KINDS))
    def publish(self, session: str, kind: str) -> None:
        self.values += 1
        self.server.rows.append(Row(session, kind, self.values))

    @rule(share=st.floats(0, 1))
    def prune(self, share: float) -> None:
        self.server.oldest += round((self.server.head + 1 - self.server.oldest) * share)

    @rule(lost=st.integers(0, 3))
    def crash(self, lost: int) -> None:
        self.cut(1006)
        self.epochs += 1
        server = self.server
        server.epoch = f"F{self.epochs}"
        del server.rows[max(server.head - lost, 0) :]
        server.oldest = min(server.oldest, server.head + 1)

    @rule(code=st.sampled_from([1001, 1006, 1012, 4408]))
    def cut(self, code: int) -> None:
        if self.connection is not None:
            self.connection = None
            assert isinstance(self.resume.disconnected(code, ""), Retry)

    @rule(count=st.integers(1, 12))
    def receive(self, count: int) -> None:
        for _ in range(count):
            if not self.step():
                return

    @rule(count=st.integers(1, 5), session=st.sampled_from(SESSIONS))
    def glimpse(self, count: int, session: str) -> None:
        """A connection that is cut early, and a session that is gone by the next one."""
        self.cut(1006)
        self.receive(count)
        self.cut(1006)
        self.publish(session, "deleted")

    @precondition(
        lambda self: self.connection is not None and self.connection.stage not in ("hello", "start")
    )
    @rule()
    def heartbeat(self) -> None:
        assert self.connection is not None
        if not any(one["event"] == "hello" for one in self.connection.queue):
            self.resume.receive(self.connection.heartbeat())

    @invariant()
    def nothing_came_twice(self) -> None:
        if hasattr(self, "resume"):
            assert self.resume.duplicates == 0
            assert self.resume.violations == 0

    def step(self) -> bool:
        if self.connection is None:
            self.connection = ModelConnection(self.server, self.resume.query, self.sessions, self.types)
            self.resume.connected()
        message = self.connection.next()
        for one in self.resume.receive(message) if message is not None else ():
            self.note(one)
        return message is not None

    def note(self, one: Event) -> None:
        """The caller's books: what an event means, and that nothing lies between it and the one before."""
        assert self.connection is not None
        if isinstance(one, Hello):
            if self.at is None and self.connection.since.kind == "latest":
                self.at, self.at_epoch = one.head, one.epoch
        elif isinstance(one, Reset):
            self.seen.clear()
            self.knows_all, self.at = True, None
        elif isinstance(one, State):
            assert self.at is None or self.at_epoch != one.epoch
            self.seen[one.session_id] = (one.seq, one.state)
        elif isinstance(one, Delta):
            self.arrive(one.epoch, one.seq, one.seq - 1)
            if one.type == "deleted":
                self.seen.pop(one.session_id, None)
            else:
                self.seen[one.session_id] = (one.seq, one.after)
        elif isinstance(one, Live):
            self.arrive(one.epoch, one.seq, one.seq)

    def arrive(self, epoch: str, seq: int, through: int) -> None:
        assert self.connection is not None
        before = self.connection.began_at if self.at is None else self.at
        assert self.at is None or (self.at_epoch == epoch and self.at <= seq)
        missed = [row for row in self.server.rows[before:through] if self.connection.matches(row)]
        assert missed == []
        self.at, self.at_epoch = seq, epoch

    def teardown(self) -> None:
        if not hasattr(self, "resume"):
            return
        while self.step():
            pass
        assert self.resume.phase is Phase.LIVE
        assert self.at_epoch == self.server.epoch
        # With a filter on types the caller cannot keep states; else what it has is what there is.
        if self.knows_all and not self.types:
            wanted = self.sessions or frozenset(SESSIONS)
            assert self.seen == {k: v for k, v in self.server.state().items() if k in wanted}
        super().teardown()


class TestInterleavings(Interleavings.TestCase):  # type: ignore[misc, name-defined]
    """Each matching delta exactly once and in order, or a reset, whatever is cut."""

    settings = settings(max_examples=400, stateful_step_count=40, deadline=None)
