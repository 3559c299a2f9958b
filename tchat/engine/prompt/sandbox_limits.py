"""Limits of rendering a chat template: time, memory, and the size of each value.

Jinja's sandbox keeps a template from Python's internals and limits nothing else. `sandbox` calls
these checks before every step that can grow a value, and after it.
"""

from __future__ import annotations

import re
import string
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from itertools import islice
from sys import getsizeof
from typing import Any

from jinja2.runtime import LoopContext
from jinja2.utils import Cycler, Joiner, Namespace

from tchat.engine.prompt import TemplateOverrun
from tchat.translation import tr

MAX_TEXT = 16 << 20  # characters of a rendering, or of one string on the way
MAX_ITEMS = 1 << 18  # of a list, or in a list with everything nested in it
_MAX_SLOW = 1 << 16  # characters for a slow filter
_MAX_SPLIT = 1 << 21  # characters split at blanks, of which each word becomes a string
_MAX_BITS = 4096  # of an integer
_MAX_DIGITS = 400  # to round to
_MAX_WIDTH = 4096  # of a field in a format
_MAX_PATH = 1024  # characters of an attribute's path, which is followed for each item
_SECONDS = 2.0  # of processor time, and more for a long chat
_SECONDS_OF_CHARACTER = 2e-6  # the slowest known template takes a fifth of it
_ALLOCATED = 256 << 20  # bytes of all strings and lists, together
_TICKS = 64  # steps between two looks at the clock
_LARGE = 64 << 10  # bytes between two looks at the clock

_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))
_OBJECTS = (Namespace, Cycler, Joiner, LoopContext)  # Jinja's
_CONTAINERS = (list, tuple, dict, set, frozenset, *_OBJECTS, *_VIEWS)
_TEXTS = (str, bytes)
_ENCODINGS = ("utf-8", "utf8", "ascii", "latin-1")
_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"


class RenderLimits:
    """The time and memory that one rendering has left; more for a chat of ``size`` characters."""

    def __init__(self, stopped: Callable[[], bool] = lambda: False, size: int = 0) -> None:
        self._stopped = stopped
        self._left = _ALLOCATED + 16 * size
        self._until = time.thread_time() + _SECONDS + size * _SECONDS_OF_CHARACTER
        self._ticks = self._seen = 0  # since the clock was last looked at

    def tick(self, made: int = 0, seen: int = 0) -> None:
        """Count a step, the bytes that it allocates, and the characters that it reads.

        Raises:
            TemplateOverrun: The time is over, or too much was allocated.
            InterruptedError: It was stopped.
        """
        self._ticks += 1
        self._seen += made + seen
        self._left -= made
        if self._left < 0:
            raise TemplateOverrun(tr("it makes too much text"))
        if self._seen > _LARGE or self._ticks >= _TICKS:
            self._ticks = self._seen = 0
            if self._stopped():
                raise InterruptedError
            if time.thread_time() > self._until:
                raise TemplateOverrun(tr("it takes too long"))

    def count_value(self, value: Any) -> Any:
        """Count a value that a step made; returns it."""
        kind = type(value)
        if kind is str or isinstance(value, _TEXTS):
            require_text(len(value))
            self.tick(getsizeof(value))
        elif isinstance(value, list | tuple | dict):
            require_items(len(value))
            self.tick(getsizeof(value))
        return value

    def count_items(self, items: Iterable[Any]) -> Iterator[Any]:
        """The items; each counts as a step."""
        for item in items:
            self.tick()
            yield item

    def limited_list(self, items: Iterator[Any]) -> list[Any]:
        """A list of the items, limited in length."""
        values = list(islice(self.count_items(items), MAX_ITEMS + 1))
        require_items(len(values))
        return values

    def count_output(self, value: Any) -> Any:
        """Count a value that the template outputs; returns it."""
        if isinstance(value, str):
            self.tick(len(value))
        elif isinstance(value, _CONTAINERS):
            self.tick(weigh(value))
        return value


def require_text(size: float) -> None:
    """Refuse a text of more than `MAX_TEXT` characters."""
    if size > MAX_TEXT:
        raise TemplateOverrun(
            tr("it makes a text of more than {max_text:,} characters", max_text=MAX_TEXT)
        )


def require_items(count: float) -> None:
    """Refuse a list of more than `MAX_ITEMS` items."""
    if count > MAX_ITEMS:
        raise TemplateOverrun(
            tr("it makes a list of more than {max_items:,} items", max_items=MAX_ITEMS)
        )


def weigh(value: Any) -> int:
    """About how many characters a value takes when written out, with everything in it.

    What occurs twice counts twice: nested lists that share items can be exponential.
    """
    if not isinstance(value, _CONTAINERS):
        return _weight(value)
    size, count, waiting = 0, 0, [value]
    while waiting:
        item: Any = waiting.pop()
        count += 1
        if isinstance(item, _CONTAINERS):
            size += 2
            item = _contents(item)
            waiting.extend(item)
            if isinstance(item, dict):
                waiting.extend(item.values())
            require_items(count + len(waiting))
        else:
            size += _weight(item) + 2
    require_text(size)
    return size


def _contents(value: Any) -> Any:
    """The contents of one of Jinja's objects; any other value itself."""
    match value:
        case Namespace():
            return value._Namespace__attrs
        case Cycler():
            return value.items
        case Joiner():
            return (value.sep,)
        case LoopContext():
            return (value._before, value._current, value._after)
    return value


def _weight(value: Any) -> int:
    return len(value) if isinstance(value, (*_TEXTS, range)) else 8


def comparable(value: Any) -> Any:
    """``value``, if comparing and hashing it is fast."""
    if isinstance(value, _CONTAINERS):
        weigh(value)
    return value


def check_test(name: str, args: tuple[Any, ...]) -> int:
    """Refuse a test that would take too long; returns about how many characters it reads."""
    divisor = 2 if name in ("odd", "even") else args[1:] and args[1]
    if name in ("odd", "even", "divisibleby"):
        check_operator("%", args[0], divisor)
    return sum(map(weigh, args))


# Operators


def check_operator(operator: str, left: Any, right: Any) -> None:
    """Refuse an operation whose result would be too large."""
    if operator == "%":
        if isinstance(left, _TEXTS):
            check_percent(left, right)
    elif isinstance(left, int) and isinstance(right, int):
        if operator == "**" and left.bit_length() * abs(right) > _MAX_BITS:
            raise TemplateOverrun(tr("it computes a number that is too large"))
        if operator == "*" and left.bit_length() + right.bit_length() > _MAX_BITS:
            raise TemplateOverrun(tr("it computes a number that is too large"))
    elif operator == "*":
        _require_like(left, _length(left) * _count(right))
        _require_like(right, _length(right) * _count(left))
    elif operator == "+":
        _require_like(left, _length(left) + _length(right))


def _require_like(value: Any, size: int) -> None:
    if isinstance(value, _TEXTS):
        require_text(size)
    else:
        require_items(size)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, (*_TEXTS, list, tuple)) else 0


def _count(value: Any) -> int:
    return max(value, 0) if isinstance(value, int) else 0


# Formats

_PERCENT = re.compile(
    r"%(?:\([^)]*\))?[#0 +-]*(?P<width>\*|\d*)(?:\.(?P<precision>\*|\d*))?[hlL]?[a-zA-Z%]"
)


def check_percent(text: str | bytes, values: Any) -> None:
    """Refuse ``text % values`` that pads too much, or repeats long values."""
    plain = text if isinstance(text, str) else text.decode("latin-1")
    size, fields = len(plain), 0
    for field in _PERCENT.finditer(plain):
        fields += 1
        for number in (field["width"], field["precision"]):
            size += _width(number or "")
    if isinstance(values, tuple):
        require_text(size + sum(map(weigh, values)))
    elif isinstance(values, Mapping):
        require_text(size + fields * max(map(weigh, values.values()), default=0))
    else:
        require_text(size + weigh(values))


def check_format(text: str, values: Iterable[Any]) -> None:
    """Refuse ``text.format(…)`` that pads too much, or repeats long values."""
    longest = max(map(weigh, values), default=0)
    size = len(text)
    for _, field, spec, _ in string.Formatter().parse(text):
        if field is None:
            continue
        if spec and "{" in spec:
            raise TemplateOverrun(tr("it computes the width of a field"))
        size += longest + sum(_width(number) for number in re.findall(r"\d+", spec or ""))
    require_text(size)


def _width(number: str) -> int:
    if number == "*" or len(number) > len(str(_MAX_WIDTH)) or int(number or 0) > _MAX_WIDTH:
        raise TemplateOverrun(tr("it pads a field to more than it may"))
    return int(number or 0)


# Methods and filters that can grow a text or a list, by name

Given = tuple[tuple[Any, ...], Mapping[str, Any]]  # arguments by place and by name


def check_method(name: str, owner: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """Refuse a method whose result would be too large; returns how much it reads, about."""
    check = _METHODS.get(name)
    if check is not None and isinstance(owner, (*_TEXTS, int)):
        check(((owner, *args), kwargs))
    if isinstance(owner, (list, tuple, dict)):
        if name == "append":
            _check_append(owner, args)
        searched = (owner,) if name in ("index", "count") else ()
        return sum(map(weigh, (*searched, *args)))
    return _weight(owner)


def _check_append(owner: Any, args: tuple[Any, ...]) -> None:
    """Refuse to make a list too long, or to put it into itself: nothing could walk it then."""
    require_items(len(owner) + 1)
    weigh(args)
    waiting = list(args)
    while waiting:
        item = waiting.pop()
        if item is owner:
            raise TemplateOverrun(tr("it puts a list into itself"))
        if isinstance(item, _CONTAINERS):
            contents = _contents(item)
            waiting.extend(contents.values() if isinstance(contents, dict) else contents)


def check_filter(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """Refuse a filter that makes too much or takes too long; returns how much it reads, about."""
    check = _FILTERS.get(name)
    if check is not None:
        check((args, kwargs))
    path = _argument((args, kwargs), _PATHS.get(name, len(args)), "attribute")
    if isinstance(path, str) and len(path) > _MAX_PATH:
        raise TemplateOverrun(
            tr("it follows an attribute of more than {max_path:,} characters", max_path=_MAX_PATH)
        )
    if name in _SHALLOW:
        return len(args[0]) if args and isinstance(args[0], Sized) else 0
    size = sum(map(weigh, (*args, *kwargs.values())))
    if name in _SLOW and size > _MAX_SLOW:
        raise TemplateOverrun(
            tr(
                "the filter {name} gets more than {max_slow:,} characters",
                name=name,
                max_slow=_MAX_SLOW,
            )
        )
    return size


def _argument(given: Given, index: int, name: str, default: Any = None) -> Any:
    args, kwargs = given
    return args[index] if len(args) > index else kwargs.get(name, default)


def _check_padding(given: Given) -> None:
    width = _argument(given, 1, "width", given[1].get("length", 0))
    require_text(_count(width))


def _check_tabs(given: Given) -> None:
    owner = given[0][0]
    tabs = owner.count("\t" if isinstance(owner, str) else b"\t")
    require_text(len(owner) + tabs * _count(_argument(given, 1, "tabsize", 8)))


def _check_replace(given: Given) -> None:
    text, old, new = given[0][0], _argument(given, 1, "old"), _argument(given, 2, "new")
    text = comparable(text) if isinstance(text, _TEXTS) else str(comparable(text))
    if not isinstance(old, type(text)) or not isinstance(new, _TEXTS):
        weigh(old)
        weigh(new)
        old, new = str(old), str(new)
    count = _argument(given, 3, "count")
    matches = text.count(old) if isinstance(old, type(text)) else 0
    if isinstance(count, int) and count >= 0:
        matches = min(matches, count)
    require_text(len(text) + matches * len(new))


def _check_translate(given: Given) -> None:
    table = _argument(given, 1, "table")
    values = table.values() if isinstance(table, dict) else ()
    longest = max((len(value) for value in values if isinstance(value, str)), default=1)
    require_text(len(given[0][0]) * longest)


def _check_join(given: Given) -> None:
    owner, items = given[0][0], _argument(given, 1, "iterable")
    if isinstance(items, list):
        require_text(len(owner) * len(items) + sum(map(_weight, items)))


def _check_split(given: Given) -> None:
    owner, separator = given[0][0], _argument(given, 1, "sep")
    if isinstance(separator, type(owner)) and separator:
        require_items(owner.count(separator))
    elif len(owner) > _MAX_SPLIT:
        raise TemplateOverrun(
            tr("it splits a text of more than {max_split:,} characters", max_split=_MAX_SPLIT)
        )


def _check_indent(given: Given) -> None:
    text, width = given[0][0], _argument(given, 1, "width", 4)
    text = text if isinstance(text, str) else ""
    lines = 1 + sum(map(text.count, _LINE_ENDS))
    require_text(len(text) + lines * (len(width) if isinstance(width, str) else _count(width)))


def _check_format_filter(given: Given) -> None:
    (text, *values), names = given
    check_percent(text if isinstance(text, str) else "", names or tuple(values))


def _check_round(given: Given) -> None:
    digits = _argument(given, 1, "precision", 0)
    if isinstance(digits, int) and abs(digits) > _MAX_DIGITS:
        raise TemplateOverrun(tr("it rounds to more digits than it may"))


def _check_batch(given: Given) -> None:
    require_items(_count(_argument(given, 1, "linecount", given[1].get("slices"))))


def _check_wordwrap(given: Given) -> None:
    text, width = given[0][0], _count(_argument(given, 1, "width", 79))
    wrapped_by = _argument(given, 3, "wrapstring")
    ends = len(wrapped_by) if isinstance(wrapped_by, str) else 1
    require_text(_length(text) * (1 + ends // max(width, 1)))


def _check_list(given: Given) -> None:
    require_items(_length(given[0][0]))


def _check_json(given: Given) -> None:
    # An indentation is repeated by the depth of a value, and a value has at least one character.
    indent = _argument(given, 2, "indent")
    separators: Any = _argument(given, 3, "separators")
    around = len(indent) if isinstance(indent, str) else _count(indent)
    around += sum(map(_length, separators)) if isinstance(separators, (list, tuple)) else 0
    require_text(weigh(given[0][0]) * max(1, around))


def _check_encode(given: Given) -> None:
    encoding = _argument(given, 1, "encoding", "utf-8")
    if str(encoding).lower() not in _ENCODINGS:  # some take quadratic time
        raise TemplateOverrun(
            tr(
                "it encodes text as something else than {encodings}",
                encodings=", ".join(_ENCODINGS),
            )
        )
    written_out = _argument(given, 2, "errors", "strict") not in ("strict", "ignore", "replace")
    require_text(len(given[0][0]) * (10 if written_out else 1))


_METHODS: dict[str, Callable[[Given], None]] = {
    "center": _check_padding,
    "ljust": _check_padding,
    "rjust": _check_padding,
    "zfill": _check_padding,
    "to_bytes": _check_padding,
    "expandtabs": _check_tabs,
    "replace": _check_replace,
    "translate": _check_translate,
    "join": _check_join,
    "encode": _check_encode,
    "decode": _check_encode,
    "split": _check_split,
    "rsplit": _check_split,
    "splitlines": _check_split,
}
_FILTERS: dict[str, Callable[[Given], None]] = {
    "center": _check_padding,
    "indent": _check_indent,
    "replace": _check_replace,
    "format": _check_format_filter,
    "round": _check_round,
    "batch": _check_batch,
    "slice": _check_batch,
    "wordwrap": _check_wordwrap,
    "list": _check_list,
    "tojson": _check_json,
    **dict.fromkeys(("sort", "unique", "min", "max", "groupby"), _check_list),
}
# Position of the argument with an attribute path, by filter.
_PATHS = {"sort": 3, "unique": 2, "min": 2, "max": 2, "join": 2} | dict.fromkeys(
    ("groupby", "sum", "selectattr", "rejectattr"), 1
)
# These compare or hash items.
COMPARING = frozenset({"sort", "unique", "min", "max", "groupby"})
# These process each item.
WALKING = frozenset({"map", "select", "reject", "selectattr", "rejectattr", "sum", "join"})
# These look at the items of a list, but not into them.
_SHALLOW = frozenset(
    {"length", "count", "first", "last", "list", "reverse", "map", "select", "reject", "d", "sum"}
    | {"selectattr", "rejectattr", "batch", "slice", "default", "items", "attr", "random", "join"}
)
_SLOW = frozenset(
    {"urlize", "xmlattr", "pprint", "striptags", "wordwrap", "title", "urlencode", "wordcount"}
)
