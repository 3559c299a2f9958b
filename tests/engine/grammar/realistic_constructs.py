"""Realistic schemas that lean on combinations: references, alternatives, conditions, counts."""

from __future__ import annotations

from tests.engine.grammar.realistic import Realistic

COMBINED = [
    Realistic(
        "a workflow file",
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "additionalProperties": False,
            "required": ["on", "jobs"],
            "definitions": {
                "event": {"enum": ["push", "pull_request", "schedule", "workflow_dispatch"]},
                "name": {"type": "string", "pattern": "^[_a-zA-Z][a-zA-Z0-9_-]*$"},
                "env": {
                    "type": "object",
                    "additionalProperties": {"type": ["string", "number", "boolean"]},
                },
                "step": {
                    "type": "object",
                    "anyOf": [{"required": ["uses"]}, {"required": ["run"]}],
                    "properties": {
                        "id": {"type": "string"},
                        "name": {"type": "string"},
                        "uses": {"type": "string"},
                        "run": {"type": "string"},
                        "with": {"$ref": "#/definitions/env"},
                        "env": {"$ref": "#/definitions/env"},
                    },
                    "additionalProperties": False,
                },
            },
            "properties": {
                "name": {"type": "string"},
                "on": {
                    "oneOf": [
                        {"$ref": "#/definitions/event"},
                        {"type": "array", "items": {"$ref": "#/definitions/event"}, "minItems": 1},
                    ]
                },
                "env": {"$ref": "#/definitions/env"},
                "jobs": {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": False,
                    "patternProperties": {
                        "^[_a-zA-Z][a-zA-Z0-9_-]*$": {
                            "type": "object",
                            "required": ["runs-on", "steps"],
                            "properties": {
                                "runs-on": {"type": "string"},
                                "needs": {
                                    "oneOf": [
                                        {"$ref": "#/definitions/name"},
                                        {
                                            "type": "array",
                                            "items": {"$ref": "#/definitions/name"},
                                        },
                                    ]
                                },
                                "timeout-minutes": {"type": "number", "default": 360},
                                "steps": {
                                    "type": "array",
                                    "items": {"$ref": "#/definitions/step"},
                                    "minItems": 1,
                                },
                            },
                        }
                    },
                },
            },
        },
        [
            {
                "name": "CI",
                "on": ["push", "pull_request"],
                "jobs": {
                    "test": {
                        "runs-on": "ubuntu-latest",
                        "steps": [
                            {"uses": "actions/checkout@v4"},
                            {"run": "pytest", "env": {"A": 1}},
                        ],
                    }
                },
            },
            {
                "on": "push",
                "jobs": {"a_1": {"runs-on": "x", "needs": ["b"], "steps": [{"run": "y"}]}},
            },
        ],
        [
            {"on": "push", "jobs": {}},
            {"on": "merge", "jobs": {"a": {"runs-on": "x", "steps": [{"run": "y"}]}}},
            {"on": "push", "jobs": {"1a": {"runs-on": "x", "steps": [{"run": "y"}]}}},
            {"on": "push", "jobs": {"a": {"runs-on": "x", "steps": [{"name": "y"}]}}},
            {"on": "push", "jobs": {"a": {"runs-on": "x", "steps": []}}},
            {"on": [], "jobs": {"a": {"runs-on": "x", "steps": [{"run": "y"}]}}},
        ],
    ),
    Realistic(
        "a tree of comments",
        {
            "$ref": "#/definitions/comment",
            "definitions": {
                "comment": {
                    "type": "object",
                    "properties": {
                        "author": {"type": "string", "minLength": 2, "maxLength": 30},
                        "text": {"type": "string", "maxLength": 2000},
                        "likes": {"type": "integer", "minimum": 0},
                        "replies": {
                            "type": "array",
                            "items": {"$ref": "#/definitions/comment"},
                        },
                    },
                    "required": ["author", "text"],
                    "additionalProperties": False,
                }
            },
        },
        [
            {"author": "Ada", "text": "Hi"},
            {"text": "Hi", "author": "Ada", "replies": [{"author": "Bo", "text": "", "likes": 1}]},
        ],
        [
            {"author": "A", "text": "Hi"},
            {"author": "Ada", "text": "Hi", "replies": [{"author": "Bo"}]},
            {"author": "Ada", "text": "Hi", "likes": -1},
            {"author": "Ada", "text": "x" * 2001},
        ],
    ),
    Realistic(
        "payment by one of several means",
        {
            "type": "object",
            "properties": {
                "amount": {"type": "number", "exclusiveMinimum": 0},
                "method": {"enum": ["card", "transfer"]},
                "card": {
                    "type": "object",
                    "properties": {
                        "number": {"type": "string", "pattern": "^[0-9]{13,19}$"},
                        "expires": {"type": "string", "pattern": "^(0[1-9]|1[0-2])/[0-9]{2}$"},
                    },
                    "required": ["number", "expires"],
                },
                "iban": {"type": "string", "pattern": "^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$"},
            },
            "required": ["amount", "method"],
            "if": {"properties": {"method": {"const": "card"}}},
            "then": {"required": ["card"]},
            "else": {"required": ["iban"]},
        },
        [
            {
                "amount": 12.5,
                "method": "card",
                "card": {"number": "4111111111111111", "expires": "12/27"},
            },
            {"method": "transfer", "iban": "DE89370400440532013000", "amount": 1},
        ],
        [
            {"amount": 1, "method": "card"},
            {"amount": 1, "method": "transfer"},
            {"amount": 0, "method": "transfer", "iban": "DE89370400440532013000"},
            {"amount": 1, "method": "card", "card": {"number": "4111", "expires": "12/27"}},
            {
                "amount": 1,
                "method": "card",
                "card": {"number": "4111111111111111", "expires": "13/27"},
            },
        ],
    ),
    Realistic(
        "an extended base",
        {
            "$defs": {
                "entity": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "integer", "minimum": 1},
                        "created": {"type": "string", "format": "date-time"},
                    },
                    "required": ["id"],
                },
                "user": {
                    "allOf": [
                        {"$ref": "#/$defs/entity"},
                        {
                            "type": "object",
                            "properties": {
                                "name": {"type": "string"},
                                "role": {"type": "string", "enum": ["admin", "editor", "viewer"]},
                            },
                            "required": ["name", "role"],
                        },
                    ]
                },
            },
            "type": "array",
            "items": {"$ref": "#/$defs/user"},
            "minItems": 1,
        },
        [
            [{"id": 1, "name": "Ada", "role": "admin"}],
            [{"name": "Ada", "id": 7, "role": "viewer", "created": "2024-01-01T00:00:00Z"}],
        ],
        [
            [],
            [{"name": "Ada", "role": "admin"}],
            [{"id": 0, "name": "Ada", "role": "admin"}],
            [{"id": 1, "name": "Ada", "role": "owner"}],
            [{"id": 1, "name": "Ada", "role": "admin", "created": "yesterday"}],
        ],
    ),
    Realistic(
        "sensor readings",
        {
            "$schema": "http://json-schema.org/draft-04/schema#",
            "type": "object",
            "properties": {
                "device": {"type": "string", "pattern": "^([0-9A-F]{2}:){5}[0-9A-F]{2}$"},
                "ip": {"type": "string", "format": "ipv4"},
                "temperature": {
                    "type": "number",
                    "minimum": -273.15,
                    "exclusiveMinimum": True,
                    "maximum": 1000,
                },
                "humidity": {"type": "number", "minimum": 0, "maximum": 100},
                "battery": {"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 100},
                "tags": {
                    "type": "array",
                    "items": {"type": "string", "enum": ["indoor", "outdoor", "test"]},
                    "uniqueItems": True,
                },
                "location": {
                    "type": "array",
                    "items": [{"type": "number"}, {"type": "number"}],
                    "additionalItems": False,
                },
            },
            "required": ["device", "temperature"],
            "additionalProperties": False,
        },
        [
            {"device": "00:1A:2B:3C:4D:5E", "temperature": 21.5},
            {
                "device": "00:1A:2B:3C:4D:5E",
                "ip": "192.168.0.1",
                "temperature": -40,
                "humidity": 45.123456789012345,
                "battery": 95,
                "tags": ["outdoor", "indoor"],
                "location": [52.5, 13.4],
            },
        ],
        [
            {"device": "00-1A-2B-3C-4D-5E", "temperature": 21.5},
            {"device": "00:1A:2B:3C:4D:5E", "temperature": -273.15},
            {"device": "00:1A:2B:3C:4D:5E", "temperature": 1, "humidity": 100.1},
            {"device": "00:1A:2B:3C:4D:5E", "temperature": 1, "battery": 97},
            {"device": "00:1A:2B:3C:4D:5E", "temperature": 1, "ip": "192.168.0.256"},
            {"device": "00:1A:2B:3C:4D:5E", "temperature": 1, "tags": ["test", "test"]},
            {"device": "00:1A:2B:3C:4D:5E", "temperature": 1, "location": [1, 2, 3]},
        ],
    ),
    Realistic(
        "a survey that counts its answers",
        {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 3,
            "propertyNames": {"pattern": "^q[0-9]+$"},
            "additionalProperties": {
                "anyOf": [
                    {"type": "boolean"},
                    {"type": "integer", "minimum": 1, "maximum": 5},
                    {"type": "array", "items": {"type": "string"}, "maxItems": 3},
                ]
            },
        },
        [{"q1": True}, {"q1": 5, "q2": [], "q10": ["a", "b", "c"]}],
        [{}, {"x": True}, {"q1": 6}, {"q1": 1, "q2": 1, "q3": 1, "q4": 1}, {"q1": ["a"] * 4}],
    ),
    Realistic(
        "a patch",
        {
            "$schema": "http://json-schema.org/draft-06/schema#",
            "type": "array",
            "items": {
                "oneOf": [
                    {
                        "additionalProperties": False,
                        "required": ["value", "op", "path"],
                        "properties": {
                            "path": {"$ref": "#/definitions/path"},
                            "op": {"type": "string", "enum": ["add", "replace", "test"]},
                            "value": {},
                        },
                    },
                    {
                        "additionalProperties": False,
                        "required": ["op", "path"],
                        "properties": {
                            "path": {"$ref": "#/definitions/path"},
                            "op": {"type": "string", "enum": ["remove"]},
                        },
                    },
                    {
                        "additionalProperties": False,
                        "required": ["from", "op", "path"],
                        "properties": {
                            "path": {"$ref": "#/definitions/path"},
                            "op": {"type": "string", "enum": ["move", "copy"]},
                            "from": {"$ref": "#/definitions/path"},
                        },
                    },
                ]
            },
            "definitions": {"path": {"type": "string", "format": "json-pointer"}},
        },
        [
            [],
            [{"op": "add", "path": "/a/b", "value": {"c": [1, None]}}],
            [{"op": "remove", "path": ""}, {"op": "move", "from": "/a", "path": "/b~1c"}],
        ],
        [
            [{"op": "add", "path": "/a"}],
            [{"op": "remove", "path": "/a", "value": 1}],
            [{"op": "move", "path": "/a"}],
            [{"op": "erase", "path": "/a"}],
            [{"op": "remove", "path": "a"}],
        ],
    ),
    Realistic(
        "a compose file",
        {
            "$schema": "https://json-schema.org/draft/2019-09/schema",
            "type": "object",
            "properties": {
                "version": {"type": "string"},
                "services": {
                    "type": "object",
                    "patternProperties": {"^[a-zA-Z0-9._-]+$": {"$ref": "#/$defs/service"}},
                    "additionalProperties": False,
                },
            },
            "patternProperties": {"^x-": {}},
            "additionalProperties": False,
            "$defs": {
                "service": {
                    "type": "object",
                    "properties": {
                        "image": {"type": "string"},
                        "ports": {
                            "type": "array",
                            "items": {
                                "oneOf": [
                                    {"type": "integer", "minimum": 1, "maximum": 65535},
                                    {"type": "string", "pattern": r"^\d+(:\d+)?(/(tcp|udp))?$"},
                                ]
                            },
                        },
                        "environment": {"$ref": "#/$defs/list_or_dict"},
                        "restart": {"enum": ["no", "always", "on-failure", "unless-stopped"]},
                        "depends_on": {"type": "array", "items": {"type": "string"}},
                    },
                    "required": ["image"],
                    "additionalProperties": False,
                },
                "list_or_dict": {
                    "oneOf": [
                        {
                            "type": "object",
                            "patternProperties": {".+": {"type": ["string", "number", "null"]}},
                            "additionalProperties": False,
                        },
                        {"type": "array", "items": {"type": "string"}},
                    ]
                },
            },
        },
        [
            {"services": {"web": {"image": "nginx", "ports": ["80:80", 443, "53/udp"]}}},
            {
                "version": "3",
                "x-common": [1],
                "services": {
                    "db.1": {"image": "pg", "environment": {"A": "b", "C": None}, "restart": "no"},
                    "app": {"image": "app", "environment": ["A=b"], "depends_on": ["db.1"]},
                },
            },
        ],
        [
            {"services": {"web": {"ports": ["80"]}}},
            {"services": {"web": {"image": "nginx", "ports": [65536]}}},
            {"services": {"web": {"image": "nginx", "ports": ["a:b"]}}},
            {"services": {"we b": {"image": "nginx"}}},
            {"services": {"web": {"image": "nginx", "restart": "never"}}},
            {"services": {"web": {"image": "nginx", "environment": {"A": True}}}},
            {"volumes": {}},
        ],
    ),
]
