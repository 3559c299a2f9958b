"""Named prompt templates: TOML files with variables, tchat's own and the user's.

::

    description = "Translate a text"
    system = "You are a translator."          # optional
    prompt = "Translate into {language}, in a {tone} tone:\\n\\n{input}"
    model = "qwen3:4b"                        # optional
    [defaults]
    tone = "neutral"
    [sampling]
    temp = 0.2

``{name}`` is a variable and ``{{name}}`` stands for the text ``{name}``; other braces are
themselves, so JSON may be written as it is. ``{input}`` is what was piped or typed. A variable
without a default has to be given: by ``-p``, or where the user is asked for it.

A template without ``prompt`` is a persona: only a system prompt, a model or sampling, for a chat.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tchat.errors import TchatError, UsageError
from tchat.paths import Paths, expanded
from tchat.sanitize import single_line
from tchat.settings import Value, keys
from tchat.settings.keys import check, did_you_mean
from tchat.settings.load import parse_toml, read_text
from tchat.translation import tr

BUILTIN_TEMPLATES = Path(__file__).parent.parent / "data" / "prompts"
INPUT = "input"
BLANK, BLANK_WITH_DEFAULT = "⟨{name}⟩", "⟨{name}={default}⟩"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_VARIABLE = re.compile(r"\{\{([a-z_][a-z0-9_]*)\}\}|\{([a-z_][a-z0-9_]*)\}")
_NAMED = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
_FIELDS = ("description", "system", "prompt", "model", "defaults", "sampling")
_PERSONA = "{input}"  # the prompt of a template that has none


class StartedTemplate(NamedTuple):
    """A template for a person to complete.

    Attributes:
        prompt: With a blank such as ``⟨input⟩`` or ``⟨words=60⟩`` for each variable.
        blanks: Those in it.
        system: Empty where it needs a value too.
        missing: The variables that it needs.
    """

    prompt: str
    blanks: tuple[str, ...]
    system: str
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """One named template. ``sampling`` holds checked settings by name; ``model`` may be empty."""

    name: str
    path: Path
    description: str
    system: str
    prompt: str
    defaults: Mapping[str, str]
    sampling: Mapping[str, Value]
    model: str = ""

    @property
    def is_persona(self) -> bool:
        """Whether it only says who answers, and how."""
        return self.prompt == _PERSONA

    @property
    def settings(self) -> Mapping[str, Value]:
        """The settings that it makes, apart from the system prompt."""
        return {**self.sampling, **({"model": self.model} if self.model else {})}

    @property
    def shown_description(self) -> str:
        """The description, of a built-in template in the user's language."""
        return tr(self.description) if self.is_builtin and self.description else self.description

    @property
    def is_builtin(self) -> bool:
        """Whether it came with tchat."""
        return self.path.parent == BUILTIN_TEMPLATES

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables besides ``input``, in the order of their appearance."""
        return tuple(name for name in _variables(f"{self.system}\n{self.prompt}") if name != INPUT)

    @property
    def accepts_input(self) -> bool:
        """Whether it says where the input goes."""
        return INPUT in _variables(f"{self.system}\n{self.prompt}")

    def fill(self, text: str, values: Mapping[str, str]) -> tuple[str, str]:
        """Prompt and system prompt, with ``text`` (piped or typed) and the variables' ``values``.

        A template that does not say where the input goes gets it in front, as a pipe does.
        Values are put in once and not searched for variables.

        Raises:
            UsageError: A variable has no value, a value has no variable, or the input is missing.
        """
        self._reject_unknown_values(values)
        known = {**self.defaults, **values, INPUT: text}
        if self.accepts_input and not text:
            raise UsageError(
                tr("the prompt `{name}` needs a text to work on", name=self.name),
                tr("pipe it in or type it"),
            )
        self._require_values(f"{self.prompt}\n{self.system}", known)
        prompt = self._with_input(text, _expand(self.prompt, known))
        return prompt, _expand(self.system, known)

    def fill_system(self, values: Mapping[str, str]) -> str:
        """The system prompt alone, with the variables' ``values``; for a persona.

        Raises:
            UsageError: A variable of it has no value, or a value has no variable.
        """
        self._reject_unknown_values(values)
        known = {**self.defaults, **values}
        self._require_values(self.system, known)
        return _expand(self.system, known)

    def missing(self, text: str, values: Mapping[str, str]) -> tuple[str, ...]:
        """The variables that `fill` needs a value for, ``input`` among them."""
        known = {**self.defaults, **values, **({INPUT: text} if text else {})}
        used = _variables(f"{self.prompt}\n{self.system}")
        return tuple(name for name in used if name not in known)

    def begin(self, text: str) -> StartedTemplate:
        """Fill with ``text``, which may be empty; leave a blank for each variable.

        A default that a line cannot show is filled in, without a blank.
        """
        known = {**self.defaults, **({INPUT: text} if text else {})}
        used = [name for name in _variables(self.prompt) if not (name == INPUT and text)]
        blanks = {name: self._blank(name) for name in used if self._fits_blank(name)}
        missing = tuple(name for name in _variables(self.system) if name not in known)
        prompt = self._with_input(text, _expand(self.prompt, known | blanks))
        system = "" if missing else _expand(self.system, known)
        return StartedTemplate(prompt, tuple(blanks.values()), system, missing)

    def _fits_blank(self, name: str) -> bool:
        default = self.defaults.get(name, "")
        return default == single_line(default)

    def _blank(self, name: str) -> str:
        if name in self.defaults:
            return BLANK_WITH_DEFAULT.format(name=name, default=self.defaults[name])
        return BLANK.format(name=name)

    def _with_input(self, text: str, prompt: str) -> str:
        return f"{text}\n\n{prompt}" if text and not self.accepts_input else prompt

    def _require_values(self, text: str, known: Mapping[str, str]) -> None:
        """Require a value for each variable of ``text``."""
        for name in _variables(text):
            if name not in known:
                raise UsageError(
                    tr(
                        "the prompt `{name}` needs a value for `{variable}`",
                        name=self.name,
                        variable=name,
                    ),
                    tr("add `-p {name} VALUE`", name=name),
                )

    def _reject_unknown_values(self, values: Mapping[str, str]) -> None:
        for name in values:
            if name not in self.variables:
                listed = ", ".join(self.variables)
                raise UsageError(
                    tr(
                        "the prompt `{name}` has no variable `{variable}`",
                        name=self.name,
                        variable=name,
                    ),
                    did_you_mean(name, self.variables)
                    or (
                        tr("its variables: {listed}", listed=listed)
                        if listed
                        else tr("it has none")
                    ),
                )


def _expand(text: str, known: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        literal, name = match.groups()
        return f"{{{literal}}}" if literal else known[name]

    return _VARIABLE.sub(value, text)


def find_template(name: str, paths: Paths) -> PromptTemplate:
    """The template called ``name``: the user's own before tchat's, or a path to a TOML file.

    Raises:
        UsageError: There is none, or its file is broken.
        StorageError: Its file cannot be read.
    """
    if name.endswith(".toml"):
        path = expanded(name)
        if not path.is_file():
            what = (
                tr("{name} is not a file", name=name)
                if path.exists()
                else tr("there is no file {name}", name=name)
            )
            raise UsageError(what, tr("name a TOML file, or a template of `tchat prompts ls`"))
        return read_template(path)
    for path in _places(name, paths):
        if path.is_file():
            return read_template(path)
    names = [template.name for template in list_templates(paths)[0]]
    raise UsageError(
        tr("there is no prompt `{name}`", name=name),
        did_you_mean(name, names) or tr("`tchat prompts ls` lists them all"),
    )


def list_templates(paths: Paths) -> tuple[list[PromptTemplate], list[str]]:
    """All templates by name, and what is wrong with files that could not be read."""
    found: dict[str, PromptTemplate] = {}
    broken: list[str] = []
    for path in _files(paths):
        try:
            found.setdefault(path.stem, read_template(path))
        except TchatError as error:
            broken.append(str(error))
    return sorted(found.values(), key=lambda template: template.name), broken


def literal_template(name: str, text: str) -> PromptTemplate:
    """A template without variables, whose prompt is ``text`` as it is."""
    escaped = _NAMED.sub(r"{{\1}}", text)
    return PromptTemplate(name, Path(name), "", "", escaped, {}, {})


def template_path(name: str, paths: Paths) -> Path:
    """The path of the user's own template ``name``.

    Raises:
        UsageError: ``name`` cannot be a template's name.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            tr("`{name}` cannot be a prompt's name", name=name),
            tr("use lower-case letters, digits, - and _, at most 64"),
        )
    return paths.prompts / f"{name}.toml"


def read_template(path: Path) -> PromptTemplate:
    """The template in the TOML file ``path``, named after the file.

    Raises:
        UsageError: The file is not TOML, or not a template.
        StorageError: It cannot be read.
    """
    return parse_template(read_text(path), path)


def parse_template(text: str, path: Path) -> PromptTemplate:
    """The template that the TOML ``text`` of ``path`` spells.

    Raises:
        UsageError: It is not TOML, or not a template; names the field.
    """
    document = parse_toml(text, path)
    for name in document:
        if name not in _FIELDS:
            hint = did_you_mean(name, _FIELDS) or tr(
                "a prompt has {fields}", fields=", ".join(_FIELDS)
            )
            raise UsageError(tr("{path}: unknown field `{name}`", path=path, name=name), hint)
    prompt = _text(document, "prompt", path)
    makes_settings = any(document.get(name) for name in ("system", "model", "sampling"))
    if "prompt" not in document and makes_settings:
        prompt = _PERSONA
    if not prompt.strip():
        raise UsageError(
            tr("{path} has no `prompt`", path=path), tr('write one: prompt = "…{input}"')
        )
    return PromptTemplate(
        name=path.stem,
        path=path,
        description=_text(document, "description", path),
        system=_text(document, "system", path).strip(),
        prompt=prompt.strip("\n"),
        defaults=_defaults(document, path),
        sampling=_sampling(document, path),
        model=_text(document, "model", path).strip(),
    )


def _places(name: str, paths: Paths) -> tuple[Path, ...]:
    if not _NAME.fullmatch(name):
        return ()
    return template_path(name, paths), BUILTIN_TEMPLATES / f"{name}.toml"


def _files(paths: Paths) -> Iterator[Path]:
    for folder in (paths.prompts, BUILTIN_TEMPLATES):
        if folder.is_dir():
            yield from sorted(path for path in folder.glob("*.toml") if _NAME.fullmatch(path.stem))


def _variables(text: str) -> tuple[str, ...]:
    """Names of the variables in ``text``, each once, in the order of their appearance."""
    return tuple(dict.fromkeys(match[2] for match in _VARIABLE.finditer(text) if match[2]))


def _text(document: Mapping[str, Any], name: str, path: Path) -> str:
    value = document.get(name, "")
    if not isinstance(value, str):
        raise UsageError(tr("{path}: `{name}` must be text", path=path, name=name))
    return value


def _table(document: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    value = document.get(name, {})
    if not isinstance(value, dict):
        raise UsageError(
            tr("{path}: `{name}` must be a table, written [{name}]", path=path, name=name)
        )
    return value


def _defaults(document: Mapping[str, Any], path: Path) -> dict[str, str]:
    table = _table(document, "defaults", path)
    for name, value in table.items():
        if not isinstance(value, str):
            raise UsageError(
                tr("{path}: `defaults.{name}` must be text, in quotes", path=path, name=name)
            )
    return dict(table)


def _sampling(document: Mapping[str, Any], path: Path) -> dict[str, Value]:
    checked: dict[str, Value] = {}
    known = {key.name: key for key in keys().values() if key.is_sampling}
    for name, value in _table(document, "sampling", path).items():
        if name not in known:
            hint = did_you_mean(name, known)
            raise UsageError(
                tr("{path}: there is no sampling setting `{name}`", path=path, name=name), hint
            )
        checked[name] = check(known[name], value, tr("in {path}", path=path))
    return checked
