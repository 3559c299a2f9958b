"""The user's own tools: files in the folder ``tools`` of the configuration, and installed packages.

- ``NAME.toml`` describes an executable, which gets the arguments as JSON on its standard input and
  writes its answer: ``description``, ``parameters`` (a JSON schema), ``effects``, and ``command``,
  a list; without one the executable ``NAME`` beside it is run.
- ``NAME.py`` has ``description``, ``parameters``, ``effects`` and a function ``call(arguments)``.
  Without ``effects`` it may do everything: it is asked about.
- A package has an entry point of the group ``tchat.tools``: a `Tool`, or a function that makes one.

Nothing is run or imported before its tool is asked for by name.
"""

from __future__ import annotations

import json
import os
import stat
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.tools.program_environment import program_environment
from tchat.tools.programs import result_text, run_program
from tchat.tools.tool import NAME, Arguments, Effect, Tool, ToolError
from tchat.translation import tr

GROUP = "tchat.tools"
SECONDS = 60.0
MAX_SECONDS = 600.0
_NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "additionalProperties": False}


def file_tool_names(folder: Path) -> list[str]:
    """The names of the tools in ``folder``, which need not exist."""
    try:
        files = [each for each in folder.iterdir() if each.suffix in (".toml", ".py")]
    except OSError:
        return []
    return sorted({each.stem for each in files if NAME.fullmatch(each.stem)})


def package_tool_names() -> list[str]:
    """The names of the tools of installed packages."""
    from importlib.metadata import entry_points

    return sorted({each.name for each in entry_points(group=GROUP) if NAME.fullmatch(each.name)})


def load_file_tool(folder: Path, name: str) -> Tool | None:
    """The tool ``name`` of ``folder``; None when there is none.

    Raises:
        UsageError: Its file cannot be used.
    """
    if not NAME.fullmatch(name):
        return None
    for suffix, load in ((".toml", _described), (".py", _python_file)):
        path = folder / f"{name}{suffix}"
        if path.is_file():
            _require_own(path)
            return load(path)
    return None


def described_file(folder: Path, name: str) -> tuple[str, tuple[Effect, ...]]:
    """What the file of the tool ``name`` says of itself, without running it.

    Raises:
        UsageError: It cannot be read.
    """
    path = next(path for path in (folder / f"{name}.toml", folder / f"{name}.py") if path.is_file())
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text) if path.suffix == ".toml" else _constants(text)
    except SyntaxError as error:
        reason = tr("line {line}: {reason}", line=error.lineno or 1, reason=error.msg)
        raise _unusable(path, reason) from error
    except (OSError, ValueError, RecursionError) as error:
        raise _unusable(path, str(error)) from error
    description = values.get("description")
    effects = {*_effects(path, values)}
    if path.suffix == ".toml":
        effects.add(Effect.RUNS_PROGRAMS)
    return description if isinstance(description, str) else "", tuple(sorted(effects))


def _constants(source: str) -> dict[str, Any]:
    """The names that a module gives constants to."""
    import ast

    found: dict[str, Any] = {}
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            with suppress(ValueError):
                found[statement.targets[0].id] = ast.literal_eval(statement.value)
    return found


def load_package_tool(name: str) -> Tool | None:
    """The tool ``name`` of an installed package; None when there is none.

    Raises:
        UsageError: The package does not give a tool of this name.
    """
    from importlib.metadata import entry_points

    for entry in entry_points(group=GROUP, name=name):
        try:
            loaded = entry.load()
            tool = loaded if isinstance(loaded, Tool) else loaded()
        except Exception as error:
            raise _unusable(
                f"{GROUP}: {entry.value}", f"{type(error).__name__}: {error}"
            ) from error
        if not isinstance(tool, Tool) or tool.name != name:
            raise _unusable(f"{GROUP}: {entry.value}", tr("it gives no tool of that name"))
        return tool
    return None


def _described(path: Path) -> Tool:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unusable(path, str(error)) from error
    command = values.get("command", [f"./{path.stem}"])
    words = isinstance(command, list) and all(isinstance(each, str) for each in command)
    if not (words and command):
        raise _unusable(path, tr("`command` must be a list of texts"))
    program = path.parent / command[0] if "/" in command[0] else Path(command[0])
    if program.is_absolute():
        if not program.is_file() or not os.access(program, os.X_OK):
            raise _unusable(path, tr("{program} is no executable", program=program))
        _require_own(program)
    seconds = values.get("seconds", SECONDS)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise _unusable(path, tr("`seconds` must be a number"))
    if not 0 < seconds <= MAX_SECONDS:
        raise _unusable(
            path, tr("`seconds` must be above 0 and at most {most:g}", most=MAX_SECONDS)
        )
    variables = values.get("environment", [])
    if not isinstance(variables, list) or not all(isinstance(each, str) for each in variables):
        raise _unusable(path, tr("`environment` must be a list of names"))
    run = _program_call([str(program), *command[1:]], float(seconds), variables)
    return _tool(path, values, run, Effect.RUNS_PROGRAMS)


def _program_call(
    command: Sequence[str], seconds: float, variables: Sequence[str]
) -> Callable[[Arguments], str]:
    def run(arguments: Arguments) -> str:
        result = run_program(
            command,
            limit=seconds,
            environment=program_environment(extra=variables),
            text=json.dumps(dict(arguments)),
        )
        text = result_text(result, seconds)
        if result.exit_code != 0:
            raise ToolError(text)
        return text

    return run


def _python_file(path: Path) -> Tool:
    import importlib.util

    spec = importlib.util.spec_from_file_location(f"tchat_user_tool_{path.stem}", path)
    assert spec is not None  # noqa: S101 - the name ends in .py
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise _unusable(path, f"{type(error).__name__}: {error}") from error
    call = getattr(module, "call", None)
    if not callable(call):
        raise _unusable(path, tr("it has no function `call`"))

    def run(arguments: Arguments) -> str:
        try:
            return str(call(dict(arguments)))
        except SystemExit as error:
            raise ToolError(
                tr("the tool {name} called sys.exit", name=path.stem),
                tr("let its function return instead, in {path}", path=single_line(str(path))),
            ) from error

    return _tool(path, vars(module), run)


def _tool(
    path: Path, values: Mapping[str, Any], run: Callable[[Arguments], str], *effects: Effect
) -> Tool:
    description = values.get("description")
    parameters = values.get("parameters", _NO_PARAMETERS)
    if not isinstance(description, str) or not description.strip():
        raise _unusable(path, tr("`description` must say what the tool does"))
    if not isinstance(parameters, Mapping) or parameters.get("type") != "object":
        raise _unusable(path, tr("`parameters` must be a JSON schema of type object"))
    declared = {*_effects(path, values), *effects}
    return Tool(
        name=path.stem,
        description=description,
        parameters=parameters,
        run=run,
        effects=frozenset(declared),
        is_untrusted=bool(declared),
    )


def _effects(path: Path, values: Mapping[str, Any]) -> Collection[Effect]:
    """The effects that a file declares; all where Python declares none."""
    named = values.get("effects", [] if path.suffix == ".toml" else list(Effect))
    known = [each.value for each in Effect]
    if not isinstance(named, list | tuple | set | frozenset) or any(
        each not in known for each in named
    ):
        raise _unusable(path, tr("`effects` must be among {effects}", effects=", ".join(known)))
    return [*map(Effect, named)]


def _require_own(path: Path) -> None:
    """Refuse a file that others may change: it would run as the user."""
    for each in (path, path.parent):
        info = each.stat()
        is_own = info.st_uid in (os.getuid(), 0)
        shared = stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX
        if not is_own or (info.st_mode & stat.S_IWOTH and not shared):
            raise _unusable(path, tr("others may change it: chmod o-w {path}", path=each))


def _unusable(path: Path | str, reason: str) -> UsageError:
    return UsageError(
        tr(
            "the tool {path} cannot be used: {reason}",
            path=single_line(str(path)),
            reason=single_line(reason),
        ),
        tr("correct it, or move it away"),
    )
