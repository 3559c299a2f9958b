"""Untrusted text: nothing that acts on a terminal gets through, ordinary text stays as it is."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tchat.sanitize import PrintableStream, printable, printable_json, revealed, single_line

BIDI = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
HIDDEN = {0x200B, 0x2060, 0xFEFF, *range(0xE0000, 0xE0080)}

anything = st.text(st.characters(exclude_categories=()))
hostile = st.text(
    st.sampled_from(
        "ab\r\n\t\x1b\x07\x00\x7f\x9b\x85\u202e\u2066\u200b\u2028\u200d\ud800\U000e0041"
    )
)


@given(anything | hostile)
def test_nothing_that_acts_on_a_terminal_gets_through(text: str) -> None:
    for char in printable(text):
        assert char in "\n\t" or unicodedata.category(char) not in {"Cc", "Cs", "Zl", "Zp"}
        assert ord(char) not in BIDI | HIDDEN


@given(anything | hostile)
def test_doing_it_twice_changes_nothing(text: str) -> None:
    assert printable(printable(text)) == printable(text)


@given(anything | hostile)
def test_nothing_invisible_is_hidden_where_all_is_revealed(text: str) -> None:
    shown = revealed(text)
    assert printable(shown) == shown
    hidden = [char for char in text if not printable(char)]
    assert shown.count("⟦U+") >= len(hidden)
    assert all(f"⟦U+{ord(char):04X}⟧" in shown for char in hidden)


@given(st.lists(anything | hostile))
def test_chunks_give_what_the_whole_gives(chunks: list[str]) -> None:
    stream = PrintableStream()
    assert "".join(map(stream.feed, chunks)) == printable("".join(chunks))


@given(st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"])))
def test_letters_marks_numbers_punctuation_and_symbols_stay(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "plain\ttext\n",
        "👩‍👩‍👧 ❤️ 👍🏽",  # joined by ZWJ, a variation selector, a skin tone
        "می‌خواهم",  # ZWNJ
        "e\u0301 नि 각",  # combining marks
        "日本語 中文 한국어",
        "ℝ ≤ ∞ ␛",
    ],
)
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]52;c;ZXZpbA==\x07", "␛]52;c;ZXZpbA==␇"),
        ("\x00\x08\x0b\x0c\x1f\x7f", "␀␈␋␌␟␡"),
        ("\x9b31m", "⟦U+009B⟧31m"),
        ("a\r\nb\rc\u2028d\u2029e", "a\nb\nc\nd\ne"),
        ("\r\r\n\n", "\n\n\n"),
        ("user\u202egnp.exe", "user⟦U+202E⟧gnp.exe"),
        ("a\u200bb\u2060c\ufeffd\U000e0041e", "abcde"),
        ("\ud83d", "\ufffd"),
    ],
)
def test_what_each_kind_becomes(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_the_seam_inside_crlf_makes_one_newline() -> None:
    stream = PrintableStream()
    assert [stream.feed(part) for part in ("a\r", "", "\nb\r", "c")] == ["a\n", "", "b\n", "c"]


@given(anything, st.integers(1, 60))
def test_a_single_line_is_one_line_within_its_limit(text: str, limit: int) -> None:
    line = single_line(text, limit)
    assert len(line) <= limit
    assert not set(line) & set("\n\t\r")
    assert printable(line) == line


def test_a_single_line_marks_what_it_cuts() -> None:
    assert single_line("two\n\n words\tand\x1b more") == "two words and␛ more"
    assert single_line("abc def", 5) == "abc…"
    assert single_line("abcde", 5) == "abcde"


@given(st.dictionaries(anything, anything | hostile))
def test_json_keeps_its_value_and_is_safe(value: dict[str, str]) -> None:
    shown = printable_json(json.dumps(value, ensure_ascii=False, indent=1))
    assert json.loads(shown) == value
    assert printable(shown) == shown
