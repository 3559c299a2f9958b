"""Named prompt templates: reading, filling, finding, and the ones that come with tchat."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tchat.chat.templates import (
    BUILTIN_TEMPLATES,
    PromptTemplate,
    find_template,
    list_templates,
    parse_template,
    template_path,
)
from tchat.errors import UsageError
from tchat.paths import Paths

PLACE = Path("/prompts/mine.toml")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(config=tmp_path, cache=tmp_path / "cache")


def template(text: str) -> PromptTemplate:
    return parse_template(text, PLACE)


def add(paths: Paths, name: str, text: str) -> None:
    paths.prompts.mkdir(exist_ok=True)
    (paths.prompts / f"{name}.toml").write_text(text, encoding="utf-8")


def test_variables_take_values_then_defaults() -> None:
    mine = template('prompt = "{a} {b} {input}"\nsystem = "S {a}"\n[defaults]\na = "1"\nb = "2"\n')
    assert mine.variables == ("a", "b")
    assert mine.fill("text", {"b": "3"}) == ("1 3 text", "S 1")


def test_braces_of_json_are_themselves_and_doubled_ones_are_text() -> None:
    mine = template("""prompt = '{"a": {"b": 1}} {{name}} { x } {input}'""")
    assert mine.variables == ()
    assert mine.fill("t", {})[0] == '{"a": {"b": 1}} {name} { x } t'


@given(st.text(), st.text(min_size=1))
def test_values_are_put_in_once_and_whole(value: str, text: str) -> None:
    mine = template('prompt = "<{a}|{input}>"')
    assert mine.fill(text, {"a": value})[0] == f"<{value}|{text}>"


def test_a_form_has_a_blank_for_each_variable_that_a_line_can_show() -> None:
    mine = template('prompt = "{a} {b} {c} {input}"\n[defaults]\nb = "2 ⟩="\nc = "two\\nlines"\n')
    assert mine.begin("")[:2] == ("⟨a⟩ ⟨b=2 ⟩=⟩ two\nlines ⟨input⟩", ("⟨a⟩", "⟨b=2 ⟩=⟩", "⟨input⟩"))
    assert mine.begin("x")[:2] == ("⟨a⟩ ⟨b=2 ⟩=⟩ two\nlines x", ("⟨a⟩", "⟨b=2 ⟩=⟩"))
    assert mine.missing("x", {}) == ("a",)
    assert mine.missing("", {"a": "1"}) == ("input",)


def test_without_a_place_for_it_the_input_comes_first() -> None:
    mine = template('prompt = "Summarise."')
    assert mine.fill("a text", {})[0] == "a text\n\nSummarise."
    assert mine.fill("", {})[0] == "Summarise."


def test_a_variable_without_a_value_says_how_to_give_one() -> None:
    with pytest.raises(UsageError, match=r"needs a value for `tone`; add `-p tone VALUE`"):
        template('prompt = "{tone} {input}"').fill("x", {})


def test_a_value_without_a_variable_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean `tone`"):
        template('prompt = "{tone} {input}"').fill("x", {"tome": "dry"})


def test_the_input_is_no_variable_to_set() -> None:
    with pytest.raises(UsageError, match="has no variable `input`"):
        template('prompt = "{input}"').fill("x", {"input": "y"})


def test_a_missing_input_is_told() -> None:
    with pytest.raises(UsageError, match="needs a text"):
        template('prompt = "Translate: {input}"').fill("", {})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has no `prompt`"),
        ('prompt = "  "', "has no `prompt`"),
        ("prompt = 3", "`prompt` must be text"),
        ('prompt = "x"\nsistem = "y"', "did you mean `system`"),
        ('prompt = "x"\ndefaults = 3', "must be a table"),
        ('prompt = "x"\n[defaults]\nn = 3', "`defaults.n` must be text"),
        ('prompt = "x"\n[sampling]\ntempp = 3', "did you mean `temp`"),
        ('prompt = "x"\n[sampling]\ntemp = 99', "must be a number from 0 to 10"),
        ('prompt = "x"\n[sampling]\nmodel = "y"', "there is no sampling setting `model`"),
        ('prompt = "x', "line 1, column"),
    ],
)
def test_a_broken_template_names_the_file_and_the_fault(text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        template(text)
    assert told in str(caught.value)
    assert str(PLACE) in str(caught.value)


def test_a_persona_has_no_prompt_of_its_own() -> None:
    mine = template('system = "You are {who}."\nmodel = "m"\n[sampling]\ntop_k = 9\n')
    assert mine.is_persona
    assert mine.settings == {"model": "m", "top_k": 9}
    assert mine.fill("hi", {"who": "a pirate"}) == ("hi", "You are a pirate.")
    assert mine.fill_system({"who": "a pirate"}) == "You are a pirate."
    with pytest.raises(UsageError, match="needs a value for `who`"):
        mine.fill_system({})
    with pytest.raises(UsageError, match="has no variable `whom`"):
        mine.fill_system({"whom": "x"})
    with pytest.raises(UsageError, match="`model` must be text"):
        template("model = 3")
    assert not template('prompt = "x"\nmodel = "m"').is_persona


def test_the_users_own_template_wins(paths: Paths) -> None:
    assert find_template("commit", paths).is_builtin
    add(paths, "commit", 'prompt = "mine {input}"')
    assert not find_template("commit", paths).is_builtin
    assert [t.name for t in list_templates(paths)[0]].count("commit") == 1


def test_a_path_is_a_template_too(tmp_path: Path, paths: Paths) -> None:
    (tmp_path / "other.toml").write_text('prompt = "p"', encoding="utf-8")
    assert find_template(str(tmp_path / "other.toml"), paths).prompt == "p"
    with pytest.raises(UsageError, match="there is no file"):
        find_template(str(tmp_path / "absent.toml"), paths)


@pytest.mark.parametrize("name", ["../config", "a/b", "", "A", "-x", "é", "a" * 65, "a\x1b[2J"])
def test_a_name_cannot_leave_the_folder(paths: Paths, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a prompt's name"):
        template_path(name, paths)
    with pytest.raises(UsageError, match="there is no prompt"):
        find_template(name, paths)


def test_an_unknown_template_names_the_nearest(paths: Paths) -> None:
    with pytest.raises(UsageError, match="did you mean `translate`"):
        find_template("trnslate", paths)


def test_a_broken_file_does_not_hide_the_others(paths: Paths) -> None:
    add(paths, "broken", "prompt = ")
    templates, broken = list_templates(paths)
    assert "commit" in [t.name for t in templates]
    assert len(broken) == 1
    assert "broken.toml" in broken[0]


def test_a_broken_own_file_does_not_silently_uncover_the_one_below(paths: Paths) -> None:
    add(paths, "commit", "prompt = ")
    with pytest.raises(UsageError, match=r"commit\.toml, line 1"):
        find_template("commit", paths)


@pytest.mark.parametrize(
    "path", sorted(BUILTIN_TEMPLATES.glob("*.toml")), ids=lambda path: path.stem
)
def test_each_packaged_template_asks_for_little_beside_an_input(path: Path, paths: Paths) -> None:
    mine = find_template(path.stem, paths)
    asked = {"translate": ("language",)}.get(mine.name, ())  # nobody's language is the default
    assert mine.missing("THE-INPUT", {}) == asked
    filled = mine.fill("THE-INPUT", dict.fromkeys(asked, "French"))
    assert "THE-INPUT" in filled[0]
    assert mine.description
    assert {*mine.defaults, *asked} == set(mine.variables)


def test_at_least_a_dozen_templates_are_packaged() -> None:
    names = {path.stem for path in BUILTIN_TEMPLATES.glob("*.toml")}
    assert names >= {
        "ad-copy",
        "commit",
        "explain",
        "extract",
        "headlines",
        "proofread",
        "regex",
        "review",
        "rewrite",
        "shell",
        "summarise",
        "translate",
    }
