"""`ndjson`: the recorder's own export, line by line, without loss.

A line is an entry as the recorder exports it, `{"seq":…,"recordedAt":…,"hash":…,"delta":{…}}`; what counts is its
delta (the importing recorder gives seq, time of recording and hash anew), other members are passed over. A line that
is a delta by itself is taken as well. The delta goes on as it stands, byte for byte; a `before` that the exporting
recorder filled in, too: the importing one may know another state, and then says so (`lineage`).

A state may hold line breaks between its tokens, which would break the line. The export writes spaces in their place and
adds `"exact":{"before":"…","after":"…"}`, the state's true text as a JSON string, of the ones concerned; they are put
back here.

A delta without an id is identified by its content and its place: the seq and time it was recorded with, or, where a line
is a delta by itself, everything that stands before it in the file.
"""

from __future__ import annotations

from collections.abc import Iterator

from recorder.bridges.imports import envelope, rawjson
from recorder.bridges.imports.files import lines
from recorder.bridges.imports.records import Sessions, SourceDelta, SourceItem, SourceOptions, Unfit

_BREAKS = bytes.maketrans(b"\r\n", b"  ")


def deltas(
    parts: Iterator[bytes], name: str, options: SourceOptions, sessions: Sessions
) -> Iterator[SourceItem]:
    """Read the deltas of an export.

    Args:
        parts: The file's bytes.
        name: Its name, for messages.
        options: The bounds count.
        sessions: Not asked: the deltas go on as they stand.
    """
    chain = envelope.Chain()
    for number, line in lines(parts, options.max_line_bytes):
        place = f"{name}: line {number}"
        try:
            if isinstance(line, Unfit):
                raise line
            yield SourceDelta(*_delta(line, place, chain.add(line), options.max_delta_bytes))
        except Unfit as unfit:
            yield unfit.at(place)


def _delta(line: bytes, place: str, before: bytes, max_bytes: int) -> tuple[bytes, str, str | None]:
    entry = rawjson.members(line)
    if "delta" not in entry:
        if "type" not in entry:
            raise Unfit("neither an exported entry (no 'delta') nor a delta (no 'type')")
        text, delta = line, entry
    else:
        if "erased" in entry:
            raise Unfit("the content of this entry was erased", hint="--skip-bad continues after it")
        text = entry["delta"]
        delta = rawjson.members(text)
    if exact := rawjson.present(entry.get("exact")) if text is not line else None:
        delta |= _exact_states(delta, exact)
        text = rawjson.assemble(delta.items())
    envelope.check(delta)
    envelope.check_size(text, max_bytes)
    identity = None
    if rawjson.present(delta.get("id")) is None:
        stands = [entry[name] for name in ("seq", "recordedAt") if name in entry] if text is not line else []
        identity = envelope.content_id("ndjson", text, *(stands or (before,)))
        if len(text) + len(identity) + len(',"id":""') > max_bytes:
            identity = None
    return text, place, identity


def _exact_states(delta: dict[str, bytes], exact: bytes) -> dict[str, bytes]:
    states: dict[str, bytes] = {}
    for which, quoted in rawjson.members(exact).items():
        text = rawjson.string(quoted)
        if which not in ("before", "after") or text is None:
            raise Unfit(f"exact.{which}: must be the text of a state, as a string")
        states[which] = _exact_state(which, text, delta.get(which, b""))
    return states


def _exact_state(which: str, text: str, flattened: bytes) -> bytes:
    try:
        state = text.encode()
    except UnicodeEncodeError:
        raise Unfit(f"exact.{which}: has lone surrogates, which no state's text can have") from None
    if state.translate(_BREAKS) != flattened.translate(_BREAKS):
        raise Unfit(f"exact.{which}: differs from delta.{which} in more than line breaks")
    # A line break inside a string is not JSON, nor is a state that is no text at all.
    rawjson.check(state)
    return state
