"""Synthetic agent sessions for demonstrations: plans, tool calls, approvals, failures, retries.

A stream without an end, made from a seed alone: no clock, no network, the same seed gives the same deltas. Several
sessions run at a time, mixed as they would be; each goes from `created` by updates to an outcome, stays for a while and
is deleted, and another takes its place. Every delta carries the state before and after, and no timestamp: it happens
when it is published. How fast is the caller's affair.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from recorder.core.delta import CREATED, DELETED, UPDATED
from recorder.demo.vocabulary import JOBS, VALUES, Call

_P_FAILURE = 0.14
_P_DENIAL = 0.12
_MAX_ATTEMPTS = 3
_MODELS = ("small-1", "medium-2", "large-2")


@dataclass(slots=True)
class _Session:
    """A session that is under way, or has ended and waits to be deleted."""

    id: str
    states: Iterator[bytes]
    # JSON text of the state last told.
    state: bytes = b""


@dataclass(slots=True)
class _Agent:
    """An agent at work: turns a job into one state after another."""

    random: Random
    state: dict[str, Any] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)

    def states(self) -> Iterator[bytes]:
        """Yield the JSON texts of the states, from the plan to the outcome."""
        job = self.random.choice(JOBS)
        self.words = _words(self.random)
        self.state = {
            "planStatus": "pending",
            "agent": job.agent,
            "model": self.random.choice(_MODELS),
            "task": self._fill(job.task),
            "plan": [
                {"step": number, "title": title, "status": "pending"}
                for number, (title, _) in enumerate(job.steps, 1)
            ],
            "usage": {"inputTokens": 0, "outputTokens": 0, "costUsd": 0.0},
        }
        yield self._told()
        for number, (_, calls) in enumerate(job.steps):
            yield from self._step(number, calls)
            if self.state["planStatus"] == "failed":
                return
        self.state |= {"planStatus": "completed", "result": self._fill(job.result)}
        self.state.pop("tool", None)
        yield self._told()

    def _step(self, number: int, calls: tuple[Call, ...]) -> Iterator[bytes]:
        step = self.state["plan"][number]
        self.state["planStatus"] = step["status"] = "in_progress"
        yield self._told()
        for call in calls:
            if call.approval:
                yield from self._approval(call)
                if self.state.pop("approval")["status"] == "denied":
                    step |= {"status": "skipped", "reason": "not approved"}
                    yield self._told()
                    return
            yield from self._call(call)
            if self.state["tool"]["status"] == "failed":
                step["status"] = self.state["planStatus"] = "failed"
                self.state["result"] = (
                    f"Gave up after {_MAX_ATTEMPTS} attempts: {self.state['tool']['error']}"
                )
                yield self._told()
                return
        step["status"] = "completed"
        yield self._told()

    def _approval(self, call: Call) -> Iterator[bytes]:
        approval = {"question": self._fill(call.approval), "tool": call.tool, "status": "requested"}
        self.state["approval"] = approval
        yield self._told()
        granted = self.random.random() >= _P_DENIAL
        approval |= {"status": "granted" if granted else "denied", "by": "operator"}
        yield self._told()

    def _call(self, call: Call) -> Iterator[bytes]:
        arguments = {name: self._fill(value) for name, value in call.input.items()}
        for attempt in range(1, _MAX_ATTEMPTS + 1):
            tool: dict[str, Any] = {"name": call.tool, "input": arguments, "status": "running"}
            self.state["tool"] = tool | ({"attempt": attempt} if attempt > 1 else {})
            yield self._told()
            failed = self.random.random() < _P_FAILURE
            outcome = {"error": self._fill(call.error)} if failed else {"output": self._fill(call.output)}
            self.state["tool"] |= {
                "status": "failed" if failed else "succeeded",
                "durationMs": self.random.randint(20, 9000),
                **outcome,
            }
            yield self._told()
            if not failed:
                return

    def _told(self) -> bytes:
        usage = self.state["usage"]
        usage["inputTokens"] += self.random.randint(200, 2400)
        usage["outputTokens"] += self.random.randint(20, 400)
        usage["costUsd"] = round(usage["inputTokens"] * 3e-6 + usage["outputTokens"] * 15e-6, 4)
        return orjson.dumps(self.state)

    def _fill(self, text: str) -> str:
        return text.format_map(self.words)


def demo_deltas(seed: int, sessions: int = 8) -> Iterator[bytes]:
    """Yield the deltas of invented sessions, without end.

    Args:
        seed: Decides everything, the sessions' ids too: another seed gives other sessions.
        sessions: How many are under way at a time, at least 1.

    Returns:
        JSON texts of deltas, 0.3 to 3 kB each.

    Raises:
        ValueError: `sessions` is less than 1.
    """
    if sessions < 1:
        raise ValueError(f"sessions: must be at least 1, is {sessions}")
    return _stream(Random(seed), f"demo-{seed & 0xFFFFFFFF:08x}", sessions)


def _stream(random: Random, prefix: str, sessions: int) -> Iterator[bytes]:
    live: list[_Session] = []
    ended: deque[_Session] = deque()
    count = 0
    while True:
        if len(live) < sessions and (not live or random.random() < 0.5):
            count += 1
            session = _Session(f"{prefix}-{count:05d}", _Agent(Random(random.getrandbits(64))).states())
            live.append(session)
        elif ended and (len(ended) > sessions or random.random() < 0.02):
            yield _delta(DELETED, ended.popleft(), None)
            continue
        else:
            session = random.choice(live)
        after = next(session.states, None)
        if after is None:
            live.remove(session)
            ended.append(session)
        else:
            yield _delta(UPDATED if session.state else CREATED, session, after)
            session.state = after


def _delta(kind: str, session: _Session, after: bytes | None) -> bytes:
    before = b',"before":' + session.state if session.state else b""
    then = b',"after":' + after if after is not None else b""
    return f'{{"type":"{kind}","sessionId":"{session.id}"'.encode() + before + then + b"}"


def _words(random: Random) -> dict[str, str]:
    chosen = {name: random.choice(values) for name, values in VALUES.items()}
    numbers = {"n": random.randint(12, 980), "s": random.randint(2, 40), "line": random.randint(20, 480)}
    ticket = f"T-{random.randint(1000, 9999)}"
    return chosen | {name: str(number) for name, number in numbers.items()} | {"ticket": ticket}
