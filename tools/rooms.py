"""The rooms of the package, and who imports whom: the picture and the table in ARCHITECTURE.md."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from manifest import ROOT

PACKAGE = ROOT / "semsearch_nb"


def rooms() -> dict[str, list[Path]]:
    """Each folder and each module on the first level of the package, with its files."""
    found = {path.stem: [path] for path in PACKAGE.glob("*.py") if path.stem != "__init__"}
    found |= {path.parent.name: sorted(path.parent.rglob("*.py")) for path in PACKAGE.glob("*/__init__.py")}
    return dict(sorted(found.items()))


def arrows() -> dict[str, set[str]]:
    """For each room the other rooms that it imports when it is imported; what a function imports later is left out."""
    return {room: {r for file in files for r in _imported(file)} - {room} for room, files in rooms().items()}


def levels(imports: Mapping[str, set[str]]) -> list[list[str]]:
    """Rooms in layers: each imports from later layers only.

    Raises:
        graphlib.CycleError: two rooms import each other.
    """
    users = {room: {user for user, used in imports.items() if room in used} for room in imports}
    sorter = TopologicalSorter(users)
    sorter.prepare()
    layers = []
    while sorter.is_active():
        layers.append(sorted(sorter.get_ready()))
        sorter.done(*layers[-1])
    return layers


def shortest(imports: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The arrows that no longer way replaces: with a → b → c, a → c is left out."""

    @cache
    def reach(room: str) -> frozenset[str]:
        return frozenset(imports[room]).union(*(reach(used) for used in imports[room]))

    return {room: {u for u in used if not any(u in reach(v) for v in used)} for room, used in imports.items()}


def picture() -> str:
    """The rooms and their arrows, as Mermaid, which GitHub and the book draw."""
    imports = arrows()
    lines = ["```mermaid", "flowchart TD"]
    lines += [f"  {room}[{room}]" for layer in levels(imports) for room in layer]
    lines += [f"  {room} --> {used}" for room, to in shortest(imports).items() for used in sorted(to)]
    return "\n".join([*lines, "```"])


def table() -> str:
    """A sentence a room: the first of its docstring."""
    lines = ["| room | what it is for |", "| --- | --- |"]
    for room, files in rooms().items():
        first = files[0] if len(files) == 1 else PACKAGE / room / "__init__.py"
        sentence = (ast.get_docstring(ast.parse(first.read_text(encoding="utf-8"))) or "").partition("\n")[0]
        where = f"semsearch_nb/{room}.py" if first.stem == room else f"semsearch_nb/{room}"
        lines.append(f"| [`{room}`]({where}) | {sentence} |")
    return "\n".join(lines)


def _imported(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    later = {id(node) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for node in ast.walk(f)}
    later |= {id(node) for test in ast.walk(tree) if _for_types_only(test) for node in ast.walk(test)}
    names: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or id(node) in later:
            continue
        package, *inside = (node.module or "").split(".")
        if package == "semsearch_nb":
            names |= set(inside[:1]) or {alias.name for alias in node.names}
    return {_room_of(name) for name in names} - {""}


def _for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"


@cache
def _room_of(name: str) -> str:
    """The room of a module that is imported by its own name, as `from semsearch_nb import settings` allows."""
    if name in rooms():
        return name
    return next((room for room, files in rooms().items() if name in {file.stem for file in files}), "")
