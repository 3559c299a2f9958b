"""Values become placeholders and come back; what has only the look of one stays."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tchat.redaction.redactor import DETECTORS, Redactor
from tchat.redaction.sensitive_span import (
    DataKind,
    Detector,
    SensitiveSpan,
    outside_of,
    without_overlaps,
)
from tests.growth import growth
from tests.redaction.sentences import LOOK_ALIKES, Sentence, sentences

SENTENCES = list(sentences())


def is_covered(sentence: Sentence, found: list[SensitiveSpan]) -> bool:
    return all(
        any(each.start <= start and end <= each.end for each in found)
        for start, end, _ in sentence.expected
    )


def test_kinds_with_a_form_are_found_in_a_thousand_sentences() -> None:
    redactor = Redactor()
    wanted: Counter[DataKind] = Counter()
    recalled: Counter[DataKind] = Counter()
    false: Counter[DataKind] = Counter()
    for sentence in SENTENCES:
        found = redactor.find(sentence.text)
        for _, _, kind in sentence.expected:
            wanted[kind] += 1
            recalled[kind] += is_covered(sentence, found)
        for each in found:
            false[each.kind] += not any(
                each.start < end and start < each.end for start, end, _ in sentence.expected
            )
    assert len(SENTENCES) > 1000
    for kind, count in wanted.items():
        assert recalled[kind] / count >= 0.97, kind
        assert recalled[kind] / (recalled[kind] + false[kind]) >= 0.95, kind


@pytest.mark.parametrize("text", [text for texts in LOOK_ALIKES.values() for text in texts])
def test_a_look_alike_stays(text: str) -> None:
    assert Redactor().redact(text) == text


def test_a_value_has_one_placeholder_however_it_is_spelled() -> None:
    redactor = Redactor()
    first = redactor.redact("Call +49 30 901820 or write to Ann@Example.com.")
    second = redactor.redact("Again: ann@example.com, +49-30-901820, and bob@example.com.")
    assert first == "Call [PHONE_1] or write to [EMAIL_1]."
    assert second == "Again: [EMAIL_1], [PHONE_1], and [EMAIL_2]."


def test_a_reply_gets_the_values_back() -> None:
    redactor = Redactor()
    redactor.redact("I am ann@example.com.")
    told = redactor.restore("Hello [EMAIL_1], who is [EMAIL_2]?")
    assert told == "Hello ann@example.com, who is [EMAIL_2]?"


def test_a_placeholder_that_was_typed_is_not_taken_for_ours() -> None:
    redactor = Redactor()
    told = redactor.redact("[EMAIL_1] means ann@example.com.")
    assert told == "[EMAIL_1] means [EMAIL_2]."
    assert redactor.restore(told) == "[EMAIL_1] means ann@example.com."


def test_own_words_are_replaced_in_any_case_but_not_inside_others() -> None:
    redactor = Redactor(words=("Acme", "Projekt Blau", "蓝图"))
    told = redactor.redact("ACME's acmeist leads projekt blau; 新蓝图计划。")
    assert told == "[WORD_1]'s acmeist leads [WORD_2]; 新[WORD_3]计划。"


def test_a_longer_value_wins_over_an_own_word_in_it() -> None:
    redactor = Redactor(words=("Anna Schmidt", "Schmidt", "ann@example.com"))
    told = redactor.redact("Schmidt: anna.schmidt@example.com, ann@example.com, Anna Schmidt")
    assert told == "[WORD_1]: [EMAIL_1], [WORD_2], [WORD_3]"


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9), st.booleans())))
def test_a_word_that_is_left_to_a_longer_value_is_covered(
    drawn: list[tuple[int, int, bool]],
) -> None:
    spans = [
        SensitiveSpan(at, at + size, DataKind.WORD if is_word else DataKind.EMAIL)
        for at, size, is_word in sorted(drawn)
    ]
    words = [each for each in spans if each.kind is DataKind.WORD]
    others = [each for each in spans if each.kind is not DataKind.WORD]
    left = list(outside_of(words, others))
    for word in words:
        around = [each for each in others if each.start <= word.start and word.end <= each.end]
        is_longer = any((each.start, each.end) != (word.start, word.end) for each in around)
        assert (word in left) is not is_longer


@pytest.mark.parametrize(
    "text",
    [
        "ann%40example.com",
        "https://shop.net/?q=ann%40example.com&page=2",
        "mailto:ann.lee%40example.com",
        "ann&#64;example.com",
        "ann&commat;example.com",
        "ann＠example.com",
        "ann\u200b@example.com",
        "a\u00adnn@exam\u200bple.com",
        "\ufeffann@example.com\u200b",
        "My number is 0171\u200b/123\u20604567",
        "IBAN DE89 3704 0044\u200b 0532 0130 00",
        "Ada\u200b Love\u00adlace",
        "Ada\u200bLovelace",
    ],
)
def test_a_value_is_found_however_it_is_encoded(text: str) -> None:
    redactor = Redactor(words=("Ada Lovelace", "Lovelace"))
    told = redactor.redact(text)
    assert not any(part in told for part in ("ann", "exam", "4567", "0130", "lace", "com"))
    assert "shop.net/?q=" in told or "shop" not in text
    assert redactor.restore(told) == text


def test_two_numbers_side_by_side_are_both_replaced() -> None:
    told = Redactor().redact("(030) 123456-78 0171/1234567")
    assert not any(
        sign.isdigit() for sign in told.replace("[PHONE_1]", "").replace("[PHONE_2]", "")
    )


@pytest.mark.parametrize("text", ["10%40 off.de", "save 50%40.5", "x%40y", "a%404b"])
def test_an_escaped_sign_makes_no_address(text: str) -> None:
    assert Redactor().redact(text) == text


def test_only_the_chosen_kinds_are_replaced() -> None:
    redactor = Redactor(kinds=frozenset({DataKind.EMAIL}))
    text = "ann@example.com at 192.168.1.17"
    assert redactor.redact(text) == "[EMAIL_1] at 192.168.1.17"


def test_the_part_of_a_finding_behind_another_is_found_too() -> None:
    spans = [SensitiveSpan(2, 5, DataKind.KEY), SensitiveSpan(0, 9, DataKind.HOST)]
    found = without_overlaps(spans)
    covered = {at for each in found for at in range(each.start, each.end)}
    assert covered == set(range(9))
    assert sum(each.end - each.start for each in found) == 9


@given(st.text())
def test_any_text_is_redacted_and_comes_back_in_meaning(text: str) -> None:
    redactor = Redactor()
    told = redactor.redact(text)
    assert redactor.redact(text) == told
    assert len(redactor.restore(told)) >= 0


@pytest.mark.parametrize(
    "piece",
    [
        "Aa-",
        "1 ",
        "a.",
        "12 Aa ",
        "国",
        "路",
        "a@",
        ":",
        "DE12 ",
        "/home/",
        "1234-",
        "Am Aa",
        "A1b",
    ],
)
def test_long_texts_of_one_piece_end(piece: str) -> None:
    text = piece * 4_000
    assert Redactor().restore(Redactor().redact(text)) is not None


@pytest.mark.parametrize("find", DETECTORS.values(), ids=[each.name for each in DETECTORS])
@pytest.mark.parametrize(
    "piece",
    [
        *("10.1.2.3 ", "fe80::1 ", "a@b.example ", "a.", "@", "1", "1 ", "+49 ", "-", "/home/a/"),
        *("password: ", "v", "version ", "token ", "A", "aB3", "=", "://", "\n", "Straße 1 ", "号"),
    ],
)
def test_time_grows_with_the_text(find: Detector, piece: str) -> None:
    assert growth(lambda size: list(find(piece * size)), 800) < 4


def test_values_that_case_tells_apart_are_put_back_as_they_were() -> None:
    redactor = Redactor(words=["acme"])
    text = "/home/Bob/x /home/bob/y ACME acme"
    sent = redactor.redact(text)
    assert not [value for value in ("Bob", "bob", "ACME", "acme") if value in sent]
    assert redactor.restore(sent) == text
