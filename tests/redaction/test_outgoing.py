"""Texts that leave, and replies whose placeholders come in pieces."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tchat.redaction.outgoing import OutgoingRedaction, RestoredStream

MAIL, PASSWORD = "ann@example.com", 'x9"\\#mPq2v'
TEXT = f"Write to {MAIL}, the password is '{PASSWORD}'."


def test_a_value_has_one_placeholder_in_every_text() -> None:
    redaction = OutgoingRedaction()
    first = redaction.redact(TEXT)
    assert MAIL not in first
    assert PASSWORD not in first
    # Also where no word tells that it is one.
    assert redaction.redact(f"Is {PASSWORD} strong?") == "Is [KEY_1] strong?"
    assert redaction.redact(TEXT) == first


def test_placeholders_outlive_the_process() -> None:
    kept: list[dict[str, str]] = []
    redaction = OutgoingRedaction()
    redaction.keep = lambda table: kept.append(dict(table))
    first = redaction.redact(TEXT)
    later = OutgoingRedaction((), kept[-1])
    assert later.redact("bob@example.com") == "[EMAIL_2]"
    assert later.redact(TEXT) == first
    assert later.restore(first) == TEXT


@given(st.lists(st.integers(1, 9), min_size=1, max_size=60))
def test_a_placeholder_is_found_however_it_is_split(sizes: list[int]) -> None:
    redaction = OutgoingRedaction()
    redaction.redact(TEXT)
    reply = "See [EMAIL_1] and \\[KEY\\_1\\], [EMAIL_2], [a](b) [, [A_ [[EMAIL_1]] \\ end["
    stream = RestoredStream(redaction)
    pieces, at = [], 0
    for size in sizes * len(reply):
        pieces.append(stream.feed(reply[at : at + size]))
        at += size
        if at >= len(reply):
            break
    whole = "".join([*pieces, stream.close()])
    assert whole == f"See {MAIL} and {PASSWORD}, [EMAIL_2], [a](b) [, [A_ [{MAIL}] \\ end["


def test_text_without_a_placeholder_is_not_held_back() -> None:
    stream = RestoredStream(OutgoingRedaction())
    assert [stream.feed(each) for each in ("a", " [x", "1", "[EMA", "L ")] == [
        "a",
        " [x",
        "1",
        "",
        "[EMAL ",
    ]


def test_a_value_is_escaped_in_json() -> None:
    redaction = OutgoingRedaction()
    redaction.redact(TEXT)
    arguments = redaction.restore_document('{"text": "[KEY_1]", "n": [1, 2]}')
    assert json.loads(arguments) == {"text": PASSWORD, "n": [1, 2]}
    sent = redaction.redact_document(json.dumps({MAIL: [MAIL, 4111111111111111, True]}))
    assert json.loads(sent) == {"[EMAIL_1]": ["[EMAIL_1]", "[CARD_1]", True]}


@pytest.mark.parametrize("table", [{"[EMAIL_1]": MAIL, "nonsense": "x", "[WHAT_1]": "y"}])
def test_a_table_with_unknown_names_is_read(table: dict[str, str]) -> None:
    assert OutgoingRedaction((), table).redact(MAIL) == "[EMAIL_1]"
