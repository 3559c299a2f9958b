"""Files mentioned in a prompt as ``@NAME``: attached, missing, or no file at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tchat.chat.attachments import Attachment, mentioned_files, with_attachments
from tchat.errors import UsageError


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    for name in ("notes.md", "README", "src/main.py"):
        (tmp_path / name).touch()


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("@notes.md what?", ["notes.md"]),
        ("compare @src/main.py, @notes.md.", ["src/main.py", "notes.md"]),
        ("(@README): and again @README", ["README"]),
        ("in @src/ and @src", []),
    ],
)
def test_existing_files_are_found(text: str, files: list[str]) -> None:
    assert mentioned_files(text) == files


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("@nothere.txt what?", "nothere.txt"),
        ("read @NOTES.TXT, please", "NOTES.TXT"),
        ("look (@docs/none.md)", "docs/none.md"),
        ("@./none", "./none"),
        ("@~/none", "~/none"),
        ("@/none/at/all", "/none/at/all"),
        ("@src/none", "src/none"),
        ("@notes.md and\n@none.json", "none.json"),
    ],
)
def test_a_missing_file_is_refused(text: str, name: str) -> None:
    with pytest.raises(UsageError, match="there is no file") as caught:
        mentioned_files(text)
    assert f"`{name}`" in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "mail me@example.com or a.b@notes.txt",
        "ask @anna, @name.bsky.social and @example.com",
        "@app.route('/x')\n@pytest.fixture\n@dataclass",
        "what is @types/node, or @angular/core@17?",
        "import x from '@/lib/utils.ts'; see \"@nothere.txt\"",
        "@media (width) @@ -1,3 +1,4 @@ @ @{u} @param",
    ],
)
def test_what_is_no_path_stays_text(text: str) -> None:
    assert mentioned_files(text) == []


def test_a_file_that_is_attached_already_is_not_looked_for() -> None:
    assert mentioned_files("@gone.txt what?", ["gone.txt"]) == []
    sent = with_attachments("@gone.txt what?", [Attachment("gone.txt", "text")])
    assert mentioned_files(sent) == []
