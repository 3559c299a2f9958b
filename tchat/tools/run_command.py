"""The tool ``run_command``: a program with a list of arguments, without a shell.

Where `tchat.tools.sandbox` works, the program runs in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tchat.tools.program_environment import program_environment
from tchat.tools.programs import descriptor_path, find_program, result_text, run_program
from tchat.tools.roots import Roots
from tchat.tools.sandbox import Sandbox
from tchat.tools.tool import Arguments, Effect, Tool, object_schema

SECONDS = 60
MAX_SECONDS = 600


def run_command_tool(
    roots: Roots,
    sandbox: Sandbox | None,
    *,
    variables: Sequence[str] = (),
    network: bool = False,
    cancelled: Callable[[], bool] = lambda: False,
) -> Tool:
    """The tool.

    Args:
        roots: Programs start below them; in the sandbox they may change nothing else.
        sandbox: Where programs run, if there is one.
        variables: Names of environment variables that the user passes on.
        network: Whether programs in the sandbox may use the network.
        cancelled: Asked again and again while a program runs; True ends it.
    """

    def run(arguments: Arguments) -> str:
        command: list[str] = list(arguments["command"])
        limit = min(float(arguments.get("seconds", SECONDS)), MAX_SECONDS)
        environment = program_environment(extra=variables, writable=roots.folders)
        command[0] = find_program(command[0], environment["PATH"])
        with roots.open_folder(arguments.get("directory", ".")) as location:
            directory = descriptor_path(location.folder)
            if sandbox is not None:
                # The sandbox looks the path up again, from where nothing else can be reached.
                command = sandbox.command(
                    command,
                    writable=roots.folders,
                    hidden=roots.hidden(),
                    directory=location.path,
                    network=network,
                )
            result = run_program(
                command,
                limit=limit,
                environment=environment,
                directory=directory,
                cancelled=cancelled,
            )
        return result_text(result, limit)

    return Tool(
        name="run_command",
        description=(
            "Run a program and return its output. There is no shell: no pipes, redirections, "
            'variables or wildcards. Example: {"command": ["git", "status", "--short"]}'
        ),
        parameters=object_schema(
            ("command",),
            command={
                "type": "array",
                "items": {"type": "string", "pattern": "^[^\\u0000]*$"},
                "minItems": 1,
                "maxItems": 200,
                "description": "The program and its arguments, one string each",
            },
            directory={"type": "string", "description": "Default: the first root"},
            seconds={"type": "number", "exclusiveMinimum": 0, "maximum": MAX_SECONDS},
        ),
        run=run,
        effects=frozenset({Effect.READS_FILES, Effect.WRITES_FILES, Effect.RUNS_PROGRAMS}),
        path_arguments=("directory",),
        command_argument="command",
        is_untrusted=True,
    )
