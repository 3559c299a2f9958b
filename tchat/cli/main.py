"""The outermost function: from ``sys.argv`` to an exit code.

Two calls do not wait for Typer: ``--version``, and a prompt without flags. What they import is
counted in milliseconds, so this module imports nothing at its top that Python has not loaded yet.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing alone costs 5 ms
if TYPE_CHECKING:
    from collections.abc import Sequence

    from tchat.cli.console import Console


SIGNALLED = 128  # exit codes above it name the signal that ended the work
WITH_STORE = (["ask"], ["sessions"])  # commands that read the sessions, whatever follows
ENGINE_THREADS = frozenset({"engine", "loader"})


def run() -> None:
    """Entry point of the ``tchat`` command: carry out ``sys.argv`` and end the process."""
    try:
        code = program(sys.argv[1:])
    except KeyboardInterrupt:  # once more, while the first was being told
        code = SIGNALLED + 2
    if code > SIGNALLED or _engine_is_busy():
        # A signal ended the work, or a second one did not wait for llama.cpp. The interpreter's own
        # end would take its time, break off in a traceback at the next signal, and tear down the
        # libraries under a decode; all that was to be written is with the system already.
        os._exit(code)
    sys.exit(code)


def program(argv: Sequence[str], console: Console | None = None) -> int:
    """Carry out one call of ``tchat`` and return its exit code.

    Every failure ends here, as one line on standard error.
    """
    if list(argv) in (["--version"], ["-V"]):
        return _version(console)
    from tchat.cli.console import process_console, report_error

    console = console or process_console()
    try:
        arguments = _in_language(list(argv))
        console = _able_to_unlock(arguments, console)
        code = _dispatch(arguments, console)
        console.flush()
    except BaseException as error:  # noqa: BLE001 - this is the one place where all failures end
        return report_error(error, console)
    return code


def _in_language(argv: list[str]) -> list[str]:
    """Use the language of ``--lang`` or ``TCHAT_LANG``; return ``argv`` without the flag.

    Raises:
        UsageError: There is no such language.
    """
    values = _take_flag(argv, "--lang")
    if not values and "TCHAT_LANG" not in os.environ:
        return argv
    from tchat.errors import UsageError
    from tchat.translation import LANGUAGES, LOCALE, VARIABLE, language_code, set_language, tr

    chosen = values[-1] if values else os.environ.get(VARIABLE, "")
    place = "--lang" if values else VARIABLE
    code = language_code(chosen)
    if values and not code:
        raise UsageError(
            tr("option {name} requires an argument", name="'--lang'"),
            tr("choose one of {names}", names=", ".join((LOCALE, *LANGUAGES))),
        )
    if code not in ("", LOCALE, *LANGUAGES):
        raise UsageError(
            tr("there is no language `{name}` ({place})", name=chosen, place=place),
            tr("choose one of {names}", names=", ".join((LOCALE, *LANGUAGES))),
        )
    set_language(code)
    return argv


def _take_flag(argv: list[str], name: str) -> list[str]:
    """Remove a flag from ``argv`` wherever it stands; returns its values, the last one counts."""
    end = argv.index("--") if "--" in argv else len(argv)
    values: list[str] = []
    for index in reversed(range(end)):
        flag, equals, value = argv[index].partition("=")
        if flag == name:
            following = [] if equals else argv[index + 1 : index + 2]
            del argv[index : index + 1 + len(following)]
            values.insert(0, "".join([value, *following]))
    return values


def _able_to_unlock(argv: list[str], console: Console) -> Console:
    """Take ``--unlock-fd`` from ``argv``, and prepare for an encrypted store.

    Raises:
        UsageError: The flag names no descriptor.
    """
    if values := _take_flag(argv, "--unlock-fd"):
        from dataclasses import replace

        from tchat.cli.unlock import descriptor_number

        console = replace(console, unlock_fd=descriptor_number(values[-1]))
    if (encryption := console.paths.encryption) is not None:
        from tchat.cli.unlock import prepare_unlock

        prepare_unlock(encryption, console)
    return console


def _dispatch(argv: list[str], console: Console) -> int:
    if argv[:1] == ["help"]:
        from tchat.cli.commands import help_topic

        if topic := help_topic(argv):
            from tchat.cli.manual import print_topic

            return print_topic(topic, console)
    words = _plain_words(argv)
    is_completing = "_TCHAT_COMPLETE" in console.environ
    needs_store = bool(words) or argv[:1] in WITH_STORE
    if console.paths.encryption is not None and needs_store and not is_completing:
        console.paths.encryption.start_unlocking()  # while modules are imported
    if words is None or is_completing:
        from tchat.cli.app import call

        return call(argv, console)
    from tchat.cli.ask import ask
    from tchat.cli.chat_setup import AskRequest

    return ask(AskRequest(words=tuple(words)), console)


def _plain_words(argv: list[str]) -> list[str] | None:
    """``argv`` when it is nothing but a prompt, or empty; else `None`."""
    if not argv:
        return []
    if any(word.startswith("-") for word in argv):
        from tchat.cli.commands import is_dashed_text

        if not all(word[:1] != "-" or word == "-" or is_dashed_text(word) for word in argv):
            return None
    if " " in argv[0]:  # no command has one
        return argv
    from tchat.cli.commands import COMMANDS, help_arguments, unknown_command

    is_command = argv[0] in COMMANDS or help_arguments(argv) or unknown_command(argv)
    return None if is_command else argv


def _engine_is_busy() -> bool:
    threading = sys.modules.get("threading")
    alive = threading.enumerate() if threading else ()
    return any(thread.name in ENGINE_THREADS for thread in alive)


def _version(console: Console | None) -> int:
    from tchat import __version__

    stream = console.stdout if console else sys.stdout
    if stream is None:  # closed before the start
        return 0
    try:
        stream.write(f"tchat {__version__}\n")
        stream.flush()
    except OSError as error:
        from tchat.cli.console import process_console, report_error

        return report_error(error, console or process_console())
    return 0
