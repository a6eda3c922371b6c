"""The glossary: every link to it finds its heading, and every notebook that it names exists."""

import re
import string
from pathlib import Path

import manifest
import nbformat
import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
NOTEBOOKS = manifest.source_notebooks()
SECTIONS = dict(re.findall(r"^## (.+)\n\n(.+)$", PAGE, flags=re.MULTILINE))
LINK = re.compile(r"glossary\.md#([^)\s\"]+)")
PUNCTUATION = str.maketrans("", "", string.punctuation.replace("-", "").replace("_", ""))


def anchor(heading):
    """What GitHub makes of a heading: lower case, no punctuation, a hyphen for each space."""
    return heading.lower().translate(PUNCTUATION).replace(" ", "-")


ANCHORS = [anchor(term) for term in SECTIONS]


def test_anchors_are_made_as_on_github():
    assert [anchor(term) for term in ("Natural and stress", "Top-k", "nDCG", "Is it?")] == [
        "natural-and-stress",
        "top-k",
        "ndcg",
        "is-it",
    ]


def test_each_term_has_its_own_anchor_one_text_and_its_place():
    assert len(SECTIONS) == PAGE.count("\n## ")
    assert len(set(ANCHORS)) == len(ANCHORS)
    terms = [term.casefold() for term in SECTIONS]
    assert terms == sorted(terms)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_to_the_glossary_find_their_term(path):
    cells = nbformat.read(path, as_version=4).cells
    asked = {link for cell in cells for link in LINK.findall(cell.source)}
    assert asked <= set(ANCHORS)


def test_links_within_the_page_find_their_term():
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= set(ANCHORS)


@pytest.mark.parametrize("term", SECTIONS)
def test_a_term_is_explained_in_two_sentences_and_says_which_notebook_teaches_it(term):
    explained, number, file = re.fullmatch(
        r"(.+) Taught in \[notebook (\w+)\]\(\.\./notebooks/(.+)\)\.", SECTIONS[term]
    ).groups()
    assert len(re.findall(r"[.?!](?: |$)", explained)) <= 2
    assert file.startswith(f"{number}_")
    assert ROOT / "notebooks" / file in NOTEBOOKS
