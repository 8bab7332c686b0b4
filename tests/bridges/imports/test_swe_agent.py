"""A coding agent's run: a session that grows by each step, up to its outcome."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.bridges.imports import SourceDelta, SourceOptions, swe_agent
from recorder.bridges.imports.records import Sessions
from recorder.core.errors import SourceError
from tests.support.jsontexts import SPACES, STRINGS, VALUES
from tests.support.logs import delta_of, deltas_of, errors_of, read, read_file

RUNS = ["session_1", "session_2", "session_3", "session_4", "session_5", "session_6", "session_7"]


def run(*steps: str, info: str | None = None, **more: str) -> str:
    """A trajectory's text, of texts."""
    members = {"trajectory": f"[{','.join(steps)}]"} | more | ({} if info is None else {"info": info})
    return "{" + ",".join(f'"{name}":{text}' for name, text in members.items()) + "}"


def states(items: list[Any]) -> list[dict[str, Any]]:
    """The states of deltas."""
    return [json.loads(delta.after) for delta in deltas_of(items) if delta.after is not None]


@pytest.mark.parametrize("name", RUNS)
def test_a_real_run_grows_by_each_step_and_ends_with_its_outcome(name: str, shared_data: Path) -> None:
    path = shared_data / "swe_agent" / f"{name}.traj"
    raw = json.loads(path.read_bytes())
    items = read_file("swe-agent", path)
    steps = raw["trajectory"]
    places = ["start", *(f"step {number}" for number in range(1, len(steps) + 1)), "info"]
    assert [item.place for item in items] == [f"{path}: {place}" for place in places]
    deltas = deltas_of(items)
    assert [delta.type for delta in deltas] == ["created"] + ["updated"] * (len(steps) + 1)
    (session,) = {delta.session_id for delta in deltas}
    assert session.startswith(f"{name}~")
    assert {delta.before for delta in deltas} == {delta.timestamp for delta in deltas} == {None}
    told = states(items)
    assert [len(state["steps"]) for state in told] == [*range(len(steps) + 1), len(steps)]
    for number, state in enumerate(told):
        assert state["steps"] == told[-1]["steps"][:number]
        assert "skippedSteps" not in state
    assert [state["status"] for state in told[:-1]] == ["running"] * (len(steps) + 1)
    assert told[-1]["status"] == "completed"
    assert told[-1]["outcome"] == raw["info"]
    assert told[0]["agent"] == "swe-agent"
    for step, kept in zip(steps, told[-1]["steps"], strict=True):
        for field in ("action", "observation", "thought", "execution_time"):
            assert kept.get(field) == step.get(field)
        state = step["state"]
        assert kept["state"] == (json.loads(state) if isinstance(state, str) else state)
        assert not {"messages", "query"} & kept.keys()


@pytest.mark.parametrize("name", RUNS)
def test_what_a_step_did_and_saw_goes_in_byte_for_byte(name: str, shared_data: Path) -> None:
    raw = (shared_data / "swe_agent" / f"{name}.traj").read_bytes()
    (last,) = deltas_of(read("swe-agent", raw, name=name)[-1:])
    for step in json.loads(raw)["trajectory"]:
        # The encoder that wrote these logs, in either of its two ways.
        texts = [json.dumps(step["observation"], ensure_ascii=plain) for plain in (True, False)]
        (text,) = {text for text in texts if text.encode() in raw}
        assert last.after is not None
        assert text in last.after


def test_a_real_log_with_messages_alone_gives_a_step_for_each(shared_data: Path) -> None:
    path = shared_data / "swe_agent" / "history_only.traj"
    history = json.loads(path.read_bytes())["history"]
    items = read_file("swe-agent", path)
    assert [item.place for item in items] == [f"{path}: start"] + [
        f"{path}: message {number}" for number in range(1, len(history) + 1)
    ]
    told = states(items)
    assert told[-1]["status"] == "running"
    assert [step["content"] for step in told[-1]["steps"]] == [message["content"] for message in history]
    assert told[0]["task"]["text"] == history[1]["content"][:4000]


@settings(max_examples=50)
@given(st.lists(st.tuples(STRINGS, VALUES, SPACES), max_size=4), VALUES)
def test_fields_of_any_kind_are_kept_byte_for_byte(steps: list[tuple[str, str, str]], info: str) -> None:
    texts = [f'{{"observation":{seen}{space},"extra":{space}{other}}}' for seen, other, space in steps]
    items = read("swe-agent", run(*texts), name="r.traj")
    assert errors_of(items) == []
    kept = ",".join(f'{{"observation":{seen},"extra":{other}}}' for seen, other, _ in steps)
    last = delta_of(items[-1])
    assert last.after is not None
    assert last.after.endswith(f',"steps":[{kept}]}}')


@pytest.mark.parametrize(
    ("exit_status", "status"),
    [
        ('"submitted"', "completed"),
        ('"submitted (exit_cost)"', "completed"),
        ('"exit_cost"', "failed"),
        ('"early_exit"', "failed"),
        ("null", "ended"),
        ("3", "ended"),
    ],
)
def test_the_outcome_says_how_it_ended(exit_status: str, status: str) -> None:
    info = f'{{"exit_status": {exit_status}, "n":1e2}}'
    last = delta_of(read("swe-agent", run('{"action":"ls"}', info=info), name="r.traj")[-1])
    assert last.after is not None
    state = json.loads(last.after)
    assert (state["status"], state["step"]) == (status, 1)
    assert f'"outcome":{info}' in last.after


def test_without_an_outcome_a_run_stays_as_it_was_seen_last() -> None:
    for text in (run("{}"), run("{}", info="null")):
        assert states(read("swe-agent", text, name="r"))[-1]["status"] == "running"
    (_, error) = read("swe-agent", run(info="3"), name="r")
    assert str(error).startswith("r: info: an object is wanted, this is a number")


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ('{"open": 1e2}', '{"open": 1e2}'),
        (json.dumps('{"open": 1e2, "u":"é"}\n'), '{"open": 1e2, "u":"é"}'),
        (json.dumps("[1 ]"), "[1 ]"),
        (json.dumps("{no json"), json.dumps("{no json")),
        (json.dumps("plain"), '"plain"'),
        (json.dumps('{"a":"\ud83d"}'), json.dumps('{"a":"\ud83d"}')),
        ("3", "3"),
        ("null", "null"),
    ],
)
def test_a_state_is_unpacked_where_it_is_json_in_a_string(state: str, kept: str) -> None:
    last = delta_of(read("swe-agent", run(f'{{"state":{state}}}'), name="r")[-1])
    assert last.after is not None
    assert f'"steps":[{{"state":{kept}}}]' in last.after


@pytest.mark.parametrize(
    ("response", "thought", "action", "kept"),
    [
        ("I look. ls", "I look.", "ls", False),
        ("I look.", "I look.\n", "ls", False),
        ("I look. DISCUSSION", "I look.", "ls", True),
        ("Other words", "I look.", "ls", True),
        ("ls", "", "ls", True),
    ],
)
def test_a_response_is_left_out_where_thought_and_action_repeat_it(
    response: str, thought: str, action: str, kept: bool
) -> None:
    step = json.dumps({"response": response, "thought": thought, "action": action})
    (found,) = states(read("swe-agent", run(step), name="r"))[-1]["steps"]
    assert ("response" in found) == kept


def test_the_conversation_repeated_at_every_step_is_left_out() -> None:
    step = '{"messages":[1],"query":[2],"cache_control":{},"action":"ls"}'
    assert states(read("swe-agent", run(step), name="r"))[-1]["steps"] == [{"action": "ls"}]


def test_a_step_that_is_too_large_is_named_with_size_and_setting_and_later_ones_do_without_it() -> None:
    large = '{"observation":"' + "x" * 2000 + '"}'
    items = read(
        "swe-agent", run('{"n":1}', large, '{"n":3}', info="{}"), name="r.traj", max_delta_bytes=1060
    )
    assert [item.place for item in items] == [
        f"r.traj: {at}" for at in ("start", "step 1", "step 2", "step 3", "info")
    ]
    error = items[2]
    assert isinstance(error, SourceError)
    assert "the delta would have 22" in error.message
    assert str(error).endswith("bytes, at most 1060 are allowed (MAX_DELTA_BYTES sets the limit)")
    last = states(items)[-1]
    assert (last["steps"], last["skippedSteps"], last["step"]) == ([{"n": 1}, {"n": 3}], [2], 3)


def test_a_run_whose_beginning_is_too_large_is_created_by_what_fits() -> None:
    items = read("swe-agent", run("3", "{}"), name="r", max_delta_bytes=200)
    assert [type(item).__name__ for item in items] == ["SourceDelta", "SourceError", "SourceDelta"]
    (error,) = errors_of(items)
    assert error == "r: step 1: an object is wanted, this is a number"
    items = read("swe-agent", run("{}"), name="r", max_delta_bytes=10)
    assert len(errors_of(items)) == len(items) == 2


def config(**fields: Any) -> str:
    return json.dumps(fields)


@pytest.mark.parametrize("quoted", [False, True])
def test_the_beginning_tells_task_model_and_environment(quoted: bool) -> None:
    text = config(
        agent={"model": {"name": "big-1"}},
        problem_statement={"id": "T-1", "text": "Fix it.", "github_url": "", "path": 3},
    )
    text = json.dumps(text) if quoted else text
    (first,) = states(read("swe-agent", run(replay_config=text, environment='"main"'), name="r"))
    assert first == {
        "agent": "swe-agent",
        "environment": "main",
        "model": "big-1",
        "task": {"id": "T-1", "text": "Fix it."},
        "status": "running",
        "steps": [],
    }


@pytest.mark.parametrize(
    ("field", "name"), [("problem_statement", "text"), ("github_url", "url"), ("path", "path")]
)
def test_a_task_may_be_given_in_several_ways(field: str, name: str) -> None:
    text = config(problem_statement={field: "x" * 5000})
    (first,) = states(read("swe-agent", run(replay_config=text), name="r"))
    assert first["task"] == {name: "x" * 4000}


@pytest.mark.parametrize(
    "text", ["3", '"no json"', '"{\\"agent\\":"', "null", "[]", '{"agent":3,"problem_statement":"x"}']
)
def test_a_configuration_of_another_form_is_passed_over(text: str) -> None:
    (first,) = states(read("swe-agent", run(replay_config=text), name="r"))
    assert not {"task", "model"} & first.keys()


@pytest.mark.parametrize(
    ("history", "asked"),
    [
        ('[3,{"role":"system","content":"s"},{"role":"user","content":"do it"}]', "do it"),
        ('[{"role":"user","is_demo":true,"content":"demo"},{"role":"user","content":"do it"}]', "do it"),
        ('[{"role":"user","content":[1]}]', None),
        ("[]", None),
        ("{}", None),
    ],
)
def test_an_older_file_tells_its_task_in_the_first_request(history: str, asked: str | None) -> None:
    (first,) = states(read("swe-agent", run(history=history), name="r"))
    assert first.get("task", {}).get("text") == asked


def test_several_attempts_are_sessions_of_their_own() -> None:
    text = '{"environment":"e","attempts":[%s,%s]}' % (run('{"n":1}', info="{}"), run('{"n":2}'))  # noqa: UP031
    items = read("swe-agent", text, name="r.traj")
    (session,) = {delta.session_id.partition("/")[0] for delta in deltas_of(items)}
    assert session.startswith("r~")
    assert [(delta.session_id.replace(session, "r"), delta.type) for delta in deltas_of(items)] == [
        ("r/attempt 1", "created"),
        ("r/attempt 1", "updated"),
        ("r/attempt 1", "updated"),
        ("r/attempt 2", "created"),
        ("r/attempt 2", "updated"),
    ]
    assert items[4].place == "r.traj: attempt 2, step 1"
    assert {state["environment"] for state in states(items)} == {"e"}
    (single,) = deltas_of(read("swe-agent", f'{{"attempts":[{run()}]}}', name="r.traj"))
    assert single.session_id.startswith("r~")
    assert "/" not in single.session_id


@pytest.mark.parametrize(
    ("name", "session"),
    [
        ("some/dir/run-1.traj", "run-1"),
        ("run.traj.gz", "run"),
        ("run.traj.json", "run"),
        ("run.json.gz", "run"),
        ("run", "run"),
        ("<stdin>", "swe-agent"),
        (".traj", "swe-agent"),
    ],
)
def test_a_session_is_named_after_its_file(name: str, session: str) -> None:
    (delta,) = deltas_of(read("swe-agent", run(), name=name))
    assert delta.session_id.partition("~")[0] == session
    (delta,) = deltas_of(read("swe-agent", run(), name=name, session="given"))
    assert delta.session_id == "given"


@pytest.mark.parametrize("name", ["x" * 300, "a\nb"])
def test_a_name_that_makes_no_session_has_to_be_replaced(name: str) -> None:
    with pytest.raises(
        SourceError, match=r"does not make a session's id \(name the session with --session\)"
    ):
        read("swe-agent", run(), name=name)
    assert len(deltas_of(read("swe-agent", run(), name=name, session="given"))) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "r: not JSON: "),
        ("{", "r: not JSON: "),
        ("[]", "r: an object is wanted, this is an array"),
        ("{}", "r: no trajectory: it has neither 'trajectory' nor 'history'"),
        ('{"attempts":3}', "r: an array is wanted, this is a number"),
        ('{"attempts":[3]}', "r: an object is wanted, this is a number"),
        ('{"trajectory":3}', "r: trajectory: an array is wanted, this is a number"),
        ('{"history":"x"}', "r: history: an array is wanted, this is a string"),
        (b'{"\xff":1}', "r: not UTF-8: byte 2"),
    ],
)
def test_what_is_no_run_is_said_to_be_so(text: str | bytes, said: str) -> None:
    with pytest.raises(SourceError) as caught:
        read("swe-agent", text, name="r")
    assert caught.value.message.startswith(said)
    assert caught.value.place is not None


def test_a_file_that_is_too_large_is_not_read() -> None:
    with pytest.raises(SourceError, match="larger than 5 bytes, and this format has to be read as a whole"):
        read("swe-agent", run(), name="r", max_file_bytes=5)


def test_one_bad_attempt_ends_the_file_behind_the_good_ones(tmp_path: Path) -> None:
    path = tmp_path / "r.traj"
    path.write_text('{"attempts":[%s,{"trajectory":{}}]}' % run())  # noqa: UP031
    first, error = read_file("swe-agent", path)
    assert isinstance(first, SourceDelta)
    assert str(error).startswith(f"{path}: attempt 2, trajectory: an array is wanted")


def test_runs_of_one_instance_are_sessions_of_their_own() -> None:
    names = [f"{number}/instance/instance.traj" for number in range(8)]
    runs = [deltas_of(read("swe-agent", run(f'{{"n":{n}}}'), name=name)) for n, name in enumerate(names)]
    assert len({delta.session_id for deltas in runs for delta in deltas}) == 8


def test_a_run_imported_twice_is_recorded_once_wherever_the_file_lies() -> None:
    text = run('{"n":1}', '{"n":2}', info="{}")
    sessions = Sessions()
    first, again = (
        list(swe_agent.deltas(iter([text.encode()]), name, SourceOptions(), sessions))
        for name in ("a/r.traj", "b/r.traj")
    )
    assert [type(item).__name__ for item in first] == ["SourceDelta"] * 4
    assert [type(item).__name__ for item in again] == ["SourceKnown"] * 4
    # Without a recorder's word the deltas are the same, so that it knows them by their ids.
    assert deltas_of(read("swe-agent", text, name="r.traj")) == deltas_of(first)


def test_two_runs_do_not_become_one_session_by_the_name_they_are_given() -> None:
    sessions, options = Sessions(), SourceOptions(session="given")
    list(swe_agent.deltas(iter([run('{"n":1}').encode()]), "a.traj", options, sessions))
    again = list(swe_agent.deltas(iter([run('{"n":1}').encode()]), "a.traj", options, sessions))
    assert [type(item).__name__ for item in again] == ["SourceKnown"] * 2
    with pytest.raises(SourceError, match="'given' is recorded already, and it is not this run") as caught:
        list(swe_agent.deltas(iter([run('{"n":2}').encode()]), "b.traj", options, sessions))
    assert caught.value.place == "b.traj"
