"""A prompt whose model cannot be opened leaves the stored sessions as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tchat.sessions.records import Role
from tchat.sessions.store import SessionStore
from tests.cli.shell import tchat
from tests.sessions.stores import new_session


@pytest.fixture
def flags(tiny_model: Path, tiny_home: Path) -> list[str]:
    with SessionStore(tiny_home / "sessions.db") as store:
        session = new_session(store, title="say hi")
        asked = store.add(session.id, Role.USER, "say hi", parent_id=None)
        store.add(session.id, Role.ASSISTANT, "hi", parent_id=asked.id, model=tiny_model.name)
    return ["-m", str(tiny_model), "--max-tokens", "4"]


def stored(home: Path) -> list[tuple[Any, ...]]:
    with SessionStore(home / "sessions.db") as store:
        return [
            (each.id, each.system, each.updated_at, [m.text for m in store.branch(each.id)])
            for each in store.sessions()
        ]


FAILING = {
    "no such model": (["-m", "nosuch"], 3),
    "no file": (["-m", "./nosuch.gguf"], 3),
    "no model": (["-m", "{junk}"], 3),
    "no draft model": (["--draft-model", "nosuch"], 3),
    "no adapter": (["--lora", "./nosuch.gguf"], 3),
}


@pytest.mark.parametrize(("words", "code"), FAILING.values(), ids=FAILING)
@pytest.mark.parametrize(
    "form",
    [[], ["-c"], ["-c", "-s", "another"], ["-N", "2"], ["--best-of", "2"], ["--yes-no"]],
    ids=" ".join,
)
def test_nothing_is_stored(
    flags: list[str], home: Path, tmp_path: Path, form: list[str], words: list[str], code: int
) -> None:
    junk = tmp_path / "junk.gguf"
    junk.write_bytes(b"GGUF, but no model")
    before = stored(home)
    failing = [word.format(junk=junk) for word in words]
    ran = tchat("the failed one", *flags, *failing, *form)
    assert (ran.code, ran.out) == (code, "")
    assert stored(home) == before


def test_the_session_before_goes_on(flags: list[str], home: Path) -> None:
    assert tchat("-m", "nosuch", "the failed one").code == 3
    assert tchat("-c", "what did I say", *flags).code == 0
    [(*_, texts)] = stored(home)
    assert [texts[0], texts[2], len(texts)] == ["say hi", "what did I say", 4]


def test_a_new_system_prompt_is_kept_with_the_prompt(flags: list[str], home: Path) -> None:
    assert tchat("-c", "-s", "Be brief.", "again", *flags).code == 0
    [(_, system, _, texts)] = stored(home)
    assert (system, len(texts)) == ("Be brief.", 4)
