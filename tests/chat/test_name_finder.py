"""Names that a model guesses: only what stands in the text counts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tchat.chat.name_finder import PIECE, checked_names, pieces
from tchat.redaction.redactor import Redactor
from tchat.redaction.sensitive_span import DataKind


def reply(*people: str, places: tuple[str, ...] = ()) -> str:
    return json.dumps({"people": people, "places": places, "organizations": []})


def test_only_names_that_stand_in_the_text_count() -> None:
    found = dict(checked_names(reply("Nora", "Bob", "the", "Or", " "), "Nora met the Oracle."))
    assert found == {"Nora": DataKind.PERSON}
    assert list(checked_names('{"people": ["No', "Nora")) == []
    assert dict(checked_names(reply(places=("青岛",)), "他去了青岛。")) == {"青岛": DataKind.PLACE}


@given(st.text(max_size=3000))
def test_pieces_hold_all_words(text: str) -> None:
    found = list(pieces(text))
    assert all(0 < len(each) <= PIECE for each in found)
    assert "".join("".join(found).split()) == "".join(text.split())


@pytest.mark.parametrize("name", ["Nora", "Nora Feldman"])
def test_a_guessed_name_is_marked(name: str) -> None:
    redactor = Redactor(names={name: DataKind.PERSON})
    assert redactor.redact(f"{name} has ann@example.com.") == "[PERSON_1] has [EMAIL_1]."
    assert redactor.guesses == 1
    assert redactor.is_guess("[PERSON_1]")
    assert not redactor.is_guess("[EMAIL_1]")
    assert redactor.restore("[PERSON_1]") == name
