"""What every client of a recorder must do, whatever language it is written in: one list of cases.

A case is what is asked for, what a server says on each connection (and what `since` it must be asked), and what the
client must hand out for it. `script.py` plays the server's part; the tests beside it run each client against it.
Everything is plain JSON, so that a client in any language can be given the list.
"""

from __future__ import annotations

import hashlib
from typing import Any

from recorder.core.chain import GENESIS, PLAIN, link
from recorder.wire.events import EVENT_OPENING, item_text

AT = "2026-11-20T12:00:00.000Z"
EPOCH = "EPOCH1"
HELLO = {
    "event": "hello",
    "protocol": 1,
    "epoch": EPOCH,
    "head": 9,
    "durable": 0,
    "recording": True,
    "durability": "snapshot",
    "lossWindowMs": 60000,
}
Case = dict[str, Any]
ODD = (
    r'{ "n":123456789012345678901234567890, "e":1.0e+2,"e":-0 , "__proto__" : {"\ud800":"\u0041"}, "é":[ ] }'
)


class Chain:
    """Deltas of one recording, as events: each linked to the one before."""

    def __init__(self) -> None:
        self.hash = GENESIS
        self.seq = 0

    def delta(
        self,
        after: str | None = "{}",
        *,
        before: str | None = None,
        session: str = "a",
        id: str | None = None,  # noqa: A002 - the wire's name
        filled: bool = False,
        lineage: str | None = None,
    ) -> str:
        """The next one."""
        self.seq += 1
        names = session, "deleted" if after is None else "updated"
        extras = (id, None if id is None else b"\x07" * 32, filled, lineage)
        self.hash = link(self.hash, self.seq, names, (_digest(before), _digest(after)), (AT, AT), extras)
        states = before, after
        return item_text(
            self.seq, AT, self.hash, (names[1], names[0]), states, AT, extras, opening=EVENT_OPENING
        )

    def position(self) -> str:
        """Where the next one would follow."""
        return f"{EPOCH}:{self.seq}:{self.hash.hex()}"


def _digest(state: str | None) -> bytes | None:
    return None if state is None else hashlib.sha256(state.encode()).digest()


def plain(seq: int, session: str = "a", after: str | None = "{}", kind: str = "updated") -> str:
    """A delta event without a chain."""
    return item_text(seq, AT, None, (kind, session), (None, after), AT, PLAIN, opening=EVENT_OPENING)


def live(seq: int, **more: Any) -> dict[str, Any]:
    return {"event": "live", "seq": seq, **more}


def state(seq: int, session: str, text: str = "{}") -> str:
    return f'{{"event":"state","seq":{seq},"sessionId":"{session}","state":{text}}}'


def reset(reason: str, epoch: str = EPOCH, head: int = 9, oldest: int | None = 1) -> dict[str, Any]:
    return {"event": "reset", "reason": reason, "epoch": epoch, "oldest": oldest, "head": head}


def conflated(since: int, to: int, count: int, epoch: str = EPOCH) -> dict[str, Any]:
    return {"event": "conflated", "epoch": epoch, "from": since, "to": to, "count": count}


def hello(**changes: Any) -> dict[str, Any]:
    return {**HELLO, **changes}


def connection(
    *says: Any, since: str = "latest", close: int | None = None, reason: str = ""
) -> dict[str, Any]:
    """What a server does with one connection.

    Args:
        says: Messages: events, or the text of one.
        since: What the client must ask.
        close: The close code that follows; 1006: cut without a goodbye; None: it stays open.
        reason: The close reason.
    """
    return {"since": since, "says": list(says), "close": close, "reason": reason}


def case(name: str, *connections: dict[str, Any], gets: list[Any], **more: Any) -> Case:
    """A case.

    Args:
        name: It, in a sentence.
        connections: In order.
        gets: What is handed out, in short: `got` says how.
        more: Options (`since`, `sessions`, `types`, `verify`, `notices`, `slow`), what ends it (`fails`), the
            `status` after the last event, `duplicates`, `violations`, `position`.
    """
    names = ("since", "sessions", "types", "verify", "notices", "slow")
    options = {key: more.pop(key) for key in names if key in more}
    return {"name": name, "options": options, "connections": list(connections), "gets": gets, **more}


def _following() -> list[Case]:
    return [
        case(
            "latest is live from the head on",
            connection(hello(), live(9), plain(10), plain(11)),
            gets=["live 9", "delta 10 a {}", "delta 11 a {}"],
            status="live",
            position="EPOCH1:11",
        ),
        case(
            "history comes before live",
            connection(hello(), plain(1), plain(2, "b", '{"x":1}'), live(2), since="earliest"),
            since="earliest",
            gets=["delta 1 a {}", 'delta 2 b {"x":1}', "live 2"],
        ),
        case(
            "a seq is one of the current epoch",
            connection(hello(), plain(4), close=1006, since="3"),
            connection(hello(), plain(5), live(5), since="EPOCH1:4"),
            since=3,
            gets=["delta 4 a {}", "delta 5 a {}", "live 5"],
        ),
        case(
            "a time is asked again until something was handed out",
            connection(hello(), close=1006, since=AT),
            connection(hello(), plain(7), close=1012, since=AT),
            connection(hello(), plain(8), live(8), since="EPOCH1:7"),
            since=AT,
            gets=["delta 7 a {}", "delta 8 a {}", "live 8"],
        ),
        case(
            "latest that was cut before live goes on from the head that hello told",
            connection(hello(head=5), close=1006),
            connection(hello(head=7), plain(6), plain(7), live(7), since="EPOCH1:5"),
            gets=["delta 6 a {}", "delta 7 a {}", "live 7"],
        ),
        case(
            "states are byte for byte, whatever they hold",
            connection(hello(), plain(1, "a", ODD), state(1, "x"), since="earliest", close=1002),
            connection(
                hello(), plain(2, "b", "0"), plain(3, "b", None, "deleted"), live(3), since="EPOCH1:1"
            ),
            since="earliest",
            gets=[f"delta 1 a {ODD}", "delta 2 b 0", "delta 3 b -", "live 3"],
            violations=1,
        ),
        case(
            "unknown fields and events are ignored",
            connection(
                hello(novelty=[1]),
                {"event": "weather", "seq": "sunny"},
                {"event": "pong"},
                live(9, colour="red"),
                plain(10)[:-1] + ',"more":{}}',
            ),
            gets=["live 9", "delta 10 a {}"],
        ),
        case(
            "notices are handed out where they are wanted",
            connection(
                hello(),
                live(9),
                {"event": "heartbeat", "epoch": EPOCH, "head": 9, "durable": 4, "at": AT},
                close=1001,
            ),
            connection(hello(), live(9), since="EPOCH1:9"),
            notices=True,
            gets=["hello EPOCH1 9", "live 9", "heartbeat 9 4", "disconnected", "hello EPOCH1 9", "live 9"],
        ),
    ]


def _resuming() -> list[Case]:
    return [
        case(
            "a cut is resumed by position and what comes again is dropped",
            connection(hello(), plain(1), plain(2), close=1006, since="earliest"),
            connection(hello(), plain(2), plain(3), live(3), since="EPOCH1:2"),
            since="earliest",
            gets=["delta 1 a {}", "delta 2 a {}", "delta 3 a {}", "live 3"],
            duplicates=1,
        ),
        case(
            "too slow, restarted and gone away are resumed",
            connection(hello(), plain(1), close=4408, reason="EPOCH1:1", since="earliest"),
            connection(hello(), plain(2), close=1012, since="EPOCH1:1"),
            connection(hello(), plain(3), close=4429, since="EPOCH1:2"),
            connection(hello(), live(3), since="EPOCH1:3"),
            since="earliest",
            gets=["delta 1 a {}", "delta 2 a {}", "delta 3 a {}", "live 3"],
        ),
        case(
            "a gap is not passed on",
            connection(hello(), live(9), plain(10), plain(12)),
            connection(hello(), plain(11), plain(12), live(12), since="EPOCH1:10"),
            gets=["live 9", "delta 10 a {}", "delta 11 a {}", "delta 12 a {}", "live 12"],
            violations=1,
        ),
        case(
            "live that skips something is not passed on",
            connection(hello(), plain(4), live(9), since="EPOCH1:3"),
            connection(hello(), plain(5), live(5), since="EPOCH1:4"),
            since="EPOCH1:3",
            gets=["delta 4 a {}", "delta 5 a {}", "live 5"],
            violations=1,
        ),
        case(
            "a filter leaves numbers out and that is no gap",
            connection(hello(), plain(3), plain(8), live(9), plain(40), since="earliest"),
            since="earliest",
            sessions=["a"],
            gets=["delta 3 a {}", "delta 8 a {}", "live 9", "delta 40 a {}"],
            violations=0,
        ),
        case(
            "a token for some sessions leaves numbers out and that is no gap either",
            connection(hello(scoped=True), plain(3), plain(8), live(9), plain(40), since="EPOCH1:1"),
            since="EPOCH1:1",
            gets=["delta 3 a {}", "delta 8 a {}", "live 9", "delta 40 a {}"],
            violations=0,
        ),
        case(
            "what was erased meanwhile is told before history, and later as it happens",
            connection(
                hello(),
                {"event": "erased", "sessionId": "a", "through": 2, "count": 2, "erasedAt": AT},
                plain(3),
                live(3),
                {"event": "erased", "sessionId": "a", "through": 3, "count": 3, "erasedAt": AT},
                since="EPOCH1:2",
            ),
            since="EPOCH1:2",
            gets=["erased a 2 2", "delta 3 a {}", "live 3", "erased a 3 3"],
            position="EPOCH1:3",
        ),
        case(
            "a reset is handed out, then states, live and deltas of the new epoch",
            connection(
                hello(epoch="EPOCH2", head=4),
                reset("epoch_changed", "EPOCH2", 4),
                state(2, "a", '{"n":1e2}'),
                state(4, "b"),
                live(4),
                plain(5),
                since="EPOCH1:3",
            ),
            since="EPOCH1:3",
            gets=[
                "reset epoch_changed EPOCH2 1 4",
                'state 2 a {"n":1e2}',
                "state 4 b {}",
                "live 4",
                "delta 5 a {}",
            ],
            position="EPOCH2:5",
        ),
        case(
            "a list of states that was cut begins again, and that is said",
            connection(hello(), state(1, "a"), close=1006, since="state"),
            connection(hello(), state(2, "b"), live(9), since="state"),
            since="state",
            gets=["state 1 a {}", "reset cut EPOCH1 - 9", "state 2 b {}", "live 9"],
        ),
        case(
            "a list of states of which nothing was handed out is no news",
            connection(hello(), close=1006, since="state"),
            connection(hello(), state(2, "b"), live(9), plain(10), close=1006, since="state"),
            connection(hello(), live(10), since="EPOCH1:10"),
            since="state",
            gets=["state 2 b {}", "live 9", "delta 10 a {}", "live 10"],
        ),
        case(
            "the list after a reset that was cut begins again",
            connection(hello(), reset("pruned"), state(1, "a"), close=1006, since="EPOCH1:3"),
            connection(hello(), state(1, "a"), live(9), since="state"),
            since="EPOCH1:3",
            gets=[
                "reset pruned EPOCH1 1 9",
                "state 1 a {}",
                "reset cut EPOCH1 - 9",
                "state 1 a {}",
                "live 9",
            ],
        ),
        case(
            "what is known of and not handed out is behind",
            connection(
                hello(), live(9), {"event": "heartbeat", "epoch": EPOCH, "head": 12, "durable": 9, "at": AT}
            ),
            notices=True,
            gets=["hello EPOCH1 9", "live 9", "heartbeat 12 9"],
            status="behind 3",
        ),
    ]


def _refusals() -> list[Case]:
    said = {"event": "error", "code": "bad_subscription", "message": "no such place"}
    expired = {"event": "error", "code": "not_authenticated", "message": "the token is not valid any more"}
    return [
        case(f"{code} ends it", connection(close=code, reason="no"), gets=[], fails=fails)
        for code, fails in ((4400, "ClientError"), (4401, "TokenRefused"), (4403, "ClientError"))
    ] + [
        case(
            "what the server says of a bad subscription ends it",
            connection(said, close=4400),
            gets=[],
            fails="ClientError",
        ),
        case(
            "a token that is not valid any more ends it, with everything before it handed out",
            connection(hello(), live(9), plain(10), expired, close=4401),
            gets=["live 9", "delta 10 a {}"],
            fails="TokenRefused",
        ),
        case("another protocol ends it", connection(hello(protocol=2)), gets=[], fails="ClientError"),
        case(
            "three violations in a row end it",
            connection("{", since="earliest"),
            connection(live(1), since="earliest"),
            connection(hello(), hello(), since="earliest"),
            since="earliest",
            gets=[],
            fails="ClientError",
            violations=3,
        ),
        case(
            "getting on between violations does not end it",
            *[
                connection(hello(), plain(seq), "[]", since="earliest" if seq == 1 else f"EPOCH1:{seq - 1}")
                for seq in (1, 2, 3, 4)
            ],
            connection(hello(), live(4), since="EPOCH1:4"),
            since="earliest",
            gets=["delta 1 a {}", "delta 2 a {}", "delta 3 a {}", "delta 4 a {}", "live 4"],
            violations=4,
        ),
        case(
            "another epoch without a reset is a violation",
            connection(hello(), live(9), close=1006),
            connection(hello(epoch="EPOCH2"), live(9), since="EPOCH1:9"),
            connection(hello(epoch="EPOCH2"), reset("epoch_changed", "EPOCH2"), live(9), since="EPOCH1:9"),
            gets=["live 9", "reset epoch_changed EPOCH2 1 9", "live 9"],
            violations=1,
        ),
        *[
            case(
                f"{name} is a violation",
                connection(hello(), live(9), wrong),
                connection(hello(), live(9), since="EPOCH1:9"),
                gets=["live 9", "live 9"],
                violations=1,
            )
            for name, wrong in (
                ("live said twice", live(9)),
                ("a state that nobody asked for", state(1, "a")),
                ("a heartbeat of another epoch", {"event": "heartbeat", "epoch": "E", "head": 9}),
                ("a delta without a seq", '{"event":"delta","recordedAt":"","delta":{}}'),
                ("a message that is no object", "7"),
            )
        ],
    ]


def heartbeat(head: int, through: int | None = None) -> dict[str, Any]:
    said = {} if through is None else {"through": through}
    return {"event": "heartbeat", "epoch": EPOCH, "head": head, "durable": 4, "at": AT, **said}


def _heartbeats() -> list[Case]:
    return [
        case(
            "a heartbeat moves the position of a quiet session on",
            connection(hello(), live(9), heartbeat(309, 309), close=1006),
            connection(hello(head=309), live(309), plain(312), since="EPOCH1:309"),
            sessions=["a"],
            gets=["live 9", "live 309", "delta 312 a {}"],
            position="EPOCH1:312",
        ),
        case(
            "a heartbeat's position is handed out with it",
            connection(hello(), live(9), heartbeat(309, 309)),
            sessions=["a"],
            notices=True,
            gets=["hello EPOCH1 9", "live 9", "heartbeat 309 4"],
            position="EPOCH1:309",
            status="live",
        ),
        case(
            "a heartbeat without a position moves nothing",
            connection(hello(), live(9), heartbeat(309), close=1006),
            connection(hello(head=309), live(309), since="EPOCH1:9"),
            sessions=["a"],
            gets=["live 9", "live 309"],
        ),
        case(
            "a heartbeat before live moves nothing",
            connection(hello(), plain(4), heartbeat(9, 9), close=1006, since="EPOCH1:2"),
            connection(hello(), plain(6), live(9), since="EPOCH1:4"),
            since="EPOCH1:2",
            sessions=["a"],
            gets=["delta 4 a {}", "delta 6 a {}", "live 9"],
        ),
        case(
            "a heartbeat in a list of states moves nothing",
            connection(hello(), state(4, "a"), heartbeat(9, 9), close=1006, since="state"),
            connection(hello(), state(4, "a"), live(9), since="state"),
            since="state",
            gets=["state 4 a {}", "reset cut EPOCH1 - 9", "state 4 a {}", "live 9"],
        ),
        case(
            "a heartbeat behind the position moves nothing back and keeps its hash",
            connection(hello(), live(9, hash="a" * 64), heartbeat(9, 9), heartbeat(9, 7), close=1006),
            connection(hello(), live(9), since=f"EPOCH1:9:{'a' * 64}"),
            sessions=["a"],
            gets=["live 9", "live 9"],
        ),
        case(
            "a heartbeat beyond what was sent is a gap where all is asked for",
            connection(hello(), live(9), heartbeat(10, 10)),
            connection(hello(head=10), plain(10), live(10), since="EPOCH1:9"),
            gets=["live 9", "delta 10 a {}", "live 10"],
            violations=1,
        ),
        case(
            "a position that is no seq is a violation",
            connection(hello(), live(9), {**heartbeat(9), "through": "EPOCH1:9"}),
            connection(hello(), live(9), since="EPOCH1:9"),
            gets=["live 9", "live 9"],
            violations=1,
        ),
    ]


def _proofs() -> list[Case]:
    chain = Chain()
    says = [
        chain.delta('{"n":1}'),
        chain.delta('{"n":2}', before='{"n":1}', filled=True),
        chain.delta(ODD, before='"\\u0041\U0001f600é"', id="an id", lineage="broken", session="b/é"),
        chain.delta(None, before=ODD, session="b/é", filled=True),
    ]
    end = chain.position()
    shown = ['delta 1 a {"n":1}', 'delta 2 a {"n":2}', f"delta 3 b/é {ODD}", "delta 4 b/é -"]
    changed = says[1].replace('"after":{"n":2}', '"after":{"n":3}')
    digests = f'"before":"{_digest(ODD).hex()}"'  # type: ignore[union-attr]
    erased = says[3].replace(f'"before":{ODD},', "").replace(',"delta":', f',"erased":{{{digests}}},"delta":')
    linked = [f"{text} linked" for text in shown]
    first = EPOCH + ":1:" + says[0].partition('"hash":"')[2][:64]
    says_hash = says[1].partition('"hash":"')[2][:64]
    return [
        case(
            "a position carries the hash where it is known",
            connection(hello(), *says, close=1006, since="earliest"),
            connection(hello(), live(4), since=end),
            since="earliest",
            gets=[*shown, "live 4"],
            position=end,
        ),
        case(
            "a fork is a reset like any other",
            connection(hello(head=4), reset("fork", head=4), live(4), since=first),
            since=first,
            gets=["reset fork EPOCH1 1 4", "live 4"],
        ),
        case(
            "every link is computed, whatever a delta holds",
            connection(hello(), *says, live(4, hash=end.rpartition(":")[2]), since="earliest"),
            since="earliest",
            verify=True,
            gets=[*linked, "live 4"],
        ),
        case(
            "what was erased is linked by its digests",
            connection(hello(), *says[:3], erased, since="earliest"),
            since="earliest",
            verify=True,
            gets=[*linked[:3], "delta 4 b/é - linked by digest"],
        ),
        case(
            "a changed delta ends it at its place, behind those before it",
            connection(hello(), says[0], changed, *says[2:], since="earliest"),
            since="earliest",
            verify=True,
            gets=linked[:1],
            fails="ChainBroken",
            seq=2,
        ),
        case(
            "a head with another hash ends it",
            connection(hello(), *says, live(4, hash="0" * 64), since="earliest"),
            since="earliest",
            verify=True,
            gets=linked,
            fails="ChainBroken",
            seq=4,
        ),
        case(
            "the chain is followed across a cut",
            connection(hello(), says[0], close=1006, since="earliest"),
            connection(hello(), *says[1:], since=first),
            since="earliest",
            verify=True,
            gets=linked,
        ),
        case(
            "a filter and a start without a hash cannot be verified, and it is said why",
            connection(hello(), says[1], says[2], since="EPOCH1:1"),
            since="EPOCH1:1",
            verify=True,
            gets=[f"{shown[1]} the hash before the start is not known", linked[2]],
        ),
        case(
            "behind a filter only neighbours are linked",
            connection(hello(), says[0], says[2], says[3], since="earliest"),
            since="earliest",
            sessions=["a", "b/é"],
            verify=True,
            gets=[linked[0], f"{shown[2]} the delta before was not sent", linked[3]],
        ),
        case(
            "what was left out cannot be verified, and the hash of live is gone on from",
            connection(
                hello(head=0), live(0), conflated(0, 2, 2), live(2, hash=says_hash), *says[2:], since="latest"
            ),
            verify=True,
            slow="conflate",
            gets=["live 0", "conflated 0 2 2", "live 2", linked[2], linked[3]],
        ),
        case(
            "what was left out up to no known hash leaves the next one unproven",
            connection(hello(head=0), live(0), conflated(0, 2, 2), live(2), *says[2:], since="latest"),
            verify=True,
            slow="conflate",
            gets=[
                "live 0",
                "conflated 0 2 2",
                "live 2",
                f"{shown[2]} the delta before was left out",
                linked[3],
            ],
        ),
        case(
            "without a chain there is nothing to verify",
            connection(hello(), plain(1), live(1), since="earliest"),
            since="earliest",
            verify=True,
            gets=["delta 1 a {} the chain is off", "live 1"],
        ),
        case(
            "after a reset nothing before it counts",
            connection(hello(), reset("pruned"), live(2), *says[2:], since="EPOCH1:1"),
            since="EPOCH1:1",
            verify=True,
            gets=[
                "reset pruned EPOCH1 1 9",
                "live 2",
                f"{shown[2]} the hash after the reset is not known",
                linked[3],
            ],
        ),
    ]


CASES = [*_following(), *_resuming(), *_refusals(), *_heartbeats(), *_proofs()]
