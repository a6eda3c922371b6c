"""The rooms of the package, and who imports whom: the picture and the table in ARCHITECTURE.md."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from graphlib import TopologicalSorter
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import fmean

from manifest import ROOT

PACKAGE = ROOT / "semsearch_nb"
WIDTH, BOX = 900, 100
HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="14">
<style>
path {{ fill: none; stroke: #555; marker-end: url(#head) }}
rect {{ fill: #e8f0f8; stroke: #1f5f99 }}
text {{ text-anchor: middle }}
</style>
<marker id="head" markerWidth="8" markerHeight="8" refX="2" refY="4" orient="auto">
<polygon points="0,0 8,4 0,8"/></marker>
<rect width="100%" height="100%" style="fill: white; stroke: none"/>"""


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
    """The rooms in rows and their arrows, as SVG; an arrow goes between the boxes of the rows that it passes."""
    layers = levels(arrows())
    row = {room: number for number, layer in enumerate(layers) for room in layer}
    rows: list[list[str]] = [list(layer) for layer in layers]
    ways = []
    for room, to in shortest(arrows()).items():
        for used in sorted(to):
            gaps = {number: f"{room} {used} {number}" for number in range(row[room] + 1, row[used])}
            for number, gap in gaps.items():
                rows[number].append(gap)
            ways.append([room, *gaps.values(), used])
    x: dict[str, float] = {}
    y = {name: 40 + 90 * number for number, names in enumerate(rows) for name in names}
    for names in rows:  # below what leads there, as far as there is space
        above = {name: [x[one] for way in ways for one, next_ in pairwise(way) if next_ == name] for name in names}
        names.sort(key=lambda name: (fmean(above[name] or [0]), name))
        widths = [BOX + 16 if name in row else 24 for name in names]
        left = [*accumulate(widths, initial=(WIDTH - sum(widths)) / 2)]
        x |= {name: start + width / 2 for name, start, width in zip(names, left, widths, strict=False)}
    lines = [HEAD.format(width=WIDTH, height=y[rows[-1][0]] + 40)]
    for way in ways:
        bends = [f"M{x[way[0]]:.0f} {y[way[0]] + 15}"]
        for one, next_ in pairwise(way):
            start, end = y[one] + 15, y[next_] - (15 if next_ not in row else 20)
            bends.append(f"C{x[one]:.0f} {start + 30} {x[next_]:.0f} {end - 30} {x[next_]:.0f} {end} V{end + 30}")
        lines.append(f'<path d="{" ".join(bends).rpartition(" ")[0]}"/>')
    for room in row:
        lines.append(f'<rect x="{x[room] - BOX / 2:.0f}" y="{y[room] - 15}" width="{BOX}" height="30" rx="5"/>')
        lines.append(f'<text x="{x[room]:.0f}" y="{y[room] + 5}">{room}</text>')
    return "\n".join([*lines, "</svg>", ""])


def alt() -> str:
    """What the picture shows, in words."""
    named = "; ".join(", ".join(f"`{room}`" for room in layer) for layer in levels(arrows()))
    return f"The rooms in rows, and arrows that lead down from each to what it imports. From top to bottom: {named}."


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
