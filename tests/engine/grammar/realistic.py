"""Realistic schemas, as public collections hold them, with valid and invalid instances."""

from __future__ import annotations

from typing import Any

REALISTIC: list[tuple[str, Any, list[tuple[Any, bool]]]] = [
    (
        "a tool's arguments",
        {
            "type": "object",
            "properties": {
                "location": {"type": "string", "description": "City, e.g. Paris"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["location"],
            "additionalProperties": False,
        },
        [
            ({"location": "Paris"}, True),
            ({"unit": "celsius", "location": "Paris"}, True),
            ({"unit": "celsius"}, False),
            ({"location": "Paris", "unit": "kelvin"}, False),
            ({"location": "Paris", "days": 2}, False),
        ],
    ),
]
