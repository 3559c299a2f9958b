"""How the house is cut: short class trees, one name for one thing, no riddles, no long files.

Each rule has a list of what breaks it today. The lists only shrink: a new breach fails, and so
does an exception that is no longer needed; delete its line.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator

import click
import grimp
import pytest

from tchat.cli.app import load_command
from tchat.cli.commands import COMMANDS
from tchat.settings import keys
from tests.class_graph import ROOT, ClassGraph

LONGEST_FILE = 600
MOST_ANCESTORS = 2

# Each as the class with its concrete base in brackets.
INHERITS_FROM_CONCRETE: set[str] = set()

TOO_MANY_ANCESTORS: set[str] = set()

# Public class names that stand for several things; a nested class goes by its outer class too.
SEVERAL_THINGS: set[str] = set()

TOO_LONG: set[str] = set()

# Words that name nothing in this field: in identifiers, module names and help texts.
RIDDLES = (
    *("beginnings", "desk", "disown", "duelling", "examination", "fitness", "foretaste"),
    *("governor", "lasting", "lesson", "outlet", "outlook", "prospect", "sheltered", "shelf"),
    *("sparing", "splice", "taste", "telling", "tilt", "wear"),
)
RIDDLES_LEFT: set[str] = set()
# Words that say something elsewhere, but not what a module is about.
RIDDLING_MODULES = (
    *("absent", "ahead", "asking", "beginning", "bounded", "child", "course", "crashes"),
    *("every_key", "foot", "foreign", "gauge", "governor", "guard", "joined", "learning"),
    *("lesson", "maker", "naming", "opening", "outlet", "pace", "place", "prospect", "reading"),
    *("room", "rounds", "shelf", "trial", "trials", "utils", "walk", "writing"),
)
RIDDLING_MODULES_LEFT: set[str] = set()


@pytest.fixture(scope="module")
def graph() -> ClassGraph:
    return ClassGraph.of_package(ROOT / "tchat")


def same(found: set[str], excepted: set[str], rule: str) -> None:
    """Fail for what is found and not excepted, and for what is excepted and not found."""
    assert not found - excepted, f"{rule}: {sorted(found - excepted)}"
    gone = sorted(excepted - found)
    assert not gone, f"mended, so delete it from the exceptions ({rule}): {gone}"


def short(name: str) -> str:
    return name.rpartition(".")[2]


def concrete_bases(graph: ClassGraph) -> set[str]:
    return {
        f"{short(name)}({short(base)})"
        for name in graph.classes
        for base in graph.project_bases(name)
        if not graph.is_error(name) and not graph.is_abstract(base)
    }


def deep_classes(graph: ClassGraph) -> set[str]:
    return {
        short(name)
        for name in graph.classes
        if not graph.is_error(name) and graph.ancestors_in_line(name) > MOST_ANCESTORS
    }


def shared_names(graph: ClassGraph) -> set[str]:
    modules = defaultdict(set)
    for found in graph.classes.values():
        if not found.is_private:
            modules[found.qualname].add(found.module)
    return {name for name, places in modules.items() if len(places) > 1}


def long_files() -> set[str]:
    files = [*(ROOT / "tchat").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    return {str(path.relative_to(ROOT)) for path, count in lines.items() if count > LONGEST_FILE}


def riddles(graph: ClassGraph) -> set[str]:
    names = {name for tree in graph.trees.values() for name in named(tree)} | set(graph.trees)
    return {word for name in names for word in split(name)} & set(RIDDLES)


def riddling_modules(graph: ClassGraph) -> set[str]:
    return {short(module) for module in graph.trees} & set(RIDDLING_MODULES)


def test_no_class_inherits_from_a_concrete_one(graph: ClassGraph) -> None:
    same(concrete_bases(graph), INHERITS_FROM_CONCRETE, "compose it, or make the base abstract")


def test_few_project_classes_stand_above_any(graph: ClassGraph) -> None:
    same(deep_classes(graph), TOO_MANY_ANCESTORS, f"over {MOST_ANCESTORS} project classes above it")


def test_a_class_name_stands_for_one_thing(graph: ClassGraph) -> None:
    same(shared_names(graph), SEVERAL_THINGS, "defined in several modules")


def test_no_file_is_too_long() -> None:
    same(long_files(), TOO_LONG, f"over {LONGEST_FILE} lines")


def test_identifiers_hold_no_riddles(graph: ClassGraph) -> None:
    same(riddles(graph), RIDDLES_LEFT, "say it in the field's words")


def test_modules_are_named_for_what_they_hold(graph: ClassGraph) -> None:
    same(riddling_modules(graph), RIDDLING_MODULES_LEFT, "say it in the field's words")


def test_no_import_circle_is_excepted_for_nothing() -> None:
    """``lint-imports`` forbids circles among siblings; its own exceptions must shrink too."""
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    contract = next(each for each in linter["contracts"] if each["type"] == "acyclic_siblings")
    ignored = [tuple(each.split(" -> ")) for each in contract.get("ignore_imports", ())]
    for edge in ignored:
        imports = grimp.build_graph("tchat", cache_dir=None)
        for importer, imported in set(ignored) - {edge}:
            imports.remove_import(importer=importer, imported=imported)
        assert imports.nominate_cycle_breakers(common_package(*edge)), f"no circle: {edge}"


def common_package(left: str, right: str) -> str:
    shared = []
    for one, other in zip(left.split("."), right.split("."), strict=False):
        if one != other:
            break
        shared.append(one)
    return ".".join(shared)


def test_help_texts_hold_no_riddles() -> None:
    banned = re.compile(rf"\b({'|'.join(RIDDLES)})\b", re.IGNORECASE)
    texts = [*help_of_commands(), *(key.help for key in keys().values())]
    assert [text for text in texts if banned.search(text)] == []


def named(tree: ast.Module) -> Iterator[str]:
    """What a module itself gives a name to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def split(name: str) -> list[str]:
    """The words of ``snake_case``, ``CamelCase`` and dotted names, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def help_of_commands() -> Iterator[str]:
    for name, (_, summary, _) in COMMANDS.items():
        yield summary
        command = load_command(name)
        for each in (command, *getattr(command, "commands", {}).values()):
            yield each.help or ""
            for param in each.params:
                record = param.get_help_record(click.Context(each))
                yield record[1] if record else ""
