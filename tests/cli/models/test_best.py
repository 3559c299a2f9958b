"""From the starter to a better model: the line that is said once, and ``pull --best``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tchat.chat import machine
from tchat.chat.better_model import BetterModel, better_model
from tchat.models.catalogue import load_catalogue
from tchat.models.memory import Machine, Memory
from tchat.paths import Paths, user_paths
from tchat.settings import load
from tests.cli.shell import Shell
from tests.models.hub_server import HubServer
from tests.models.model_folders import hub_file

pytestmark = pytest.mark.usefixtures("measured")
SAID = "SmolLM2-135M is a demonstration model. Best here: "


@pytest.fixture
def paths(home: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    found = Machine(Memory(6 * 10**9, 16 * 10**9))
    monkeypatch.setattr(machine, "this_machine", lambda: found)
    monkeypatch.delenv("HF_HOME")
    return user_paths()


@pytest.fixture
def best(paths: Paths) -> BetterModel:
    found = better_model(paths)
    assert found is not None
    return found


@pytest.fixture
def shell(home: Path, hub_server: HubServer, tmp_path: Path) -> Shell:
    user = str(tmp_path / "user")
    return Shell({"TCHAT_HOME": str(home), "HF_ENDPOINT": hub_server.url, "HOME": user})


def offer(hub: HubServer, model: BetterModel, data: bytes) -> None:
    """Put the model on the hub, and a larger quantization that is not to be taken."""
    repo = load_catalogue()[model.name].repo
    hub.add(repo, {f"m-{model.quantization}.gguf": data, "m-BF16.gguf": data + bytes(64)})


def test_the_words_tell_name_size_and_speed(best: BetterModel) -> None:
    assert best.words.startswith(f"{best.name} {best.quantization}, ")
    assert ", about " in best.words
    assert best.words.endswith(" tok/s")
    assert BetterModel("a:1b", "Q8_0", 10**9, 0).words == "a:1b Q8_0, 1.0 GB"


def test_the_first_answer_on_a_terminal_leads_on_once(shell: Shell, best: BetterModel) -> None:
    piped = shell("Hello")
    assert (piped.out, piped.err) == ("Hello\n", "")
    quiet = shell("-q", "Hello", terminal=True)
    assert SAID not in quiet.err
    assert SAID not in shell("--json", "Hello", terminal=True).err
    first = shell("Hello", terminal=True)
    assert first.code == 0
    told = " ".join(first.err.split())  # it is wrapped
    assert f"tchat: {SAID}{best.words}. Get it: tchat models pull --best" in told
    assert SAID not in first.out
    assert SAID not in shell("Hello", terminal=True).err


def test_the_chat_on_lines_leads_on_once_too(shell: Shell, best: BetterModel) -> None:
    told = " ".join(shell("--plain", terminal=True).err.split())
    assert f"{SAID}{best.words}. Get it: tchat models pull --best" in told
    assert "Best here" not in shell("--plain", terminal=True).err
    assert "Best here" not in shell("Hello", terminal=True).err


def test_who_has_another_model_is_not_told(shell: Shell, paths: Paths, tmp_path: Path) -> None:
    hub_file(tmp_path / "user", "acme/big-GGUF", "big-Q8_0.gguf")
    assert SAID not in shell("Hello", terminal=True).err
    assert paths.suggestion_mark.exists()  # it is not looked for again


def test_a_broken_catalogue_of_the_user_does_not_harm_the_answer(
    shell: Shell, paths: Paths
) -> None:
    paths.config.mkdir(parents=True, exist_ok=True)
    paths.catalogue_file.write_text("[house]\n")
    ran = shell("Hello", terminal=True)
    assert ran.code == 0
    assert "Hello" in ran.out
    assert SAID not in ran.err


@pytest.mark.parametrize(("answer", "default"), [(b"y\n", True), (b"n\n", False), (b"", False)])
def test_the_best_is_pulled_and_becomes_the_default_after_one_question(
    shell: Shell,
    hub_server: HubServer,
    paths: Paths,
    best: BetterModel,
    tiny_model: Path,
    answer: bytes,
    default: bool,
) -> None:
    offer(hub_server, best, tiny_model.read_bytes())
    ran = shell("models", "pull", "--best", terminal=True, stdin=answer)
    assert ran.code == 0, ran.err
    assert f"tchat: best here: {best.words}\n" in ran.err
    assert f"Make {best.name} the default model? [y/N]" in ran.err
    assert Path(ran.out.strip()).name == f"m-{best.quantization}.gguf"
    assert (load(paths).settings.model == best.name) is default
    assert (f"the default model is now {best.name}" in ran.err) is default


def test_a_script_gets_the_path_and_no_question(
    shell: Shell, hub_server: HubServer, paths: Paths, tiny_model: Path
) -> None:
    code = better_model(paths, purpose="code")
    assert code is not None
    offer(hub_server, code, tiny_model.read_bytes())
    ran = shell("models", "pull", "--best", "code", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["quantization"] == code.quantization
    assert load(paths).settings.model == "starter"
    again = shell("models", "pull", "--best", "code")
    assert (again.code, again.err) == (0, "")
    assert Path(again.out.strip()).exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--best", "song"], 2, "there is no best model for 'song'; there is one for chat, code"),
        ([], 2, "name a model; `tchat models pull --best` takes the best one"),
    ],
)
def test_what_cannot_be_pulled_is_told(
    shell: Shell, paths: Paths, words: list[str], code: int, said: str
) -> None:
    ran = shell("models", "pull", *words)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith(f"tchat: {said}")
    assert ran.err.count("\n") == 1


def test_a_machine_too_small_is_told(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "this_machine", lambda: Machine(Memory(10**7, 10**8)))
    ran = shell("models", "pull", "--best")
    assert (ran.code, ran.out) == (4, "")
    assert ran.err == (
        "tchat: no model of the catalogue for chat runs well here; "
        "`tchat models catalogue` tells how each would do\n"
    )
