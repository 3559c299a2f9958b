"""Where a setting's value comes from, what it may be, and how it is written."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tchat.errors import StorageError, TchatError, UsageError
from tchat.paths import Paths
from tchat.private_files import write_private
from tchat.settings import Sampling, Settings, Tools, find_key, keys, load, renamed
from tchat.settings.keys import check, parse
from tchat.settings.load import parse_toml, set_value, unset_value


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    folder = tmp_path / "config"
    folder.mkdir()
    return Paths(config=folder, cache=tmp_path / "cache")


def write_config(paths: Paths, text: str) -> None:
    paths.config_file.write_text(text, encoding="utf-8")


def test_without_anything_the_defaults_hold(paths: Paths) -> None:
    assert load(paths, {}).settings == Settings()
    assert not paths.config_file.exists()


def test_the_flag_beats_the_environment_beats_the_file(paths: Paths) -> None:
    write_config(paths, 'model = "file"\n[sampling]\ntemp = 0.1\ntop_k = 1\ntop_p = 0.1\n')
    loaded = load(paths, {"TCHAT_TOP_K": "2", "TCHAT_TOP_P": "0.2"}, {"top_p": 0.3})
    sampling = loaded.settings.sampling
    assert (loaded.settings.model, sampling.temp, sampling.top_k, sampling.top_p) == (
        "file",
        0.1,
        2,
        0.3,
    )
    assert loaded.origins == {
        "model": "config.toml",
        "temp": "config.toml",
        "top_k": "environment",
        "top_p": "flag",
    }


def test_every_setting_is_named_once() -> None:
    names = [*Settings.__dataclass_fields__, *Sampling.__dataclass_fields__]
    names += [f"tools.{name}" for name in Tools.__dataclass_fields__]
    assert len(names) == len(set(names)) == len(keys()) + 6


def test_every_default_is_within_its_own_bounds() -> None:
    for key in keys().values():
        assert check(key, key.default, "default") == key.default


def test_a_whole_number_stands_for_a_fraction(paths: Paths) -> None:
    write_config(paths, "[sampling]\ntemp = 1\n")
    assert isinstance(load(paths, {}).settings.sampling.temp, float)


def test_a_byte_order_mark_and_crlf_are_no_hindrance(paths: Paths) -> None:
    paths.config_file.write_bytes(b'\xef\xbb\xbfmodel = "x"\r\nsystem = "y"\r\n')
    assert load(paths, {}).settings.system == "y"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tempp = 1\n", ("`tempp`", "did you mean `temp`?")),
        ("[sampling]\ntop_kk = 1\n", ("`sampling.top_kk`", "did you mean `top_k`?")),
        ("temp = 1\n", ("`temp` is ignored here", "under [sampling]")),
        ('[sampling]\nmodel = "x"\n', ("`sampling.model`", "above [sampling]")),
        ("[zzzzzz]\na = 1\n", ("unknown setting `zzzzzz`",)),
    ],
)
def test_what_the_file_should_not_hold_is_told(
    paths: Paths, text: str, told: tuple[str, ...]
) -> None:
    write_config(paths, text)
    loaded = load(paths, {})
    assert loaded.settings == Settings()
    assert len(loaded.warnings) == 1
    for part in told:
        assert part in loaded.warnings[0]


def test_an_unknown_variable_is_told_with_the_nearest(paths: Paths) -> None:
    loaded = load(paths, {"TCHAT_MODLE": "x", "TCHAT_HOME": "/nowhere"})
    assert loaded.warnings == (
        "unknown environment variable TCHAT_MODLE; did you mean `TCHAT_MODEL`?",
    )


@pytest.mark.parametrize("meant", ["TCHAT_HOME", "TCHAT_PASSPHRASE_COMMAND"])
def test_a_variable_that_is_no_setting_is_known_and_suggested(paths: Paths, meant: str) -> None:
    assert load(paths, {meant: "/nowhere"}).warnings == ()
    typed = meant[:-1]
    assert load(paths, {typed: "/nowhere"}).warnings == (
        f"unknown environment variable {typed}; did you mean `{meant}`?",
    )


@pytest.mark.parametrize(
    "text",
    [
        '[sampling]\ntemp = "hot"\n',
        "[sampling]\ntemp = true\n",
        "[sampling]\ntemp = -0.1\n",
        "[sampling]\ntemp = nan\n",
        "[sampling]\ntop_p = inf\n",
        "[sampling]\ntop_k = 1.5\n",
        "[sampling]\ntop_k = -1\n",
        "[sampling]\ntop_k = 1" + "0" * 400 + "\n",
        '[sampling]\nstop = "x"\n',
        "[sampling]\nstop = [1]\n",
        'think = "perhaps"\n',
        "show_reasoning = 1\n",
        "model = 7\n",
        "sampling = 3\nthreads = 2000\n",
    ],
)
def test_a_wrong_value_names_the_key_the_file_and_what_is_allowed(paths: Paths, text: str) -> None:
    write_config(paths, text)
    with pytest.raises(UsageError, match=r"must be ") as caught:
        load(paths, {})
    assert str(paths.config_file) in str(caught.value)
    assert paths.config_file.read_text(encoding="utf-8") == text


def test_key_bindings_are_read_and_a_rewrite_keeps_them(paths: Paths) -> None:
    write_config(paths, '[keys]\nchat.quit = "f10"\n"chat.help" = "?"\nx = "y"\n')
    set_value(paths.config_file, find_key("top_k"), "1")
    loaded = load(paths, {}, {"model": "m"})
    assert loaded.settings.keys == {"chat.quit": "f10", "chat.help": "?", "x": "y"}
    assert loaded.warnings == ()


@pytest.mark.parametrize("text", ["keys = 3\n", "[keys]\nquit = 3\n", '[keys]\na.b.c = "q"\n'])
def test_wrong_key_bindings_are_a_usage_error(paths: Paths, text: str) -> None:
    write_config(paths, text)
    with pytest.raises(UsageError, match=r"`keys.*must be a"):
        load(paths, {})


@pytest.mark.parametrize("text", ["", "x", "11", "nan", "inf", "1e999", "9" * 5000])
def test_a_wrong_variable_names_itself(paths: Paths, text: str) -> None:
    with pytest.raises(UsageError, match=r"TCHAT_TEMP.*a number from 0 to 10") as caught:
        load(paths, {"TCHAT_TEMP": text})
    assert len(str(caught.value)) < 200


def test_broken_toml_names_line_and_column(paths: Paths) -> None:
    write_config(paths, 'model = "x"\nsystem = = "y"\n')
    with pytest.raises(UsageError, match=r"line 2, column 10"):
        load(paths, {})


def test_a_file_that_is_not_utf_8_names_the_line(paths: Paths) -> None:
    paths.config_file.write_bytes(b'model = "x"\nsystem = "\xff"\n')
    with pytest.raises(UsageError, match="line 2 is not UTF-8"):
        load(paths, {})


def test_a_folder_or_a_pipe_in_the_files_place_is_refused_and_does_not_hang(paths: Paths) -> None:
    paths.config_file.mkdir()
    with pytest.raises(UsageError, match="is not a file"):
        load(paths, {})
    paths.config_file.rmdir()
    os.mkfifo(paths.config_file)
    with pytest.raises(UsageError, match="is not a file"):
        load(paths, {})


def test_deep_nesting_is_an_error_and_no_crash(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        parse_toml("a = " + "[" * 100_000, tmp_path / "config.toml")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("show_reasoning", "Yes", True),
        ("show_reasoning", "off", False),
        ("top_k", " 7 ", 7),
        ("temp", "1e-2", 0.01),
        ("stop", "###", ("###",)),
        ("stop", '["a", "b"]', ("a", "b")),
        ("stop", "[/INST]", ("[/INST]",)),
        ("system", "", ""),
    ],
)
def test_text_spells_a_value(name: str, text: str, value: object) -> None:
    assert parse(find_key(name), text, "--flag") == value


def test_a_deeply_nested_list_is_a_text_like_any_other() -> None:
    assert parse(find_key("stop"), "[" * 100_000, "--stop") == ("[" * 100_000,)


@given(st.sampled_from(sorted(keys())), st.text() | st.integers().map(str) | st.floats().map(str))
def test_any_text_gives_a_value_of_the_right_kind_or_a_usage_error(name: str, text: str) -> None:
    key = find_key(name)
    try:
        kind = type(parse(key, text, "test"))
    except UsageError:
        return
    assert kind is key.kind


@pytest.mark.parametrize("name", ["temp", "sampling.temp", "top-k", "sampling.top_k", "model"])
def test_a_setting_answers_to_its_names(name: str) -> None:
    assert find_key(name).name == name.rsplit(".", maxsplit=1)[-1].replace("-", "_")


@pytest.mark.parametrize("name", ["tempp", "sampling.model", "", "sampling"])
def test_an_unknown_name_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match="there is no setting"):
        find_key(name)


def test_setting_a_value_keeps_comments_and_order(paths: Paths) -> None:
    write_config(paths, '# mine\nmodel = "x"  # the small one\n\n[sampling]\n# warm\ntemp = 0.9\n')
    set_value(paths.config_file, find_key("temp"), "0.2")
    set_value(paths.config_file, find_key("system"), 'be "brief"')
    assert paths.config_file.read_text(encoding="utf-8") == (
        '# mine\nmodel = "x"  # the small one\nsystem = "be \\"brief\\""\n\n'
        "[sampling]\n# warm\ntemp = 0.2\n"
    )
    assert load(paths, {}).settings.system == 'be "brief"'


@pytest.mark.parametrize("name", ["temp", "model", "stop", "show_reasoning", "seed"])
def test_a_value_set_in_a_new_file_is_read_back(paths: Paths, name: str) -> None:
    text = {"model": "m", "stop": "s", "show_reasoning": "on"}.get(name, "1")
    value = set_value(paths.config_file, find_key(name), text)
    loaded = load(paths, {})
    assert loaded.origins == {name: "config.toml"}
    assert value in (
        getattr(loaded.settings, name, None),
        getattr(loaded.settings.sampling, name, None),
    )


def test_unsetting_brings_the_default_back(paths: Paths) -> None:
    write_config(paths, "# keep\n[sampling]\ntemp = 0.9\n")
    unset_value(paths.config_file, find_key("temp"))
    unset_value(paths.config_file, find_key("top_k"))
    assert load(paths, {}).settings == Settings()
    assert "# keep" in paths.config_file.read_text(encoding="utf-8")


@pytest.mark.parametrize("broken", ["model = \n", 'model = "x"\n[sampling]\ntemp = 99\n'])
def test_a_broken_file_is_never_overwritten(paths: Paths, broken: str) -> None:
    write_config(paths, broken)
    with pytest.raises(UsageError):
        set_value(paths.config_file, find_key("top_k"), "1")
    assert paths.config_file.read_text(encoding="utf-8") == broken


def test_a_wrong_value_changes_nothing(paths: Paths) -> None:
    with pytest.raises(UsageError, match="config set"):
        set_value(paths.config_file, find_key("temp"), "warm")
    assert not paths.config_file.exists()


def test_the_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        target = tmp_path / "new" / "config.toml"
        set_value(target, find_key("top_k"), "1")
    finally:
        os.umask(previous)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert stat.S_IMODE(target.parent.stat().st_mode) == 0o700


def test_a_linked_file_stays_linked(paths: Paths, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text('model = "x"\n', encoding="utf-8")
    paths.config_file.symlink_to(real)
    set_value(paths.config_file, find_key("top_k"), "1")
    assert paths.config_file.is_symlink()
    assert "top_k = 1" in real.read_text(encoding="utf-8")


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "a-folder"
    target.mkdir()
    with pytest.raises(StorageError):
        write_private(target, b"x")
    assert list(tmp_path.iterdir()) == [target]


def test_a_read_only_file_system_is_told_by_the_name_of_the_file(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(paths, "top_k = 1\n")

    def refuse(path: Path | str, *_: object, **__: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StorageError) as caught:
        set_value(paths.config_file, find_key("theme"), "nord")
    assert f"cannot write {paths.config_file}: Read-only file system" in str(caught.value)
    assert ".part" not in str(caught.value)


def test_errors_are_told_in_one_line(paths: Paths) -> None:
    write_config(paths, 'model = "\n')
    with pytest.raises(TchatError) as caught:
        load(paths, {})
    assert "\n" not in str(caught.value)


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    stale = tmp_path / f".out.json.{dead.pid}.part"
    others = [tmp_path / name for name in (f".out.json.{os.getppid()}.part", ".out.json.x.part")]
    for path in (stale, *others):
        path.write_bytes(b"half")
    write_private(target, iter([b"a", b"b"]))
    assert target.read_bytes() == b"ab"
    assert not stale.exists()
    assert all(path.exists() for path in others)


def test_pieces_that_cannot_be_had_leave_the_file_as_it_was(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"new"
        raise UsageError("no more")

    target = tmp_path / "file"
    target.write_bytes(b"old")
    with pytest.raises(UsageError, match="no more"):
        write_private(target, pieces())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert target.read_bytes() == b"old"


FORMER = {
    "anyway": ("force", "true", True),
    "draft": ("draft_model", "small", "small"),
    "kv_type": ("cache_type", "q8_0", "q8_0"),
    "snapshot_limit": ("kv_cache_disk_mb", "7", 7),
    "read_while_typing": ("prefill_while_typing", "false", False),
    "judge": ("ranker", "logprob", "logprob"),
    "log_chats": ("save_oneshots", "false", False),
}


@pytest.mark.parametrize("former", FORMER)
def test_a_former_name_goes_on_working_with_a_notice(paths: Paths, former: str) -> None:
    name, text, value = FORMER[former]
    assert find_key(former).name == name
    quoted = text if isinstance(value, bool | int) else f'"{text}"'
    paths.config_file.write_text(f"{former} = {quoted}\n")
    loaded = load(paths, {})
    assert getattr(loaded.settings, name) == value
    assert loaded.origins[name] == "config.toml"
    notice = f"`{former}` is now called `{name}`; the old name still works"
    call = f"tchat config set {name} {text}"
    assert loaded.warnings == (f"config.toml: {notice}; replace it: {call}",)
    paths.config_file.write_text("")
    loaded = load(paths, {f"TCHAT_{former.upper()}": text})
    assert getattr(loaded.settings, name) == value
    [warning] = loaded.warnings
    assert f"`TCHAT_{name.upper()}`" in warning


def test_the_name_of_today_beats_the_former_one_of_the_same_place(paths: Paths) -> None:
    paths.config_file.write_text('cache_type = "q4_0"\nkv_type = "q8_0"\n')
    assert load(paths, {}).settings.cache_type == "q4_0"
    environ = {"TCHAT_CACHE_TYPE": "f16", "TCHAT_KV_TYPE": "q8_0"}
    assert load(paths, environ).settings.cache_type == "f16"
    environ = {"TCHAT_KV_TYPE": "q8_0"}  # the environment beats the file by either name
    assert load(paths, environ).settings.cache_type == "q8_0"


def test_writing_a_setting_takes_its_former_name_out_of_the_file(paths: Paths) -> None:
    paths.config_file.write_text('# mine\nkv_type = "q8_0"\n')
    set_value(paths.config_file, find_key("kv_type"), "q4_0")
    assert paths.config_file.read_text() == '# mine\ncache_type = "q4_0"\n'
    paths.config_file.write_text('kv_type = "q8_0"\n')
    unset_value(paths.config_file, find_key("cache_type"))
    assert load(paths, {}).settings.cache_type == "f16"


@pytest.mark.parametrize(
    ("typed", "now"),
    [
        ("anyway", "`force`"),
        ("--anyway", "`--force`"),
        ("--kv-type", "`--cache-type`"),
        ("TCHAT_JUDGE", "`TCHAT_RANKER`"),
        ("kv-type", "`cache_type`"),
    ],
)
def test_a_notice_tells_the_new_name_as_it_is_typed(typed: str, now: str) -> None:
    assert renamed(typed) == f"`{typed}` is now called {now}; the old name still works"


@pytest.mark.parametrize("name", ["temp", "force", "--model", "TCHAT_TEMP", "TCHAT_HOME", ""])
def test_a_name_of_today_gives_no_notice(name: str) -> None:
    assert renamed(name) == ""


def test_settings_of_tools_stand_in_a_table_of_their_own(paths: Paths) -> None:
    set_value(paths.config_file, find_key("tools.enabled"), "read_file, calculator")
    set_value(paths.config_file, find_key("tools.allow"), "run_command(git log, *)")
    assert paths.config_file.read_text(encoding="utf-8") == (
        '[tools]\nenabled = ["read_file", "calculator"]\nallow = ["run_command(git log, *)"]\n'
    )
    loaded = load(paths, {"TCHAT_TOOLS_MAX_STEPS": "3"}, {"tools.tool_choice": "none"})
    tools = loaded.settings.tools
    assert (tools.enabled, tools.max_steps, tools.tool_choice) == (
        ("read_file", "calculator"),
        3,
        "none",
    )
    assert loaded.origins["tools.max_steps"] == "environment"
    unset_value(paths.config_file, find_key("tools.enabled"))
    assert load(paths, {}).settings.tools.enabled == ()


def test_the_tools_that_are_on_have_a_short_name() -> None:
    assert find_key("tools") is find_key("tools.enabled")
    key = find_key("tools")
    assert parse(key, '["a"]', "") == ("a",)
    assert parse(key, "", "") == ()
    assert key.put(Settings(), ("a",)).tools.enabled == ("a",)
    assert key.value_in(Settings(tools=Tools(enabled=("b",)))) == ("b",)


def test_a_setting_of_tools_in_the_wrong_place_is_told(paths: Paths) -> None:
    write_config(paths, 'enabled = ["a"]\n[tools]\ntemp = 1\nallw = ["b"]\n')
    told = "\n".join(load(paths, {}).warnings)
    assert "`tools.temp`" in told
    assert "unknown setting `tools.allw` is ignored; did you mean `tools.allow`?" in told
    assert "unknown setting `enabled`" in told
