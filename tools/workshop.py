"""The workshop kit: what stands in docs/workshop is generated from workshop.toml, the notebooks and their answers.

python tools/workshop.py [--check]            minutes, notes and answers as pages in docs/workshop
python tools/workshop.py slides               slides of each path in build/slides
python tools/workshop.py wheelhouse [--try]   all for a room without network in build/wheelhouse; --try installs it
"""

from __future__ import annotations

import argparse
import ast
import inspect
import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import nbformat
from committed import is_hidden
from manifest import ROOT, Entry, read_manifest, tomllib
from sync import with_blocks, write_if_changed

from semsearch_nb.teaching.exercises import Choice, Task

KIT = ROOT / "docs" / "workshop"
WORDS_A_MINUTE = 130  # of explaining; the notebooks' own header counts 150 for reading
MINUTES_A_CELL = 1  # to run a cell, look at what it prints and say what it is
QUIZ, EXERCISE = 2, {"1": 5, "2": 3, "3": 10}  # to answer and to talk it over
NOT_TRIED = "**Not yet tried with a class.**"
SWAP = """\
A module takes the place of the sections that stand beside it. The day still fits. If its cells need those above them,
people choose *Run All Above Selected Cell* in the break before."""


@dataclass
class Section:
    """What stands between two headings of a notebook."""

    entry: Entry
    title: str
    text: str = ""
    """All Markdown, without the heading."""
    lead: str = ""
    """The part of it that stands in the heading's own cell."""
    code: list[Any] = field(default_factory=list)
    """The cells that a reader sees."""

    @property
    def minutes(self) -> int:
        """An estimate from words, cells and the share of the notebook's run time."""
        share = len(self.code) / sum(len(other.code) for other in sections(self.entry.number))
        spoken = len(self.text.split()) / WORDS_A_MINUTE + MINUTES_A_CELL * len(self.code)
        return math.ceil(spoken + share * self.entry.first_run + QUIZ * 2 * (self.title == "Quiz"))

    @property
    def link(self) -> str:
        return f"{self.entry.number}.md#{slug(self.title)}"


@dataclass(frozen=True)
class Step:
    """A line of a plan: a section, an exercise, or something of the teacher's own."""

    text: str
    minutes: int
    section: Section | None = None


@dataclass(frozen=True)
class Module:
    """Sections that can stand in a path in place of others."""

    title: str
    when: str
    plan: list[str]
    instead: list[str]

    @cached_property
    def steps(self) -> list[Step]:
        return [step(line) for line in self.plan]

    @cached_property
    def replaced(self) -> list[Step]:
        return [step(line) for line in self.instead]


@dataclass(frozen=True)
class Route:
    """One of the timed ways through the notebooks."""

    file: str
    title: str
    length: int
    """Minutes of a day."""
    summary: str
    goals: list[str]
    days: list[list[str]]
    modules: list[Module]

    @cached_property
    def steps(self) -> list[list[Step]]:
        return [[step(line) for line in day] for day in self.days]

    @property
    def sections(self) -> list[Section]:
        """Those of the days, then those of the modules."""
        every = [*self.steps, *(module.steps for module in self.modules)]
        return [one.section for steps in every for one in steps if one.section]


def minutes(steps: Sequence[Step]) -> int:
    return sum(one.minutes for one in steps)


def slug(title: str) -> str:
    """As GitHub makes anchors."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@lru_cache
def entries() -> dict[str, Entry]:
    return {entry.number: entry for entry in read_manifest()}


@lru_cache
def config() -> dict[str, Any]:
    return tomllib.loads((KIT / "workshop.toml").read_text(encoding="utf-8"))


def paths() -> list[Route]:
    return [Route(**row | {"modules": [Module(**one) for one in row["modules"]]}) for row in config()["path"]]


def sections(number: str) -> list[Section]:
    """The sections of a notebook in their order."""
    return parts(number)[1:]


@lru_cache
def parts(number: str) -> list[Section]:
    """What stands before the first heading of a notebook, then its sections."""
    entry = entries()[number]
    found: list[Section] = [Section(entry, "")]
    for cell in nbformat.read(entry.path, as_version=4).cells:
        if cell.cell_type == "code":
            if not is_hidden(cell):
                found[-1].code.append(cell)
            continue
        for position, part in enumerate(re.split(r"^(?=#{2,3} )", cell.source, flags=re.MULTILINE)):
            if position or part.startswith("##"):
                heading, _, part = part.partition("\n")
                found.append(Section(entry, heading.lstrip("# "), lead=part.strip()))
            found[-1].text += f"\n{part}"
    return found


def section(number: str, title: str) -> Section:
    found = [one for one in sections(number) if one.title == title]
    if not found:
        raise ValueError(f"workshop.toml: notebook {number} has no section {title!r} (any more)")
    return found[0]


def step(line: str) -> Step:
    """`Break | 15`, `00 | Now ask your own`, or `00 | exercise 2`."""
    left, _, right = (part.strip() for part in line.partition("|"))
    if right.isdecimal():
        return Step(left, int(right))
    if right.startswith("exercise "):
        number = right.removeprefix("exercise ")
        return Step(f"[{left}, {right}]({left}.md#exercise-{number})", EXERCISE[number])
    found = section(left, right)
    return Step(f"[{left} · {right}]({found.link})", found.minutes, found)


def notes(one: Section) -> dict[str, Any]:
    """What workshop.toml says to the teacher of this section."""
    said: dict[str, Any] = config()["notes"].get(one.entry.number, {}).get(one.title, {})
    return said


def used() -> dict[str, list[Section]]:
    """The notebooks of all paths with those of their sections that have a note or a place in a path."""
    in_paths = {id(one) for route in paths() for one in route.sections}
    every = {number: [one for one in sections(number) if notes(one) or id(one) in in_paths] for number in entries()}
    return {number: found for number, found in every.items() if found}


def path_page(route: Route) -> str:
    lines = [
        f"# {route.title}",
        "",
        route.summary,
        "",
        f"{NOT_TRIED} The minutes are an [estimate](index.md#minutes).",
        "",
    ]
    lines += ["After this, participants can", "", *(f"- {goal}" for goal in route.goals), ""]
    for number, day in enumerate(route.steps, 1):
        title, left = f"Day {number}" if len(route.steps) > 1 else "Plan", route.length - minutes(day)
        lines += [f"## {title}", "", *plan(day), ""]
        lines += [f"{minutes(day)} of {route.length} minutes are planned; {left} are left for questions.", ""]
    lines += ["## Modules to swap in", "", SWAP, "", *table_of_modules(route.modules), ""]
    for module in route.modules:
        lines += [f"### {module.title}", "", *plan(module.steps), ""]
    lines += [
        "## Slides",
        "",
        f"`make slides`, then open `build/slides/{route.file}.html`. Press S for the speaker's notes. The modules",
        "stand at the end.",
        "",
    ]
    return "\n".join(lines)


def plan(steps: Sequence[Step]) -> Iterator[str]:
    yield from ("| from minute | minutes | what |", "| ---: | ---: | --- |")
    for place, one in enumerate(steps):
        yield f"| {minutes(steps[:place])} | {one.minutes} | {one.text} |"


def table_of_modules(modules: Sequence[Module]) -> Iterator[str]:
    yield from ("| module | minutes | instead of | minutes | take it when |", "| --- | ---: | --- | ---: | --- |")
    for one in modules:
        given_up = "; ".join(re.sub(r"^\[(.*)\]\(.*$", r"\1", gone.text) for gone in one.replaced)
        name = f"[{one.title}](#{slug(one.title)})"
        yield f"| {name} | {minutes(one.steps)} | {given_up} | {minutes(one.replaced)} | {one.when} |"


def notebook_page(entry: Entry, chosen: Sequence[Section]) -> str:
    lines = [f"# Notes and answers for {entry.number} · {entry.title}", ""]
    lines += [f"Back to the [paths](index.md); the [notebook](../../notebooks/{entry.file}).", ""]
    goals = re.search(r"You will be able to\n\n(?:- .*\n)+", parts(entry.number)[0].text)
    lines += [f"**Goals.** In the words of the notebook: {goals[0]}"] if goals else []
    for one in chosen:
        lines += [f"## {one.title}", "", f"{one.minutes} minutes, cells of code: {len(one.code)}. {NOT_TRIED}", ""]
        said = notes(one)
        for name, label in (("say", "Say"), ("wrong", "What goes wrong")):
            if name in said:
                lines += [f"**{label}.** {said[name]}", ""]
        if "ask" in said:
            lines += ["**Ask.**", "", *(f"- {question}" for question in said["ask"]), ""]
    answers = import_module(f"semsearch_nb.teaching.answers.n{entry.number}").ANSWERS
    for name in sorted(answers, key=lambda name: (not name.startswith("quiz"), name)):
        title = name.capitalize() if name.startswith("quiz") else f"Exercise {name}"
        lines += [f"## {title}", "", *answer(entry, name, answers[name]), ""]
    return "\n".join(lines).rstrip() + "\n"


def answer(entry: Entry, name: str, wanted: Choice | Task) -> Iterator[str]:
    """What is right, why, and what the check says of answers that are likely and wrong."""
    if isinstance(wanted, Choice):
        yield from ("| answer | why |", "| --- | --- |", f"| **{wanted.right}** (right) | {cell(wanted.because)} |")
        yield from (f"| {letter} | {cell(why)} |" for letter, why in sorted(wanted.tempting.items()))
        return
    code = solution(entry, name)
    solved = f"[solutions](../../notebooks/solutions/{entry.solutions.name})"
    if code and code.count("\n") < 16:
        yield from (f"From the {solved}:", "", "```python", code, "```")
    else:
        yield f"The answer stands in the {solved}, which explain it."
    if isinstance(wanted.because, str) and wanted.because:
        yield from ("", f"Why: {wanted.because}")
    said = list(dict.fromkeys(hints(wanted.test)))
    if said:
        yield from (
            "",
            "What the check says of answers that are likely and wrong (… stands for what was answered):",
            "",
        )
        yield from (f"- {text}" for text in said)


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def solution(entry: Entry, name: str) -> str:
    """The last cell of code before the check that names the answer, else the last one, and what stands above the check
    in its own cell."""
    code = ""
    for one in nbformat.read(entry.solutions, as_version=4).cells:
        if one.cell_type != "code" or is_hidden(one):
            continue
        before, _, _ = one.source.partition("exercises.check(")
        if re.search(rf'check\(\s*"{entry.number}\.{name}"', one.source):
            return "\n\n".join(part for part in (code, before.strip()) if part)
        if before != one.source:
            code = ""
        elif "answer" in one.source or "answer" not in code:
            code = one.source
    return ""


def hints(function: Any, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """The sentences in the source of a check, and in the functions of its module that it calls."""
    try:
        tree = ast.parse(inspect.getsource(function).strip())
    except (OSError, SyntaxError, TypeError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node):
            node.body[0] = ast.Pass()
    inside_f = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside_f:
            text = node.value
        elif isinstance(node, ast.Name):
            other = getattr(function, "__globals__", {}).get(node.id)
            own = inspect.isfunction(other) and other.__module__ == function.__module__
            if own and other is not function and node.id not in seen:
                yield from hints(other, seen | {node.id})
            continue
        else:
            continue
        if len(text.split()) > 4:
            yield " ".join(text.split())


def table_of_paths() -> str:
    lines = ["| path | minutes planned | minutes there are | for whom |", "| --- | ---: | ---: | --- |"]
    for route in paths():
        planned = " + ".join(str(minutes(day)) for day in route.steps)
        given = " + ".join(str(route.length) for _ in route.steps)
        lines.append(f"| [{route.title}]({route.file}.md) | {planned} | {given} | {route.summary} |")
    return "\n".join(lines)


def list_of_notes() -> str:
    return "\n".join(f"- [{number} · {entries()[number].title}]({number}.md)" for number in used())


def pages() -> dict[Path, str]:
    """All that is generated, by file."""
    fresh = {KIT / f"{route.file}.md": path_page(route) for route in paths()}
    fresh |= {KIT / f"{number}.md": notebook_page(entries()[number], chosen) for number, chosen in used().items()}
    index = (KIT / "index.md").read_text(encoding="utf-8")
    return fresh | {KIT / "index.md": with_blocks(index, {"paths": table_of_paths(), "notes": list_of_notes()})}


def write(check: bool) -> list[str]:
    """Write what is generated; with `check` only name the files in which it is stale."""
    return [name for path, fresh in pages().items() for name in write_if_changed(path, fresh.encode(), check)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="?", choices=["pages", "slides", "wheelhouse"], default="pages")
    parser.add_argument("--check", action="store_true", help="change nothing, fail if a page is stale")
    parser.add_argument("--try", dest="attempt", action="store_true", help="install the wheelhouse without an index")
    options = parser.parse_args(arguments)
    if options.command == "slides":
        import slides

        return slides.main()
    if options.command == "wheelhouse":
        import wheelhouse

        return wheelhouse.main(check=options.attempt)
    try:
        stale = write(options.check)
    except ValueError as error:
        print(error)
        return 1
    for name in stale:
        print(f"{name}: {'stale, run make sync' if options.check else 'written'}")
    return int(options.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
