"""Redaction on sentences and values that the detectors were not written against."""

from __future__ import annotations

from collections import Counter

import pytest

from tchat.redaction.redactor import Redactor
from tchat.redaction.sensitive_span import DataKind
from tests.redaction.held_out import held_out
from tests.redaction.held_out_values import WORDS


@pytest.mark.parametrize("seed", [2026, 7, 11])
def test_values_are_found_among_look_alikes(seed: int) -> None:
    redactor = Redactor(words=WORDS)
    wanted: Counter[DataKind] = Counter()
    recalled: Counter[DataKind] = Counter()
    false: Counter[DataKind] = Counter()
    texts = 0
    for sentence in held_out(seed=seed):
        texts += 1
        found = redactor.find(sentence.text)
        for start, end, kind in sentence.expected:
            wanted[kind] += 1
            recalled[kind] += any(each.start <= start and end <= each.end for each in found)
        for each in found:
            inside = sum(
                max(0, min(each.end, end) - max(each.start, start))
                for start, end, _ in sentence.expected
            )
            # More text than value is taken away: as bad as a look-alike.
            false[each.kind] += inside * 2 < each.end - each.start
    assert texts > 1000
    for kind, count in wanted.items():
        assert recalled[kind] / count >= 0.97, kind
        assert recalled[kind] / (recalled[kind] + false[kind]) >= 0.95, kind


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("抄送ann@example.com和bob@example.com。", "抄送[EMAIL_1]和[EMAIL_2]。"),
        ("サーバーdb1.prod.example.comに接続", "サーバー[HOST_1]に接続"),
        ("把它放到10.1.2.3上", "把它放到[HOST_1]上"),
        ("密码是Falcon994!，别说", "密码是[KEY_1]，别说"),
        ("日志在C:\\Users\\wang\\logs里", "日志在C:\\Users\\[USER_1]\\logs里"),
        ("总结Kestrel的合同", "总结[WORD_1]的合同"),
        ("Kestrels fly", "Kestrels fly"),
    ],
)
def test_values_stand_among_letters_without_blanks(text: str, redacted: str) -> None:
    assert Redactor(words=["Kestrel"]).redact(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "loss 0.041264848469 after 3 steps",
        "El pedido K-0603-80211 llega mañana.",
        "password = getpass.getpass()",
        "The range 10.0.0.0/8 is private.",
        "/home/user/Jana-Lea/projects/tax/2025",
    ],
)
def test_pieces_of_numbers_calls_and_ranges_stay(text: str) -> None:
    assert Redactor().redact(text) == text


@pytest.mark.parametrize(
    "text", ["0." * 60_000, "a@" * 60_000, "Calle " * 20_000, "token " * 20_000]
)
def test_long_texts_take_time_by_their_length(text: str) -> None:
    assert Redactor().redact(text) == text
