"""The tool ``python``: a short program in the sandbox, without files of the user or network."""

from __future__ import annotations

from collections.abc import Callable

from tchat.tools.program_environment import program_environment
from tchat.tools.programs import result_text, run_program
from tchat.tools.sandbox import Sandbox, python_command
from tchat.tools.tool import Arguments, Effect, Tool, ToolError, object_schema
from tchat.translation import tr

SECONDS = 20
MEMORY = 1 << 30  # bytes of address space
MAX_CODE = 100_000  # characters
# The limits are hard ones: the program cannot raise them again.
_START = f"""
import resource, sys
for limit, value in ((resource.RLIMIT_AS, {MEMORY}), (resource.RLIMIT_FSIZE, 1 << 26)):
    resource.setrlimit(limit, (value, value))
code = sys.stdin.read()
exec(compile(code, "<python>", "exec"), {{"__name__": "__main__"}})
"""


def python_tool(sandbox: Sandbox | None, *, cancelled: Callable[[], bool] = lambda: False) -> Tool:
    """The tool; without a sandbox every call is refused."""

    def run(arguments: Arguments) -> str:
        if sandbox is None:
            raise ToolError(
                tr("Python code runs only in a sandbox, and there is none"),
                tr("install bubblewrap (bwrap)"),
            )
        python, needed = python_command()
        result = run_program(
            sandbox.command([*python, "-c", _START], readable=needed),
            limit=SECONDS,
            environment=program_environment(),
            text=arguments["code"],
            cancelled=cancelled,
        )
        return result_text(result, SECONDS)

    return Tool(
        name="python",
        description=(
            "Run Python code with the standard library and return what it prints. It has no "
            "network and no files."
        ),
        parameters=object_schema(("code",), code={"type": "string", "maxLength": MAX_CODE}),
        run=run,
        effects=frozenset({Effect.RUNS_PROGRAMS}),
    )
