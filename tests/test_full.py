"""The original data sets: their layouts, how they are joined with our samples, passages of articles."""

from __future__ import annotations

import dataclasses
import gzip
import json

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semsearch_nb import datasets, download, settings
from semsearch_nb.datasets import Collection, DatasetError, Document, Query, emnlp, full, passages, quora, wikipedia

QUORA = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n0\t1\t2\tHow old is Rome?\tWhat is the age of Rome?\t1\n"
PAPERS = [
    {"title": "Parsing Trees", "abstract": "We parse.", "url": "D18-1001", "venue": "EMNLP", "year": "2018"},
    {"title": "Silence", "abstract": "", "url": "https://x.org/D16-1001/", "venue": "EMNLP", "year": "2016"},
    {"title": "Translation", "abstract": "We translate.", "url": "D17-1001", "venue": "EMNLP", "year": "2017"},
]
ARTICLES = [("1", "April", ["April is a month.", "It rains."]), ("2", "Empty", []), ("3", "Rome", ["A city."])]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The user's folder of original data; what is not there cannot be downloaded."""

    def refuse(*arguments, **options):
        raise download.DownloadError("there is no network")

    choice = dataclasses.replace(settings.current(), data="full", data_dir=tmp_path)
    monkeypatch.setattr(settings, "_current", choice)
    monkeypatch.setattr(download, "from_url", refuse)
    monkeypatch.setattr(download, "from_hub", refuse)
    for name in ("quora", "emnlp", "wikipedia/20231101.simple"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def write_parquet(file, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file


def write_wikipedia(folder, layout):
    if layout == "parquet":
        ids, titles, paragraphs = zip(*ARTICLES, strict=True)
        texts = ["\n\n".join(some) for some in paragraphs]
        return write_parquet(folder / "20231101.simple" / "train.parquet", id=ids, url=ids, title=titles, text=texts)
    file = folder / "simplewiki-2020-11-01.jsonl.gz"
    rows = [json.dumps({"id": i, "title": title, "paragraphs": some}) for i, title, some in ARTICLES]
    file.write_bytes(gzip.compress("\n".join(rows).encode()))
    return file


# Readers


def test_the_hub_s_pairs_are_the_collection_of_the_release(tmp_path):
    rows = [("How old is Rome?", "What is the age of Rome?", 1), (" Why? ", "How old is Rome?", 0), ("", None, 0)]
    one, other, label = zip(*rows, strict=True)
    collection = quora.read(write_parquet(tmp_path / "q.parquet", sentence1=one, sentence2=other, label=label))
    assert collection.query_texts == ["How old is Rome?"]
    assert collection.document_texts == ["What is the age of Rome?", "Why?"]
    assert collection.qrels == {"1": {"2": 1}}


def test_papers_keep_what_the_file_says_of_them(tmp_path):
    file = tmp_path / "papers.json"
    file.write_text(json.dumps(PAPERS))
    papers = emnlp.papers(file)
    assert [paper.id for paper in papers] == ["D18-1001", "D16-1001", "D17-1001"]
    assert papers[0] == Document("D18-1001", "We parse.", "Parsing Trees", papers[0].metadata)
    assert papers[0].metadata["year"] == 2018
    known = emnlp.known_items(file)
    assert known.query_texts == ["Parsing Trees", "Translation"]
    assert known.document_texts == ["We parse.", "We translate."]  # without the titles
    assert known.qrels == {"D18-1001": {"D18-1001": 1}, "D17-1001": {"D17-1001": 1}}


@pytest.mark.parametrize("layout", ["parquet", "jsonl.gz"])
def test_both_layouts_of_wikipedia_give_the_same_passages(tmp_path, layout):
    (tmp_path / "20231101.simple").mkdir()
    found = list(wikipedia.documents(write_wikipedia(tmp_path, layout)))
    assert [(d.id, d.title) for d in found] == [("wikipedia-1-1", "April"), ("wikipedia-3-1", "Rome")]
    assert found[0].text.split("\n")[0] == "April is a month."
    assert found[0].full_text.startswith("April. April is a month.")


MALFORMED = {
    "papers no list": (emnlp.papers, "p.json", b"{}", "not a JSON list of papers"),
    "paper no title": (emnlp.papers, "p.json", b'[{"abstract": ""}]', "paper 1: 'title' is missing"),
    "year": (emnlp.papers, "p.json", json.dumps([PAPERS[0] | {"year": "soon"}]).encode(), "'year' must be a year"),
    "paper twice": (emnlp.papers, "p.json", json.dumps(PAPERS[:1] * 2).encode(), "'D18-1001' occurs twice"),
    "no parquet": (quora.read, "q.parquet", b"text", "not a whole parquet file"),
    "no gzip": (lambda file: list(wikipedia.articles(file)), "w.jsonl.gz", b"text", "not a whole gzip file"),
    "no JSON": (lambda file: list(wikipedia.articles(file)), "w.jsonl.gz", gzip.compress(b"\n["), "line 2: not a JSON"),
    "no title": (lambda f: list(wikipedia.articles(f)), "w.gz", gzip.compress(b'{"paragraphs": ["a"]}'), "'title' is"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_errors_name_file_and_place(name, tmp_path):
    read, file, content, message = MALFORMED[name]
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        read(tmp_path / file)


def test_a_parquet_file_without_the_columns_is_named(tmp_path):
    with pytest.raises(DatasetError, match="the column 'sentence2' is missing"):
        quora.read(write_parquet(tmp_path / "q.parquet", sentence1=["a"], label=[1]))
    with pytest.raises(DatasetError, match="row 1: 'label' must be 0 or 1, not 7"):
        quora.read(write_parquet(tmp_path / "r.parquet", sentence1=["a"], sentence2=["b"], label=[7]))
    with pytest.raises(DatasetError, match=r"absent.parquet is missing"):
        quora.read(tmp_path / "absent.parquet")


# Joined with our samples


def test_quora_asks_its_own_questions_and_ours_in_other_languages(folder):
    (folder / "quora" / "quora_duplicate_questions.tsv").write_text(QUORA)
    sample = datasets.beir.read(datasets.SAMPLES / "questions")
    test, multilingual = datasets.load("questions"), datasets.load("questions", split="multilingual")
    assert test.query_texts == ["How old is Rome?"]
    assert all("cluster" in query.metadata for query in (*test.queries, *multilingual.queries))  # notebook 07 asks it
    assert test.documents == multilingual.documents
    assert len(test.documents) == 1 + len(sample.documents)
    assert {query.metadata["language"] for query in multilingual.queries} >= {"de", "zh"}


@pytest.mark.parametrize("layout", ["parquet", "jsonl.gz"])
def test_our_questions_are_asked_of_our_passages_and_wikipedia(folder, layout):
    write_wikipedia(folder / "wikipedia", layout)
    sample = datasets.beir.read(datasets.SAMPLES / "passages")
    collection = datasets.load("passages")
    assert collection.queries == sample.queries and collection.qrels == sample.qrels
    assert collection.documents[: len(sample.documents)] == sample.documents
    assert [document.title for document in collection.documents[len(sample.documents) :]] == ["April", "Rome"]
    assert collection.only(collection.queries).documents == sample.documents
    assert "Wikipedia" in collection.source


def test_a_paper_in_both_lists_is_one_with_our_id_and_the_authors_abstract(folder):
    (folder / "emnlp" / "emnlp2016-2018.json").write_text(json.dumps(PAPERS))
    ours = (
        Document("p1", "Our words on trees.", "Parsing trees", {"topic": "parsing", "year": 2018}),
        Document("p2", "Our words on silence.", "Silence"),
    )
    sample = Collection("publications", ours, (Query("q", "Forests"),), {"q": {"p1": 2, "p2": 1}}, "own")
    collection = full.join(sample, "test")
    assert [(d.id, d.text) for d in collection.documents] == [
        ("p1", "We parse."),
        ("p2", "Our words on silence."),
        ("D17-1001", "We translate."),
    ]
    assert collection.documents[0].metadata["topic"] == "parsing"
    assert collection.qrels == sample.qrels


def test_later_papers_ask_where_they_are(folder):
    assert full.later_papers() == ()
    (folder / "emnlp" / "emnlp2019.json").write_text(json.dumps(PAPERS))
    assert [(query.text, query.metadata["summary"]) for query in full.later_papers()] == [
        ("Parsing Trees", "We parse."),
        ("Translation", "We translate."),
    ]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("questions", "quora/quora_duplicate_questions.tsv"),
        ("passages", "wikipedia/simplewiki-2020-11-01.jsonl.gz"),
        ("publications", "emnlp/emnlp2016-2018.json"),
    ],
)
def test_without_file_and_network_the_ways_to_go_on_are_named(name, file, folder):
    if not (datasets.SAMPLES / name).is_dir():
        pytest.skip(f"there is no sample of {name}")
    with pytest.raises(DatasetError) as caught:
        datasets.load(name)
    assert f"Set SEMSEARCH_DATA_DIR to a folder with {file}, or go on with data='sample'" in str(caught.value)


def test_the_original_files_are_read(shared_data, monkeypatch):
    choice = dataclasses.replace(settings.current(), data="full", data_dir=shared_data)
    monkeypatch.setattr(settings, "_current", choice)
    assert len(datasets.load("questions").queries) == full.QUORA_QUERIES
    papers = emnlp.papers(full.emnlp_file())
    assert len(papers) == 1_136
    assert len(emnlp.known_items(full.emnlp_file()).queries) == sum(bool(paper.text) for paper in papers) == 872
    assert len(full.later_papers()) == 681


# Passages


def test_short_paragraphs_are_joined_and_long_ones_cut_at_sentences():
    short, long = "Two words.", "This sentence has six words here. " * 5
    assert passages.split(f"{short}\n{short}\n\n{short}", least=4, most=12) == [f"{short}\n{short}\n\n{short}"]
    assert [len(text.split()) for text in passages.split(long, least=4, most=13)] == [12, 12, 6]
    assert passages.split(f"{short}\n{long}", least=4, most=13)[0] == f"{short}\nThis sentence has six words here."
    assert passages.split("word " * 20, least=4, most=8) == [
        "word " * 7 + "word",
        "word " * 7 + "word",
        "word word word word",
    ]
    assert passages.split(" \n ") == []


WORDS = st.sampled_from(["a", "Rome", "end.", "Why?", '"Yes."', "\n", "\n\n", "x" * 30, "1.5", "…"])


@given(st.lists(WORDS, max_size=80).map(" ".join), st.integers(1, 12), st.integers(1, 20))
def test_passages_hold_every_word_once_and_in_order(text, least, most):
    found = passages.split(text, least, most)
    assert " ".join(found).split() == text.split()
    assert all(1 <= len(passage.split()) <= most for passage in found)
