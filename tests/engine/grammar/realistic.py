"""Realistic schemas, like those of public collections, with valid and invalid instances."""

from __future__ import annotations

from typing import Any, NamedTuple


class Realistic(NamedTuple):
    """A schema, instances that follow it, and some that do not."""

    name: str
    schema: Any
    valid: list[Any]
    invalid: list[Any]


_POSITION = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 3}
_SEMVER = r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-[0-9A-Za-z-.]+)?(?:\+[0-9A-Za-z-.]+)?$"

TYPICAL = [
    Realistic(
        "a tool's arguments",
        {
            "type": "object",
            "properties": {
                "location": {"type": "string", "description": "City, e.g. Paris"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 14, "default": 3},
            },
            "required": ["location"],
            "additionalProperties": False,
        },
        [
            {"location": "Paris"},
            {"unit": "celsius", "location": "São Paulo"},
            {"location": "Paris", "unit": "fahrenheit", "days": 14},
        ],
        [
            {"unit": "celsius"},
            {"location": "Paris", "unit": "kelvin"},
            {"location": "Paris", "days": 15},
            {"location": "Paris", "when": "today"},
            {"location": 3},
        ],
    ),
    Realistic(
        "structured output with nullable fields",
        {
            "type": "object",
            "properties": {
                "steps": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "explanation": {"type": "string"},
                            "output": {"type": "string"},
                        },
                        "required": ["explanation", "output"],
                        "additionalProperties": False,
                    },
                },
                "final_answer": {"type": ["string", "null"]},
            },
            "required": ["steps", "final_answer"],
            "additionalProperties": False,
        },
        [
            {"steps": [], "final_answer": None},
            {"steps": [{"explanation": "8x = 16", "output": "x = 2"}], "final_answer": "2"},
            {"final_answer": "x", "steps": [{"output": "b", "explanation": "a"}]},
        ],
        [
            {"steps": []},
            {"steps": [{"explanation": "a"}], "final_answer": "x"},
            {"steps": {}, "final_answer": None},
            {"steps": [], "final_answer": 2},
        ],
    ),
    Realistic(
        "a union of tool calls",
        {
            "$defs": {
                "search": {
                    "type": "object",
                    "properties": {
                        "tool": {"const": "search"},
                        "query": {"type": "string", "minLength": 1},
                        "limit": {"type": "integer", "minimum": 1, "maximum": 100},
                    },
                    "required": ["tool", "query"],
                    "additionalProperties": False,
                },
                "mail": {
                    "type": "object",
                    "properties": {
                        "tool": {"const": "mail"},
                        "to": {"type": "array", "items": {"type": "string", "format": "email"}},
                        "body": {"type": "string"},
                    },
                    "required": ["tool", "to", "body"],
                    "additionalProperties": False,
                },
            },
            "oneOf": [{"$ref": "#/$defs/search"}, {"$ref": "#/$defs/mail"}],
        },
        [
            {"tool": "search", "query": "llama"},
            {"tool": "search", "query": "llama", "limit": 100},
            {"tool": "mail", "to": ["ada@example.com"], "body": ""},
        ],
        [
            {"tool": "search", "query": ""},
            {"tool": "mail", "query": "x"},
            {"tool": "mail", "to": ["nobody"], "body": ""},
            {"tool": "call", "query": "x"},
            {"tool": "search", "query": "x", "limit": 0},
        ],
    ),
    Realistic(
        "GeoJSON geometry",
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "definitions": {"position": _POSITION},
            "oneOf": [
                {
                    "type": "object",
                    "required": ["type", "coordinates"],
                    "properties": {
                        "type": {"type": "string", "enum": ["Point"]},
                        "coordinates": {"$ref": "#/definitions/position"},
                        "bbox": {"type": "array", "minItems": 4, "items": {"type": "number"}},
                    },
                },
                {
                    "type": "object",
                    "required": ["type", "coordinates"],
                    "properties": {
                        "type": {"type": "string", "enum": ["LineString"]},
                        "coordinates": {
                            "type": "array",
                            "minItems": 2,
                            "items": {"$ref": "#/definitions/position"},
                        },
                    },
                },
                {
                    "type": "object",
                    "required": ["type", "coordinates"],
                    "properties": {
                        "type": {"type": "string", "enum": ["Polygon"]},
                        "coordinates": {
                            "type": "array",
                            "items": {
                                "type": "array",
                                "minItems": 4,
                                "items": {"$ref": "#/definitions/position"},
                            },
                        },
                    },
                },
            ],
        },
        [
            {"type": "Point", "coordinates": [13.4, 52.5]},
            {"coordinates": [13.4, 52.5, 34], "type": "Point"},
            {"type": "LineString", "coordinates": [[0, 0], [1e-05, -1.5]]},
            {"type": "Polygon", "coordinates": [[[0, 0], [0, 1], [1, 1], [0, 0]]]},
        ],
        [
            {"type": "Point", "coordinates": [13.4]},
            {"type": "Circle", "coordinates": [0, 0]},
            {"type": "LineString", "coordinates": [[0, 0]]},
            {"type": "Polygon", "coordinates": [[[0, 0], [0, 1], [1, 1]]]},
            {"coordinates": [0, 0]},
        ],
    ),
    Realistic(
        "a package manifest",
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "definitions": {
                "person": {
                    "type": ["object", "string"],
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string"},
                        "url": {"type": "string", "format": "uri"},
                        "email": {"type": "string", "format": "email"},
                    },
                },
                "dependency": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            "patternProperties": {"^_": {"description": "Names with _ are reserved"}},
            "properties": {
                "name": {
                    "type": "string",
                    "maxLength": 214,
                    "minLength": 1,
                    "pattern": "^(?:@[a-z0-9-~][a-z0-9-._~]*/)?[a-z0-9-~][a-z0-9-._~]*$",
                },
                "version": {"type": "string", "pattern": _SEMVER},
                "keywords": {"type": "array", "items": {"type": "string"}},
                "author": {"$ref": "#/definitions/person"},
                "private": {"type": "boolean"},
                "dependencies": {"$ref": "#/definitions/dependency"},
                "devDependencies": {"$ref": "#/definitions/dependency"},
                "scripts": {
                    "type": "object",
                    "properties": {"test": {"type": "string"}, "build": {"type": "string"}},
                    "additionalProperties": {"type": "string"},
                },
                "engines": {
                    "type": "object",
                    "properties": {"node": {"type": "string"}},
                    "additionalProperties": {"type": "string"},
                },
            },
            "required": ["name", "version"],
        },
        [
            {"name": "left-pad", "version": "1.0.0"},
            {
                "name": "@scope/pkg.js",
                "version": "1.2.3-beta.1+build",
                "keywords": ["a", "b"],
                "author": "Ada <ada@example.com>",
                "private": True,
                "dependencies": {"react": "^18.0.0"},
                "scripts": {"test": "pytest", "lint": "ruff", "build": "make"},
            },
            {
                "name": "a",
                "version": "0.0.1",
                "author": {"name": "Ada", "email": "ada@example.com"},
                "engines": {"npm": "9", "node": ">=18"},
            },
        ],
        [
            {"name": "Left Pad", "version": "1.0.0"},
            {"name": "left-pad", "version": "1.0"},
            {"name": "left-pad"},
            {"name": "a", "version": "1.0.0", "private": "yes"},
            {"name": "a", "version": "1.0.0", "dependencies": {"react": 18}},
            {"name": "a", "version": "1.0.0", "author": {"email": "ada@example.com"}},
            {"name": "a", "version": "1.0.0", "scripts": {"test": False}},
        ],
    ),
    Realistic(
        "an invoice",
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": "https://example.com/invoice.schema.json",
            "type": "object",
            "$defs": {
                "money": {"type": "number", "minimum": 0, "multipleOf": 0.01},
                "address": {
                    "type": "object",
                    "properties": {
                        "street": {"type": "string", "maxLength": 100},
                        "city": {"type": "string"},
                        "postcode": {"type": "string", "pattern": "^[0-9]{5}(-[0-9]{4})?$"},
                        "country": {"type": "string", "pattern": "^[A-Z]{2}$"},
                    },
                    "required": ["street", "city", "country"],
                },
            },
            "properties": {
                "id": {"type": "string", "format": "uuid"},
                "number": {"type": "string", "pattern": r"^INV-\d{4}-\d{3,6}$"},
                "issued": {"type": "string", "format": "date"},
                "currency": {"enum": ["EUR", "USD", "GBP"]},
                "billTo": {"$ref": "#/$defs/address"},
                "lines": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 500,
                    "items": {
                        "type": "object",
                        "properties": {
                            "text": {"type": "string", "minLength": 1, "maxLength": 200},
                            "quantity": {"type": "integer", "exclusiveMinimum": 0},
                            "price": {"$ref": "#/$defs/money"},
                            "vat": {"type": "number", "minimum": 0, "maximum": 1},
                        },
                        "required": ["text", "quantity", "price"],
                        "additionalProperties": False,
                    },
                },
                "total": {"$ref": "#/$defs/money"},
                "paid": {"type": "string", "format": "date-time"},
            },
            "required": ["number", "issued", "currency", "lines", "total"],
        },
        [
            {
                "number": "INV-2024-0012",
                "issued": "2024-02-29",
                "currency": "EUR",
                "lines": [{"text": "Tea", "quantity": 2, "price": 3.5, "vat": 0.07}],
                "total": 7.0,
            },
            {
                "id": "2EB8AA08-AA98-11EA-B4AA-73B441D16380",
                "number": "INV-2024-123456",
                "issued": "2024-12-31",
                "currency": "USD",
                "billTo": {"city": "Berlin", "country": "DE", "street": "Straße 1"},
                "lines": [{"quantity": 1, "price": 0.07, "text": "Tee"}],
                "total": 0.07,
                "paid": "2025-01-02T10:00:00+01:00",
            },
        ],
        [
            {
                "number": "INV-24-1",
                "issued": "2024-02-29",
                "currency": "EUR",
                "lines": [{"text": "Tea", "quantity": 2, "price": 3.5}],
                "total": 7,
            },
            {
                "number": "INV-2024-001",
                "issued": "2023-02-29",
                "currency": "EUR",
                "lines": [{"text": "Tea", "quantity": 2, "price": 3.5}],
                "total": 7,
            },
            {
                "number": "INV-2024-001",
                "issued": "2024-02-29",
                "currency": "EUR",
                "lines": [],
                "total": 7,
            },
            {
                "number": "INV-2024-001",
                "issued": "2024-02-29",
                "currency": "EUR",
                "lines": [{"text": "Tea", "quantity": 0, "price": 3.5}],
                "total": 7,
            },
            {
                "number": "INV-2024-001",
                "issued": "2024-02-29",
                "currency": "EUR",
                "lines": [{"text": "Tea", "quantity": 1, "price": 3.555}],
                "total": 7,
            },
            {
                "number": "INV-2024-001",
                "issued": "2024-02-29",
                "currency": "CHF",
                "lines": [{"text": "Tea", "quantity": 1, "price": 3.5, "vat": 1.2}],
                "total": 7,
            },
        ],
    ),
]
