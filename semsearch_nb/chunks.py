"""From a folder of your own files to passages, and a measure by spans, which no chunk wins by its size.

    sources = chunks.read_folder("handbook")
    pieces = chunks.split(sources, chunks.by_section)
    texts = [piece.headed for piece in pieces]

A source keeps its text, its title and where its sections stand, so that a judgement is a place in the text and holds
for every way of splitting. Taught in notebook 12.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from bs4 import BeautifulSoup
from bs4.element import NavigableString, Tag
from markdown_it import MarkdownIt
from sentence_transformers import SentenceTransformer

from semsearch_nb.datasets import DatasetError, DatasetWarning, passages
from semsearch_nb.datasets.reading import text_file
from semsearch_nb.encoding.tokens import prompt
from semsearch_nb.vectors import FloatArray, Hits, as_count, as_numpy, unit_rows

Span = tuple[int, int]
Line = tuple[int, str]  # the level of a heading, 0 for other text; and the text, without line breaks at its ends

MARKDOWN, HTML, PLAIN = (".md", ".markdown"), (".html", ".htm"), (".txt", ".text")
# What a page shows beside its content; header and footer only outside <main>.
BESIDE = ("script", "style", "template", "noscript", "nav", "aside", "form", "button", "dialog", "svg", "iframe")
HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = "address article blockquote body center dd details div dl dt fieldset figcaption figure footer header hr li"
BLOCKS = {*HEADINGS, *_BLOCKS.split(), "main", "ol", "p", "pre", "section", "summary", "table", "tbody", "thead"}
BLOCKS |= {"tfoot", "caption", "tr", "ul"}
# A line of this share of the pages of a site, and of three of them at least, is navigation.
REPEATED, LEAST_PAGES = 1 / 3, 3
EDGE = 2  # lines at the top and the bottom of a printed page, among which running titles are looked for
LONGEST_HEADING = 80  # characters of a line in capitals, or with a number before it, that is still a heading
_NUMBERED = re.compile(r"(?:\d+(?:\.\d+)*|[A-Z])\.?\s+[A-Z\d][^.]*[^\W\d]")
_FRONT_MATTER = re.compile(r"\A---\n.*?\n(?:---|\.\.\.)\n", re.DOTALL)
_WORD = re.compile(r"\S+")


class Section(NamedTuple):
    """A part of a text below one heading: `text[start:end]`, without the heading itself.

    `path` holds the headings that stand above it, the outermost first, without the title of the document.
    """

    path: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Source:
    """A document as a reader sees it: no markup, no menu, no running titles. A paragraph or table row is a line."""

    id: str
    title: str
    text: str
    sections: tuple[Section, ...] = ()

    def path_at(self, start: int) -> tuple[str, ...]:
        """The headings above a place in the text; at a heading, those above the text that follows it."""
        if not start:  # the title, or text below no heading
            return ()
        return next((part.path for part in self.sections if start < part.end), ())

    def find(self, quote: str) -> Answer:
        """Where a quotation stands. Runs of white space count as one space.

        Raises:
            ValueError: it stands nowhere in the text, or twice.
        """
        words = quote.split()
        found = list(re.finditer(r"\s+".join(map(re.escape, words)), self.text)) if words else []
        if len(found) != 1:
            times = "nowhere" if not found else f"{len(found)} times"
            raise ValueError(f"{self.id}: {quote!r:.60} stands there {times}; quote what stands there once")
        return Answer(self.id, *found[0].span())


class Answer(NamedTuple):
    """A place that answers a question: the id of the source, and offsets in its text."""

    source: str
    start: int
    end: int


@dataclass(frozen=True)
class Chunk:
    """A piece of a source, `source.text[start:end]`."""

    source: Source
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    @property
    def headed(self) -> str:
        """The piece after the title of its document and the headings above it, which say what it is about."""
        return ". ".join((self.source.title, *self.source.path_at(self.start), self.text))

    def holds(self, answer: Answer, share: float = 1.0) -> bool:
        """Whether at least this share of the answer's characters stands in the piece."""
        if self.source.id != answer.source:
            return False
        return min(self.end, answer.end) - max(self.start, answer.start) >= share * (answer.end - answer.start)


# ------------------------------------------------------------------------------------- reading


def read_folder(folder: Path | str) -> list[Source]:
    """All Markdown, HTML and text files below a folder, sorted by path, which is their id.

    Lines that a third of the HTML pages (and three of them) have in common are navigation and left out, so that it
    does not matter whether a site marks its menu as one. Text with form feeds is taken for what `pdftotext` writes.
    Files and folders whose name begins with a dot, such as `.git`, are not looked at.

    Raises:
        DatasetError: no such folder, nothing in it that can be read, or a file that is not UTF-8 text.

    Warns:
        DatasetWarning: files of other kinds, and files without any text, were left out.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder; pass the one that holds your files")
    visible = (f for f in folder.rglob("*") if not any(part.startswith(".") for part in f.relative_to(folder).parts))
    files = sorted(file for file in visible if file.is_file())
    kinds = {file: kind for file in files if (kind := _kind(file))}
    if others := [file for file in files if file not in kinds]:
        _warn(folder, f"{len(others)} files that are neither Markdown, HTML nor text, first {others[0].name!r}", others)
    parsed = {file: _parse(file) for file in kinds}
    repeated = _repeated([lines for file, lines in parsed.items() if kinds[file] == "html"])
    sources = []
    for file, lines in parsed.items():
        kept = [line for line in lines if kinds[file] != "html" or line not in repeated]
        sources.append(_source(file.relative_to(folder).as_posix(), kept, file.stem))
    if blank := [source.id for source in sources if not source.text]:
        _warn(folder, f"{len(blank)} files without any text, first {blank[0]!r}")
    if not (found := [source for source in sources if source.text]):
        kinds_read = ", ".join((*MARKDOWN, *HTML, *PLAIN))
        raise DatasetError(f"{folder} holds no text to read; files that end with {kinds_read} are read")
    return found


def read_file(file: Path | str) -> Source:
    """One file, by the rules of its kind.

    Raises:
        DatasetError: it is missing, of another kind, not UTF-8, binary, or without any text.
    """
    file = Path(file)
    if not _kind(file):
        raise DatasetError(f"{file.name} is neither Markdown, HTML nor text{_remedy([file])}")
    source = _source(file.name, _parse(file), file.stem)
    if not source.text:
        raise DatasetError(f"{file} holds no text")
    return source


def _kind(file: Path) -> str:
    by_ending = {ending: kind for kind, of in (("md", MARKDOWN), ("html", HTML), ("txt", PLAIN)) for ending in of}
    return by_ending.get(file.suffix.lower(), "")


def _warn(folder: Path, what: str, files: Sequence[Path] = ()) -> None:
    warnings.warn(f"left out of {folder.name}: {what}{_remedy(files)}", DatasetWarning, stacklevel=3)


def _remedy(files: Sequence[Path]) -> str:
    some_pdf = any(file.suffix.lower() == ".pdf" for file in files)
    return "; extract the text of a PDF first: pdftotext FILE.pdf" if some_pdf else ""


def _parse(file: Path) -> list[Line]:
    """The lines of a file; its headings have a level."""
    text = text_file(file).removeprefix("\ufeff").replace("\r\n", "\n")
    if "\0" in text:
        raise DatasetError(f"{file} holds NUL characters, so it is no text; leave it out or convert it to UTF-8")
    kind = _kind(file)
    try:
        return {"md": markdown_lines, "html": html_lines, "txt": plain_lines}[kind](text)
    except RecursionError:
        raise DatasetError(f"{file} nests its elements too deeply to be read; repair the page") from None


def markdown_lines(text: str) -> list[Line]:
    """The lines of CommonMark with tables, without the block of settings (front matter) before it.

    >>> markdown_lines("# Loans\\n\\nFive *tools* at\\na time.")
    [(1, 'Loans'), (0, 'Five tools at a time.')]
    """
    return html_lines(MarkdownIt("commonmark").enable("table").render(_FRONT_MATTER.sub("", text)))


def html_lines(text: str) -> list[Line]:
    """The lines of a page: its `<main>` or first `<article>` where it has one, without menus, forms and scripts.

    >>> html_lines("<nav>Home</nav><h1>Fees</h1><table><tr><td>Full<td>£32</table>")
    [(1, 'Fees'), (0, 'Full | £32')]
    """
    soup = BeautifulSoup(text, "html.parser")
    for element in soup.find_all(BESIDE):
        element.decompose()
    root = soup.find("main") or soup.find("article")
    if root is None:
        root = soup.body or soup
        for element in root.find_all(["header", "footer"]):
            if not element.find("h1"):
                element.decompose()
    return [line for line in _walk(root) if line[1]]


def _walk(node: Any) -> Iterator[Line]:
    """Blocks in the order of the page; what stands between two of them is a line of its own."""
    inline = ""
    for child in node.children:
        block = isinstance(child, Tag) and (child.name in BLOCKS or child.find(list(BLOCKS)) is not None)
        if not block:
            if isinstance(child, Tag):
                inline += " " if child.name == "br" else child.get_text()
            elif type(child) is NavigableString:  # no comment, no doctype
                inline += child
            continue
        yield 0, _squeezed(inline)
        inline = ""
        if child.name in HEADINGS:
            yield HEADINGS[child.name], _squeezed(child.get_text(" "))
        elif child.name == "tr":
            yield from _rows(child)
        elif child.name == "pre":
            yield 0, child.get_text().strip("\n")
        else:
            yield from _walk(child)
    yield 0, _squeezed(inline)


def _rows(row: Tag) -> Iterator[Line]:
    """A row of a table as one line; where end tags are missing, as they may be, the next rows and cells stand in it."""
    cells: list[str] = []
    for node in row.descendants:
        if isinstance(node, Tag) and node.name == "tr":
            yield 0, " | ".join(map(_squeezed, cells))
            cells = []
        elif isinstance(node, Tag) and node.name in ("td", "th"):
            cells.append("")
        elif cells and isinstance(node, Tag) and node.name in {*BLOCKS, "br"}:
            cells[-1] += " "
        elif cells and type(node) is NavigableString:
            cells[-1] += node
    yield 0, " | ".join(map(_squeezed, cells))


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def _repeated(pages: Sequence[Sequence[Line]]) -> set[Line]:
    """Lines that are no headings and stand on many pages."""
    counts = Counter(line for lines in pages for line in set(lines) if not line[0])
    return {line for line, n in counts.items() if n >= max(LEAST_PAGES, REPEATED * len(pages))}


def plain_lines(text: str) -> list[Line]:
    """The paragraphs of plain text, or of what `pdftotext` makes of a PDF, which has a form feed after each page.

    Line ends within a paragraph become spaces, and words that were divided there are joined. A heading stands in
    capitals, is underlined, or is a paragraph of one short line with a number or letter before it. Running titles and
    page numbers, which most pages have at their top or bottom, are left out.

    >>> plain_lines("FEES\\nFull member-\\nship costs £32\\na month.")
    [(1, 'FEES'), (0, 'Full membership costs £32 a month.')]
    """
    body = _without_running_titles(text.split("\f")) if "\f" in text else text
    whole_words = set(re.findall(r"\w+-\w+", body))
    lines: list[Line] = []
    for block in re.split(r"\n\s*\n", body):
        rows = [row.strip() for row in block.split("\n") if row.strip()]
        while rows and (level := _level(rows)):
            lines.append((level if lines else 1, rows[0]))
            rows = rows[1 + _is_underline(rows[1:2]) :]
        if rows:
            lines.append((0, _joined(rows, whole_words)))
    return lines


def _level(rows: Sequence[str]) -> int:
    """That of the heading that the first row is; 0 where it is none."""
    first = rows[0]
    if len(first) > LONGEST_HEADING:
        return 0
    if _is_underline(rows[1:2]) or (first.isupper() and sum(map(str.isalpha, first)) > 1):
        return 2
    return 2 + first.split()[0].rstrip(".").count(".") if len(rows) == 1 and _NUMBERED.fullmatch(first) else 0


def _is_underline(rows: Sequence[str]) -> bool:
    return bool(rows) and len(rows[0]) > 2 and not rows[0].strip(rows[0][0]) and rows[0][0] in "=-~"


def _joined(rows: Sequence[str], whole_words: set[str]) -> str:
    """The rows of a paragraph as one line. "member-" and "ship" are one word. A hyphen stays where the text has the
    word with it elsewhere, or no small letter follows; that "two-" and "component" want one, nothing else tells."""
    text = rows[0]
    for row in rows[1:]:
        before, after = re.search(r"(\w+)-$", text), re.match(r"\w+", row)
        if before is None or after is None:
            text += " " + row
        elif after[0][0].islower() and f"{before[1]}-{after[0]}" not in whole_words:
            text = text[:-1] + row
        else:
            text += row
    return text


def _without_running_titles(pages: Sequence[str]) -> str:
    """The pages as one text. A paragraph that does not end at the end of its page goes on on the next one."""
    rows_of = [page.strip("\n").split("\n") for page in pages if page.strip()]
    edges = [{_without_numbers(row) for row in _edge(rows)} for rows in rows_of]
    counts = Counter(row for edge in edges for row in edge)
    running = {row for row, n in counts.items() if n > 1 and n >= len(rows_of) / 2}
    text = ""
    for rows in rows_of:
        at_edge = _edge(rows)
        kept = [row for row in rows if not (row in at_edge and _without_numbers(row) in running)]
        page = "\n".join(kept).strip("\n")
        last = text.rsplit("\n\n", 1)[-1].strip().split("\n")
        goes_on = text and not last[-1].endswith((".", "!", "?", ":")) and not _level(last)
        text += ("\n" if goes_on else "\n\n" if text else "") + page
    return text


def _edge(rows: Sequence[str]) -> list[str]:
    """The first and the last lines of a page that are not blank."""
    there = [row for row in rows if row.strip()]
    return [*there[:EDGE], *there[-EDGE:]]


def _without_numbers(row: str) -> str:
    return re.sub(r"\d+", "#", row.strip())


def _source(name: str, lines: Sequence[Line], stem: str) -> Source:
    """A source of lines. Its title is the first line where that is a heading, else made of the file's name."""
    titled = bool(lines) and lines[0][0] > 0
    title = lines[0][1] if titled else stem.replace("-", " ").replace("_", " ").capitalize()
    text, above, sections = "", [], []  # type: tuple[str, list[Line], list[Section]]
    for position, (level, line) in enumerate(lines):
        text += "\n" * bool(text)
        start, text = len(text), text + line
        if level and not (titled and position == 0):
            above = [heading for heading in above if heading[0] < level] + [(level, line)]
        path = tuple(heading for _, heading in above)
        if not level and sections and sections[-1].path == path and sections[-1].end == start - 1:
            sections[-1] = sections[-1]._replace(end=len(text))
        elif not level:
            sections.append(Section(path, start, len(text)))
    return Source(name, title, text, tuple(sections))


# ----------------------------------------------------------------------------------- splitting

Way = Callable[[Source], list[Span]]


def split(sources: Iterable[Source], way: Way) -> list[Chunk]:
    """The pieces of all sources, in their order.

    Args:
        way: from a source to spans of its text: `whole`, `by_section`, `by_words`, `by_sentence`, or your own, such as
            `lambda source: chunks.windows(source.text, tokenizer, 128, 32)`.

    Raises:
        ValueError: a span is empty or reaches past the text; or no source has any piece.
    """
    found = []
    for source in sources:
        for start, end in way(source):
            if not 0 <= start < end <= len(source.text):
                raise ValueError(f"way gives the span {start, end} of {source.id!r}, whose text has {len(source.text)}")
            found.append(Chunk(source, start, end))
    if not found:
        raise ValueError("sources have no piece at all; pass sources with text, and a way that finds spans in it")
    return found


def whole(source: Source) -> list[Span]:
    """The document in one piece."""
    return [(0, len(source.text))] if source.text else []


def by_section(source: Source, most: int = passages.MOST) -> list[Span]:
    """A piece for every section; one of more than `most` words in parts that end with a sentence.

    Raises:
        TypeError, ValueError: `most` is no whole number of at least 1.
    """
    found, most = [], as_count(most, "most")
    for _, start, end in _sections(source):
        found += [(start + a, start + b) for a, b in passages.spans(source.text[start:end], most, most)]
    return found


def by_words(source: Source, least: int = passages.LEAST, most: int = passages.MOST) -> list[Span]:
    """Whole sentences up to `most` words, with no regard to sections; see `datasets.passages.spans`.

    Raises:
        TypeError, ValueError: `least` or `most` is no whole number of at least 1, or `least` is more than `most`.
    """
    if as_count(least, "least") > as_count(most, "most"):
        raise ValueError(f"least must not be more than most, and {least} is more than {most}")
    return passages.spans(source.text, least, most)


def by_sentence(source: Source) -> list[Span]:
    """Every sentence, and every line that is none, such as the row of a table; no headings."""
    found = []
    for _, start, end in _sections(source):
        lines = re.sub(r"(?<=[.!?]) ", "\n", source.text[start:end])
        found += [(start + a, start + b) for a, b in passages.spans(lines, 1)]
    return found


def _sections(source: Source) -> tuple[Section, ...]:
    return source.sections or (Section((), 0, len(source.text)),)


def windows(text: str, tokenizer: Any, size: int, overlap: int = 0) -> list[Span]:
    """Windows of `size` tokens, each beginning with the last `overlap` ones of the window before.

    Args:
        tokenizer: a fast tokenizer of transformers, such as `model.tokenizer`.

    Raises:
        TypeError, ValueError: `size` is no whole number of at least 1, or `overlap` not between 0 and `size`.
    """
    size = as_count(size, "size")
    if isinstance(overlap, bool) or not isinstance(overlap, int) or not 0 <= overlap < size:
        raise ValueError(f"overlap must be a whole number from 0 to {size - 1}, less than size, not {overlap!r}")
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    offsets = encoded["offset_mapping"]
    starts = range(0, max(len(offsets) - overlap, 1), size - overlap) if offsets else ()
    return [(offsets[start][0], offsets[min(start + size, len(offsets)) - 1][1]) for start in starts]


# ------------------------------------------------------------------------------- late chunking


def encode_late(model: SentenceTransformer, pieces: Sequence[Chunk], *, batch_size: int = 8) -> FloatArray:
    """Late chunking (Günther et al., 2024): the whole text is read at once, and the vector of each piece is the mean
    of the vectors of its own tokens, which have seen what stands around them.

    A text that is longer than the model reads is read in parts of whole pieces. Pieces of one source must follow each
    other, as `split` gives them. Nothing is cached, and the model runs in torch.

    Returns:
        Unit vectors, float32, shape `(n_pieces, dimension)`.

    Raises:
        ValueError: no pieces, or one without a token within the limit of the model.
    """
    if not pieces:
        raise ValueError("pieces is empty; pass what split returns")
    before, limit = prompt(model, "document"), int(model.max_seq_length or 0)
    of_sources = [list(group) for _, group in groupby(pieces, key=lambda piece: piece.source.id)]
    parts = [part for of_one in of_sources for part in _parts(model, of_one)]
    texts = [before + part[0].source.text[part[0].start : max(piece.end for piece in part)] for part in parts]
    read = model.encode(texts, output_value="token_embeddings", batch_size=batch_size, show_progress_bar=False)
    rows = []
    for part, text, vectors in zip(parts, texts, read, strict=True):
        options = {"truncation": True, "max_length": limit} if limit else {}
        offsets = np.array(model.tokenizer(text, return_offsets_mapping=True, **options)["offset_mapping"])
        shift = len(before) - part[0].start
        for piece in part:
            inside = (offsets[:, 1] > piece.start + shift) & (offsets[:, 0] < piece.end + shift)
            inside &= offsets[:, 1] > offsets[:, 0]  # special tokens stand nowhere
            if not inside.any():
                place = f"characters {piece.start} to {piece.end} of {piece.source.id!r}"
                raise ValueError(f"no token was read of {place}; pass shorter pieces, with text in them")
            rows.append(as_numpy(vectors)[: len(offsets)][inside].mean(axis=0))
    return unit_rows(np.stack(rows).astype(np.float32), "vectors")


def _parts(model: SentenceTransformer, pieces: list[Chunk]) -> Iterator[list[Chunk]]:
    """The pieces of a source in as few runs as the model's limit allows."""
    text, limit = pieces[0].source.text, model.max_seq_length or 10**9
    some = len(model.tokenizer(prompt(model, "document"))["input_ids"])
    part: list[Chunk] = []
    for piece in pieces:
        if part:
            stretch = text[part[0].start : max(piece.end, part[-1].end)]
            if some + len(model.tokenizer(stretch, add_special_tokens=False, verbose=False)["input_ids"]) > limit:
                yield part
                part = []
        part.append(piece)
    yield part


# ------------------------------------------------------------------------------------ measuring


def once_each(hits: Hits, pieces: Sequence[Chunk], k: int = 10) -> Hits:
    """Each source once, at the place of its best piece: of every query the first `k`.

    Args:
        hits: rows of `pieces`; search for several times `k`, as many pieces of one source may be among them.

    Raises:
        ValueError: `hits` hold ids, or rows that `pieces` does not have.
    """
    hits, k = hits.numpy(), as_count(k, "k")
    if hits.holds != "rows" or (hits.indices.size and hits.indices.max() >= len(pieces)):
        raise ValueError(f"hits must hold rows of the {len(pieces)} pieces; pass the pieces that were searched")
    rows = []
    for scores, indices, found in zip(hits.scores, hits.indices, hits.found, strict=True):
        first = {pieces[row].source.id: place for place, row in reversed(list(enumerate(indices))) if found[place]}
        places = sorted(first.values())[:k]
        rows.append((scores[places], indices[places]))
    return Hits.of_rows(rows, k, "rows")


def share_read(shown: Iterable[Chunk], answers: Sequence[Answer], words: int) -> float:
    """How much of an answer stands in the first `words` words of what is shown: a share of its characters.

    A reader reads the pieces in their order, and stops after so many words, perhaps in the middle of a piece. So a
    long piece costs what it holds, and a piece that repeats another one costs again. Of several answers the one
    counts of which most was read.

    Raises:
        TypeError, ValueError: no answer, an empty one, or `words` that are no whole number of at least 1.
    """
    left = as_count(words, "words")
    if not answers or any(answer.end <= answer.start for answer in answers):
        raise ValueError("answers must hold at least one place, each with an end behind its start")
    read = [np.zeros(answer.end - answer.start, bool) for answer in answers]
    for piece in shown:
        ends = [match.end() for match in _WORD.finditer(piece.text)][:left]
        if not ends:
            continue
        stop, left = piece.start + ends[-1], left - len(ends)
        for answer, marks in zip(answers, read, strict=True):
            if answer.source == piece.source.id:
                marks[max(piece.start - answer.start, 0) : max(stop - answer.start, 0)] = True
        if not left:
            break
    return max(float(marks.mean()) for marks in read)
