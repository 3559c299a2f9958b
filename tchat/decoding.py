"""Decode files and standard input, whatever their encoding.

UTF-8 is tried first; UTF-16 and UTF-32 are recognized by their byte order mark. What is neither is
judged by chardet, among the encodings that text is really found in. `Decoded.assumed` says what
was taken for granted, so that the user can name another encoding.

chardet tells binary data from text, and is right with short texts where other libraries are not
(KOI8-R, GB18030 and Windows-1252 of 20 characters). It is imported when it is needed.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import NamedTuple

from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.translation import N_, tr, trn

AUTO = "auto"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # starts like the mark of UTF-16, so it is compared first
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Of families that hold each other, the largest: gb18030 reads GBK and GB2312.
_CANDIDATES = (
    *("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"),
    *("windows-1252", "windows-1250", "windows-1251", "windows-1253", "cp866"),
    *("koi8-r", "koi8-u", "iso8859-2", "iso8859-5", "iso8859-7"),
    *("gb18030", "big5", "cp932", "euc-jp", "iso-2022-jp", "cp949"),
)
_MULTIBYTE = frozenset({"gb18030", "big5", "big5hkscs", "cp932", "euc-jp", "euc_jp", "cp949"})
_UPPER_PAIR = re.compile(rb"[\x80-\xff]{2}")
_WESTERN = "cp1252"
_UNSURE = 0.1  # below this confidence, text that is mostly ASCII
_MOSTLY_ASCII = 0.3  # share of other bytes
_HARDLY_SURE = 0.2  # below this confidence, text that reads well as Western
_HARDLY_ASCII = 0.5  # share of other bytes in such a text
_GARBAGE_SHARE = 0.3
_WIDE_SHARE = 0.75  # of upper bytes that are low, in UTF-16
# Upper bytes of UTF-16 from Greek to Georgian, except tab, line end and backspace in ASCII.
_SCRIPTS = frozenset(range(0x03, 0x12)) - {0x08, 0x09, 0x0A, 0x0C, 0x0D}
_LONGEST_SHORT = 1000  # bytes of a text that chardet may find too short
_SHORTEST_WIDE = 4  # bytes; two characters of UTF-16
_LOW_BYTES = bytes(range(32))
_SPELLED = (
    ("^CP125", "Windows-125"),
    ("^CP932$|^SHIFT-JIS.*", "Shift-JIS"),
    ("^CP949$", "EUC-KR"),
    ("^EUC-JI?S.*", "EUC-JP"),
    ("^ISO", "ISO-"),
    ("^BIG5", "Big5"),
    ("^(UTF-..)-", r"\1"),
)
_CONTROLS = "".join(chr(code) for code in range(32) if chr(code) not in "\t\n\r")
_ESCAPED = re.compile(rb"\x1b\$[@B]|\x1b\([JI]")  # ISO-2022-JP turns to kanji or kana
_FEW = 24  # bytes that are not ASCII; a guess from fewer may be wrong
_CYRILLIC = ("windows-1251", "koi8-r", "koi8-u", "cp866", "iso8859-5")
# What languages that are not Western are written in, by the system's locale; usual ones first.
_LOCAL = {
    "ja": ("cp932", "euc-jp"),
    "ko": ("cp949",),
    "zh": ("gb18030",),
    **dict.fromkeys(("zh_TW", "zh_HK"), ("big5",)),
    **dict.fromkeys(("be", "bg", "mk", "ru", "sr", "uk"), _CYRILLIC),
    "el": ("windows-1253", "iso8859-7"),
    **dict.fromkeys(("cs", "hr", "hu", "pl", "ro", "sk", "sl"), ("windows-1250", "iso8859-2")),
}
_SIGNS = re.compile("[\u00ab\u00bb\u2010-\u2027\u2030\u20ac\u2116\u3000-\u303f\uff00-\uff65]")
_TWO_SCRIPTS = re.compile(r"[A-Za-z][\u0370-\u04ff]|[\u0370-\u04ff][A-Za-z]")
_LATE_CONTROLS = re.compile("[\x80-\x84\x86-\x9f]")
# Characters of Western languages in Windows-1252, and what no text has: signs within words.
_WESTERN_TEXT = re.compile(
    "[\\x00-\x7f€‚„…‰‹‘’“”•–—™› ¡¢£¥§©ª«®°±²³´µ·º»¼½¾¿×À-ÏÑ-ÖØ-Üß-ïñ-öø-üŒœŸÿ]*"
)
_MISPLACED = re.compile(r"[^\W\d_][¡¢£¥§©«®°±¼½¾¿×‰][^\W\d_]|[£¥¢²³¼½¾][^\W\d_]|[^\W\d_][¡¿£¥¢]")
# What text without any ASCII is made of: punctuation, kana, ideographs, hangul, wide forms.
_EASTERN = re.compile("[\u2010-\u2027\u3000-\u30ff\u4e00-\u9fff\uac00-\ud7a3\uff00-\uffef]")
# Codecs that Python calls text encodings, but that files are not written in.
_NOT_TEXT = frozenset(
    {"idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
)


class Decoded(NamedTuple):
    """Decoded text.

    Attributes:
        text: The text without byte order mark.
        assumed: A notice for the user about what was assumed; empty when nothing was.
    """

    text: str
    assumed: str


def decode(data: bytes, name: str = "", encoding: str = AUTO) -> Decoded:
    """Decode ``data``.

    Args:
        data: All bytes.
        name: Name of the data in errors; "the input" without one.
        encoding: Its encoding, see `require_encoding`; ``auto`` detects it.

    Raises:
        UsageError: The bytes are not text, or not in ``encoding``.
    """
    name = name or tr("the input")
    if encoding.lower() != AUTO:
        return Decoded(_decode_as(data, name, encoding), "")
    mark, known = byte_order_mark(data)
    if known:
        return _require_text(Decoded(data[len(mark) :].decode(known, "replace"), ""), name)
    found = _one_script_utf16(data)
    if not found and not _ESCAPED.search(data) and not _may_be_wide(data):
        try:
            return _require_text(Decoded(data.decode(), ""), name)
        except UnicodeDecodeError:
            pass
        if b"\0" not in data and (damaged := _damaged_utf8(data, name)):
            return _require_text(damaged, name)
    found = found or _detect(data)
    wide = b"\0" in data or found.lower().startswith("utf")
    few = not wide and len(data) - len(data.decode("ascii", "ignore")) < _FEW
    if few:
        found = _local_encoding(data, found)
    if not found:
        raise _binary_error(name)
    text = N_("{name} is not UTF-8: read as {usual_name}; --encoding names another")
    if few:
        text = N_(
            "{name} is not UTF-8: read as {usual_name}, a guess from few bytes; --encoding names "
            "another"
        )
    hint = tr(text, name=name, usual_name=usual_name(found))
    return _require_text(Decoded(data.decode(found, "replace"), hint), name)


def byte_order_mark(data: bytes) -> tuple[bytes, str]:
    """The byte order mark of ``data`` and its encoding; both empty for none."""
    return next((pair for pair in _MARKS if data.startswith(pair[0])), (b"", ""))


def require_encoding(name: str) -> str:
    """Python's name of a text encoding; ``auto`` is accepted.

    Raises:
        UsageError: There is no such encoding; suggests the nearest name.
    """
    if name.lower() == AUTO:
        return AUTO
    found = _lookup(name)
    if found is None or not _is_text(found):
        raise UsageError(
            tr("there is no encoding `{name}`", name=single_line(name, 40)),
            _nearest(name)
            or tr("for example utf-8, latin-1, cp1252, gb18030, shift-jis or koi8-r"),
        )
    return found.name


def usual_name(encoding: str) -> str:
    """The usual spelling of an encoding: ``Windows-1252``, ``Shift-JIS``, ``UTF-16LE``."""
    name = codecs.lookup(encoding).name.replace("_", "-").upper()
    for pattern, shown in _SPELLED:
        name = re.sub(pattern, shown, name)
    return name


def _decode_as(data: bytes, name: str, encoding: str) -> str:
    """The text in the user's encoding."""
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        byte = (
            tr("byte 0x{data:02x}", data=data[error.start])
            if error.start < len(data)
            else tr("the end")
        )
        raise UsageError(
            tr(
                "{name} is not in {usual_name}: {byte} at {start:,}",
                name=name,
                usual_name=usual_name(encoding),
                byte=byte,
                start=error.start,
            ),
            tr("name another encoding, or leave it at auto"),
        ) from None
    return _require_text(Decoded(text, ""), name).text


def _detect(data: bytes) -> str:
    """The most likely encoding; empty when the bytes are not text."""
    import chardet

    guess = chardet.detect(data, include_encodings=_CANDIDATES, compat_names=False)
    found = guess["encoding"] or ""
    if not found:
        return _short_utf16(data) if _may_be_wide(data) else _eastern_utf16(data)
    if b"\0" in data and not found.lower().startswith("utf"):
        return ""
    if found.lower().startswith("utf-16") and len(orders := _low_orders(data)) == 1:
        return f"utf-16-{orders[0]}"  # chardet takes Hindi and Tamil for Chinese and Korean
    others = len(data) - len(data.decode("ascii", "ignore"))
    unsure = guess["confidence"] < _UNSURE and others < _MOSTLY_ASCII * len(data)
    hardly_sure = guess["confidence"] < _HARDLY_SURE and others <= _HARDLY_ASCII * len(data)
    if found in _MULTIBYTE and _UPPER_PAIR.search(data):
        return found
    return _WESTERN if (unsure or hardly_sure) and _reads_western(data, usual=not unsure) else found


def _local_encoding(data: bytes, found: str) -> str:
    """``found``, or the old encoding of the locale's language in which the bytes are letters."""
    import locale

    try:
        language = locale.getlocale()[0] or ""
    except ValueError:  # one that Python does not know, such as macOS's "UTF-8"
        language = ""
    encodings = _LOCAL.get(language, _LOCAL.get(language[:2], ()))
    for encoding in encodings[:2] if found.lower() not in encodings else ():
        if not _decodes(data, encoding):
            continue
        if encoding in _MULTIBYTE and not _UPPER_PAIR.search(data):
            continue
        text = data.decode(encoding)
        if all(map(_is_written, _SIGNS.sub("", text))) and not _TWO_SCRIPTS.search(text):
            return encoding
    return found


def _short_utf16(data: bytes) -> str:
    """UTF-16 of a few Latin letters, too few for chardet: every upper byte is 0, no lower one."""
    even, odd = data[::2], data[1::2]
    for encoding, upper, lower in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if len(upper) == len(lower) and not upper.strip(b"\0") and b"\0" not in lower:
            return encoding
    return ""


def _one_script_utf16(data: bytes) -> str:
    """UTF-16 of a few words of one script such as Cyrillic or Greek; empty for anything else.

    All upper bytes but those of ASCII are the same, and all characters are letters or usual signs.
    """
    if len(data) % 2 or not _SHORTEST_WIDE <= len(data) <= _LONGEST_SHORT:
        return ""
    for encoding, upper in (("utf-16-le", data[1::2]), ("utf-16-be", data[::2])):
        inside = upper.replace(b"\0", b"")
        if len(set(inside)) != 1 or inside[0] not in _SCRIPTS or 2 * len(inside) <= len(upper):
            continue
        if _decodes(data, encoding) and all(map(_is_written, data.decode(encoding))):
            return encoding
    return ""


def _is_written(character: str) -> bool:
    if character.isascii():
        return character.isprintable() or character in "\t\r\n"
    return unicodedata.category(character)[0] in "LM"


def _reads_western(data: bytes, *, usual: bool) -> bool:
    """Whether the bytes may be Windows-1252; with ``usual``, of its usual letters only."""
    if b"\0" in data or not _decodes(data, _WESTERN):
        return False
    text = data.decode(_WESTERN)
    return not _MISPLACED.search(text) and (not usual or bool(_WESTERN_TEXT.fullmatch(text)))


def _eastern_utf16(data: bytes) -> str:
    """UTF-16 of a text of ideographs, kana or hangul only, without a zero byte."""
    for encoding in ("utf-16-le", "utf-16-be"):
        if data and _decodes(data, encoding):
            text = data.decode(encoding)
            if len(_EASTERN.findall(text)) > (1 - _MOSTLY_ASCII) * len(text):
                return encoding
    return ""


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _may_be_wide(data: bytes) -> bool:
    """Whether the bytes may be UTF-16 or UTF-32, even if they are valid UTF-8 with NULs."""
    return b"\0" in data and len(data) >= _SHORTEST_WIDE and bool(_low_orders(data))


def _low_orders(data: bytes) -> list[str]:
    """The byte orders, ``le`` and ``be``, in which most upper bytes of UTF-16 are low.

    They are 0 for ASCII, and below 32 for all scripts of which UTF-16 may be valid UTF-8, such as
    Cyrillic, Arabic, Devanagari and Thai.
    """
    return [
        order
        for order, upper in (("le", data[1::2]), ("be", data[::2]))
        if len(upper) - len(upper.translate(None, _LOW_BYTES)) >= _WIDE_SHARE * len(upper)
    ]


def _damaged_utf8(data: bytes, name: str) -> Decoded | None:
    """The text of UTF-8 with a few invalid bytes; None when another encoding is more likely."""
    text = data.decode("utf-8", "replace")
    valid = data.decode("utf-8", "ignore")
    damages = text.count("\ufffd") - valid.count("\ufffd")
    others = len(valid) - len(valid.encode("ascii", "ignore"))
    if others < 2 * damages:
        return None
    stray = len(data) - len(valid.encode())
    return Decoded(
        text,
        trn(
            "{name}: {count:,} byte is not UTF-8",
            "{name}: {count:,} bytes are not UTF-8",
            stray,
            name=name,
        ),
    )


def _require_text(decoded: Decoded, name: str) -> Decoded:
    """``decoded``, after a check that it is text.

    Raises:
        UsageError: It holds NUL characters, or mostly controls.
    """
    text = decoded.text
    garbage = text.count("\ufffd") + sum(map(text.count, _CONTROLS))
    if decoded.assumed:  # no text in an old encoding has controls of the second set
        garbage += len(_LATE_CONTROLS.findall(text)) * 3
    if "\0" in text or garbage > _GARBAGE_SHARE * len(text):
        raise _binary_error(name)
    return decoded


def _binary_error(name: str) -> UsageError:
    return UsageError(
        tr("{name} is binary, not text", name=name),
        tr("give a text file, or name its encoding with --encoding"),
    )


def _lookup(name: str) -> codecs.CodecInfo | None:
    """A codec; None where there is none, or none on this system, such as mbcs out of Windows."""
    try:
        return codecs.lookup(name)
    except (LookupError, ValueError):  # a NUL in the name
        return None


def _nearest(name: str) -> str:
    import difflib
    from encodings.aliases import aliases

    plain = name.lower().replace("-", "_").replace(" ", "_")
    for found in difflib.get_close_matches(plain, {*aliases, *aliases.values()}, cutoff=0.7):
        codec = _lookup(found)
        if codec is not None and _is_text(codec):
            return tr("did you mean {name}?", name=found.replace("_", "-"))
    return ""


def _is_text(found: codecs.CodecInfo) -> bool:
    return found._is_text_encoding and found.name.replace("_", "-") not in _NOT_TEXT
