"""Redaction on sentences and values that the detectors were not written against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

import pytest

from tchat.redaction.redactor import Redactor
from tchat.redaction.sensitive_span import DataKind
from tests.redaction.held_out import held_out
from tests.redaction.held_out_values import WORDS
from tests.redaction.second_held_out import second_held_out
from tests.redaction.second_values import OWN_WORDS
from tests.redaction.sentences import Sentence


@pytest.mark.parametrize(
    "seed", [2026, *(pytest.param(seed, marks=pytest.mark.long) for seed in (7, 11))]
)
def test_values_are_found_among_look_alikes(seed: int) -> None:
    _require_reach(held_out(seed=seed), WORDS, at_least=1000)


@pytest.mark.parametrize("seed", [41, pytest.param(88, marks=pytest.mark.long)])
def test_values_are_found_in_logs_code_and_chats(seed: int) -> None:
    _require_reach(second_held_out(seed=seed), OWN_WORDS, at_least=300)


def _require_reach(sentences: Iterable[Sentence], words: Collection[str], *, at_least: int) -> None:
    redactor = Redactor(words=words)
    wanted: Counter[DataKind] = Counter()
    recalled: Counter[DataKind] = Counter()
    false: Counter[DataKind] = Counter()
    texts = 0
    for sentence in sentences:
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
    assert texts > at_least
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
        ("wifi密码是hunter22x", "wifi密码是[KEY_1]"),
        ("Kestrels fly", "Kestrels fly"),
    ],
)
def test_values_stand_among_letters_without_blanks(text: str, redacted: str) -> None:
    assert Redactor(words=["Kestrel"]).redact(text) == redacted


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (
            "the password for the router is Fern-2041",
            "the password for the router is [KEY_1]",
        ),
        ("Le mot de passe du wifi, c'est Fern2041", "Le mot de passe du wifi, c'est [KEY_1]"),
        ("pw: Fern2041?", "pw: [KEY_1]"),
        ("call +44 7700 566658 now", "call [PHONE_1] now"),
        ('"movil": "693 726 201"', '"movil": "[PHONE_1]"'),
        ("die Nummer ist 030 / 20394421", "die Nummer ist [PHONE_1]"),
        (
            "Invalid user lina from",
            "Invalid user [USER_1] from",
        ),
        ("ftp://me:Fern2041@files.example.com/x", "ftp://me:[KEY_1]@files.example.com/x"),
    ],
)
def test_values_are_found_beside_words_of_chats_and_logs(text: str, redacted: str) -> None:
    assert Redactor().redact(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "assert token == expected_token, reason",
        "login(password=settings.password)",
        "The password for the site is required.",
        "The secret of a good soup is patience.",
        "耗时0.006274321139秒",
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
    "text",
    ["0." * 15_000, "a@" * 15_000, "Calle " * 5_000, "token " * 5_000, "pw of a " * 3_000],
)
def test_long_texts_take_time_by_their_length(text: str) -> None:
    assert Redactor().redact(text) == text
