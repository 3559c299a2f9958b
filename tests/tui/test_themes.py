"""Themes: the shipped ones can be read, the user's are loaded softly, stock ones work."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.color import Color
from textual.theme import BUILTIN_THEMES, Theme

from tchat.errors import TchatError, UsageError
from tchat.paths import Paths
from tchat.tui.dialogs.themes import ThemePicker, theme_items
from tchat.tui.themes import (
    BACKGROUNDS,
    DEFAULT,
    LARGEST,
    READABLE,
    SYNTAX,
    TEXTS,
    VARIABLES,
    VISIBLE,
    changed,
    contrast,
    load_themes,
    parse_theme,
    readable,
    shipped_folder,
    variable_defaults,
)

from .stage import SIZES, Stage, is_tame, shown, shows, text, until

SHIPPED = sorted(shipped_folder().glob("*.toml"))
FAMILIES = (
    "solarized",
    "nord",
    "dracula",
    "gruvbox",
    "catppuccin",
    "tokyo-night",
    "monochrome",
    "high-contrast",
    "tchat-light",
)
channels = st.integers(0, 255)
colors = st.tuples(channels, channels, channels).map(lambda rgb: Color(*rgb))  # opaque
GOOD = 'primary = "#7aa2f7"\nbackground = "#101010"\nforeground = "#eeeeee"\n'


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    (tmp_path / "themes").mkdir()
    return Paths(config=tmp_path, cache=tmp_path / "cache")


def write(paths: Paths, name: str, content: str) -> Path:
    path = paths.themes / f"{name}.toml"
    path.write_text(content, encoding="utf-8")
    return path


def by_name(paths: Paths) -> dict[str, Theme]:
    return {theme.name: theme for theme in load_themes(paths).themes}


def test_ten_themes_and_more_are_shipped(paths: Paths) -> None:
    themes, problems = load_themes(paths)
    names = [theme.name for theme in themes]
    assert problems == []
    assert len(names) >= 10
    assert DEFAULT in names
    for family in FAMILIES:
        assert any(name.startswith(family) for name in names), family


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_text_of_a_shipped_theme_can_be_read(path: Path) -> None:
    theme = parse_theme(path.read_text(encoding="utf-8"), path)
    least = 7 if theme.name.startswith("high-contrast") else READABLE
    colors = theme.to_color_system().generate() | variable_defaults(theme) | theme.variables
    texts = (*TEXTS, "foreground", "primary", "secondary", "accent", "error", "warning", "success")
    grounds = ("background", "surface", "panel", *BACKGROUNDS)
    pairs = [*product(texts, grounds), *((syntax, "code-background") for syntax in SYNTAX)]
    pairs.append(("selection", "selection-background"))
    for front, back in pairs:
        ratio = contrast(Color.parse(colors[front]), Color.parse(colors[back]))
        assert ratio >= least, f"{front} on {back}: {ratio:.2f}"
    for band in BACKGROUNDS:
        ratio = contrast(Color.parse(colors[band]), Color.parse(colors["background"]))
        assert ratio >= VISIBLE, f"{band}: {ratio:.2f}"


@given(colors, colors, colors, st.one_of(st.none(), colors), st.booleans())
def test_code_in_a_theme_of_the_user_can_be_read(
    primary: Color, background: Color, foreground: Color, ground: Color | None, muted: bool
) -> None:
    """Whatever its colours are; ``ground`` and ``muted`` are variables that it may set."""
    variables = {"code-background": ground.hex} if ground else {}
    variables |= {"muted": primary.hex} if muted else {}
    theme = Theme(
        "mine",
        primary=primary.hex,
        background=background.hex,
        foreground=foreground.hex,
        variables=variables,
    )
    shown = variable_defaults(theme) | variables
    drawn = theme.to_color_system().generate()["background"]  # Textual rounds it once more
    code, screen = Color.parse(shown["code-background"]), Color.parse(drawn)
    for name in ("code", *SYNTAX):
        assert contrast(Color.parse(shown[name]), code) >= READABLE, name
    for band in BACKGROUNDS:
        if band not in variables:
            assert contrast(Color.parse(shown[band]), screen) >= VISIBLE, band


@pytest.mark.parametrize("name", [path.stem for path in SHIPPED if path.stem != "monochrome"])
def test_kinds_of_code_differ_in_their_colours(paths: Paths, name: str) -> None:
    defaults = variable_defaults(by_name(paths)[name])
    kinds = ("comment", "keyword", "string", "number")
    assert len({defaults[f"syntax-{kind}"] for kind in kinds}) == len(kinds)


@pytest.mark.parametrize("theme", BUILTIN_THEMES.values(), ids=lambda theme: theme.name)
def test_a_stock_theme_gets_the_colours_it_lacks(theme: Theme) -> None:
    defaults = variable_defaults(theme)
    assert set(defaults) == {*VARIABLES, *SYNTAX}
    for value in defaults.values():
        Color.parse(value)


def test_what_a_stock_theme_gets_can_be_read() -> None:
    theme = BUILTIN_THEMES["textual-dark"]
    defaults = variable_defaults(theme)
    background = Color.parse(theme.to_color_system().generate()["background"])
    for name in TEXTS:
        assert contrast(Color.parse(defaults[name]), background) >= READABLE, name
    assert set(BACKGROUNDS) <= set(defaults)


def test_contrast_is_as_wcag_defines_it() -> None:
    black, white = Color(0, 0, 0), Color(255, 255, 255)
    assert contrast(black, white) == pytest.approx(21)
    assert contrast(white, white) == pytest.approx(1)
    assert contrast(Color(0x76, 0x76, 0x76), white) == pytest.approx(4.54, abs=0.01)


@given(colors, colors)
def test_a_colour_can_be_made_readable_on_any_ground(color: Color, ground: Color) -> None:
    assert contrast(readable(color, [ground]), ground) >= READABLE


def test_a_theme_of_the_user_replaces_the_shipped_one(paths: Paths) -> None:
    write(paths, DEFAULT, GOOD + '[variables]\nuser = "teal"\n')
    write(paths, "mine", GOOD + "dark = false\n")
    themes = by_name(paths)
    assert themes[DEFAULT].primary == "#7aa2f7"
    assert themes[DEFAULT].variables == {"user": "teal"}
    assert not themes["mine"].dark


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("primary = = 3", "line 1"),
        (GOOD.replace("#7aa2f7", "#nope"), "`primary` must be an opaque colour"),
        (GOOD.replace("#7aa2f7", "#7aa2f780"), "`primary` must be an opaque colour"),
        (GOOD.replace('"#101010"', "3"), "`background` must be an opaque colour"),
        ('primary = "red"\nbackground = "black"\n', "has no `foreground`"),
        (GOOD + 'prymary = "red"\n', "did you mean `primary`?"),
        (GOOD + 'dark = "yes"\n', "`dark` must be true or false"),
        (GOOD + "variables = 3\n", "`variables` must be a table"),
        (GOOD + '[variables]\nuser = "ansi_red"\n', "`variables.user` must be"),
        (GOOD + '[variables]\nuzer = "red"\n', "did you mean `user`?"),
        (GOOD + '[variables]\nborder = "3; color: red"\n', "`variables.border` must be a colour"),
        (GOOD + '[variables]\nlink-style = "bold; x"\n', "must be a text style"),
        (GOOD + "#" * LARGEST, "is larger than a theme can be"),
        ("", "has no `primary`"),
    ],
)
def test_a_broken_theme_is_named_and_left_out(paths: Paths, content: str, told: str) -> None:
    path = write(paths, "broken", content)
    themes, problems = load_themes(paths)
    assert "broken" not in [theme.name for theme in themes]
    assert len(problems) == 1
    assert told in problems[0]
    assert "broken.toml" in problems[0]
    assert "\n" not in problems[0]
    with pytest.raises(TchatError):
        parse_theme(content if len(content) < LARGEST else "", path)


def test_what_is_no_file_and_what_is_no_name_is_told(paths: Paths) -> None:
    (paths.themes / "folder.toml").mkdir()
    os.mkfifo(paths.themes / "pipe.toml")
    (paths.themes / "gone.toml").symlink_to(paths.themes / "nowhere")
    (paths.themes / "latin.toml").write_bytes(b'primary = "\xff"')
    write(paths, "Bad \x1b[2J Name", GOOD)
    problems = load_themes(paths).problems
    assert len(problems) == 5
    assert not any("\x1b" in problem for problem in problems)


def test_a_folder_of_themes_that_is_a_file_is_as_none(tmp_path: Path) -> None:
    (tmp_path / "themes").write_text("")
    assert load_themes(Paths(config=tmp_path, cache=tmp_path)).problems == []


@given(st.dictionaries(st.sampled_from(["primary", "dark", "variables", "panel"]), st.text()))
def test_any_text_is_a_theme_or_a_usage_error(document: dict[str, str]) -> None:
    content = "\n".join(f'{name} = "{value}"' for name, value in document.items())
    try:
        theme = parse_theme(GOOD + content, Path("any.toml"))
    except UsageError:
        return
    theme.to_color_system().generate()


def test_textuals_own_variables_may_be_set() -> None:
    theme = parse_theme(
        GOOD
        + '[variables]\ntext = "auto 90%"\nborder = "red 50%"\nlink-style = "bold underline"\n',
        Path("mine.toml"),
    )
    assert theme.variables["text"] == "auto 90%"


def test_a_change_of_the_folder_is_seen_once(paths: Paths) -> None:
    assert changed(paths.themes, {}) is None
    path = write(paths, "mine", GOOD)
    first = changed(paths.themes, {})
    assert first is not None
    assert list(first) == ["mine.toml"]
    assert changed(paths.themes, first) is None
    os.utime(path, ns=(1, 1))
    second = changed(paths.themes, first)
    assert second is not None
    path.unlink()
    assert changed(paths.themes, second) == {}


def test_a_dangling_link_does_not_hide_other_changes(paths: Paths) -> None:
    (paths.themes / "gone.toml").symlink_to(paths.themes / "nowhere")
    first = changed(paths.themes, {})
    assert first is not None
    write(paths, "mine", GOOD)
    assert changed(paths.themes, first) is not None


def test_the_packaged_folder_comes_before_the_checkouts(tmp_path: Path) -> None:
    package = tmp_path / "tchat"
    assert shipped_folder(package) == tmp_path / "themes"
    (package / "data" / "themes").mkdir(parents=True)
    assert shipped_folder(package) == package / "data" / "themes"


@pytest.mark.parametrize("size", SIZES)
async def test_the_highlighted_theme_is_worn_at_once_and_esc_takes_it_off(
    paths: Paths, size: tuple[int, int]
) -> None:
    picker = ThemePicker(load_themes(paths).themes, DEFAULT)
    async with shown(picker, size) as (app, pilot):
        assert is_tame(app)
        await shows(app, "● tchat-dark")
        await pilot.press("down")
        await until(pilot, lambda: app.theme == "catppuccin-mocha")
        await pilot.press("escape")
        await pilot.pause()
        assert app.theme == DEFAULT
        assert app.ended_with is None


def test_our_themes_come_first_dark_before_light(paths: Paths) -> None:
    ours = load_themes(paths).themes
    items = list(theme_items([*BUILTIN_THEMES.values(), *ours], DEFAULT))
    groups = [item.group for item in items]
    assert list(dict.fromkeys(groups)) == ["Dark", "Light", "Textual's"]
    assert items[0].key == DEFAULT
    shown = {group: {item.key for item in items if item.group == group} for group in groups}
    assert {theme.name for theme in ours if not theme.dark} == shown["Light"]
    assert shown["Textual's"] == set(BUILTIN_THEMES)


async def test_a_theme_is_previewed_on_a_whole_turn(paths: Paths) -> None:
    async with shown(ThemePicker(load_themes(paths).themes, DEFAULT), (120, 40)) as (app, pilot):
        page = text(app)
        for part in (
            "Why is the sky blue?",
            "def scattering",
            "450 nm",
            "left the context",
            "tok/s",
        ):
            assert part in page
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert "def scattering" not in text(app)  # the chat shows the colours


@pytest.mark.parametrize("size", [(100, 24), (100, 30), (120, 40)])
async def test_the_preview_begins_with_its_question(paths: Paths, size: tuple[int, int]) -> None:
    async with shown(ThemePicker(load_themes(paths).themes, DEFAULT), size) as (app, pilot):
        for key in ("", "down", "end"):
            await pilot.press(*filter(None, [key]))
            await pilot.pause(0.1)
            rows = text(app).splitlines()
            asked = next(n for n, row in enumerate(rows) if "Why is the sky blue?" in row)
            assert any("Short waves" in row for row in rows[asked : asked + 8])
            await shows(app, "7.9k/8k")


async def test_enter_keeps_the_theme_even_before_the_cursor_rested(paths: Paths) -> None:
    async with shown(ThemePicker(load_themes(paths).themes, DEFAULT)) as (app, pilot):
        await pilot.press(*"nord", "enter")
        await pilot.pause()
        assert (app.theme, app.ended_with) == ("nord", "nord")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
async def test_every_shipped_theme_can_be_worn(path: Path) -> None:
    app = Stage()
    async with app.run_test() as pilot:
        app.theme = path.stem
        await pilot.pause()
        assert app.theme_variables["gauge-full"].startswith("#")


@pytest.mark.parametrize("name", BUILTIN_THEMES)
async def test_a_stock_theme_can_be_worn(name: str) -> None:
    app = Stage()
    async with app.run_test() as pilot:
        app.theme = name
        await pilot.pause()
        assert set(VARIABLES) <= set(app.theme_variables)
