"""Equality of JSON values."""

from __future__ import annotations

import json
from typing import Any


def key_of(value: Any) -> str:
    """Equal for values that JSON Schema takes as equal: 1 and 1.0, but not 1 and true."""
    if not isinstance(value, dict | list):
        return _scalar(value)
    written: list[str] = []
    waiting: list[tuple[Any, str]] = [(value, "")]  # values, and what stands behind them
    while waiting:
        one, behind = waiting.pop()
        if isinstance(one, dict):
            written.append("{")
            waiting.append((_END, "}" + behind))
            for key in sorted(one, reverse=True):
                waiting += [(one[key], ","), (_END, json.dumps(key) + ":")]
        elif isinstance(one, list):
            written.append("[")
            waiting.append((_END, "]" + behind))
            waiting += [(each, ",") for each in reversed(one)]
        else:
            written.append(behind if one is _END else _scalar(one) + behind)
    return "".join(written)


_END = object()  # no value: only what stands behind it


def _scalar(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value)
