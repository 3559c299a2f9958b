"""What a model can call: a name, a JSON schema for its arguments, its effects, and the function."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tchat.errors import TchatError
from tchat.sanitize import single_line
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.tools.outgoing import OutgoingArguments

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

Arguments = Mapping[str, Any]


class Effect(StrEnum):
    """What a call may do besides computing; declared by each tool."""

    READS_FILES = "reads files"
    WRITES_FILES = "writes files"
    RUNS_PROGRAMS = "runs programs"
    NETWORK = "network"


# What cannot be taken back, or carries data out of the machine.
CONSEQUENCES = frozenset({Effect.WRITES_FILES, Effect.RUNS_PROGRAMS, Effect.NETWORK})


class ToolError(TchatError):
    """A call failed or was refused; the model and the user are told, and the chat goes on."""


@dataclass(frozen=True, slots=True)
class Tool:
    """Something that a model can call.

    Attributes:
        name: Letters, digits, ``_`` and ``-``.
        description: What it does, for the model.
        parameters: The JSON schema of its arguments, an object.
        run: Takes arguments that fit the schema, and returns text for the model.
        effects: What a call may do.
        path_arguments: The arguments that are paths; links in them are resolved before the call.
        command_argument: The argument that is a list of a program and its arguments, if any.
        preview: Shows what a call would change, as a diff, without changing it.
        is_untrusted: Its content is written by others than the user.
        outgoing: How arguments that it sends elsewhere are redacted; None where it sends none.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    run: Callable[[Arguments], str]
    effects: frozenset[Effect] = frozenset()
    path_arguments: tuple[str, ...] = ()
    command_argument: str = ""
    preview: Callable[[Arguments], str] | None = None
    is_untrusted: bool = False
    outgoing: OutgoingArguments | None = None

    def call(self, arguments: Arguments) -> str:
        """Check the arguments against the schema and run the tool.

        Raises:
            ToolError: The arguments do not fit, or the tool failed.
        """
        self.require_valid(arguments)
        return self.run(arguments)

    def require_valid(self, arguments: object) -> None:
        """Raise ToolError unless ``arguments`` fit the schema."""
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError, best_match
        from referencing import Registry
        from referencing.exceptions import Unresolvable

        try:
            Draft202012Validator.check_schema(self.parameters)
            # With a registry of its own, a reference to another document is never fetched.
            validator = Draft202012Validator(self.parameters, registry=Registry())
            error = best_match(validator.iter_errors(arguments))
        except (SchemaError, Unresolvable, RecursionError, re.error) as reason:
            raise ToolError(
                tr(
                    "the schema of the tool {name} is not usable: {reason}",
                    name=single_line(self.name),
                    reason=single_line(str(reason)),
                ),
                tr("correct the tool's parameters"),
            ) from reason
        if error is not None:
            raise ToolError(
                tr(
                    "the arguments of {name} do not fit: {place}: {reason}",
                    name=single_line(self.name),
                    place=single_line(error.json_path),
                    reason=single_line(error.message),
                ),
                tr("call it again with arguments that fit its schema"),
            )


def object_schema(
    required: tuple[str, ...] = (), **properties: Mapping[str, Any]
) -> dict[str, Any]:
    """The JSON schema of an object with these properties and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }
