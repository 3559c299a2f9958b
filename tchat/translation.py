"""Texts in the user's language: gettext catalogs whose message ids are the English texts.

The language is taken from ``TCHAT_LANG``, which ``--lang`` sets, else from the locale. English
needs no catalog, so that nothing is read or imported for it. The catalogs are made from
``tchat/locale/*/LC_MESSAGES/tchat.po`` by ``python -m tests.translations``.
"""

from __future__ import annotations

import os
from functools import cache

TYPE_CHECKING = False  # typing alone costs 5 ms
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from gettext import NullTranslations
    from typing import Any

DOMAIN = "tchat"
VARIABLE = "TCHAT_LANG"
SOURCE = "en"  # the language of the message ids
CATALOGS = {"zh": "zh_CN"}  # a language and the directory of its catalog
LANGUAGES = (SOURCE, *CATALOGS)
LOCALE = "auto"  # takes the language from the locale


class Translated(str):
    """A text of `tr` or `trn` that knows its message: see `english` and `tchat.stored_text`.

    Attributes:
        messages: The message id, or those for one and for many.
        values: What replaced its placeholders; with several messages also ``count``.
    """

    messages: tuple[str, ...]
    values: Mapping[str, object]

    def __new__(
        cls, text: str, messages: tuple[str, ...] = (), values: Mapping[str, object] | None = None
    ) -> Translated:
        """``text`` as the translation of ``messages``."""
        self = super().__new__(cls, text)
        self.messages, self.values = messages, values or {}
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return Translated, (str(self), self.messages, self.values)

    def __deepcopy__(self, memo: object) -> Translated:
        """Itself: it never changes."""
        return self


def tr(message: str, /, **values: object) -> str:
    """``message`` in the user's language, with ``{name}`` replaced as by `str.format`.

    ``message`` must be a literal, so that it can be extracted; `N_` marks one that is translated
    later. Text that comes from outside belongs into ``values``, which are not parsed.
    """
    catalog = _catalog()
    # The empty text is the header of a catalog.
    text = catalog.gettext(message) if catalog and message else message
    return Translated(text.format(**values) if values else text, (message,), values)


def trn(one: str, many: str, count: int, /, **values: object) -> str:
    """Like `tr` for a text that depends on a number, which it can contain as ``{count:,}``."""
    catalog = _catalog()
    text = catalog.ngettext(one, many, count) if catalog else _number(one, many, count)
    values["count"] = count
    return Translated(text.format(**values), (one, many), values)


def joined(texts: Sequence[str]) -> str:
    """``texts`` of `tr` as a list in one text."""
    first, *rest = texts
    for text in rest:
        first = tr("{first}, {second}", first=first, second=text)
    return first


def english(text: str) -> str:
    """``text`` in English, if it comes from `tr` or `trn`; any other text as it is."""
    if not isinstance(text, Translated) or not text.messages:
        return text
    values = {name: in_english(text_of(value)) for name, value in text.values.items()}
    message = _number(text.messages[0], text.messages[-1], values.get("count"))
    return message.format(**values) if values else message


def in_english(value: Any) -> Any:
    """A value for JSON, with the texts of `tr` and `trn` in it in English: programs read them."""
    if isinstance(value, str):
        return english(value)
    if isinstance(value, dict):
        return {in_english(name): in_english(each) for name, each in value.items()}
    return [in_english(each) for each in value] if isinstance(value, list | tuple) else value


def text_of(value: object) -> object:
    """The text of an exception, and any other value as it is."""
    if isinstance(value, BaseException) and value.args and str(value) == value.args[0]:
        return value.args[0]
    return value


def _number(one: str, many: str, count: object) -> str:
    """The English form for ``count``."""
    return one if count == 1 else many


def N_(message: str) -> str:  # noqa: N802 - its name in every program that uses gettext
    """Mark a literal that is passed to `tr` where it is shown; returns it unchanged."""
    return message


def NN_(one: str, many: str) -> tuple[str, str]:  # noqa: N802
    """Mark two literals that are passed to `trn` where they are shown, as `N_` does for one."""
    return one, many


def language() -> str:
    """The language of the texts, one of `LANGUAGES`."""
    return _language(*map(os.environ.get, (VARIABLE, "LC_ALL", "LC_MESSAGES", "LANG", "LANGUAGE")))


def set_language(name: str) -> None:
    """Use the language ``name``, or the one of the locale for an empty one, from now on.

    It holds for child processes too.
    """
    if name:
        os.environ[VARIABLE] = name
    else:
        os.environ.pop(VARIABLE, None)


def use_setting(name: str) -> None:
    """Use the language of the setting ``lang``, unless ``TCHAT_LANG`` or ``--lang`` names one."""
    if name != LOCALE and VARIABLE not in os.environ:
        set_language(name)


@cache
def _language(
    chosen: str | None,
    everything: str | None,
    messages: str | None,
    default: str | None,
    preferred: str | None,
) -> str:
    locale = everything or messages or default or "C"
    if chosen == LOCALE:
        chosen = ""
    names = [chosen] if chosen else [locale]
    # As GNU gettext does: LANGUAGE lists several, and counts only where there is a locale.
    if not chosen and preferred and locale.split(".")[0] not in ("C", "POSIX"):
        names = preferred.split(":")
    return next((code for code in map(language_code, names) if code in LANGUAGES), SOURCE)


def language_code(name: str) -> str:
    """The language of a locale's name: ``zh`` of ``zh_CN.UTF-8``."""
    return name.replace("-", "_").split("_")[0].split(".")[0].lower()


def _catalog() -> NullTranslations | None:
    code = language()
    return None if code == SOURCE else _load(code)


@cache
def _load(code: str) -> NullTranslations:
    import gettext

    return gettext.translation(DOMAIN, _folder(), [CATALOGS[code]], fallback=True)


def translate_libraries() -> None:
    """Take the texts of libraries that use gettext, such as click, from our catalog."""
    code = language()
    if code == SOURCE:
        return
    import gettext

    gettext.bindtextdomain(DOMAIN, _folder())
    gettext.textdomain(DOMAIN)
    os.environ["LANGUAGE"] = CATALOGS[code]  # before all that gettext looks at


def _folder() -> str:
    return os.path.join(os.path.dirname(__file__), "locale")  # noqa: PTH118, PTH120
