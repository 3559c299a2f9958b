"""The catalogs of translated texts, made from the code.

``python -m tests.translations`` brings ``tchat/locale/*/LC_MESSAGES/tchat.po`` up to date with the
texts of the code and compiles it to ``tchat.mo``; ``tests/test_translation.py`` compares. New texts
have an empty translation; one whose English text is gone is removed.
"""

from __future__ import annotations

import ast
import io
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from tchat.translation import CATALOGS, DOMAIN

ROOT = Path(__file__).parent.parent
LOCALE = ROOT / "tchat" / "locale"
UNDATED = datetime(2026, 1, 1, tzinfo=UTC)  # in the header: the same texts make the same file
CALLS = frozenset({"tr", "N_"})
PLURAL_CALLS = frozenset({"trn", "NN_"})
HELP_KEYWORDS = frozenset({"help", "epilog", "short_help"})  # of Typer's options and commands
HELP_CALLS = frozenset({"Option", "Argument", "Typer", "command_group", "command", "callback"})
# The texts of click and Typer, which look them up by gettext, or whose help we translate
CLICK = (
    "Usage:",
    "Options",
    "Arguments",
    "Commands",
    "default: {default}",
    "required",
    "Show this message and exit.",
    "Install completion for the current shell.",
    "Show completion for the current shell, to copy it or customize the installation.",
)


class Extractor(ast.NodeVisitor):
    """Collects the texts of one module as ``(line, message id or pair of them)``."""

    def __init__(self) -> None:
        self.found: list[tuple[int, str | tuple[str, str]]] = []

    def visit_Call(self, node: ast.Call) -> None:
        name = _called(node.func)
        literals = [_literal(argument) for argument in node.args]
        if name in CALLS:
            self._require(node, literals[:1])
            self.found += [(node.lineno, text) for text in literals[:1] if text]
        elif name in PLURAL_CALLS:
            self._require(node, literals[:2])
            match literals[:2]:
                case [str(one), str(many)]:
                    self.found.append((node.lineno, (one, many)))
        elif name == "setting":
            self.found += [(node.lineno, text) for text in literals[1:2] if text]
        if name in HELP_CALLS:
            for keyword in node.keywords:
                text = _literal(keyword.value)
                if keyword.arg in HELP_KEYWORDS and text:
                    self.found.append((node.lineno, text))
            if name == "command_group":
                self.found += [(node.lineno, text) for text in literals[:1] if text]
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """A command's docstring is its help."""
        if _is_command(node):
            text = ast.get_docstring(node)
            if text:
                self.found.append((node.lineno, text))
        self.generic_visit(node)

    def _require(self, node: ast.Call, literals: list[str | None]) -> None:
        if None in literals and not _is_lookup(node):
            line = ast.unparse(node)[:80]
            raise ValueError(f"line {node.lineno}: the text is no literal: {line}")


def _is_lookup(node: ast.Call) -> bool:
    """Whether a call translates a text that was marked elsewhere."""
    lookups = (ast.Name, ast.Attribute, ast.Subscript, ast.Call, ast.Starred)
    return isinstance(node.args[0], lookups)


def _is_command(node: ast.FunctionDef) -> bool:
    """Whether a function is a command of Typer's whose decorator has no other help."""
    annotations = [argument.annotation for argument in node.args.args[:1]]
    keywords = {
        keyword.arg
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call)
        for keyword in decorator.keywords
    }
    takes_context = any(each and ast.unparse(each) == "typer.Context" for each in annotations)
    return takes_context and "help" not in keywords


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _literal(node: ast.expr) -> str | None:
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return node.value if is_text and isinstance(node, ast.Constant) else None  # type: ignore[return-value]


def modules() -> Iterator[Path]:
    """All modules of tchat."""
    return iter(sorted((ROOT / "tchat").rglob("*.py")))


def template() -> Catalog:
    """All texts of the code, without translations."""
    catalog = Catalog(project="tchat", fuzzy=False)
    for text in CLICK:
        catalog.add(text, auto_comments=["click"])
    for path in modules():
        extractor = Extractor()
        extractor.visit(ast.parse(path.read_text()))
        for _, message in extractor.found:
            catalog.add(message, locations=[(str(path.relative_to(ROOT)), 0)])
    for path, text in data_texts():
        catalog.add(text, locations=[(str(path.relative_to(ROOT)), 0)])
    return catalog


def data_texts() -> Iterator[tuple[Path, str]]:
    """The texts of the data files: what models and prompt templates are for."""
    models = ROOT / "tchat" / "models" / "catalogue.toml"
    for family in tomllib.loads(models.read_text()).values():
        for facts in (family, *family["sizes"]):
            yield from ((models, facts[name]) for name in ("purpose", "languages") if name in facts)
    for path in sorted((ROOT / "tchat" / "data" / "prompts").glob("*.toml")):
        yield path, tomllib.loads(path.read_text())["description"]


def catalog_file(folder: str, suffix: str = ".po") -> Path:
    """The file of a catalog."""
    return LOCALE / folder / "LC_MESSAGES" / f"{DOMAIN}{suffix}"


def read_catalog(folder: str) -> Catalog:
    """The translations into the language of ``folder``."""
    path = catalog_file(folder)
    if not path.exists():
        return Catalog(locale=folder, fuzzy=False)
    with path.open("rb") as file:
        return read_po(file, locale=folder)


def updated(folder: str) -> Catalog:
    """The catalog of ``folder`` with the texts of the code, and the translations that it has."""
    old, new = read_catalog(folder), Catalog(locale=folder, project="tchat", fuzzy=False)
    for message in template():
        if message.id:
            known = old.get(message.id)
            plural = isinstance(message.id, tuple)
            empty: str | tuple[str, ...] = ("",) * new.num_plurals if plural else ""
            text = known.string if known and isinstance(known.string, tuple) == plural else empty
            files = sorted({name for name, _ in message.locations})
            new.add(message.id, text, locations=[(name, 0) for name in files])
    return new


def compiled(catalog: Catalog) -> bytes:
    """``catalog`` as gettext reads it."""
    catalog.creation_date = catalog.revision_date = UNDATED
    stream = io.BytesIO()
    write_mo(stream, catalog)
    return stream.getvalue()


def written(catalog: Catalog) -> bytes:
    """``catalog`` as a translator reads it: by file, without line numbers or dates."""
    stream = io.BytesIO()
    write_po(stream, catalog, width=100, sort_by_file=True, omit_header=False, include_lineno=False)
    lines = stream.getvalue().splitlines(keepends=True)
    dated = (b'"POT-Creation-Date', b'"PO-Revision-Date', b'"Generated-By')
    return b"".join(line for line in lines if not line.startswith(dated))


def main() -> None:
    """Write all catalogs."""
    for folder in CATALOGS.values():
        catalog = updated(folder)
        catalog_file(folder).parent.mkdir(parents=True, exist_ok=True)
        catalog_file(folder).write_bytes(written(catalog))
        catalog_file(folder, ".mo").write_bytes(compiled(read_catalog(folder)))
        missing = sum(not any(message.string or ()) for message in catalog if message.id)
        print(f"{folder}: {len(catalog)} texts, {missing} without a translation")


if __name__ == "__main__":
    main()
