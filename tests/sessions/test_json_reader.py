"""JSON that comes in pieces is read as `json.loads` reads it whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tchat.sessions.json_reader import JsonReader, texts_of

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


def pieces(text: str, size: int) -> Iterator[str]:
    return (text[at : at + size] for at in range(0, len(text), size))


def entered(reader: JsonReader) -> Any:
    """The next value, every container entered."""
    if reader.peek() == "{":
        return {name: entered(reader) for name in reader.members()}
    if reader.peek() == "[":
        return [entered(reader) for _ in reader.items()]
    return reader.value()


def whole(read: Callable[[JsonReader], Any], text: str, size: int) -> Any:
    reader = JsonReader(pieces(text, size))
    value = read(reader)
    reader.end()
    return value


@given(values, st.integers(1, 9), st.sampled_from([None, 1]), st.booleans())
def test_any_value_in_any_pieces(value: Any, size: int, indent: int | None, ascii_: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_)
    for read in (entered, JsonReader.value):
        assert whole(read, text, size) == value


@given(st.text(st.sampled_from('{}[]",:01.e- tn\\u'), max_size=20), st.integers(1, 5))
def test_what_is_no_json_is_refused(text: str, size: int) -> None:
    try:
        wanted = json.loads(text)
        json.dumps(wanted, allow_nan=False)
    except ValueError:
        for read in (entered, JsonReader.value):
            with pytest.raises(ValueError):
                whole(read, text, size)
    else:
        assert entered(JsonReader(pieces(text, size))) == wanted


@pytest.mark.parametrize("text", [" 00", " 01", "[1, 00]", " 1 1", "\n-00", " 1.5.5", " truetrue"])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_what_follows_a_value_is_refused(text: str, size: int) -> None:
    with pytest.raises(ValueError):
        whole(JsonReader.value, text, size)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000])
def test_nesting_is_refused_and_not_followed(text: str) -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        JsonReader([text]).value()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1.5E+400"])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_numbers_that_are_not_finite_are_refused_where_they_stand(number: str, size: int) -> None:
    texts = pieces(f'{{"a": [{number}' + ", 1" * 10_000, size)
    with pytest.raises(ValueError, match="no number that can be stored"):
        JsonReader(texts).value()
    assert sum(map(len, texts)) > 29_000  # the rest was not read


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_files_come_in_their_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tchat.sessions.json_reader.CHUNK", 7)
    text = '{"a": "日本 🦊 é"}'
    assert "".join(texts_of(BytesIO(text.encode(encoding)))) == text
