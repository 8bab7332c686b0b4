"""The page's pure modules: exact JSON, differences, lists that are bounded. Run in the browser, as they are served."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.async_api import Browser, Page

from tests.support.app import running_app
from tests.support.browser import needs_chromium, opened

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="session")]

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(st.sampled_from(["a", "id", "__proto__", "a/b", "~", ""]), inner, max_size=4)
    ),
    max_leaves=20,
)


def examples(count: int, strategy: st.SearchStrategy[Any]) -> list[Any]:
    """Some values of a strategy, the same ones in each run: a round trip to the browser for each would be too many."""
    found: list[Any] = []

    @settings(max_examples=count, database=None, derandomize=True)
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


async def run(page: Page, code: str, argument: Any = None) -> Any:
    """What a function's body returns that may `load` the page's modules."""
    return await page.evaluate(
        f"async (given) => {{ const load = (name) => import(`/assets/${{name}}.js`); {code} }}", argument
    )


async def test_json_is_read_exactly(browser: Browser) -> None:
    texts = [json.dumps(value, ensure_ascii=False) for value in examples(150, VALUES)]
    texts += [
        '{"a":123456789012345678901234567890,"b":1e2,"c":1.0,"d":-0}',
        ' [ 1 , "\\u0041\\\\" , {"x" : [ ] } ] ',
        '"\\ud800"',
        "[" * 500 + "]" * 500,
    ]
    async with running_app(None) as app, opened(browser, app.url) as page:
        found = await run(
            page,
            """const { parse, raw, plain, pretty } = await load("json");
            return given.map((text) => {
              const value = parse(text);
              const again = raw(value) === text.trim();
              // Laid out anew it is the same value, each number spelled as it was.
              const numbers = (t) => (t.replace(/"(?:[^"\\\\]|\\\\.)*"/g, "").match(/-?\\d[\\d.eE+-]*/g) ?? []).join();
              const laid = pretty(value);
              return again && numbers(laid) === numbers(text)
                && JSON.stringify(JSON.parse(laid)) === JSON.stringify(JSON.parse(text));
            });""",
            texts,
        )
    assert [text for text, good in zip(texts, found, strict=True) if not good] == []


async def test_what_is_not_json_is_an_error(browser: Browser) -> None:
    texts = [
        "",
        "{",
        "[1,]",
        '{"a"}',
        '{"a":}',
        "01",
        "+1",
        "tru",
        '"',
        '"\\x"',
        "1 2",
        "{'a':1}",
        "[1 2]",
        "NaN",
    ]
    async with running_app(None) as app, opened(browser, app.url) as page:
        found = await run(
            page,
            """const { parse } = await load("json");
            return given.filter((text) => {
              try { parse(text); return true; } catch (error) { return !(error instanceof SyntaxError); }
            });""",
            texts,
        )
    assert found == []


# From a difference alone both values can be told: nothing is left out of it, nothing is shown that is not there.
REBUILD = """
const { parse, raw, plain, same } = await load("json");
const { diff, changes } = await load("diff");
const rebuild = (field, side) => {
  if (!field.fields.length) return field[side] && JSON.parse(raw(field[side]));
  const inner = field.fields.filter((one) => one[side]);
  if (inner.length && inner[0].indexed) return inner.map((one) => rebuild(one, side));
  return Object.fromEntries(inner.map((one) => [one.key, rebuild(one, side)]));
};
const sorted = (v) => Array.isArray(v) ? v.map(sorted) : v && typeof v === "object"
  ? Object.keys(v).sort().map((k) => [k, sorted(v[k])]) : v;
const text = (v) => JSON.stringify(sorted(v));
return given.filter(([a, b]) => {
  const found = diff(parse(a), parse(b));
  const [x, y] = [JSON.parse(a), JSON.parse(b)];
  const both = found.what === "same"
    || (text(rebuild(found, "before")) === text(x) && text(rebuild(found, "after")) === text(y));
  return !both || (changes(found).length === 0) !== same(parse(a), parse(b))
    || changes(diff(parse(a), parse(a))).length !== 0;
});
"""


async def test_a_difference_holds_both_values(browser: Browser) -> None:
    pairs = [[json.dumps(a), json.dumps(b)] for a, b in examples(200, st.tuples(VALUES, VALUES))]
    lists = st.lists(st.integers(0, 3), max_size=8)
    pairs += [[json.dumps(a), json.dumps(b)] for a, b in examples(100, st.tuples(lists, lists))]
    async with running_app(None) as app, opened(browser, app.url) as page:
        assert await run(page, REBUILD, pairs) == []


TOLD = [
    (
        '{"plan":[{"step":1,"status":"new"}]}',
        '{"plan":[{"step":1,"status":"done"}]}',
        ["changed /plan/0/status"],
    ),
    ("[1,2,3]", "[0,1,2,3]", ["added /0"]),
    ("[1,2,3]", "[1,3]", ["removed /1"]),
    ('[{"id":1,"a":0},{"id":2}]', '[{"id":2},{"id":3}]', ["removed /0", "added /1"]),
    ('[{"id":1,"n":1},{"id":2,"n":1}]', '[{"id":1,"n":2},{"id":2,"n":1}]', ["changed /0/n"]),
    ("123456789012345678901234567890", "123456789012345678901234567891", ["changed "]),
    ("1.0", "1", ["changed "]),
    ('{"a":1,"b":2}', '{ "b": 2, "a": 1 }', []),
    ('{"a/b":{"~":1}}', '{"a/b":{"~":2}}', ["changed /a~1b/~0"]),
    ('{"a":[]}', '{"a":{}}', ["changed /a"]),
    ('{"__proto__":1}', '{"__proto__":2}', ["changed /__proto__"]),
]


async def test_differences_are_told_down_to_the_field(browser: Browser) -> None:
    async with running_app(None) as app, opened(browser, app.url) as page:
        found = await run(
            page,
            """const { parse } = await load("json"); const { diff, changes } = await load("diff");
            return given.map(([before, after]) => [before, after,
              changes(diff(parse(before), parse(after))).map((field) => `${field.what} ${field.path}`)]);""",
            TOLD,
        )
    assert found == [list(case) for case in TOLD]


async def test_the_feed_is_bounded_and_holds_still(browser: Browser) -> None:
    async with running_app(None) as app, opened(browser, app.url) as page:
        found = await run(
            page,
            """const { EventLog } = await load("event-log");
            const entry = (seq, session = "s", text = "x".repeat(10)) => ({ seq, type: "updated", session, text });
            const log = new EventLog(5, 80);
            log.add([1, 2, 3, 4, 5, 6, 7].map((seq) => entry(seq)));
            const seqs = () => log.shown.map((one) => one.seq).join();
            const steps = [seqs(), log.dropped];
            log.hold();
            log.add([entry(8), entry(9)]);
            steps.push(seqs(), log.missed);
            log.release();
            steps.push(seqs(), log.missed);
            log.add([entry(10, "s", "y".repeat(60))]); // as many characters as there may be
            steps.push(seqs(), log.characters);
            log.setFilter({ text: "YY" });
            steps.push(seqs());
            log.setFilter({ text: "", session: "S" });
            log.addOlder([entry(6), entry(7)]);
            steps.push(log.entries.length <= 5 && log.characters <= 80);
            log.erase("s", 9);
            steps.push(seqs());
            return steps;""",
        )
    assert found == ["3,4,5,6,7", 2, "3,4,5,6,7", 2, "5,6,7,8,9", 0, "8,9,10", 80, "10", True, "10"]


async def test_the_player_keeps_time(browser: Browser) -> None:
    async with running_app(None) as app, opened(browser, app.url) as page:
        found = await run(
            page,
            """const { Player, MOST_GAP_MS, LEAST_GAP_MS } = await load("player");
            const times = ["00:00:00", "00:00:01", "00:00:01", "10:00:00", "00:00:00"].map((t) => `2026-11-20T${t}Z`);
            const at = (index) => times[index];
            const player = new Player();
            const steps = [player.advance(10_000, 0, 5, at)]; // not playing
            player.play();
            steps.push(player.advance(999, 0, 5, at), player.advance(1, 0, 5, at)); // a second
            steps.push(player.advance(LEAST_GAP_MS, 1, 5, at)); // no time at all
            steps.push(player.advance(MOST_GAP_MS - 1, 2, 5, at), player.advance(1, 2, 5, at)); // a night
            steps.push(player.advance(LEAST_GAP_MS, 3, 5, at)); // backwards
            player.speed = 100;
            player.play();
            steps.push(player.advance(60, 0, 5, at)); // all of it
            return steps;""",
        )
    assert found == [0, 0, 1, 2, 2, 3, 4, 4]


async def test_addresses_lead_back_to_the_session_they_name(browser: Browser) -> None:
    ids = ["a", "a/b?c#d", "100%", "%41", "ä 日本 👩‍🚀", "..", ".", "<b>", "?at=3", "&", "\u202eevil", "//x"]
    async with running_app(None) as app, opened(browser, app.url) as page:
        found = await run(
            page,
            """const { parseRoute, sessionAddress } = await load("router");
            const lost = (id) => { const r = parseRoute(sessionAddress(id, 7)); return r.id !== id || r.at !== 7; };
            const back = given.filter(lost);
            const hashes = ["", "#", "#/", "#x", "#/session/", "#/session/%", "#/nowhere", "#/integrity", "#/trust"];
            const odd = hashes.map((hash) => parseRoute(hash).view);
            return [back, odd];""",
            ids,
        )
    assert found == [[], ["live"] * 7 + ["integrity"] * 2]


async def test_figures_read_well(browser: Browser) -> None:
    async with running_app(None) as app, opened(browser, app.url) as page:
        found = await run(
            page,
            """const { duration, size, rate, several, visible, ago } = await load("format");
            const { roundUp } = await load("rates");
            return [[0, 999, 1000, 59_999, 60_000, 3_600_000, 7_500_000, 90_000_000, -5].map(duration),
              [0, 999, 1400, 23_000_000].map(size), [0, 0.4, 12.3, 5210].map(rate),
              [several(1, "delta"), several(1234, "delta")], visible("a\\u202eb\\u0000"),
              ago("2026-11-20T12:00:00Z", Date.parse("2026-11-20T12:01:05Z")), [0, 1, 3, 12, 51, 5000].map(roundUp)];""",
        )
    assert found == [
        ["0 ms", "999 ms", "1 s", "59 s", "1 min", "1 h", "2 h 5 min", "1 d", "0 ms"],
        ["0 B", "999 B", "1.4 kB", "23 MB"],
        ["0", "0.4", "12", "5,210"],
        ["1 delta", "1,234 deltas"],
        "a⟨U+202E⟩b␀",
        "1 min ago",
        [1, 1, 5, 20, 100, 5000],
    ]


async def test_what_comes_while_a_session_is_read_is_not_lost_and_the_last_question_wins(
    browser: Browser,
) -> None:
    async with running_app(None) as app, opened(browser, app.url) as page:
        found = await run(
            page,
            """const { SessionLog } = await load("session-log");
            const entry = (seq) => ({ seq, text: "" });
            const asked = [];
            const log = new SessionLog((query) => new Promise((answer) => asked.push({ query, answer })));
            const page = (seqs, more) => ({ entries: seqs.map(entry), more });
            const told = () => [log.entries.map(({ seq }) => seq), log.first, log.last, log.atEnd];
            const seen = [];

            let done = log.open(2);
            log.append(entry(4)); // came live, and stands in no answer
            log.append(entry(3)); // stands in one
            asked[0].answer(page([1, 2], false));
            asked[1].answer(page([3], false));
            await done;
            seen.push(told());
            log.append(entry(5));
            seen.push(told());

            // Of two questions the later one is shown, whichever is answered last.
            asked.length = 0;
            const early = log.open(1);
            const late = log.open(5);
            asked[2].answer(page([1, 2, 3, 4, 5], false));
            asked[3].answer(page([], false));
            await late;
            asked[0].answer(page([1], false));
            asked[1].answer(page([], false));
            await early;
            seen.push(told());

            // What is far from the place is known to be there, and not taken for the next.
            asked.length = 0;
            done = log.open(1);
            log.append(entry(900));
            asked[0].answer(page([1], false));
            asked[1].answer(page([2], true));
            await Promise.resolve();
            for (let turn = 0; turn < 1000 && asked.length < 3; turn++) await new Promise((next) => setTimeout(next));
            asked[2].answer(page([899], false));
            await done;
            seen.push(told());

            log.begin();
            log.append(entry(7));
            seen.push(told());
            return seen;""",
        )
    assert found == [
        [[1, 2, 3, 4], 1, 4, True],
        [[1, 2, 3, 4, 5], 1, 5, True],
        [[1, 2, 3, 4, 5], 1, 5, True],
        [[1, 2], 1, 900, False],
        [[7], 7, 7, True],
    ]


async def test_a_page_of_history_for_another_stretch_is_dropped(browser: Browser) -> None:
    async with running_app(None) as app, opened(browser, app.url) as page:
        found = await run(
            page,
            """const { SessionLog, MOST } = await load("session-log");
            const entry = (seq) => ({ seq, text: "" });
            const asked = [];
            const log = new SessionLog((query) => new Promise((answer) => asked.push({ query, answer })));
            const page = (from, to, more) =>
              ({ entries: Array.from({ length: to - from + 1 }, (_, n) => entry(from + n)), more });
            const open = async (older, newer) => {
              asked.length = 0;
              const done = log.open(0);
              const [first, second] = asked.splice(0);
              first.answer(older);
              second.answer(newer);
              for (let turn = 0; turn < 1000 && asked.length < older.more + newer.more; turn++)
                await new Promise((next) => setTimeout(next));
              for (const one of asked.splice(0)) one.answer(one.query.order ? page(1, 1) : page(9000, 9000));
              await done;
            };
            const gaps = () => log.entries.filter((one, n) => n && one.seq !== log.entries[n - 1].seq + 1).length;
            const told = () => [log.entries[0].seq, log.entries.at(-1).seq, gaps()];
            const seen = [];

            // Newer ones were requested; then the user has jumped elsewhere.
            await open(page(1, 200, false), page(201, 300, true));
            let late = log.newer();
            const [newer] = asked.splice(0);
            await open(page(2900, 3000, true), page(3001, 3100, true));
            newer.answer(page(301, 500, true));
            await late;
            seen.push(told());

            // Older ones were requested; then live deltas have pushed the beginning out.
            await open(page(3000, 3199, true), page(3200, 3200 + MOST - 202, false));
            late = log.older();
            const [older] = asked.splice(0);
            for (let n = 0; n < 20; n++) log.append(entry(log.last + 1));
            const begin = log.entries[0].seq;
            older.answer(page(2800, 2999, true));
            await late;
            seen.push([begin > 3000, log.entries[0].seq === begin, gaps()]);
            return seen;""",
        )
    assert found == [[2900, 3100, 0], [True, True, 0]]


async def test_events_that_were_requested_before_an_erasure_or_a_move_of_their_beginning_are_dropped(
    browser: Browser,
) -> None:
    async with running_app(None) as app, opened(browser, app.url) as page:
        found = await run(
            page,
            """const { LiveModel } = await load("live-model");
            let listener;
            const source = { figures: { recording: true }, listen: (one) => (listener = one) };
            const asked = [];
            const answer = (path) => new Promise((give) => asked.push({ path, give }));
            const api = { text: answer, json: async () => ({ sessions: [], next: null }) };
            const model = new LiveModel(api, source);
            const item = (seq) => `{"seq":${seq},"recordedAt":"","delta":{"type":"updated","sessionId":"s"}}`;
            const page = (...seqs) => `{"epoch":"E","deltas":[${seqs.map(item)}],"next":"x"}`;
            const until = async (test) => { while (!test()) await new Promise((next) => setTimeout(next)); };
            const seqs = () => model.feed.entries.map((one) => one.seq);
            const live = (...all) => listener.onDeltas(all.map((seq) => ({ seq, at: "", session: "t", text: "" })));
            const seen = [];

            // What was erased while the first page was on its way stands in it: it is read again.
            listener.onFresh({ seq: 20 });
            await until(() => asked.length === 1);
            listener.onErased({ session: "s", through: 20 });
            asked[0].give(page(20, 19));
            await until(() => asked.length === 2);
            seen.push(seqs());
            asked[1].give(page(18, 17));
            await until(() => model.loaded);
            seen.push(seqs());

            // Older ones were requested; then an erasure came.
            let late = model.older();
            listener.onErased({ session: "other", through: 3 });
            asked[2].give(page(16, 15));
            await late;
            seen.push(seqs());

            // Older ones were requested; then the beginning was dropped for want of room.
            late = model.older();
            model.feed.mostEntries = 2;
            live(21, 22);
            asked[3].give(page(16, 15));
            await late;
            seen.push(seqs());
            return seen;""",
        )
    assert found == [[], [17, 18], [17, 18], [21, 22]]


async def test_a_difference_costs_what_its_values_are_long_and_not_how_deep_they_lie(
    browser: Browser,
) -> None:
    """Each number of a value is found once: counted, not timed."""
    async with running_app(None) as app, opened(browser, app.url) as page:
        found = await run(
            page,
            """const { parse } = await load("json"); const { diff, changes } = await load("diff");
            const nest = (open, inner, close, times) => open.repeat(times) + inner + close.repeat(times);
            const seen = [];
            for (const [open, close] of [['{"a":', "}"], ["[", "]"], ['[{"a":', "}]"]]) {
              const times = open.length > 5 ? 249 : 499;
              const text = JSON.stringify("x".repeat(200_000));
              const [before, after] = [1, 2].map((n) => parse(nest(open, `[${text},${n}]`, close, times)));
              let read = 0;
              const slice = String.prototype.slice;
              String.prototype.slice = function (...given) {
                const part = slice.apply(this, given);
                read += part.length;
                return part;
              };
              try {
                seen.push(changes(diff(before, after)).length, read / text.length < 20);
              } finally {
                String.prototype.slice = slice;
              }
            }
            // Wide ones, too: as many removed and added members as there are.
            const wide = (from) => parse(`{${Array.from({ length: 30_000 }, (_, n) => `"k${from + n}":1`)}}`);
            seen.push(changes(diff(wide(0), wide(15_000))).length);
            return seen;""",
        )
    assert found == [1, True, 1, True, 1, True, 30_000]


async def test_the_head_tells_whether_and_how_it_records(browser: Browser) -> None:
    async with running_app(None) as app, opened(browser, app.url) as page:
        found = await run(
            page,
            """const { recordingInWords } = await load("recording"); const { Figures } = await load("source");
            const told = (given) => {
              const { kind, text, more } = recordingInWords(Object.assign(new Figures(), given), 1_000_000);
              return [kind, text, more];
            };
            const on = { epoch: "E", lossWindowMs: 60_000 };
            return [told({}), told(on), told({ ...on, durability: "commit", lossWindowMs: 0 }),
              told({ epoch: "E", recording: false }), told({ ...on, lateSince: 900_000 }),
              told({ ...on, lateSince: 700_000 })];""",
        )
    assert found == [
        ["unknown", "", ""],
        ["on", "Recording", "snapshot"],
        ["on", "Recording", "commit"],
        ["off", "Not recording", ""],
        ["on", "Recording", "snapshot"],
        ["late", "Not on disk for 5 min", ""],
    ]
