"""Slides of each path, from the cells that docs/workshop/workshop.toml names. Reveal.js comes from sphinx-revealjs."""

from __future__ import annotations

import html
import importlib.util
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from manifest import ROOT
from nbconvert.filters import markdown2html_mistune
from pages import as_image
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from workshop import NOT_TRIED, Route, Section, Step, minutes, notes, paths

BUILD = ROOT / "build" / "slides"
SCRIPTS = ("dist/reset.css", "dist/reveal.css", "dist/reveal.js", "dist/theme/white.css", "dist/theme/fonts")
SCRIPTS += ("plugin/notes", "LICENSE")
STYLE = """
.reveal { font-size: 26px; }
.reveal h1 { font-size: 1.9em; text-transform: none; }
.reveal h2 { font-size: 1.35em; text-transform: none; text-align: left; }
.reveal .slides section { text-align: left; }
.reveal pre { width: 100%; font-size: 0.66em; box-sizing: border-box;
  box-shadow: none; margin: 0.5em 0; padding: 0.6em; }
.reveal pre.code { background: #f3f3f5; white-space: pre-wrap; }
.reveal pre.output { border-left: 4px solid #1f5f99; white-space: pre-wrap; }
.reveal img { max-height: 540px; max-width: 100%; margin: 0.3em auto; display: block; }
.reveal table { font-size: 0.7em; }
.reveal :not(pre) > code { font-size: 0.85em; }
.reveal .from { font-size: 0.55em; color: #595959; }
"""


def outputs(cell: Any) -> Iterator[str]:
    """What a cell printed or drew; what needs a kernel or a script is left out."""
    for output in cell.outputs:
        data = output.get("data", {})
        if output.output_type == "stream":
            yield f'<pre class="output">{html.escape(output.text.rstrip())}</pre>'
        elif "image/png" in data:
            yield as_image(output)
        elif "text/plain" in data and "text/html" not in data:
            yield f'<pre class="output">{html.escape(data["text/plain"])}</pre>'


def slide(section: Section, wanted: str) -> str:
    """The inside of a slide: `ID`, `ID out` or `text`."""
    name, _, what = wanted.partition(" ")
    if name == "text":
        return offline(markdown2html_mistune(section.lead))
    cell = next((cell for cell in section.code if cell.id == name), None)
    if cell is None:
        raise ValueError(f"workshop.toml: {section.title!r} in notebook {section.entry.number} has no cell {name!r}")
    code = highlight(cell.source, PythonLexer(), HtmlFormatter(nowrap=True)).rstrip()
    shown = [] if what == "out" else [f'<pre class="code"><code>{code}</code></pre>']
    return "\n".join([*shown, *outputs(cell)])


def offline(text: str) -> str:
    """Links become their words: there is no network, and nobody follows a link on a wall."""
    return re.sub(r"<a [^>]*>(.*?)</a>", r"\1", text, flags=re.DOTALL).replace("¶", "")


def inline(text: str) -> str:
    """Markdown of one line as HTML without a paragraph."""
    return str(markdown2html_mistune(text)).strip().removeprefix("<p>").removesuffix("</p>")


def said(section: Section) -> str:
    """The speaker's notes."""
    note = notes(section)
    lines = [note.get("say", ""), f"Goes wrong: {note['wrong']}" if "wrong" in note else ""]
    lines += [f"Ask: {question}" for question in note.get("ask", [])]
    lines.append(f"{section.minutes} minutes, not yet tried with a class.")
    return '<aside class="notes">' + "".join(f"<p>{html.escape(line)}</p>" for line in lines if line) + "</aside>"


def slides_of(steps: Sequence[Step]) -> Iterator[str]:
    for step in steps:
        section = step.section
        if section is None:
            if "](" not in step.text:  # an exercise is done in the notebook
                yield f"<section><h2>{inline(step.text)}</h2><p>{step.minutes} minutes</p></section>"
            continue
        source = f'<p class="from">notebook {section.entry.number}</p>'
        for wanted in notes(section).get("slides", []):
            inside = slide(section, wanted)
            yield f"<section><h2>{inline(section.title)}</h2>\n{inside}\n{source}{said(section)}</section>"


def deck(route: Route) -> str:
    """The page of a path."""
    goals = "".join(f"<li>{html.escape(goal)}</li>" for goal in route.goals)
    tried = NOT_TRIED.strip("*")
    slides = [
        f"<section><h1>{html.escape(route.title)}</h1><p>{html.escape(route.summary)}</p></section>",
        f'<section><h2>Afterwards you can</h2><ul>{goals}</ul><aside class="notes">{tried}</aside></section>',
    ]
    slides += [one for day in route.steps for one in slides_of(day)]
    for module in route.modules:
        slides.append(
            f"<section><h2>Module: {inline(module.title)}</h2><p>{minutes(module.steps)} minutes</p></section>"
        )
        slides += slides_of(module.steps)
    colours = HtmlFormatter().get_style_defs(".reveal pre.code")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(route.title)}</title>
<link rel="stylesheet" href="reveal/dist/reset.css">
<link rel="stylesheet" href="reveal/dist/reveal.css">
<link rel="stylesheet" href="reveal/dist/theme/white.css">
<style>{STYLE}{colours}</style>
</head>
<body>
<div class="reveal"><div class="slides">
{chr(10).join(slides)}
</div></div>
<script src="reveal/dist/reveal.js"></script>
<script src="reveal/plugin/notes/notes.js"></script>
<script>Reveal.initialize({{hash: true, width: 1100, height: 720, slideNumber: true, plugins: [RevealNotes]}});</script>
</body>
</html>
"""


def reveal() -> Path:
    """The folder of reveal.js in the installed package, which need not be imported for it."""
    found = importlib.util.find_spec("sphinx_revealjs")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("sphinx-revealjs is missing, which holds reveal.js: make slides installs it")
    return Path(next(iter(found.submodule_search_locations))) / "_static" / "revealjs"


def main() -> int:
    """Write every deck, and what it loads, into build/slides."""
    start = time.perf_counter()
    shutil.rmtree(BUILD, ignore_errors=True)
    for name in SCRIPTS:
        source, target = reveal() / name, BUILD / "reveal" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    for route in paths():
        text = deck(route)
        (BUILD / f"{route.file}.html").write_text(text, encoding="utf-8")
        print(f"build/slides/{route.file}.html: {text.count('<section>')} slides, {len(text) / 1e6:.1f} MB")
    size = sum(path.stat().st_size for path in BUILD.rglob("*") if path.is_file()) / 1e6
    print(f"{size:.1f} MB in {time.perf_counter() - start:.1f} s")
    return 0
