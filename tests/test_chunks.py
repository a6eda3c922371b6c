"""Own files as passages: reading, splitting, late chunking, and the measure by spans."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from semsearch_nb import chunks, datasets, encoding, models
from semsearch_nb.chunks import Answer, Chunk, Section, Source
from semsearch_nb.datasets import DatasetError, DatasetWarning, handbook
from semsearch_nb.vectors import Hits


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    return chunks.read_folder(handbook.FILES)


def made(text: str, name: str = "a.md", *sections: Section) -> Source:
    return Source(name, "Title", text, sections)


def read(folder: Path, name: str, text: str) -> Source:
    (folder / name).write_text(text, encoding="utf-8")
    return chunks.read_file(folder / name)


# ------------------------------------------------------------------------------------- reading


def test_markdown_keeps_headings_tables_and_code_and_drops_front_matter(tmp_path: Path) -> None:
    source = read(
        tmp_path,
        "loans.md",
        "---\ntitle: x\n---\n# Loans\nBefore.\n\n## How long\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n### Late\n\n"
        "```\n# no heading\n```\n\nTwo\n------\nLast *word*.\n",
    )
    assert source.title == "Loans"
    assert source.text.split("\n") == [
        "Loans",
        "Before.",
        "How long",
        "a | b",
        "1 | 2",
        "Late",
        "# no heading",
        "Two",
        "Last word.",
    ]
    paths = {source.text[part.start : part.end]: part.path for part in source.sections}
    assert paths == {
        "Before.": (),
        "a | b\n1 | 2": ("How long",),
        "# no heading": ("How long", "Late"),
        "Last word.": ("Two",),
    }


def test_html_takes_main_and_drops_what_stands_beside_it(tmp_path: Path) -> None:
    page = """<html><head><title>T</title><style>p {}</style></head><body><header>Top</header><nav>Menu</nav>
    <main><h1>Fees</h1>Loose <b>text</b><!-- hidden --><p>One<br>two<script>alert()</script></p><ul><li>a<li>b</ul>
    <a href="#"><h2>Inside a link</h2></a><table><tr><th>Kind<td><b>£</b>32<tr><th>Two<td>x</table>
    </main><footer>End</footer></body></html>"""
    source = read(tmp_path, "fees.html", page)
    assert source.text.split("\n") == [
        "Fees",
        "Loose text",
        "One two",
        "a",
        "b",
        "Inside a link",
        "Kind | £32",
        "Two | x",
    ]


def test_html_without_main_keeps_a_header_with_the_heading(tmp_path: Path) -> None:
    page = "<body><header><h1>Kiln</h1></header><p>Hot.</p><footer>Contact</footer><header>Search</header>"
    assert read(tmp_path, "kiln.htm", page).text == "Kiln\nHot."


def test_lines_that_many_pages_share_are_navigation(tmp_path: Path) -> None:
    for name in "abcd":
        page = f"<h1>Page {name}</h1><div>Home</div><p>Only {name}.</p><p>Common to two.</p>"
        (tmp_path / f"{name}.html").write_text(page.replace("<p>Common", "<p>Rare") if name > "b" else page)
    (tmp_path / "note.txt").write_text("Home\n")
    texts = {source.id: source.text for source in chunks.read_folder(tmp_path)}
    assert texts["a.html"] == "Page a\nOnly a.\nCommon to two."
    assert texts["note.txt"] == "Home"
    (tmp_path / "a.html").write_text("<h1>Page a</h1>" + "<p>Thrice on one page.</p>" * 3)
    assert chunks.read_folder(tmp_path)[0].text == "Page a" + "\nThrice on one page." * 3


def test_extracted_pages_lose_running_titles_and_join_words_and_paragraphs(tmp_path: Path) -> None:
    pages = (
        "Report 2024\n\nFIRE PLAN\n\nThe alarm does not call the bri-\ngade. Bring well-\nknown and\n\nPage 1\n\f"
        "Report 2024\n\nwell-known things.\n\n2 Drills\n\nTwice a year.\n\nPage 2\n\f"
    )
    source = read(tmp_path, "plan.txt", pages)
    assert source.text.split("\n") == [
        "FIRE PLAN",
        "The alarm does not call the brigade. Bring well-known and well-known things.",
        "2 Drills",
        "Twice a year.",
    ]
    assert [part.path for part in source.sections] == [(), ("2 Drills",)]


def test_a_heading_at_the_foot_of_a_page_is_a_heading(tmp_path: Path) -> None:
    source = read(tmp_path, "a.txt", "Head 1\n\nOne.\n\n3 Guests\n\fHead 2\n\nTwo guests.\n\f")
    assert [part.path for part in source.sections] == [(), ("3 Guests",)]


def test_plain_text_has_headings_in_capitals_or_underlined(tmp_path: Path) -> None:
    source = read(tmp_path, "notice-board.txt", "Typed up.\n\nPlaner\n------\nA bearing\nhas gone.\n\nWANTED\nJars.\n")
    assert (source.title, source.text) == ("Notice board", "Typed up.\nPlaner\nA bearing has gone.\nWANTED\nJars.")
    assert [part.path for part in source.sections] == [(), ("Planer",), ("WANTED",)]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.pdf", b"%PDF-1.7", "extract the text of a PDF first: pdftotext"),
        ("a.docx", b"PK", "neither Markdown, HTML nor text"),
        ("a.md", b"caf\xe9", "is not UTF-8 text"),
        ("a.txt", b"a\0b", "holds NUL characters"),
        ("a.txt", b" \n\n\f", "holds no text"),
        ("a.html", b"<nav>Home</nav><script>x</script>", "holds no text"),
    ],
)
def test_files_that_cannot_be_read_say_why(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=re.escape(said)):
        chunks.read_file(tmp_path / name)


def test_folders_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not a folder; pass the one that holds your files"):
        chunks.read_folder(tmp_path / "nothing")
    with pytest.raises(DatasetError, match="is missing"):
        chunks.read_file(tmp_path / "nothing.md")
    with pytest.raises(DatasetError, match=r"holds no text to read; files that end with \.md"):
        chunks.read_folder(tmp_path)
    (tmp_path / "deep.html").write_text("<div>" * 5_000 + "x")
    with pytest.raises(DatasetError, match="nests its elements too deeply"):
        chunks.read_folder(tmp_path)


def test_what_is_left_out_of_a_folder_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# A\nText.")
    (tmp_path / "b.PDF").write_bytes(b"%PDF")
    (tmp_path / ".hidden.md").write_text("x")
    with pytest.warns(DatasetWarning, match=r"1 files that are neither .*'b\.PDF'; extract the text of a PDF first"):
        assert [source.id for source in chunks.read_folder(tmp_path)] == ["a.md"]
    (tmp_path / "b.PDF").rename(tmp_path / "b.txt")
    (tmp_path / "b.txt").write_text("")
    with pytest.warns(DatasetWarning, match=r"1 files without any text, first 'b\.txt'"):
        assert len(chunks.read_folder(str(tmp_path))) == 1


def test_hidden_files_and_folders_are_not_looked_at(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    folder = tmp_path / ".mine"
    for name in ("notes.md", ".hidden.md", ".ipynb_checkpoints/notes-checkpoint.md", "a/.git/objects/x", ".git/HEAD"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("# Notes\nText.")
    assert [source.id for source in chunks.read_folder(folder)] == ["notes.md"]
    assert not recwarn.list


def test_byte_order_mark_and_windows_line_ends_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffOne\r\ntwo.\r\n\r\nThree.".encode())
    assert chunks.read_file(tmp_path / "a.txt").text == "One two.\nThree."


# ----------------------------------------------------------------------------------- splitting


def test_ways_to_split() -> None:
    text = "One two. Three four.\nFive six seven."
    source = made(text, "a.md", Section((), 0, 20), Section(("B",), 21, len(text)))

    def texts(way: chunks.Way) -> list[str]:
        return [piece.text for piece in chunks.split([source], way)]

    assert texts(chunks.whole) == [text]
    assert texts(chunks.by_section) == ["One two. Three four.", "Five six seven."]
    assert texts(lambda s: chunks.by_section(s, 2)) == ["One two.", "Three four.", "Five six", "seven."]
    assert texts(chunks.by_sentence) == ["One two.", "Three four.", "Five six seven."]
    assert texts(chunks.by_words) == [text]
    piece = chunks.split([source], chunks.by_section)[1]
    assert piece.headed == "Title. B. Five six seven."
    assert source.path_at(3) == () and made("x").path_at(0) == ()


def test_a_piece_that_begins_at_a_heading_stands_below_it(tmp_path: Path) -> None:
    source = read(tmp_path, "a.md", "# Title\n## A\nOne.\n## B\n### C\nTwo.\n## D\nThree.\n## E")
    paths = {text: source.path_at(source.text.index(text)) for text in source.text.split("\n")}
    assert paths == {
        "Title": (),
        **dict.fromkeys(["A", "One."], ("A",)),
        **dict.fromkeys(["B", "C", "Two."], ("B", "C")),
        **dict.fromkeys(["D", "Three."], ("D",)),
        "E": (),  # nothing stands below it
    }
    ways = (chunks.whole, chunks.by_section, lambda source: chunks.by_words(source, 1))
    whole, sections, lines = (chunks.split([source], way) for way in ways)
    assert whole[0].headed == f"Title. {source.text}"
    assert [piece.headed for piece in sections] == ["Title. A. One.", "Title. B. C. Two.", "Title. D. Three."]
    assert [piece.headed for piece in lines][2:4] == ["Title. A. One.", "Title. B. C. B"]


def test_windows_overlap_and_cover_the_text() -> None:
    tokenizer = models.load("symmetric").tokenizer
    text = "one two three four five six seven"
    spans = chunks.windows(text, tokenizer, 3, 1)
    assert [text[a:b] for a, b in spans] == ["one two three", "three four five", "five six seven"]
    assert chunks.windows(text, tokenizer, 100) == [(0, len(text))]
    assert chunks.windows("", tokenizer, 3) == []


def test_bad_ways_to_split_are_refused() -> None:
    tokenizer = models.load("symmetric").tokenizer
    with pytest.raises(ValueError, match="overlap must be a whole number from 0 to 2, less than size, not 3"):
        chunks.windows("a b", tokenizer, 3, 3)
    with pytest.raises(ValueError, match=r"overlap must be .* not True"):
        chunks.windows("a b", tokenizer, 3, True)
    with pytest.raises(TypeError, match="size must be a whole number"):
        chunks.windows("a b", tokenizer, 2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="most must be at least 1, not 0"):
        chunks.by_section(made("a"), 0)
    with pytest.raises(ValueError, match="least must not be more than most, and 9 is more than 3"):
        chunks.by_words(made("a"), 9, 3)
    for span in ((0, 9), (1, 1), (-1, 2)):
        with pytest.raises(ValueError, match=r"way gives the span .* of 'a\.md', whose text has 3"):
            chunks.split([made("abc")], lambda source, span=span: [span])
    with pytest.raises(ValueError, match="sources have no piece at all"):
        chunks.split([], chunks.whole)


def test_a_quotation_is_found_once_or_refused() -> None:
    source = made("The  kiln\nis hot. The saw is not. The saw")
    assert source.find("The kiln is hot.") == Answer("a.md", 0, 17)
    with pytest.raises(ValueError, match=r"a\.md: 'cold' stands there nowhere"):
        source.find("cold")
    with pytest.raises(ValueError, match="'The saw' stands there 2 times"):
        source.find("The saw")
    with pytest.raises(ValueError, match="stands there nowhere"):
        source.find(" ")


# ------------------------------------------------------------------------------- late chunking


def test_late_chunks_of_whole_texts_are_the_usual_vectors(sources: list[Source]) -> None:
    model = models.load("symmetric")
    short = [source for source in sources if len(source.text.split()) < 150]
    whole = chunks.split(short, chunks.whole)
    usual = encoding.encode_documents(model, [piece.text for piece in whole])
    # The usual mean holds the two special tokens too.
    assert (chunks.encode_late(model, whole) * usual).sum(axis=1).min() > 0.98


def test_late_chunks_are_means_of_their_own_tokens_also_in_parts(sources: list[Source]) -> None:
    model = models.load("symmetric")
    long = max(sources, key=lambda source: len(source.text))
    pieces = chunks.split([long], chunks.by_section)
    found = chunks.encode_late(model, pieces)
    assert found.shape == (len(pieces), 384) and np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    tokens = chunks.as_numpy(model.encode(long.text, output_value="token_embeddings"))
    encoded = model.tokenizer(long.text, return_offsets_mapping=True, truncation=True, max_length=model.max_seq_length)
    # The first part begins with the first piece, so another text was read; its vectors are near all the same.
    inside = [pieces[1].start <= a < b <= pieces[1].end for a, b in encoded["offset_mapping"]]
    by_hand = tokens[np.array(inside)].mean(axis=0)
    assert found[1] @ by_hand / np.linalg.norm(by_hand) > 0.9
    with pytest.raises(ValueError, match="pieces is empty; pass what split returns"):
        chunks.encode_late(model, [])
    blank = made("a" + " " * 9 + "b")
    with pytest.raises(ValueError, match=r"no token was read of characters 2 to 5 of 'a\.md'"):
        chunks.encode_late(model, [Chunk(blank, 0, 1), Chunk(blank, 2, 5)])


def test_a_token_belongs_to_one_piece_where_no_space_stands_between() -> None:
    model = models.load("symmetric")
    source = made("kiln,saw")
    found = chunks.encode_late(model, [Chunk(source, 0, 4), Chunk(source, 4, 5), Chunk(source, 5, 8)])
    tokens = chunks.as_numpy(model.encode(source.text, output_value="token_embeddings"))[1:-1]
    assert [source.text[a:b] for a, b in chunks.windows(source.text, model.tokenizer, 1)] == ["ki", "ln", ",", "saw"]
    assert np.allclose(found[1:], tokens[2:] / np.linalg.norm(tokens[2:], axis=1, keepdims=True), atol=1e-5)


def test_what_stands_around_a_text_counts_towards_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    model = models.load("symmetric")
    monkeypatch.setattr(model[0], "max_seq_length", 8)
    source = made("one two three four five six seven eight")
    pieces = [Chunk(source, match.start(), match.end()) for match in re.finditer(r"\w+", source.text)]
    assert chunks.encode_late(model, pieces).shape == (8, 384)  # in parts of six words and two special tokens


# ------------------------------------------------------------------------------------ measuring


def test_share_read_by_hand() -> None:
    source, other = made("one two three four five six"), made("seven eight", "b.md")
    answers = [Answer("a.md", 4, 13)]  # "two three"
    long, short = Chunk(source, 0, 27), Chunk(source, 4, 13)
    assert chunks.share_read([long], answers, 3) == 1
    assert chunks.share_read([long], answers, 2) == pytest.approx(3 / 9)  # "two"
    assert chunks.share_read([short], answers, 2) == 1  # the same words cost less
    assert chunks.share_read([Chunk(other, 0, 11), short], answers, 3) == pytest.approx(3 / 9)
    assert chunks.share_read([Chunk(source, 0, 7), Chunk(source, 8, 27)], answers, 3) == pytest.approx(8 / 9)
    assert chunks.share_read([long, long], [Answer("b.md", 0, 5)], 100) == 0
    assert chunks.share_read([long], [Answer("b.md", 0, 5), *answers], 3) == 1  # the best answer counts
    assert chunks.share_read([], answers, 3) == 0
    for bad in ([], [Answer("a.md", 4, 4)]):
        with pytest.raises(ValueError, match="answers must hold at least one place"):
            chunks.share_read([long], bad, 3)
    with pytest.raises(ValueError, match="words must be at least 1, not 0"):
        chunks.share_read([long], answers, 0)


def test_a_piece_holds_an_answer_or_a_share_of_it() -> None:
    piece = Chunk(made("0123456789"), 2, 6)
    assert piece.holds(Answer("a.md", 2, 6)) and not piece.holds(Answer("a.md", 4, 8))
    assert piece.holds(Answer("a.md", 4, 8), 0.5) and not piece.holds(Answer("b.md", 2, 6))


def test_each_source_is_shown_once() -> None:
    pieces = [Chunk(made("abc", name), 0, 3) for name in ("a", "a", "b", "c")]
    hits = Hits(np.array([[3.0, 2.0, 1.0, -np.inf]], np.float32), np.array([[1, 0, 2, -1]]))
    once = chunks.once_each(hits, pieces, k=2)
    assert once.indices.tolist() == [[1, 2]] and once.scores.tolist() == [[3.0, 1.0]]
    assert chunks.once_each(hits, pieces, k=1).indices.tolist() == [[1]]
    with pytest.raises(ValueError, match="hits must hold rows of the 1 pieces"):
        chunks.once_each(hits, pieces[:1])
    with pytest.raises(ValueError, match="hits must hold rows"):
        chunks.once_each(Hits(hits.scores, hits.indices, "ids"), pieces)


# ------------------------------------------------------------------------------------- handbook


def test_handbook_is_what_its_card_says(sources: list[Source]) -> None:
    card = (datasets.SAMPLES / "handbook" / "card.md").read_text(encoding="utf-8")
    promised = {name: int(n.replace(",", "")) for name, n in re.findall(r"^\| ([^|]+) \| ([\d,]+) \|$", card, re.M)}
    asked, pairs = handbook.questions(), handbook.pairs()
    kinds = Counter("pdf" if s.id.startswith("pdf") else s.id.rsplit(".", 1)[1] for s in sources)
    found_by = Counter(quote.found_by for item in asked for quote in item.answers)
    grades = Counter(pair.grade for pair in pairs)
    forms = Counter(item.query.metadata["form"] for item in asked)
    of_quotes = (sum(found_by.values()), found_by["writing"], found_by["reading"])
    counted = [
        *(len(sources), kinds["md"], kinds["html"], kinds["pdf"], kinds["txt"]),
        sum(len(source.text.split()) for source in sources),
        *(len(asked), forms["title"], forms["reader"], *of_quotes),
        sum(len({quote.document for quote in item.answers}) > 1 for item in asked),
        *(len(pairs), grades[2], grades[1], sum(pair.reason == "outdated" for pair in pairs)),
        len(handbook.unanswerable()),
    ]
    assert list(promised.values()) == counted


def test_every_answer_of_the_handbook_stands_where_it_should(sources: list[Source]) -> None:
    by_id = {source.id: source for source in sources}
    sections = chunks.split(sources, chunks.by_section)
    named = {(piece.source.id, " > ".join(piece.source.path_at(piece.start))): piece for piece in sections}
    assert len(named) == len(sections)
    two = {(pair.question, pair.document, pair.heading) for pair in handbook.pairs() if pair.grade == 2}
    assert {(document, heading) for _, document, heading in two} <= set(named)
    for item in handbook.questions():
        places = [by_id[quote.document].find(quote.text) for quote in item.answers]
        holding = {name for name, piece in named.items() if any(piece.holds(place, 0.5) for place in places)}
        assert holding == {(d, h) for question, d, h in two if question == item.query.id}, item.query.id


def test_menus_running_titles_and_divided_words_of_the_handbook_are_gone(sources: list[Source]) -> None:
    text = "\n".join(source.text for source in sources)
    for gone in ("We use one cookie", "Sign up for the newsletter", "Hire a room\nGetting here", "Sheet 1", "extin-"):
        assert gone not in text, gone
    assert "if you know which extinguisher to take" in text
