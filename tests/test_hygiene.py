"""What starting up costs: modules that must not be loaded before they are needed."""

from __future__ import annotations

from tests.imports import modules_after

HEAVY = (
    *(
        "click",
        "dataclasses",
        "httpx2",
        "huggingface_hub",
        "jinja2",
        "llama_cpp",
        "numpy",
        "platformdirs",
    ),
    *("pygments", "rich", "sqlite3", "textual", "tomlkit", "typer", "typing"),
)


def loaded_after(code: str) -> set[str]:
    return set(HEAVY) & modules_after(code)


def test_importing_the_command_loads_nothing_heavy() -> None:
    assert loaded_after("import tchat.cli.main") == set()


def test_the_version_loads_nothing_heavy() -> None:
    assert loaded_after("from tchat.cli.main import program; program(['--version'])") == set()


def test_a_plain_prompt_waits_for_neither_typer_nor_rich() -> None:
    code = "import tchat.cli.main, tchat.cli.ask, tchat.cli.output.reply, tchat.settings"
    assert loaded_after(code) <= {"dataclasses", "typing"}


def test_the_help_loads_no_group_and_no_engine() -> None:
    code = "from tchat.cli.main import program; program(['--help'])"
    loaded = loaded_after(code)
    assert not loaded & {"rich", "sqlite3", "numpy", "llama_cpp", "jinja2", "textual", "tomlkit"}


def test_the_model_commands_wait_with_the_hub_until_it_is_asked() -> None:
    code = "import tchat.cli.models, tchat.models.hub.pull, tchat.models.hub.api"
    assert not loaded_after(code) & {"httpx2", "huggingface_hub", "llama_cpp", "numpy"}
