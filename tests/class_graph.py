"""The classes of ``tchat/``, read from the source: who inherits from whom, and what is abstract."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parent.parent
ABSTRACT_BASES = {"abc.ABC", "typing.Protocol"}


@dataclass(frozen=True)
class SourceClass:
    """One class statement."""

    module: str
    qualname: str  # with the classes around it: Sidebar.Opened
    node: ast.ClassDef

    @property
    def name(self) -> str:
        return f"{self.module}.{self.qualname}"

    @property
    def is_private(self) -> bool:
        return self.node.name.startswith("_")


@dataclass
class ClassGraph:
    """Every class of the package and its bases.

    A base is resolved through imports and re-exports; what is not of the project keeps the name
    that it was imported by.
    """

    trees: dict[str, ast.Module]
    classes: dict[str, SourceClass] = field(default_factory=dict)

    @classmethod
    def of_package(cls, package: Path) -> ClassGraph:
        trees = {}
        for path in sorted(package.rglob("*.py")):
            parts = path.relative_to(package.parent).with_suffix("").parts
            module = ".".join(parts).removesuffix(".__init__")
            trees[module] = ast.parse(path.read_text(encoding="utf-8"), str(path))
        return cls(trees)

    def __post_init__(self) -> None:
        for module, tree in self.trees.items():
            for found in classes_in(tree, module):
                self.classes[found.name] = found

    def bases(self, name: str) -> list[str]:
        found = self.classes[name]
        return [self._resolve(found, base) for base in found.node.bases]

    def project_bases(self, name: str) -> list[str]:
        return [base for base in self.bases(name) if base in self.classes]

    def ancestors_in_line(self, name: str) -> int:
        """How many project classes stand above this one, on the longest way up."""
        return max(
            (1 + self.ancestors_in_line(base) for base in self.project_bases(name)), default=0
        )

    def is_error(self, name: str) -> bool:
        if name not in self.classes:
            return name.rpartition(".")[2].endswith(("Error", "Exception"))
        return any(self.is_error(base) for base in self.bases(name))

    def is_abstract(self, name: str) -> bool:
        """Whether it is a protocol, an ABC, or leaves a method to its subclasses.

        Textual's metaclass and ``ABCMeta`` exclude one another, so a widget's or a screen's
        abstract method is one that raises ``NotImplementedError``.
        """
        methods = (
            child
            for child in self.classes[name].node.body
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        )
        return not ABSTRACT_BASES.isdisjoint(self.bases(name)) or any(map(is_left_open, methods))

    def _resolve(self, inside: SourceClass, base: ast.expr) -> str:
        written = ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
        around = inside.qualname.split(".")[:-1]
        for depth in range(len(around), -1, -1):
            name = ".".join((inside.module, *around[:depth], written))
            if name in self.classes:
                return name
        head, dot, rest = written.partition(".")
        return self._followed(self._imports[inside.module].get(head, head) + dot + rest)

    def _followed(self, name: str) -> str:
        module, _, last = name.rpartition(".")
        onward = self._imports.get(module, {}).get(last)
        return name if name in self.classes or onward is None else self._followed(onward)

    @cached_property
    def _imports(self) -> dict[str, dict[str, str]]:
        return {module: imports_of(tree) for module, tree in self.trees.items()}


def classes_in(node: ast.AST, module: str, around: tuple[str, ...] = ()) -> Iterator[SourceClass]:
    for child in ast.iter_child_nodes(node):
        inner = around
        if isinstance(child, ast.ClassDef):
            inner = (*around, child.name)
            yield SourceClass(module, ".".join(inner), child)
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.expr):
            yield from classes_in(child, module, inner)


def imports_of(tree: ast.Module) -> dict[str, str]:
    """What each imported name of a module stands for; relative imports are not used here."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname:
                    names[alias.asname] = alias.name
    return names


def is_left_open(method: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    if any(ast.unparse(each).endswith("abstractmethod") for each in method.decorator_list):
        return True
    last = method.body[-1]
    return isinstance(last, ast.Raise) and "NotImplementedError" in ast.unparse(last)
