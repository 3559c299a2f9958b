"""Bytes in any encoding to text: right, or with a word about what was assumed."""

from __future__ import annotations

import codecs
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tchat.decoding import decode, require_encoding, usual_name
from tchat.errors import UsageError

FRENCH = "L'été dernier, nous sommes allés à la plage : le café était fermé. Où êtes-vous ?\n"
GERMAN = "Die Straße führt über die Brücke. Schöne Grüße aus München, Fräulein Müller!\n"
SPANISH = "El niño comió piña. ¿Dónde está la biblioteca? ¡Qué día más bonito, señor!\n"
QUOTED = "He said “hello” — it’s a naïve café. The price: 5 €, that’s all.\n"
POLISH = "Zażółć gęślą jaźń. Dzień dobry, proszę o kawę i ciastko, źdźbło trawy.\n"
RUSSIAN = "Привет, мир! Это обычный русский текст. Съешь ещё этих мягких булок.\n"
UKRAINIAN = "Привіт, світе! Це звичайний український текст. Їжак і ґанок.\n"
GREEK = "Καλημέρα κόσμε! Αυτό είναι ένα συνηθισμένο ελληνικό κείμενο.\n"
CHINESE = "你好，世界！这是一个普通的中文文本，需要正确读取。今天天气很好。\n"
TAIWANESE = "你好，世界！這是一個普通的中文文本，需要正確讀取。今天天氣很好。\n"
JAPANESE = "こんにちは、世界！これは普通の日本語の文章です。カタカナも漢字もあります。\n"
KOREAN = "안녕하세요, 세계! 이것은 평범한 한국어 문장입니다. 오늘 날씨가 좋네요.\n"

OLD = [
    (FRENCH, "latin-1", "Windows-1252"),
    (GERMAN, "latin-1", "Windows-1252"),
    (SPANISH, "cp1252", "Windows-1252"),
    (QUOTED, "cp1252", "Windows-1252"),
    (POLISH, "cp1250", "Windows-1250"),
    (POLISH, "iso8859-2", "ISO-8859-2"),
    (RUSSIAN, "cp1251", "Windows-1251"),
    (RUSSIAN, "koi8-r", "KOI8-R"),
    (RUSSIAN, "cp866", "CP866"),
    (UKRAINIAN, "cp1251", "Windows-1251"),
    (UKRAINIAN, "koi8-u", "KOI8-U"),
    (GREEK, "iso8859-7", ""),
    (CHINESE, "gb18030", "GB18030"),
    (CHINESE, "gbk", "GB18030"),
    (TAIWANESE, "big5", "Big5"),
    (JAPANESE, "shift_jis", "Shift-JIS"),
    (JAPANESE, "euc-jp", "EUC-JP"),
    (JAPANESE, "iso2022_jp", "ISO-2022-JP"),
    (KOREAN, "euc-kr", "EUC-KR"),
]
HINDI = "नमस्ते दुनिया, यह एक सामान्य हिन्दी वाक्य है।\n"
TAMIL = "வணக்கம் உலகம், இது ஒரு சாதாரண வாக்கியம்.\n"
THAI = "สวัสดีชาวโลก นี่คือประโยคธรรมดา\n"
ARABIC = "مرحبا بالعالم، هذه جملة عادية.\n"
WIDE = ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]
ALL = [FRENCH, QUOTED, RUSSIAN, CHINESE, JAPANESE, KOREAN, "plain ASCII, two lines\nof it\n"]


@pytest.mark.parametrize("times", [1, 40])
@pytest.mark.parametrize(("text", "encoding", "name"), OLD)
def test_old_encodings_are_found_and_told(text: str, encoding: str, name: str, times: int) -> None:
    found, assumed = decode((text * times).encode(encoding), "a.txt")
    assert found == text * times
    assert assumed.startswith(f"a.txt is not UTF-8: read as {name}")
    assert assumed.endswith("--encoding names another")


@pytest.mark.parametrize(
    "text", ["café", "Müller", "Zürich", "señor", "naïve", "£5", "für", "voilà!"]
)
def test_a_western_word_is_enough(text: str) -> None:
    assert decode(text.encode("cp1252")).text == text


@pytest.mark.parametrize("encoding", WIDE)
@pytest.mark.parametrize("text", [*ALL, CHINESE.strip("\n"), JAPANESE.strip("\n")])
def test_utf16_and_utf32_need_no_mark(text: str, encoding: str) -> None:
    found, assumed = decode(text.encode(encoding), "a.txt")
    assert found == text
    assert f"read as {usual_name(encoding)};" in assumed


@pytest.mark.parametrize(
    "text",
    [
        *("café au lait", "£5", "5 €", "costs £5\n", "señor", "¿qué?", "déjà vu", "½ cup", "20°C"),
        *("A decisão", "10 m²", "Größe", "hyvää yötä", "it’s", "«oui»", "smörgåsbord", "créée"),
    ],
)
def test_short_western_text_is_windows_1252(text: str) -> None:
    found, assumed = decode(text.encode("cp1252"))
    assert found == text
    assert "read as Windows-1252, a guess from few bytes; --encoding names another" in assumed


@pytest.mark.parametrize(
    ("place", "text", "encoding"),
    [
        ("pl_PL", "źle", "cp1250"),
        ("pl_PL", "o święto is", "iso8859-2"),
        ("cs_CZ", "šest", "cp1250"),
        ("ru_RU", "the мир is", "cp1251"),
        ("ru_RU", "мир", "koi8-r"),
        ("ru_RU", "a café", "cp1252"),
        ("el_GR", "in φως to", "cp1253"),
        ("ja_JP", "です 答え テスト", "cp932"),
        ("zh_CN", "问题 我们", "gb18030"),
        ("zh_TW", "to 學習 is", "big5"),
        ("ko_KR", "to 세계", "cp949"),
        ("en_US", "źle", ""),
        ("C", "für", "cp1252"),
        (None, "für", "cp1252"),
    ],
)
def test_short_text_is_read_as_the_locale_writes_it(
    monkeypatch: pytest.MonkeyPatch, place: str | None, text: str, encoding: str
) -> None:
    monkeypatch.setattr("locale.getlocale", lambda *_: (place, "UTF-8"))
    found, assumed = decode(text.encode(encoding or "cp1250"))
    assert (found == text) is bool(encoding)
    assert "a guess from few bytes" in assumed


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Łódź is a city", "cp1250"),
        ("say привет", "cp1251"),
        ("καλημέρα", "cp1253"),
        ("hello 你好", "gb18030"),
        ("hello 日本", "shift_jis"),
        ("say 안녕", "cp949"),
    ],
)
def test_short_text_of_others_is_not_taken_for_western(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)).text == text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text", ["hi", "ok\n", "привет", "Да", "Да ну!", "Ελλάδα", "שלום", "مرحبا"]
)
def test_a_few_words_of_utf16_need_no_mark(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)).text == text


@pytest.mark.parametrize("data", [b"1\n2\n3\n4\n", b"a\tb\tc\t", b"a\rb\rc\r"])
def test_lines_of_one_character_are_no_utf16(data: bytes) -> None:
    assert decode(data) == (data.decode(), "")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffd\ufeff")))
@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
    ],
)
def test_unicode_with_its_mark_is_read_without_a_word(
    mark: bytes, encoding: str, text: str
) -> None:
    assert decode(mark + text.encode(encoding)) == (text, "")


def test_line_ends_and_controls_stay() -> None:
    assert decode(b"a\r\n\r\n\x1b[1mb\x1b[0m") == ("a\r\n\r\n\x1b[1mb\x1b[0m", "")


def test_nothing_is_empty_text() -> None:
    assert decode(b"") == ("", "")


@pytest.mark.parametrize("data", ["Größe: 5 €\n".encode() * 9 + b"\xff\n", CHINESE.encode()[:-5]])
def test_utf8_with_a_stray_byte_stays_utf8(data: bytes) -> None:
    text, assumed = decode(data, "a.txt")
    assert text == data.decode("utf-8", "replace")
    assert re.search(r": (1 byte is|\d bytes are) not UTF-8$", assumed)


def test_stray_bytes_are_weighed_against_the_whole_text() -> None:
    data = (("ö" + "x" * 1000).encode() * 10 + b"\xe9") * 100
    text, assumed = decode(data, "a.txt")
    assert text == data.decode("utf-8", "replace")
    assert assumed == "a.txt: 100 bytes are not UTF-8"


def test_replacement_characters_of_the_text_are_no_stray_bytes() -> None:
    text, assumed = decode(
        "lost: \ufffd\ufffd\ufffd, 5 € für 2 Bären\n".encode() + b"\xff", "a.txt"
    )
    assert text == "lost: \ufffd\ufffd\ufffd, 5 € für 2 Bären\n\ufffd"
    assert assumed == "a.txt: 1 byte is not UTF-8"


@pytest.mark.parametrize("text", [HINDI, TAMIL, THAI, ARABIC])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_of_other_scripts_is_read_in_its_byte_order(text: str, encoding: str) -> None:
    assert decode((text * 3).encode(encoding)).text == text * 3


@pytest.mark.parametrize("text", ["hi", "00", "hi\n", "a1", "12 3", "aaaa"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_short_utf16_is_found(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)).text == text


@pytest.mark.parametrize(
    "data",
    [
        b"00000\0",
        b"000\0",
        b"0\0",
        b"\x000",
        b"0000\n\0",
        b"a" * 300 + bytes(3),
        b"a,b\0c,d\n" * 9,
        b"m\0a\n",
    ],
)
def test_text_with_nuls_is_not_read_as_utf16(data: bytes) -> None:
    with pytest.raises(UsageError, match="is binary, not text"):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x7fELF\x02\x01\x01" + bytes(20),
        b"GGUF\x03\x00\x00\x00",
        bytes(range(128, 256)),
        bytes(range(256)) * 9,
        b"\x1f\x8b\x08\x05\x9c\xff\xfe\xfa\x01\x02",
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
        b"\0" * 50,
        b"text\0with a NUL",
    ],
)
def test_binary_data_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(UsageError, match=r"^notes\.bin is binary, not text; "):
        decode(data, "notes.bin")


@settings(deadline=None)  # the first example imports chardet
@given(st.binary(max_size=200))
def test_any_bytes_are_text_or_refused(data: bytes) -> None:
    try:
        text, assumed = decode(data, "a.txt")
    except UsageError:
        return
    assert "\0" not in text
    assert assumed or text.encode() in (data, data[3:]) or data[:2] in (b"\xff\xfe", b"\xfe\xff")


@pytest.mark.parametrize("encoding", ["latin-1", "cp1251", "koi8-r", "gb18030", "utf-16", "UTF-8"])
def test_the_named_encoding_decides(encoding: str) -> None:
    text = "plain text " + ("é" if encoding == "latin-1" else "Да")
    assert decode(text.encode(encoding), encoding=encoding) == (text, "")


def test_the_mark_of_a_named_encoding_is_no_text() -> None:
    for encoding in ("utf-8", "utf-16", "utf-16-le", "utf-32"):
        data = "\ufeffa".encode(encoding)
        assert decode(data, encoding=encoding).text == "a"


@pytest.mark.parametrize(
    ("data", "encoding", "told"),
    [
        (FRENCH.encode("latin-1"), "utf-8", "a.txt is not in UTF-8: byte 0xe9 at 2"),
        (b"abc\x81", "cp1252", "a.txt is not in Windows-1252: byte 0x81 at 3"),
        (b"abc", "utf-16-le", "a.txt is not in UTF-16LE: byte 0x63 at 2"),
        (b"a\0b", "latin-1", "a.txt is binary"),
    ],
)
def test_the_wrong_encoding_is_told(data: bytes, encoding: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        decode(data, "a.txt", encoding)
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cp125", "did you mean cp125"),
        ("utf-9", "did you mean utf-"),
        ("shift-jiss", "did you mean shift-jis"),
        ("nonsense", "for example utf-8"),
        ("base64", "for example"),
        ("mbcs", ""),  # known by name on every system, and there on Windows only
        ("mbc", ""),
        ("oem1", ""),
        ("rot13", ""),
        ("unicode_escape", ""),
        ("a\0b", ""),
        ("", ""),
    ],
)
def test_an_unknown_encoding_is_refused_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        require_encoding(name)
    assert caught.value.message.startswith("there is no encoding `")
    assert hint in caught.value.hint


@pytest.mark.parametrize("name", ["auto", "AUTO", "latin1", "Windows-1252", "GB2312", "SJIS"])
def test_encodings_have_many_names(name: str) -> None:
    assert require_encoding(name)
