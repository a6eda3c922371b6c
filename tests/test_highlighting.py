import json

import numpy as np
import pytest

from semsearch_nb import highlighting, models, reranking


def parts(text):
    return [text[start:stop] for start, stop in highlighting.sentences(text)]


def test_sentences_end_where_a_reader_would_end_them():
    text = 'He said "Stop!" Nobody did. In 1905 (e.g. in Bern) A. Einstein wrote five papers.  3.5 km is far! Is it?'
    assert parts(text) == [
        'He said "Stop!"',
        "Nobody did.",
        "In 1905 (e.g. in Bern) A. Einstein wrote five papers.",
        "3.5 km is far!",
        "Is it?",
    ]


@pytest.mark.parametrize(
    ("text", "expected"), [("", []), ("  ", []), (" no end ", ["no end"]), ("One.\n\nTwo.", ["One.", "Two."])]
)
def test_edges(text, expected):
    assert parts(text) == expected


@pytest.mark.parametrize("load", [models.load_reranker, lambda: models.load("symmetric")])
def test_the_sentence_that_answers_is_marked(load):
    texts = [
        "The Nile is the longest river of Africa. Its water rose every summer and flooded the fields. "
        "Many temples stand on its banks.",
        "Chess is old. A game ends with checkmate.",
    ]
    spans = highlighting.answer_spans("At what time of the year did the water rise?", texts, load())
    assert texts[0][slice(*spans[0])].startswith("Its water rose")
    assert len(spans) == 2


def test_the_marked_sentence_holds_the_answer_of_unseen_articles(shared_data):
    """SQuAD marks the characters that answer; every third article was kept out of training."""
    articles = json.loads((shared_data / "squad" / "dev-v1.1.json").read_text(encoding="utf-8"))["data"][2::3]
    right, by_chance = [], []
    for article in articles:
        for paragraph in article["paragraphs"][::12]:
            for question in paragraph["qas"][:1]:
                text, at = paragraph["context"], question["answers"][0]["answer_start"]
                ((start, stop),) = highlighting.answer_spans(question["question"], [text], models.load_reranker())
                right.append(start <= at < stop)
                by_chance.append(1 / len(highlighting.sentences(text)))
    assert np.mean(right) > 0.7 > 2 * np.mean(by_chance)


def test_a_title_stands_before_each_sentence(monkeypatch):
    read = []

    def score(model, pairs, **options):
        read.extend(pairs)
        return np.arange(len(pairs))

    monkeypatch.setattr(reranking, "score", score)
    text = "It lies on the Weser. It trades in glass."
    assert highlighting.answer_spans("Where?", [text], None, titles=["Hameln"]) == [(22, 41)]
    assert read == [("Where?", "Hameln. It lies on the Weser."), ("Where?", "Hameln. It trades in glass.")]


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="titles are 1 and texts 2"):
        highlighting.answer_spans("?", ["One.", "Two."], models.load_reranker(), titles=["only one"])
    with pytest.raises(ValueError, match=r"texts\[1\] is blank"):
        highlighting.answer_spans("?", ["Something.", " "], models.load_reranker())
    with pytest.raises(TypeError):
        highlighting.answer_spans("?", "one text", models.load_reranker())
