"""Keys: declared once, remapped from config.toml, told when something is wrong."""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from tchat.tui.keymap import ALL_BINDINGS, PRESETS, remap
from tchat.tui.keys import KEYS, UNBOUND, Scope, bindings, declared, show_key, with_keymap


def test_ids_are_unique_and_say_where_they_belong() -> None:
    ids = [action.id for action in KEYS]
    assert len(set(ids)) == len(ids)
    for action in KEYS:
        assert action.id.startswith(f"{action.scope.lower()}.")
        assert action.help


@pytest.mark.parametrize("scope", Scope)
def test_no_two_actions_of_a_scope_share_a_key(scope: Scope) -> None:
    keys = [key for action in KEYS if action.scope == scope for key in action.keys.split(",")]
    assert len(set(keys)) == len(keys)


def test_a_binding_carries_the_id_that_the_keymap_knows() -> None:
    bound = {binding.id: binding for binding in bindings(Scope.CHAT)}
    assert bound["chat.sessions"].key == "ctrl+o,leader o"
    assert bound["chat.sessions"].action == "run('sessions')"
    assert bound["chat.sessions"].priority


def test_the_bindings_of_a_widget_become_actions() -> None:
    own: list[BindingType] = [
        Binding("enter", "send", "Send", id="prompt.send"),
        Binding("x", "hidden", "Has no id"),
        ("y", "short", "Has none either"),
    ]
    assert [action.id for action in declared(own, Scope.PROMPT)] == ["prompt.send"]


def test_keys_are_remapped_and_spelled_as_textual_does() -> None:
    keymap, warnings = remap(
        {"chat.quit": "F10", "chat.help": "?, Del", "chat.branches": "Ctrl+UP, Leader /"}
    )
    assert keymap == {
        "chat.quit": "f10,leader q,leader ctrl+c",
        "chat.help": "?,delete,leader h",
        "chat.branches": "ctrl+up,leader slash",
        "chat.history": "ctrl+r",
    }
    assert warnings == []


def test_two_actions_may_swap_their_keys() -> None:
    keymap, warnings = remap({"chat.sidebar": "alt+n", "chat.new-session": "ctrl+b"})
    assert keymap == {"chat.sidebar": "alt+n,leader b", "chat.new-session": "ctrl+b,leader n"}
    assert warnings == []


def test_a_configured_key_is_taken_from_the_action_that_has_it_by_default() -> None:
    assert remap({"chat.sessions": "f2"}) == (
        {"chat.sessions": "f2,leader o", "chat.model": "leader m"},
        [],
    )


def test_an_action_that_is_left_without_a_key_is_told() -> None:
    keymap, warnings = remap({"sessions.rename": "ctrl+d"})
    assert keymap == {"sessions.rename": "ctrl+d", "sessions.delete": UNBOUND}
    assert warnings == ["config.toml, [keys]: `sessions.delete` has no key any more"]


@pytest.mark.parametrize(
    ("configured", "told"),
    [
        ({"chat.sesions": "f9"}, "did you mean `chat.sessions`?"),
        ({"zzz": "f9"}, "F1 lists the actions"),
        ({"chat.sessions": "contrl+x"}, "did you mean `ctrl+x`?"),
        ({"chat.sessions": "escpae"}, "did you mean `escape`?"),
        ({"chat.sessions": "\x1b[2J"}, "is no key"),
        ({"chat.sessions": ""}, "no key is named"),
        ({"chat.sessions": " , "}, "no key is named"),
        ({"chat.sessions": "leader"}, "is no key"),
        ({"chat.sessions": "leader x y"}, "write `leader x`"),
        ({"chat.sessions": "ctrl+k x"}, "write `leader x`"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_and_left_out(
    configured: dict[str, str], told: str
) -> None:
    keymap, warnings = remap(configured)
    assert keymap == {}
    assert len(warnings) == 1
    assert told in warnings[0]
    assert warnings[0].startswith("config.toml, [keys]: ")
    assert "\x1b" not in warnings[0]


def test_a_key_is_configured_for_one_action_only() -> None:
    keymap, warnings = remap({"chat.sidebar": "f12", "chat.branches": "f12"})
    assert keymap == {"chat.sidebar": "f12,leader b"}
    assert warnings == [
        "config.toml, [keys]: `chat.branches`: F12 belongs to `chat.sidebar` already"
    ]


SEND = "no key would be left to send a prompt; the default stays"
QUIT = "no key would be left to quit; the default stays"
STOP = "no key would be left to stop a reply; the default stays"
CLOSE = "no key would be left to close a dialog; the default stays"
NO_LEADER = {"chat.leader": "leader x", "chat.help": "ctrl+x"}


@pytest.mark.parametrize(
    ("configured", "refused", "told"),
    [
        ({"prompt.newline": "enter"}, ["prompt.newline"], SEND),
        ({"chat.tree": "enter"}, ["chat.tree"], SEND),
        ({"chat.help": "f10", "prompt.yank": "enter,f9"}, ["prompt.yank"], SEND),
        ({**NO_LEADER, "prompt.send": "leader s"}, ["prompt.send"], SEND),
        (
            {"chat.sidebar": "ctrl+q,ctrl+x", "chat.model": "ctrl+c"},
            ["chat.model"],
            QUIT,
        ),
        (
            {"chat.leader": "leader x", "chat.theme": "escape", "prompt.help": "ctrl+c"},
            ["prompt.help"],
            STOP,
        ),
        ({"list.down": "escape"}, ["list.down"], CLOSE),
    ],
)
def test_what_would_leave_no_key_to_send_to_quit_or_to_stop_is_left_out(
    configured: dict[str, str], refused: list[str], told: str
) -> None:
    keymap, warnings = remap(configured, ALL_BINDINGS)
    assert not keymap.keys() & set(refused)
    assert [line for line in warnings if told in line] == [
        f"config.toml, [keys]: `{name}`: {told}" for name in refused
    ]
    kept = {name: keys for name, keys in configured.items() if name not in refused}
    assert keymap.items() >= remap(kept, ALL_BINDINGS).keymap.items()


@pytest.mark.parametrize(
    "configured",
    [
        {"prompt.newline": "enter", "prompt.send": "ctrl+s"},
        {"prompt.send": "ctrl+s", "prompt.newline": "enter"},
        {"chat.interrupt": "f10", "chat.quit": "f11", "chat.stop": "f12"},
        {"chat.model": "ctrl+c,escape,ctrl+q"},  # the leader key is left
    ],
)
def test_keys_that_leave_others_to_send_to_quit_and_to_stop_are_taken(
    configured: dict[str, str],
) -> None:
    keymap, warnings = remap(configured, ALL_BINDINGS)
    assert all(keys in keymap[name] for name, keys in configured.items())
    assert not any("would be left" in line for line in warnings)


@given(
    st.dictionaries(
        st.sampled_from([action.id for action in ALL_BINDINGS]),
        st.sampled_from([action.keys for action in ALL_BINDINGS]),
        max_size=12,
    ),
    st.sampled_from(sorted(PRESETS)),
)
def test_whatever_is_configured_a_prompt_can_be_sent_and_the_chat_left(
    configured: dict[str, str], preset: str
) -> None:
    keymap = remap(configured, ALL_BINDINGS, preset).keymap
    keys = {each.id: each.keys.split(",") for each in with_keymap(keymap, ALL_BINDINGS)}
    leader = any(not key.startswith("leader ") for key in keys["chat.leader"] if key != UNBOUND)
    for ids in (("prompt.send",), ("chat.quit", "chat.interrupt"), ("chat.stop", "chat.interrupt")):
        found = {key for name in ids for key in keys[name]} - {UNBOUND}
        assert any(leader or not key.startswith("leader ") for key in found)


def test_a_former_name_of_an_action_works() -> None:
    assert remap({"chat.tree": "ctrl+t"}).keymap == {"chat.branches": "ctrl+t,leader g"}


def test_dialogs_may_use_the_keys_of_the_chat() -> None:
    assert remap({"sessions.rename": "ctrl+r"}).warnings == []


@given(
    st.dictionaries(
        st.sampled_from([action.id for action in KEYS]) | st.text(max_size=9),
        st.sampled_from([action.keys for action in KEYS]) | st.text(max_size=9),
    )
)
def test_whatever_is_configured_no_two_actions_of_a_scope_share_a_key(
    configured: dict[str, str],
) -> None:
    keymap, warnings = remap(configured)
    for scope in Scope:
        own = [each for each in with_keymap(keymap) if each.scope == scope]
        keys = [key for each in own for key in set(each.keys.split(",")) - {UNBOUND}]
        assert len(set(keys)) == len(keys)
    assert all("\n" not in warning for warning in warnings)


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("ctrl+r", "Ctrl+R"),
        ("alt+up", "Alt+↑"),
        ("f1", "F1"),
        ("escape", "Esc"),
        ("c", "c"),
        ("+", "+"),
        ("ctrl+shift+pageup", "Ctrl+Shift+PgUp"),
        ("less_than_sign", "<"),
        ("leader g", "Ctrl+X g"),
        ("leader ctrl+e", "Ctrl+X Ctrl+E"),
    ],
)
def test_keys_are_shown_as_people_write_them(key: str, shown: str) -> None:
    assert show_key(key) == shown


class Keyed(App[None]):
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.CHAT)]
    called = ""

    def compose(self) -> ComposeResult:
        yield Input()

    def action_run(self, name: str) -> None:
        self.called = name


async def test_a_remapped_key_works_and_the_old_one_does_not() -> None:
    app = Keyed()
    async with app.run_test() as pilot:
        app.set_keymap(remap({"chat.sessions": "f10,ctrl+l"}).keymap)
        await pilot.press("ctrl+o")
        assert app.called == ""
        await pilot.press("f10")
        assert app.called == "sessions"
        await pilot.press("alt+n")
        assert app.called == "new_session"
        await pilot.press("ctrl+l")
        assert app.called == "sessions"
