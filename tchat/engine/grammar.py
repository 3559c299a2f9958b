"""Whether a GBNF grammar parses, asked of llama.cpp in a process of its own.

llama.cpp writes what is wrong with a grammar to standard error and tells its caller nothing;
nesting that is too deep ends the process (``llama_grammar_parser`` in llama-grammar.cpp).
"""

from __future__ import annotations

import os
import sys

from tchat.errors import UsageError
from tchat.sanitize import single_line

LONGEST = 1 << 20  # characters; llama.cpp's parser recurses, 2 MB of "(" end the process
LIMIT = 10.0  # seconds; `"a"{2,1}` keeps the parser busy for ever
LONGEST_REASON = 120  # characters
HINT = "GBNF is described in llama.cpp's grammars/README.md"
_BEGIN = "parse: error parsing grammar: "
# What needs a vocabulary is told when the model is there.
_NEEDS_VOCABULARY = "no vocab"


def require_grammar(source: str, name: str = "the grammar") -> None:
    """Return when llama.cpp can parse ``source``, in 0.1 s.

    Args:
        source: GBNF with a rule ``root``.
        name: What the message calls it.

    Raises:
        UsageError: It does not parse, with line and column where llama.cpp says where, or is too
            long or too deep.
    """
    if len(source) > LONGEST:
        raise UsageError(
            f"{name} has {len(source):,} characters, {LONGEST:,} are allowed",
            "write it shorter, with rules for what repeats",
        )
    import subprocess  # 3 ms, which a reply without a grammar does not pay

    environment = {**os.environ, "PYTHONSAFEPATH": "1", "GGML_NO_BACKTRACE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tchat.engine.grammar"],
            input=source.encode("utf-8", "replace"),
            capture_output=True,
            timeout=LIMIT,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UsageError(f"{name} takes more than {LIMIT:.0f} s to parse", "simplify it") from None
    if done.returncode < 0:
        raise UsageError(f"{name} makes llama.cpp's parser crash", "nest it less deeply")
    told = done.stderr.decode("utf-8", "replace")
    if done.returncode and _NEEDS_VOCABULARY not in told:
        fault = _fault(told, source) or single_line(done.stdout.decode("utf-8", "replace"))
        raise UsageError(f"{name} does not parse: {fault}", HINT)


def _fault(told: str, source: str) -> str:
    """What llama.cpp told, with the place in front where it quotes the rest of the source."""
    what = told.partition(_BEGIN)[2].removesuffix("\n").removesuffix(source).removesuffix("\n\n")
    reason, at, left = what.partition(" at ")
    if not at or not source.endswith(left):
        return single_line(what, LONGEST_REASON)
    before = source[: len(source) - len(left)]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return f"line {line}, column {column}: {single_line(reason, LONGEST_REASON)}"


def main() -> int:
    """Parse standard input; the exit code is 0 when it is sound."""
    from tchat.engine.llama import backend
    from tchat.engine.runner import on_large_stack

    source = sys.stdin.buffer.read()
    lib, log = backend().lib, backend().log
    if on_large_stack(lambda: lib.llama_sampler_init_grammar(None, source, b"root")):
        return 0
    sys.stdout.write(log.reason())
    return 1


if __name__ == "__main__":
    sys.exit(main())
