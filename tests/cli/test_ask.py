"""One prompt: what it is made of, which settings hold, which session it joins, what is printed."""

from __future__ import annotations

import io
import json
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tchat.chat import attachments
from tchat.chat.templates import parse_template
from tchat.cli.chat_setup import fill_template
from tchat.cli.console import Console
from tchat.errors import UsageError
from tchat.sessions.store import SessionStore
from tests.cli.shell import Shell, tchat


def prompts(home: Path) -> list[str]:
    """What the user said in the stored sessions, the latest session first."""
    with SessionStore(home / "sessions.db") as store:
        return [
            message.text
            for session in store.sessions()
            for message in store.branch(session.id)
            if message.role == "user"
        ]


# What a prompt is made of


def test_a_session_is_called_by_its_question_and_what_is_piped(tiny_home: Path) -> None:
    for text in (b"Ann is 31\n", b"Bob is 40\n"):
        tchat("name and age?", "--max-tokens", "1", stdin=text)
    with SessionStore(tiny_home / "sessions.db") as store:
        titles = [session.title for session in store.sessions()]
    assert titles == ["name and age? · Bob is 40", "name and age? · Ann is 31"]


def test_standard_input_comes_before_the_words(shell: Shell) -> None:
    assert shell("what is this?", stdin=b"a document\n").out == "a document\n\nwhat is this?\n"


def test_standard_input_alone_is_a_prompt(shell: Shell) -> None:
    assert shell(stdin=b"hello").out == "hello\n"


def test_files_come_first_each_with_its_name(shell: Shell, tmp_path: Path) -> None:
    one, two = tmp_path / "one.md", tmp_path / "two.md"
    one.write_text("first\n", encoding="utf-8")
    two.write_text("``` second ````\n", encoding="utf-8")
    ran = shell("-f", str(tmp_path / "*.md"), "-f", str(one), "go", stdin=b"piped")
    assert ran.out == (
        f"File {one}:\n```\nfirst\n```\n\n"
        f"File {two}:\n`````\n``` second ````\n`````\n\n"
        "piped\n\ngo\n"
    )


def test_a_file_with_magic_characters_in_its_name_is_found(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "a[1].txt").write_text("x", encoding="utf-8")
    assert "a[1].txt" in shell("-f", str(tmp_path / "a[1].txt"), "go").out


def test_a_hostile_file_name_is_made_safe(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "a\x1b]0;x\x07\nb.txt").write_text("x", encoding="utf-8")
    first = shell("-f", str(tmp_path / "a*"), "go").out.splitlines()[0]
    assert first.endswith("a␛]0;x␇ b.txt:")


@pytest.mark.parametrize(
    "data",
    ["grüße 🙂".encode("utf-16"), "grüße 🙂".encode("utf-8-sig"), "grüße 🙂".encode()],
    ids=["utf-16", "utf-8-bom", "utf-8"],
)
def test_input_in_unicode_is_read(shell: Shell, data: bytes) -> None:
    assert shell(stdin=data).out == "grüße 🙂\n"


@pytest.mark.parametrize(
    "data", [bytes(range(256)) * 9, b"\x7fELF\x00\x01", b"\xff\xfe\x00\xd8" * 50]
)
def test_binary_input_is_refused(shell: Shell, home: Path, data: bytes) -> None:
    ran = shell("what is this?", stdin=data)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("tchat: standard input is")
    assert not (home / "sessions.db").exists()


RUSSIAN = "Привет, мир! Это обычный русский текст без ошибок."


def test_the_encoding_of_files_and_input_is_found_and_told(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(RUSSIAN.encode("koi8-r"))
    ran = shell("-f", str(path), "what?", stdin=RUSSIAN.encode("cp1251"))
    assert ran.out.count(RUSSIAN) == 2
    assert ran.err.splitlines() == [
        f"tchat: {path} is not UTF-8: read as KOI8-R; --encoding names another",
        "tchat: standard input is not UTF-8: read as Windows-1251; --encoding names another",
    ]
    assert shell("-q", "-f", str(path), "what?").err == ""


def test_the_encoding_named_decides(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("5 €".encode("cp1252"))
    ran = shell("-f", str(path), "--encoding", "cp1252", "what?", stdin="6 €".encode("cp1252"))
    assert ("5 €" in ran.out, "6 €" in ran.out, ran.err) == (True, True, "")
    assert "5 Ђ" in shell("-f", str(path), "-o", "encoding", "cp1251", "what?").out


def test_a_binary_file_is_refused_by_its_name(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"\0" * 99)
    ran = shell("-f", str(tmp_path / "x.bin"), "go")
    assert ran.code == 2
    assert "x.bin is binary" in ran.err


@pytest.mark.parametrize("args", [[], [""], ["  "], ["\n"]])
@pytest.mark.parametrize("data", [b"", b"\n\n", b" \t\n"])
def test_empty_input_is_refused(shell: Shell, home: Path, args: list[str], data: bytes) -> None:
    ran = shell(*args, stdin=data)
    assert (ran.code, ran.out) == (2, "")
    assert "there is no prompt" in ran.err
    assert not (home / "sessions.db").exists()


@pytest.mark.parametrize("name", ["absent.txt", "*.absent", "folder", "pipe"])
def test_what_is_no_file_is_refused(shell: Shell, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    ran = shell("-f", str(tmp_path / name), "go")
    assert ran.code == 2
    assert name in ran.err


def test_huge_input_is_refused_before_it_is_all_read(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "MAX_SIZE", 2**20)
    data = b"x" * 2**24
    tracemalloc.start()
    try:
        ran = shell("go", stdin=data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert ran.code == 2
    assert "larger than" in ran.err
    assert peak < 2**23 + len(data)


def test_a_huge_file_is_refused(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "MAX_SIZE", 10)
    (tmp_path / "x.txt").write_text("x" * 11, encoding="utf-8")
    assert "larger than" in shell("-f", str(tmp_path / "x.txt"), "go").err


def test_bytes_that_python_could_not_decode_are_stored_as_text(shell: Shell, home: Path) -> None:
    ran = shell("gr\udcfcn")
    assert ran.code == 0
    assert "the prompt is not UTF-8: read as Windows-1252" in ran.err
    assert prompts(home) == ["grün"]


@hypothesis_settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.text(min_size=1).filter(str.strip))
@example("00000\0")
@example("0\0")
def test_any_text_is_stored_as_it_was_piped(shell: Shell, home: Path, text: str) -> None:
    ran = shell(stdin=text.encode("utf-8", "replace"))
    if "\0" in text:  # refused as binary, or read as UTF-16, which the user is told
        assert ran.code == 2 or "is not UTF-8: read as UTF-" in ran.err
    elif ran.code == 0:
        told = text.encode("utf-8", "replace").decode("utf-8-sig").strip("\n")
        assert prompts(home)[0] == told
    else:
        assert ran.code == 2


# Which settings hold


def test_flags_reach_the_chat(shell: Shell) -> None:
    shell("--temp", "0.1", "-o", "top_k", "5", "--stop", "a", "-o", "stop", "b", "-s", "S", "hi")
    settings = shell.chats[0].settings
    assert (settings.sampling.temp, settings.sampling.top_k) == (0.1, 5)
    assert sorted(settings.sampling.stop) == ["a", "b"]
    assert settings.system == "S"


def test_options_may_follow_the_prompt(shell: Shell) -> None:
    assert shell("hi", "there", "--temp", "0.1").out == "hi there\n"
    assert shell.chats[0].settings.sampling.temp == 0.1


def test_switches_have_a_way_back(shell: Shell) -> None:
    shell.environ["TCHAT_SHOW_REASONING"] = "1"
    shell("--no-show-reasoning", "hi")
    assert shell.chats[0].settings.show_reasoning is False


def test_a_template_brings_prompt_system_and_sampling(shell: Shell) -> None:
    ran = shell("-t", "translate", "-p", "language", "French", stdin=b"Hallo")
    assert ran.out.startswith("Hallo\n\nTranslate the text above into French.")
    settings = shell.chats[0].settings
    assert settings.sampling.temp == 0.2
    assert "translator" in settings.system


class Keyboard(io.BytesIO):
    """Standard input at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("confirm", "typed", "asked", "filled"),
    [
        (False, b"Latin\nave\n", "tongue: input: ", "Say ave in Latin, loudly."),
        (True, b"Latin\n\nave\n", "tongue: how [loudly]: input: ", "Say ave in Latin, loudly."),
        (
            True,
            b"Latin\nsoftly\nave\n",
            "tongue: how [loudly]: input: ",
            "Say ave in Latin, softly.",
        ),
    ],
)
def test_at_a_terminal_a_template_asks_for_what_is_missing(
    confirm: bool, typed: bytes, asked: str, filled: str
) -> None:
    console = Console(Keyboard(typed), io.StringIO(), err := io.StringIO(), {})
    text = 'prompt = "Say {input} in {tongue}, {how}."\n[defaults]\nhow = "loudly"'
    template = parse_template(text, Path("say.toml"))
    assert fill_template(console, template, "", {}, confirm_defaults=confirm)[0] == filled
    assert err.getvalue() == asked
    with pytest.raises(UsageError, match="nothing was entered"):
        fill_template(console, template, "ave", {})


def test_a_flag_beats_the_template_which_beats_the_environment(shell: Shell) -> None:
    shell.environ["TCHAT_TEMP"] = "2"
    shell("-t", "commit", "hi")
    shell("-t", "commit", "--temp", "0.5", "-s", "mine", "hi")
    assert [chat.settings.sampling.temp for chat in shell.chats] == [0.2, 0.5]
    assert shell.chats[1].settings.system == "mine"


PERSONA = 'system = "You are a {kind} pirate."\nmodel = "old"\n[defaults]\nkind = "good"\n'


def add_persona(home: Path) -> None:
    (home / "prompts").mkdir(parents=True)
    (home / "prompts" / "pirate.toml").write_text(PERSONA, encoding="utf-8")


def test_a_persona_brings_model_and_system_prompt(shell: Shell, home: Path) -> None:
    add_persona(home)
    assert shell("-t", "pirate", "-p", "kind", "bad", "hello").out == "hello\n"
    assert shell("-t", "pirate", "-m", "new", "-s", "mine", "hello").code == 0
    made = [(chat.settings.model, chat.settings.system) for chat in shell.chats]
    assert made == [("old", "You are a bad pirate."), ("new", "mine")]


def test_a_persona_alone_opens_a_chat(
    shell: Shell, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(_: str) -> str:
        raise EOFError

    add_persona(home)
    monkeypatch.setattr("builtins.input", end)
    assert shell("-t", "pirate", terminal=True).code == 0
    chat = shell.chats[0]
    assert (chat.settings.model, chat.settings.system) == ("old", "You are a good pirate.")
    assert "needs a text" in shell("-t", "pirate", stdin=b"").err


def test_a_model_file_is_named_so_that_it_is_found_from_everywhere(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.gguf").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    shell("-m", "m.gguf", "hi")
    assert shell.chats[0].settings.model == str(tmp_path / "m.gguf")


# Which session it joins


def test_a_prompt_begins_a_session_and_c_goes_on_with_it(shell: Shell, home: Path) -> None:
    shell("one")
    shell("-c", "two")
    shell("three")
    assert prompts(home) == ["three", "one", "two"]


def test_cid_goes_on_with_the_session_it_names(shell: Shell, home: Path) -> None:
    shell("one")
    shell("two")
    with SessionStore(home / "sessions.db") as store:
        first = store.sessions()[-1].id
    shell("--cid", first, "more")
    assert prompts(home) == ["one", "more", "two"]


def test_a_session_goes_on_with_its_model(shell: Shell) -> None:
    shell("-m", "special", "one")
    shell("-c", "two")
    shell("-c", "-m", "other", "three")
    assert [chat.settings.model for chat in shell.chats] == ["special", "special", "other"]


def test_a_session_takes_another_system_prompt(shell: Shell) -> None:
    shell("-s", "A", "one")
    shell("-c", "two")
    shell("-c", "-s", "B", "three")
    sessions = [chat.session.system for chat in shell.chats if chat.session]
    assert sessions == ["A", "A", "B"]


def test_c_without_a_prompt_goes_on_with_the_reply(shell: Shell) -> None:
    shell("one")
    assert shell("-c").out == "continued\n"


def test_c_without_a_session_is_refused(shell: Shell) -> None:
    ran = shell("-c", "x")
    assert ran.code == 2
    assert "there is no session to continue" in ran.err


@pytest.mark.parametrize("flags", [["-n"], ["--no-log"]])
def test_nothing_is_stored_when_not_wanted(shell: Shell, home: Path, flags: list[str]) -> None:
    assert shell(*flags, "hi").code == 0
    assert not (home / "sessions.db").exists()


def test_the_setting_says_whether_to_store_and_the_flag_wins(shell: Shell, home: Path) -> None:
    shell.environ["TCHAT_LOG_CHATS"] = "no"
    shell("one")
    assert not (home / "sessions.db").exists()
    shell("--log", "two")
    assert prompts(home) == ["two"]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["-c", "--cid", "x", "hi"], "--continue and --cid cannot be combined"),
        (["-n", "-c", "hi"], "--no-log"),
        (["--yes-no", "--choose", "a,b", "hi"], "--choose and --yes-no cannot be combined"),
        (["--schema", "{}", "--grammar", "x", "hi"], "--schema and --grammar cannot be combined"),
        (["-p", "a", "b", "hi"], "name the template with -t"),
        (["--threshold", "0.7", "hi"], "--threshold needs --yes-no"),
        (["--choose", "a", "hi"], "two or more labels"),
        (["--choose", "a,,b", "hi"], "has an empty label"),
        (["--choose", "a,b,a", "hi"], "names a label twice"),
        (["-t", "nonesuch", "hi"], "there is no prompt `nonesuch`"),
        (["-t", "translate", "-p", "langage", "x", "hi"], "did you mean `language`"),
        (["-t", "translate", "-p", "language", "French"], "needs a text"),
        (["-t", "translate", "hi"], "needs a value for `language`; add `-p language VALUE`"),
        (["--grammar", "/nonexistent.gbnf", "hi"], "there is no file `/nonexistent.gbnf`"),
        (["--schema", "{", "hi"], "JSON"),
        (["--schema", '{"a": "string"}', "hi"], 'like {"type": "object", "properties": '),
        (["--schema", '{"a": "string"}', "--json", "hi"], "has no keyword of JSON Schema"),
        (["--schema", "/nonexistent.json", "hi"], "/nonexistent.json"),
    ],
)
def test_what_does_not_go_together_is_refused_before_a_model_is_asked(
    shell: Shell, home: Path, args: list[str], told: str
) -> None:
    ran = shell(*args)
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    assert shell.chats == []
    assert not (home / "sessions.db").exists()


# What is printed


@pytest.mark.parametrize("flags", [["-n"], ["-n", "-N", "2"], ["-o", "save_oneshots", "off"]])
def test_json_names_no_session_that_is_not_stored(tiny_home: Path, flags: list[str]) -> None:
    ran = tchat("--json", "-q", "--max-tokens", "2", *flags, "hi")
    assert json.loads(ran.out)["session"] is None
    assert not (tiny_home / "sessions.db").exists()


def test_json_tells_the_reply_and_how_it_came_about(shell: Shell) -> None:
    value = json.loads(shell("--json", "hi \x1b[2J").out)
    assert value["reply"] == "hi \x1b[2J"
    assert value["finish_reason"] == "stop"
    assert value["seed"] == 7
    assert value["usage"]["completion"] == 3
    assert value["session"] == shell.chats[0].session.id  # type: ignore[union-attr]


def test_the_answer_is_made_safe(shell: Shell) -> None:
    assert shell("x\x1b]52;c;aGk=\x07\u202ey").out == "x␛]52;c;aGk=␇⟦U+202E⟧y\n"


def test_raw_prints_what_there_is(shell: Shell) -> None:
    assert shell("--raw", "x\x1b[1my").out == "x\x1b[1my"


def test_the_code_alone_is_printed(shell: Shell) -> None:
    shell.answer = lambda _: "Do this:\n\n```sh\nls -l\npwd\n```\n\nand that."
    assert shell("-x", "list files").out == "ls -l\npwd\n"


def test_the_usage_goes_to_standard_error(shell: Shell) -> None:
    ran = shell("-u", "hi")
    assert ran.out == "hi\n"
    assert "3 tokens" in ran.err


def test_without_streaming_the_answer_is_the_same(shell: Shell) -> None:
    assert shell("--no-stream", "a b c").out == shell("a b c").out


# Labels, schemas, grammars


def test_choose_prints_the_label(shell: Shell) -> None:
    shell.probabilities = (("green", 0.8), ("red", 0.2))
    assert shell("--choose", "red, green", "colour?").out == "green\n"
    value = json.loads(shell("--json", "--choose", "red,green", "colour?").out)
    assert value["choices"] == {"green": 0.8, "red": 0.2}


@pytest.mark.parametrize(
    ("probabilities", "flags", "code", "printed"),
    [
        ((("yes", 0.9), ("no", 0.1)), [], 0, "yes"),
        ((("no", 0.9), ("yes", 0.1)), [], 1, "no"),
        ((("yes", 0.55), ("no", 0.45)), [], 2, "unsure"),
        ((("yes", 0.55), ("no", 0.45)), ["--threshold", "0.5"], 0, "yes"),
        ((("no", 0.9), ("yes", 0.1)), ["--threshold", "0.95"], 2, "unsure"),
    ],
)
def test_yes_and_no_are_exit_codes(
    shell: Shell,
    probabilities: tuple[tuple[str, float], ...],
    flags: list[str],
    code: int,
    printed: str,
) -> None:
    shell.probabilities = probabilities
    ran = shell("--yes-no", *flags, "is it?")
    assert (ran.code, ran.out) == (code, f"{printed}\n")
    value = json.loads(shell("--json", "--yes-no", *flags, "is it?").out)
    assert value["reply"] == printed
    assert value["choices"] == dict(probabilities)


def test_a_schema_becomes_a_grammar_and_is_checked_after_the_reply(
    shell: Shell, tmp_path: Path
) -> None:
    schema = '{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}'
    (tmp_path / "s.json").write_text(schema, encoding="utf-8")
    shell.answer = lambda _: '{"a": 1}'
    for given_schema in (schema, str(tmp_path / "s.json")):
        ran = shell("--schema", given_schema, "extract")
        assert (ran.code, ran.out) == (0, '{"a": 1}\n')
        assert "root ::=" in shell.chats[-1].settings.sampling.grammar
    shell.answer = lambda _: '{"b": 1}'
    ran = shell("--schema", schema, "extract")
    assert ran.code == 1
    assert "does not follow the schema" in ran.err


def test_a_grammar_is_read_from_its_file(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "g.gbnf").write_text('root ::= "a"\n', encoding="utf-8")
    assert shell("--grammar", str(tmp_path / "g.gbnf"), "x").code == 0
    assert shell.chats[0].settings.sampling.grammar == 'root ::= "a"\n'


@pytest.mark.parametrize("args", [(), ("-N", "2"), ("--json",)])
def test_a_reply_cut_inside_a_character_shows_no_part_of_it(
    tiny_home: Path, tmp_path: Path, args: tuple[str, ...]
) -> None:
    grammar = tmp_path / "smile.gbnf"
    grammar.write_text('root ::= "smile 🙂"', encoding="utf-8")
    for count in ("7", "8"):
        done = tchat("-n", "--grammar", str(grammar), "--max-tokens", count, *args, "hi")
        assert done.code == 0
        assert "s" in done.out
        assert "\ufffd" not in done.out
