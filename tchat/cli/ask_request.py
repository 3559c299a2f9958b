"""What a call of ``tchat ask`` asked for, and which flags go together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tchat.errors import UsageError
from tchat.settings import Settings, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class AskRequest:
    """What a call of ``tchat ask`` asked for; each field is the flag of its name.

    ``settings`` are those typed as flags, ``values`` the variables of the template. ``log`` and
    ``threshold`` are `None` when they were not typed.
    """

    words: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    settings: Mapping[str, Value] = field(default_factory=dict)
    resume: bool = False
    cid: str = ""
    template: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    extract: bool = False
    log: bool | None = None
    usage: bool = False
    as_json: bool = False
    schema: str = ""
    grammar: str = ""
    choose: str = ""
    yes_no: bool = False
    threshold: float | None = None
    stream: bool = True
    candidates: int = 0
    best_of: int = 0
    raw: bool = False
    plain: bool = False
    quiet: bool = False

    @property
    def resumes(self) -> bool:
        """Whether it goes on with a stored session."""
        return self.resume or bool(self.cid)

    @property
    def brings_text(self) -> bool:
        """Whether the command line itself says what to ask."""
        return bool(self.words or self.files or self.template)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels to choose from; empty for a reply in free form."""
        if self.yes_no:
            return ("yes", "no")
        return tuple(label.strip() for label in self.choose.split(",")) if self.choose else ()


class AskTurn(NamedTuple):
    """A request made ready: settings in force, the prompt's text, and the form of the reply.

    An empty ``prompt`` goes on with the last reply of ``session``.
    """

    request: AskRequest
    settings: Settings
    prompt: str
    schema: dict[str, Any] | None


def require_compatible_flags(request: AskRequest) -> None:
    """Raise UsageError when flags of ``request`` exclude each other.

    Raises:
        UsageError: They do not; names them.
    """
    forms = {
        "--schema": request.schema,
        "--grammar": request.grammar,
        "--choose": request.choose,
        "--yes-no": request.yes_no,
    }
    _require_at_most_one(*(flag for flag, given in forms.items() if given))
    _require_at_most_one(*(["--continue"] * request.resume), *(["--cid"] * bool(request.cid)))
    if request.log is False and request.resumes:
        raise UsageError("--no-log and a session to continue exclude each other", "leave one out")
    if request.values and not request.template:
        raise UsageError("-p sets a variable of a template", "name the template with -t")
    if request.candidates and request.labels:
        raise UsageError(
            "--candidates writes replies, --choose and --yes-no choose", "leave one out"
        )
    if request.best_of and (request.labels or request.candidates):
        raise UsageError(
            "--best-of writes several replies and prints the best: no --choose, --yes-no or "
            "--candidates beside it",
            "leave one out",
        )
    if request.best_of == 1:
        raise UsageError("the best of one reply is that reply", "for example --best-of 4")
    if request.threshold is not None and not request.yes_no:
        raise UsageError("--threshold belongs to --yes-no", "add --yes-no")
    if request.choose and (len(request.labels) < 2 or "" in request.labels):
        fault = "has an empty label" if any(request.labels[1:]) else "takes two or more labels"
        raise UsageError(f"--choose {fault}", "for example --choose red,green,blue")
    if len(set(request.labels)) < len(request.labels):
        raise UsageError("--choose names a label twice", "name each once")


def _require_at_most_one(*flags: str) -> None:
    if len(flags) > 1:
        raise UsageError(f"{' and '.join(flags)} exclude each other", "leave one out")
