"""Bytes to text, byte-exact, whatever the token boundaries; stop strings."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tchat.engine.binding import Cancel
from tchat.engine.kv_cache import text_decoder
from tchat.engine.model import Model
from tchat.engine.prompt.reasoning import ReplyMarks, ReplyPhase
from tchat.engine.reply_state import ReplyText, StopFilter

HARD_TEXTS = [
    "👩‍👩‍👧‍👦 family and 🏳️‍🌈 flag",
    "漢字とかな、全角。",
    " " * 64 + "indented" + " " * 200,
    "─" * 120,
    "a\u0301 e\u0308 combining, \u202bRTL\u202c, tab\tand\r\nCRLF",
    "=" * 100 + "\n" * 30,
]


@given(st.binary(max_size=60), st.lists(st.integers(1, 7), max_size=60))
def test_decoding_does_not_depend_on_the_cuts(data: bytes, cuts: list[int]) -> None:
    decoder, text, rest = text_decoder(), "", data
    for cut in [*cuts, len(data)]:
        text += decoder.decode(rest[:cut])
        rest = rest[cut:]
    assert text + decoder.decode(b"", final=True) == data.decode("utf-8", "replace")


def test_an_invalid_byte_does_not_hold_back_what_follows() -> None:
    reply = ReplyText(ReplyMarks(), ReplyPhase.ANSWER, ())
    reply.feed(b"a\xffb")
    assert reply.text == "a\ufffdb"


@given(
    st.text("abc", max_size=40),
    st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3),
    st.lists(st.integers(1, 5), max_size=40),
)
def test_stops_do_not_depend_on_the_cuts(text: str, stops: list[str], cuts: list[int]) -> None:
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    expected = text[: min(places)] if places else text
    filtered, out, rest = StopFilter(stops), "", text
    for cut in [*cuts, len(text)]:
        out += filtered.feed(rest[:cut])
        rest = rest[cut:]
    out += filtered.close()
    # A stop that ends first is found first, even if a longer one began before it.
    assert out == expected or (places and text.startswith(out) and len(out) >= len(expected))
    assert filtered.stopped == bool(places)


def test_no_stop_string_holds_nothing_back() -> None:
    assert StopFilter(()).feed("all at once") == "all at once"


@pytest.mark.parametrize("text", HARD_TEXTS)
def test_pieces_of_tokens_are_the_text(starter_model: Path, text: str) -> None:
    model = Model(starter_model, cancel=Cancel())
    try:
        decoder = text_decoder()
        tokens = model.tokenize(text, special=False)
        pieces = [decoder.decode(model.piece(token)) for token in tokens]
        assert "".join(pieces) + decoder.decode(b"", final=True) == text
    finally:
        model.close()
