"""What a wheel carries; it is built without network, by the backend that pyproject names."""

from __future__ import annotations

import os
import tomllib
import zipfile
from pathlib import Path

import pytest
from hatchling.build import build_wheel
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tchat import __version__, manual
from tchat.chat.templates import BUILTIN_TEMPLATES
from tchat.tui.themes import shipped_folder

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of this checkout, opened."""
    folder = tmp_path_factory.mktemp("wheel")
    before = Path.cwd()
    os.chdir(ROOT)  # a backend is called in the project's folder (PEP 517)
    try:
        name = build_wheel(str(folder))
    finally:
        os.chdir(before)
    return zipfile.ZipFile(folder / name)


def test_the_themes_lie_where_an_installed_tchat_looks(
    wheel: zipfile.ZipFile, tmp_path: Path
) -> None:
    wheel.extractall(tmp_path)
    folder = shipped_folder(tmp_path / "tchat")
    assert folder == tmp_path / "tchat" / "data" / "themes"
    packaged = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert packaged == {path.name: path.read_bytes() for path in (ROOT / "themes").iterdir()}


def test_a_checkout_has_the_same_themes_beside_the_package() -> None:
    assert shipped_folder() == ROOT / "themes"


def test_prompts_styles_and_the_mark_of_typing_are_there(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert {f"tchat/data/prompts/{path.name}" for path in BUILTIN_TEMPLATES.iterdir()} <= names
    assert "tchat/py.typed" in names
    styles = {str(path.relative_to(ROOT)) for path in (ROOT / "tchat").rglob("*.tcss")}
    assert styles <= names


def test_the_command_is_declared_and_nothing_else_is_packed(wheel: zipfile.ZipFile) -> None:
    entry = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert b"tchat = tchat.cli.main:run" in wheel.read(entry)
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"tchat"}


def test_the_pinned_versions_of_ci_are_in_the_declared_bounds() -> None:
    lines = (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    versions = {canonicalize_name(name): version for name, version in pins.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    for declared in map(Requirement, (*project["dependencies"], *(d for e in extras for d in e))):
        assert versions[canonicalize_name(declared.name)] in declared.specifier, declared


def test_the_changelog_has_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## [{__version__}] - " in changelog


def test_the_metadata_are_valid(wheel: zipfile.ZipFile) -> None:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = Metadata.from_email(wheel.read(name), validate=True)
    assert (metadata.name, str(metadata.version)) == ("tchat", __version__)


def test_the_manual_is_packed_whole(wheel: zipfile.ZipFile) -> None:
    assert {f"tchat/manual/{topic}.md" for topic in manual.TOPICS} <= set(wheel.namelist())
