"""Conformance cases of a reader that is moved on (`slow=conflate`): deltas left out, states instead, then live again."""

from __future__ import annotations

from tests.conformance.cases import AT, EPOCH, Case, case, conflated, connection, hello, live, plain, state


def _cases() -> list[Case]:
    begin = connection(hello(), live(9), plain(10), conflated(10, 14, 4), close=1006)
    erased = {"event": "erased", "sessionId": "c", "through": 15, "count": 2, "erasedAt": AT}
    return [
        case(
            "what is left out is told, then the states, then it is live again",
            connection(
                hello(),
                live(9),
                plain(10),
                conflated(10, 14, 4),
                state(13, "b", '{"n":1e2}'),
                state(14, "a", "null"),
                live(14),
                plain(15),
            ),
            slow="conflate",
            gets=[
                "live 9",
                "delta 10 a {}",
                "conflated 10 14 4",
                'state 13 b {"n":1e2}',
                "state 14 a null",
                "live 14",
                "delta 15 a {}",
            ],
            position="EPOCH1:15",
            status="live",
        ),
        case(
            "it may take several rounds, and what was erased is told as erased",
            connection(
                hello(),
                live(9),
                conflated(9, 12, 3),
                state(12, "a"),
                conflated(12, 15, 3),
                erased,
                state(14, "b"),
                {"event": "heartbeat", "epoch": EPOCH, "head": 15, "durable": 9, "at": AT},
                close=1006,
            ),
            connection(hello(), plain(13, "c"), live(13), since="EPOCH1:12"),
            slow="conflate",
            gets=[
                "live 9",
                "conflated 9 12 3",
                "state 12 a {}",
                "conflated 12 15 3",
                "erased c 15 2",
                "state 14 b {}",
                "delta 13 c {}",
                "live 13",
            ],
        ),
        case(
            "cut among the states, what was left out comes after all",
            begin,
            connection(hello(), plain(11), plain(12), live(12), since="EPOCH1:10"),
            slow="conflate",
            gets=[
                "live 9",
                "delta 10 a {}",
                "conflated 10 14 4",
                "delta 11 a {}",
                "delta 12 a {}",
                "live 12",
            ],
        ),
        case(
            "a filter leaves numbers out there too",
            connection(
                hello(), live(9), plain(12), conflated(12, 19, 1), state(18, "a"), live(21), plain(30)
            ),
            slow="conflate",
            sessions=["a"],
            gets=[
                "live 9",
                "delta 12 a {}",
                "conflated 12 19 1",
                "state 18 a {}",
                "live 21",
                "delta 30 a {}",
            ],
            violations=0,
        ),
        *[
            case(
                f"{name} is a violation",
                connection(hello(), live(9), *wrong),
                connection(hello(), live(9), since="EPOCH1:9"),
                slow="conflate",
                gets=["live 9", *shown, "live 9"],
                violations=1,
            )
            for name, wrong, shown in (
                ("a conflated that leaves a hole", [conflated(11, 14, 3)], []),
                ("a conflated that goes back", [conflated(8, 14, 3)], []),
                ("a conflated of another epoch", [conflated(9, 14, 5, "E")], []),
                ("a conflated without its end", [{"event": "conflated", "epoch": EPOCH, "from": 9}], []),
                (
                    "a delta amid the states of a conflated",
                    [conflated(9, 10, 1), plain(11)],
                    ["conflated 9 10 1"],
                ),
                ("a live short of what was left out", [conflated(9, 12, 3), live(11)], ["conflated 9 12 3"]),
            )
        ],
    ]


MOVING_ON = _cases()
