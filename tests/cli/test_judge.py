"""``tchat judge`` as a shell sees it, on a tiny model."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from tchat.sessions.records import Role
from tchat.sessions.store import SessionStore
from tests.cli.shell import COMMAND, tchat
from tests.sessions.stores import new_session

# What the tests' people wrote; made up for them.
NOUNS = ("harbour", "kettle", "orchard", "ladder", "lantern", "meadow", "violin", "anchor")
VERBS = ("mend", "carry", "paint", "forget", "borrow", "polish")


def dialogues(count: int) -> list[dict[str, str]]:
    rows = []
    for number in range(count):
        noun, verb = NOUNS[number % len(NOUNS)], VERBS[number % len(VERBS)]
        prompt = f"Number {number}: how would you {verb} a {noun}?"
        told = f"Slowly. My aunt used to {verb} every {noun} she saw, {number} of them in all."
        reply = " ".join([told] * (5 + number % 6))  # as long as what the tiny model writes
        rows.append({"prompt": prompt, "reply": reply})
    return rows


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "people.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in dialogues(18)), encoding="utf-8")
    return path


@pytest.fixture
def model(tiny_home: Path, tiny_model: Path) -> list[str]:
    return ["-m", str(tiny_model)]


def test_from_training_to_scores(data: Path, model: list[str]) -> None:
    shown = tchat("judge", "show", *model)
    assert (shown.code, "nothing is trained yet" in shown.out) == (0, True)

    trained = tchat("judge", "train", str(data), "--json", *model)
    assert trained.code == 0
    assert "1 of 18 human replies are left out: 1 of another length" in trained.err
    facts = json.loads(trained.out)["human"]
    assert json.loads(trained.out)["preference"] is None
    assert facts["people"] == facts["generated"] >= 8
    # With fewer than thirty examples a side no quality is claimed.
    assert facts["auc"] is None
    shown_facts = json.loads(tchat("judge", "show", "--json", *model).out)
    assert shown_facts["human"] == facts
    # Nor the AUC of any layer.
    assert (facts["layers"], shown_facts["reading"]["layers"]) == ({}, {})
    assert "AUC" not in tchat("judge", "show", *model).out

    people = "".join(json.dumps(row) + "\n" for row in dialogues(4)).encode()
    scored = tchat("judge", "score", *model, stdin=people)
    assert (scored.code, scored.err) == (0, "")
    rows = [json.loads(line) for line in scored.out.splitlines()]
    assert [row["prompt"] for row in rows] == [row["prompt"] for row in dialogues(4)]
    assert all(0 <= row["human"] <= 1 for row in rows)

    # A line separator within JSON ends no line; what cannot be scored is told, the rest is scored.
    apart = json.dumps({"prompt": "a", "reply": "one\u2028two"}, ensure_ascii=False).encode()
    long = json.dumps({"prompt": "b", "reply": "c", "more": 1}).replace("b", "b " * 4000).encode()
    scored = tchat("judge", "score", *model, stdin=b"\n".join([b"{", apart, long, people]))
    assert (scored.code, scored.err.count("1 line holds no dialogue")) == (0, 1)
    first, unread, *others = [json.loads(line) for line in scored.out.split("\n") if line]
    assert (first["reply"], first["human"] is not None) == ("one\u2028two", True)
    assert (unread["human"], "exceeds" in unread["error"]) == (None, True)
    assert others == rows


def test_use_is_learnt_from_and_goes_with_its_session(model: list[str], home: Path) -> None:
    """Chats in which short replies were picked, and each was followed by one by hand."""
    assert "too few training examples" in tchat("judge", "train", *model).err
    with SessionStore(home / "sessions.db") as store:
        for number, row in enumerate(dialogues(9)):
            session = new_session(store, title=row["prompt"])
            asked = store.add(session.id, Role.USER, row["prompt"], parent_id=None)
            texts = (row["reply"], row["reply"][: 40 + number])
            _, short = (
                store.add(session.id, Role.ASSISTANT, text, parent_id=asked.id) for text in texts
            )
            store.pick(short.id)
    counted = json.loads(tchat("judge", "examples", "--json").out)
    assert (counted["picked"], counted["choices"], counted["edits"]) == (9, 9, 0)

    trained = tchat("judge", "train", "--json", *model)
    assert (trained.code, trained.err) == (0, "")
    facts = json.loads(trained.out)
    assert facts["human"] is None
    assert facts["preference"]["choices"] == 9
    assert facts["preference"]["accuracy"] is None  # too few to claim any
    shown = tchat("judge", "show", *model)
    assert "preference model" in shown.out
    assert "unknown; needs" in shown.out

    with SessionStore(home / "sessions.db") as store:
        for session in store.sessions():
            store.delete(session.id)
    assert json.loads(tchat("judge", "examples", "--json").out)["choices"] == 0


def test_a_second_training_writes_no_reply_again(data: Path, model: list[str], home: Path) -> None:
    assert tchat("judge", "train", str(data), *model).code == 0
    [kept] = home.glob("judge/*/generations.jsonl")
    before = kept.read_bytes()
    assert tchat("judge", "train", str(data), *model).code == 0
    assert kept.read_bytes() == before
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_game_gives_a_report_and_goes_on_where_it_was(
    data: Path, model: list[str], home: Path
) -> None:
    words = ["judge", "duel", "--data", str(data), "--batch", "4", *model]
    first = tchat(*words, "--rounds", "1")
    assert (first.code, first.err) == (0, "")
    assert "round    AUC" in first.out
    report = Path(first.out.rsplit("report: ", 1)[1].strip())
    text = report.read_text(encoding="utf-8")
    assert "The weights of the model were not touched." in text
    assert "AUC: how well the discriminator tells" in text  # and so on: no figure is left unsaid
    assert "| 0 |" in text
    assert (report.parent / "report.svg").read_text(encoding="utf-8").startswith("<svg")
    if "vector: " in first.out:
        vector = first.out.rsplit("vector: ", 1)[1].splitlines()[0]
        said = tchat("hello", "-n", "--max-tokens", "4", "--control-vector", vector, *model)
        assert said.code == 0
        assert vector in tchat("judge", "use", "duel", *model).out
    again = tchat(*words, "--rounds", "1")
    assert again.out.splitlines()[-1] == first.out.splitlines()[-1]
    data.write_text(json.dumps({"prompt": "odd", "answer": "row"}) + "\n" + data.read_text())
    odd = tchat(*words, "--rounds", "1")  # the same dialogues, so the same game
    assert (odd.code, odd.out) == (0, again.out)
    assert odd.err == "tchat: 1 line holds no dialogue and had no effect\n"
    kept = report.read_bytes()
    other = tchat(*words, "--rounds", "1", "--seed", "7")
    assert (other.code, "the duel duel has other data or rules" in other.err) == (2, True)
    assert report.read_bytes() == kept


def test_a_game_is_the_models_default_until_it_is_off(model: list[str], home: Path) -> None:
    from tchat.judge.discriminator import judge_folder
    from tchat.judge.game.steering import Steering, write_control_vector
    from tchat.models.metadata import read_metadata
    from tchat.paths import user_paths

    facts = read_metadata(Path(model[1]))
    vector = judge_folder(facts, user_paths()).vector("warm")
    push = Steering({1: numpy.full(64, 3.0)})
    write_control_vector(push, vector, architecture=facts.architecture)
    asked = ["hello", "-n", "--max-tokens", "8", "--temp", "0", *model]
    plain = tchat(*asked).out

    used = tchat("judge", "use", "warm", *model)
    assert (used.code, str(vector) in used.out) == (0, True)
    steered = tchat(*asked).out
    assert steered != plain
    assert tchat(*asked, "--control-vector", str(vector)).out == steered
    assert str(vector) in tchat("judge", "use", *model).out
    assert "is not steered" in tchat("judge", "use", "--off", *model).out
    assert tchat(*asked).out == plain


def test_ctrl_c_keeps_what_was_written(data: Path, model: list[str], home: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "judge", "train", str(data), *model],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not list(home.glob("judge/*/generations.jsonl")):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, b"")
    assert b"Traceback" not in err
    assert tchat("judge", "train", str(data), *model).code == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["judge", "train"], 2, "too few training examples"),
        (["judge", "duel"], 2, "a duel needs human replies"),
        (["judge", "train", "none.jsonl"], 2, "none.jsonl cannot be read"),
        (["judge", "train", sys.executable], 2, "holds no dialogue"),
        (["judge", "score"], 2, "no dialogue to score"),
        (["judge", "train", "{few}"], 2, "too few to train on"),
        (["judge", "duel", "--data", "{few}"], 2, "too few to train on"),
        (["judge", "duel", "--data", "none.jsonl"], 2, "none.jsonl cannot be read"),
        (["judge", "duel", "--data", "{here}"], 2, "cannot be read"),
        (["judge", "duel", "--data", "{here}/same.jsonl"], 2, "all replies are to one prompt"),
        (["judge", "train", "{here}/same.jsonl"], 2, "all replies are to one prompt"),
        (["judge", "duel", "--data", "{few}", "--name", "../x"], 2, "cannot be called"),
        (["judge", "duel", "--data", "{few}", "--rounds", "0"], 2, "rounds"),
        (["judge", "show", "-m", "none.gguf"], 3, "none.gguf"),
        (["judge", "use", "none"], 2, "no control vector of the duel none"),
        (["judge", "use", "../x"], 2, "cannot be called"),
        (["judge", "use", "x", "--off"], 2, "cannot be combined"),
        (["judge", "use", "x", "--scale", "nan"], 2, "--scale needs a number"),
        (["judge", "use", "--scale", "2"], 2, "the name of a duel"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    tmp_path: Path, home: Path, model: list[str], words: list[str], code: int, said: str
) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text(json.dumps(dialogues(1)[0]), encoding="utf-8")
    same = [row | {"prompt": "always the same"} for row in dialogues(40)]
    (tmp_path / "same.jsonl").write_text("\n".join(map(json.dumps, same)), encoding="utf-8")
    call = [word.replace("{few}", str(few)).replace("{here}", str(tmp_path)) for word in words]
    ran = tchat(*call, *([] if "-m" in call else model))
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err
    assert ran.err.count("\n") == 1
    if str(few) in call:
        assert not list(home.glob("judge/*/generations.jsonl"))  # no reply was written in vain


def test_a_game_takes_as_many_prompts_here_as_on_the_screen() -> None:
    from tchat.cli.judge.duel import duel
    from tchat.judge.game.adversarial_game import GameConfig

    plan, flags = GameConfig("x"), duel.__kwdefaults__ or {}
    assert {name: flags[name].default for name in ("rounds", "batch", "seed")} == {
        "rounds": plan.rounds,
        "batch": plan.batch,
        "seed": plan.seed,
    }


def test_scores_need_a_training(model: list[str]) -> None:
    ran = tchat("judge", "score", *model, stdin=b'{"prompt": "a", "reply": "b c d"}\n')
    assert (ran.code, ran.out) == (2, "")
    assert "the discriminator is not trained" in ran.err


def test_a_damaged_discriminator_is_one_line(data: Path, model: list[str], home: Path) -> None:
    assert tchat("judge", "train", str(data), *model).code == 0
    [head] = home.glob("judge/*/reading.npz")
    head.write_bytes(head.read_bytes()[:100])
    ran = tchat("judge", "score", *model, stdin=b'{"prompt": "a", "reply": "b c d"}\n')
    assert (ran.code, ran.out) == (2, "")
    assert "train it again" in ran.err
    assert tchat("judge", "train", str(data), *model).code == 0
