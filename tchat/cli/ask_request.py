"""The request of ``tchat ask``, and which of its flags cannot be combined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tchat.errors import UsageError
from tchat.settings import Settings, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class AskRequest:
    """The flags of ``tchat ask``, each a field of its name.

    ``settings`` are the setting flags, ``values`` the template variables. ``log`` and ``threshold``
    are `None` if not given.
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
        """Whether it continues a saved session."""
        return self.resume or bool(self.cid)

    @property
    def brings_text(self) -> bool:
        """Whether the command line holds a prompt."""
        return bool(self.words or self.files or self.template)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels to choose from; empty for free text."""
        if self.yes_no:
            return ("yes", "no")
        return tuple(label.strip() for label in self.choose.split(",")) if self.choose else ()


class AskTurn(NamedTuple):
    """A request with its settings, prompt and JSON schema.

    An empty ``prompt`` continues the last reply of the session.
    """

    request: AskRequest
    settings: Settings
    prompt: str
    schema: dict[str, Any] | None


def require_compatible_flags(request: AskRequest) -> None:
    """Check that the flags of ``request`` go together.

    Raises:
        UsageError: Some cannot be combined; names them.
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
        raise UsageError("--no-log excludes --continue and --cid", "leave one out")
    if request.values and not request.template:
        raise UsageError("-p needs a template", "name the template with -t")
    if request.candidates and request.labels:
        raise UsageError("--candidates excludes --choose and --yes-no", "leave one out")
    if request.best_of and (request.labels or request.candidates):
        raise UsageError(
            "--best-of excludes --choose, --yes-no and --candidates",
            "leave one out",
        )
    if request.best_of == 1:
        raise UsageError("--best-of needs at least 2", "for example --best-of 4")
    if request.threshold is not None and not request.yes_no:
        raise UsageError("--threshold needs --yes-no", "add --yes-no")
    if request.choose and (len(request.labels) < 2 or "" in request.labels):
        fault = "has an empty label" if any(request.labels[1:]) else "takes two or more labels"
        raise UsageError(f"--choose {fault}", "for example --choose red,green,blue")
    if len(set(request.labels)) < len(request.labels):
        raise UsageError("--choose names a label twice", "name each once")


def _require_at_most_one(*flags: str) -> None:
    if len(flags) > 1:
        raise UsageError(f"{' and '.join(flags)} cannot be combined", "leave one out")
