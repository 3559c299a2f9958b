"""The slash commands in a chat on lines; `tests.tui` has those of the screen."""

from __future__ import annotations

import io
import json
import os
import re
import sqlite3
from pathlib import Path

import pytest

from tchat.chat.commands import CommandHost, SlashCommand, Surface, commands_for, parse_input
from tchat.cli.console import Console
from tchat.cli.main import program
from tchat.errors import UsageError
from tchat.sessions.records import Message
from tchat.sessions.store import SessionStore


def said(*lines: str, flags: tuple[str, ...] = ()) -> list[str]:
    """What a chat of these lines with the tiny model says beside its replies."""
    out, err = io.StringIO(), io.StringIO()
    stdin = io.BytesIO("".join(f"{line}\n" for line in lines).encode())
    options = ["--plain", "--max-tokens", "2", "-q", *flags]
    assert program(options, Console(stdin, out, err, os.environ)) == 0
    return err.getvalue().splitlines()


@pytest.fixture
def store(tiny_home: Path) -> Path:
    return tiny_home / "sessions.db"


def branch(path: Path, number: int = 0) -> list[Message]:
    """The messages of the ``number``-th session, the one used last first."""
    with SessionStore(path) as store:
        return store.branch(store.sessions()[number].id)


def test_a_search_lists_messages_of_all_sessions(store: Path) -> None:
    told = said("about whales", "/new", "about bread", "/search whales", "/search", "/search zzz")
    assert [line for line in told if "about whales" in line]
    assert not [line for line in told if "about bread" in line]
    assert [line for line in told if "need words; for example /find whale song" in line]
    assert told[-1] == "No matches."


def test_settings_are_told_by_page_with_their_meaning(store: Path) -> None:
    told = said("/settings", "/settings 2", "/settings 999", flags=("--ctx-size", "512"))
    [first] = [line for line in told if line.startswith("Page 1 of ")]
    assert "/settings 2 shows the next one" in first
    assert told.index(first) == 10
    assert all(" = " in line and "default" in line and ": " in line for line in told[:10])
    assert [line for line in told if line.startswith("ctx_size = 512 (default ")]
    assert "there is no page 999 of the settings; the last one is " in told[-1]
    assert not set(told[:10]) & set(told[11:21])


def test_models_that_can_be_pulled_are_told(store: Path) -> None:
    assert "`tchat models catalogue` lists all that can be pulled." in said("/models")


def test_the_help_lists_other_names(store: Path) -> None:
    told = " ".join(said("/help")).split()
    assert {"/find", "/settings", "/models", "/search"} <= set(told)


def test_branches_are_listed_and_gone_to(store: Path) -> None:
    told = said("one", "/edit two", "/branches", "/branches 1", "/branches", "/branches 9", "three")
    listed = [line for line in told if "Assistant:" in line]
    assert [line[0] for line in listed] == [" ", "*", "*", " "]
    assert "Switched to branch 1." in told
    assert [line for line in told if "a number from 1 to 2" in line]
    assert [each.text for each in branch(store) if each.role == "user"] == ["one", "three"]


def test_a_message_is_pinned_and_not(store: Path) -> None:
    told = said("/pin", "one", "/pin")
    assert "no message to pin yet" in told[0]
    assert told[1] == "Your last message stays in the context."
    assert branch(store)[0].pinned
    assert said("/pin", flags=("-c",)) == ["Your last message may leave the context again."]
    assert not branch(store)[0].pinned


def test_a_deleted_message_comes_back(store: Path) -> None:
    told = said("/undo", "one", "/delete", "/undo", "/delete", "/delete", "/delete")
    assert "nothing was deleted" in told[0]
    assert told[1] == "Deleted 1 message. /undo brings it back."
    assert told[2] == "What was deleted is back."
    assert "this session has no message yet" in told[-1]
    assert branch(store) == []


def test_only_the_last_message_can_be_replaced_by_the_users_reply(store: Path) -> None:
    told = said("/mine early", "one", "/edit two", "/delete", "/mine late", "/mine")
    assert [line for line in told if "no reply to replace" in line] == [told[0], told[2]]
    assert "/mine needs your own reply" in told[-1]
    assert [each.text for each in branch(store)] == ["two"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("cache_type bf16", "cache_type f16"),
        ("threads 1", "threads 2"),
        ("ctx_size 256", "ctx_size 512"),
        ("temp 0.1", "temp 0.2"),
    ],
)
def test_a_setting_keeps_what_was_deleted_and_the_candidates(
    store: Path, first: str, second: str
) -> None:
    told = said("one", "/delete", f"/set {first}", "/undo", "/try 2", f"/set {second}", "/pick 2")
    assert "What was deleted is back." in told
    assert told[-1] == "Continuing with reply 2."
    assert len(branch(store)) == 2


def test_models_are_compared_one_after_the_other(
    store: Path, tiny_model: Path, tiny_spm: Path
) -> None:
    lines = (f"/compare {tiny_spm} {tiny_model} Hello", "/pick 2", f"/compare {tiny_spm} none:1b")
    out, err = io.StringIO(), io.StringIO()
    stdin = io.BytesIO("".join(f"{line}\n" for line in lines).encode())
    assert program(["--plain", "--max-tokens", "2"], Console(stdin, out, err, os.environ)) == 0
    printed, told = out.getvalue(), err.getvalue()
    first = printed.index("Reply 1 of 2, tiny-spm:\n")
    assert first < printed.index("Reply 2 of 2, tiny:\n")
    assert "One after the other: " in told
    assert "Continuing with the first; /pick N chooses another." in told
    assert "Continuing with reply 2." in told
    assert "no model is called 'none:1b'" in told
    assert [each.role for each in branch(store)] == ["user", "assistant"]
    assert branch(store)[-1].model == str(tiny_model)


def test_an_unknown_theme_is_refused(store: Path) -> None:
    told = said("/set theme nosuch", "/show theme", "/set theme nord", "/show theme")
    assert "there is no theme `nosuch`" in told[0]
    assert told[1:] == ["theme = tchat-dark", "theme = nord"]


def test_the_former_name_of_a_theme_still_works(store: Path) -> None:
    told = said("/set theme nord-like", "/show theme")
    assert told == [
        "the theme `nord-like` is now called `nord`; the old name still works",
        "theme = nord",
    ]


@pytest.mark.parametrize(("word", "rating"), [("good", 1), ("bad", -1)])
def test_a_rating_is_given_and_taken_back(store: Path, word: str, rating: int) -> None:
    told = said("one", f"/{word}")
    assert f"Rated as a {word} reply" in told[0]
    assert branch(store)[-1].rating == rating
    assert said(f"/{word}", flags=("-c",)) == ["Rating removed."]
    assert branch(store)[-1].rating == 0


def test_what_the_judge_can_learn_from_is_told(store: Path) -> None:
    told = said("one", "/good", "/judge")
    assert "0 picked, 1 rated good, 0 rated bad, 0 written by you" in told[1]
    assert "not trained" in told[2]


def test_a_session_is_exported_by_the_name_of_the_file(store: Path, tmp_path: Path) -> None:
    markdown, whole = tmp_path / "a.md", tmp_path / "b.json"
    said("one", "/edit two", f"/export {markdown}", f"/export {whole}", f"/export {whole}")
    assert "## User\n\ntwo" in markdown.read_text(encoding="utf-8")
    [session] = json.loads(whole.read_text(encoding="utf-8"))["sessions"]
    assert [each["text"] for each in session["messages"] if each["role"] == "user"] == [
        "one",
        "two",
    ]


@pytest.mark.parametrize("form", ["{} --redact", "--redact {}"])
def test_an_export_can_be_redacted(store: Path, tmp_path: Path, form: str) -> None:
    path = tmp_path / "a b.md"
    told = said("I am ann.lee@example.com.", f"/export {form.format(path)}")
    assert "I am [EMAIL_1]." in path.read_text(encoding="utf-8")
    assert "ann.lee" not in path.read_text(encoding="utf-8")
    assert "redaction replaced 1 value (1 EMAIL)" in told[-1]
    assert "redact_words" in told[-1]


def test_an_export_tells_that_no_names_were_guessed(store: Path, tmp_path: Path) -> None:
    (store.parent / "config.toml").write_text("redact_names = true\n")
    told = said("I am ann.lee@example.com.", f"/export --redact {tmp_path / 'a.md'}")
    assert "No names were guessed" in told[-1]
    assert "--redact --names" in told[-1]


def test_an_export_that_guesses_names_is_left_to_the_command(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "chat.md"
    for flags in ("--redact --names", "--names --redact", "--names"):
        told = "\n".join(said("one", f"/export {path} {flags}"))
        assert "tchat sessions export" in told
        assert "--redact --names" in told
    assert [*tmp_path.glob("chat*")] == []


def test_an_export_never_replaces_a_file(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "kept.md"
    path.write_text("mine")
    told = said("one", f"/export {path}", f"/export {tmp_path}/absent/x.md")
    assert "is already there" in told[0]
    assert "there is no folder" in told[1]
    assert path.read_text() == "mine"


def test_a_session_is_opened_by_its_title(store: Path) -> None:
    said("about whales", "/title Blue Whales", "/new", "about bread", "/title Old bread")
    told = said("/open blue wh", "/open nowhere", "/title New bread", "/open bread")
    assert told[0].endswith(": about whales")
    assert [line for line in told if "no session 'nowhere'" in line]
    assert "2 sessions have 'bread' in the title; name one by its id: " in told[-1]


def test_a_session_is_opened_by_its_number_in_the_list(store: Path) -> None:
    said("about whales", "/new", "about bread", "/new", "about ships")
    told = said("/sessions", "a new one", "/open 2", "/title Opened", "/open 3")
    listed = [re.fullmatch(r" (\d)  [\d-]{10} \d\d:\d\d  (.+)", line) for line in told[:3]]
    assert [found.groups() for found in listed if found] == [
        ("1", "about ships"),
        ("2", "about bread"),
        ("3", "about whales"),
    ]
    assert told[3] == "/open N opens one."
    # The numbers are those of the list, although another session was used since.
    assert [line for line in told[4:] if line.endswith(": about bread")]
    assert [line for line in told[4:] if line.endswith(": about whales")]
    assert "Opened" in told


@pytest.mark.parametrize("ends", ["1984", "bread", "7", "zzzz7"])
def test_a_number_or_a_word_opens_by_title_and_not_by_an_accident_of_an_id(
    store: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    made = iter(("0000000000", f"00001{ends:0>5}"))
    monkeypatch.setattr("tchat.sessions.store.new_id", lambda now: next(made))
    said("one", "/title bread of 1984", "/new", "two")
    for words in ("1984", "bread"):
        assert said(f"/open {words}")[0].endswith(": one")
    for number in ("7", "0", "01984"):
        assert f"no session '{number}'" in said("/sessions", f"/open {number}")[-1]


@pytest.mark.parametrize("name", ["find", "settings", "models"])
def test_the_names_in_the_first_hint_are_commands(store: Path, name: str) -> None:
    told = said("about whales", f"/{name} whales" if name == "find" else f"/{name}")
    found = {"find": "about whales", "settings": "ctx_size = ", "models": "/model NAME changes it"}
    assert [line for line in told if found[name] in line]


def test_a_prefilled_reply_is_printed_with_its_beginning(tiny_home: Path) -> None:
    out = io.StringIO()
    stdin = io.BytesIO(b"one\n/prefill Paris is\n")
    console = Console(stdin, out, io.StringIO(), os.environ)
    assert program(["--plain", "--max-tokens", "2", "-q"], console) == 0
    assert out.getvalue().splitlines()[1].startswith("Paris is")


def test_a_private_session_leaves_nothing(store: Path) -> None:
    told = said("one", "/private", "secret words", "/private", "two")
    assert "Private: nothing of this session is stored." in told
    assert "Sessions are stored again." in told
    with SessionStore(store) as found:
        titles = {session.title for session in found.sessions()}
    assert titles == {"one", "two"}
    assert "secret words" not in "\n".join(sqlite3.connect(store).iterdump())


def test_opening_a_stored_session_ends_the_private_one(store: Path) -> None:
    told = said("one", "/private", "secret words", "/open", "two")
    assert told.count("Sessions are stored again.") == 1
    assert [each.text for each in branch(store) if each.role == "user"] == ["one", "two"]


def test_a_session_keeps_what_was_set_in_it(store: Path) -> None:
    told = said("one", "/set temp 0.25", "/new", "/show temp", "/open", "/show temp")
    shown = [line for line in told if line.startswith("temp = ")]
    assert shown == ["temp = 0.7", "temp = 0.25"]
    assert "temp = 0.25" in said("/show temp", flags=("-c",))


def test_a_new_session_goes_on_with_the_model_that_was_chosen(
    store: Path, tiny_spm: Path, tiny_model: Path
) -> None:
    said("one", f"/model {tiny_spm}", "two", "/new", "three")
    models = [each.model for each in branch(store) if each.role == "assistant"]
    assert models == [str(tiny_spm)]


def test_a_former_setting_is_changed_with_a_notice(store: Path) -> None:
    told = said("/set judge logprob", "/show ranker")
    assert told == ["`judge` is now called `ranker`; the old name still works", "ranker = logprob"]


def test_a_template_is_filled_and_sent(store: Path) -> None:
    told = said("/prompt", "/prompt translate", "/prompt summarise whales sing", "/prompt none")
    assert [line for line in told if line.split()[:1] == ["summarise"]]
    assert "whales sing" in branch(store)[0].text
    assert [line for line in told if "/prompt translate TEXT" in line]
    assert [line for line in told if "none" in line and line.startswith("tchat: ")]


def test_a_persona_holds_for_a_session_that_has_not_begun(store: Path) -> None:
    folder = store.parent / "prompts"
    folder.mkdir()
    (folder / "pirate.toml").write_text(
        'system = "You are a pirate."\n[sampling]\ntop_k = 9\n', encoding="utf-8"
    )
    told = said("/prompt pirate", "/show top_k", "one", "/prompt pirate", "/prompt pirate two")
    assert told[:2] == ["Set for this session: pirate.", "top_k = 9"]
    assert told[2] == told[3] == "Settings of the template for a new session only: top_k, system"
    assert [each.text for each in branch(store) if each.role == "user"] == ["one", "two"]
    with SessionStore(store) as sessions:
        assert sessions.sessions()[0].system == "You are a pirate."


@pytest.mark.parametrize("space", [" ", "\t", "\u3000", " \t "])
def test_any_white_space_parts_the_words_of_an_argument(store: Path, space: str) -> None:
    told = said(f"/set temp{space}0.3", "/show temp", f"/try 2{space}Say hi", "/pick 3")
    assert told[0] == "temp = 0.3"
    assert "/pick takes a number from 1 to 2" in told[-1]
    assert branch(store)[0].text == "Say hi"
    said(f"/prompt summarise{space}whales sing")
    assert "whales sing" in branch(store)[0].text


def test_details_are_switched(store: Path) -> None:
    told = said("one", "/details", "two", "/details", "three")
    assert (told[0], told[-1]) == ("Details are on.", "Details are off.")
    assert len([line for line in told if "of prompt" in line]) == 1


def test_the_score_of_a_reply_is_told_where_it_is_wanted(store: Path) -> None:
    told = said(
        "one", "/set ranker logprob", "/set show_scores on", "two", flags=("--ctx-size", "512")
    )
    [score] = [line for line in told if line.startswith("Score: ")]
    assert score.endswith(" (logprob)")
    assert float(score.split()[1]) == pytest.approx(branch(store)[-1].scores["logprob"], abs=0.01)


@pytest.mark.parametrize("line", ["/copy", "/theme nord"])
def test_what_lines_cannot_do_is_refused_in_one_line(store: Path, line: str) -> None:
    told = said("one", line)
    assert len(told) == 1
    assert told[0].startswith("tchat: ")


@pytest.mark.parametrize("surface", [Surface.LINES, Surface.SCREEN])
def test_no_two_commands_share_a_name(surface: Surface) -> None:
    names = [name for command in commands_for(surface) for name in command.names]
    assert len(names) == len(set(names))


async def _wait(host: CommandHost, _: str) -> None:
    import asyncio

    await asyncio.sleep(0)


async def _refuse(host: CommandHost, argument: str) -> None:
    raise UsageError(f"no {argument}")


def test_a_host_without_an_event_loop_is_told_of_a_command_that_needs_one() -> None:
    calls = [
        parse_input(f"/{each.name} x", (each,))
        for each in (SlashCommand("wait", "X", "", _wait), SlashCommand("refuse", "X", "", _refuse))
    ]
    wait, refuse = calls
    assert not isinstance(wait, str)
    assert not isinstance(refuse, str)
    host: CommandHost = None  # type: ignore[assignment]  # neither looks at it
    with pytest.raises(RuntimeError, match="/wait"):
        wait.run_now(host)
    with pytest.raises(UsageError, match="no x"):
        refuse.run_now(host)


def test_a_store_that_cannot_be_opened_is_told_and_the_chat_is_private(store: Path) -> None:
    store.mkdir(parents=True)
    told = said("one", "two")
    assert len(told) == 1
    assert f"cannot write {store}: Is a directory. Nothing of this chat is stored; " in told[0]
    assert list(store.iterdir()) == []


def test_a_session_to_continue_needs_the_store(store: Path) -> None:
    store.mkdir(parents=True)
    out, err = io.StringIO(), io.StringIO()
    console = Console(io.BytesIO(b"one\n"), out, err, os.environ)
    assert program(["--plain", "-c"], console) == 6
    assert "cannot write" in err.getvalue()
    assert "-n" not in err.getvalue()


def test_a_missing_file_that_is_mentioned_is_told_and_nothing_is_sent(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.md").write_text("whales")
    told = said("@nothere.txt what?", "/try 2 @nothere.txt what?", "@notes.md what? me@x.txt")
    assert [line for line in told if "there is no file `nothere.txt`" in line] == told[:2]
    asked = [each.text for each in branch(store) if each.role == "user"]
    assert asked == ["File notes.md:\n```\nwhales\n```\n\n@notes.md what? me@x.txt"]


def test_an_unknown_setting_names_the_command_that_lists_them(store: Path) -> None:
    assert said("/set zzzzqq 1") == ["tchat: there is no setting `zzzzqq`; /show lists them all"]


def test_a_refused_prefill_prints_nothing(store: Path) -> None:
    out, err = io.StringIO(), io.StringIO()
    console = Console(io.BytesIO(b"/prefill Paris is\n"), out, err, os.environ)
    assert program(["--plain"], console) == 0
    assert out.getvalue() == ""
    assert "no message yet" in err.getvalue()


def test_a_secret_leaves_the_stored_session(store: Path) -> None:
    told = said("my mail is ann@example.com", "/redact", "n", "/redact", "y", "/redact", "two")
    assert [line for line in told if "[EMAIL_1]  ann@example.com" in line]
    assert [line for line in told if "[y/N] Nothing was replaced." in line]
    assert [line for line in told if "[y/N] Replaced 1 value in 1 message." in line]
    assert "There is nothing to replace in this session." in told
    assert branch(store)[0].text == "my mail is [EMAIL_1]"
    assert len(branch(store)) == 4
    assert b"ann@example.com" not in store.read_bytes()


def test_a_text_leaves_the_stored_session(store: Path) -> None:
    said("the Kestrel flies", "/redact Kestrel", "y")
    assert branch(store)[0].text == "the [WORD_1] flies"
