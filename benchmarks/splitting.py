"""Into what passages should articles be split? SQuAD's articles, split in several ways, with its questions.

    SEMSEARCH_DATA_DIR=... python benchmarks/splitting.py

Paragraphs of an article are joined, as Wikipedia has them, and split again. A passage is a hit where it
holds the whole answer, at the place that the question was written for. Long passages hold more, so
next to hit@1, hit@5 and MRR@10 stands what a reader of the first 300 words finds.
Writes benchmarks/results/splitting.{json,md}.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from semsearch_nb import chunks, encoding, exact, lexical, models, settings
from semsearch_nb.datasets import passages

RESULTS = Path(__file__).parent / "results"
DEPTH = 10
WORDS = 300


class Question(NamedTuple):
    text: str
    answer: chunks.Answer


def read(file: Path) -> tuple[list[chunks.Source], list[Question]]:
    """The articles, and the questions."""
    articles, questions = [], []
    for article in json.loads(file.read_text(encoding="utf-8"))["data"]:
        text = ""
        for paragraph in article["paragraphs"]:
            context = paragraph["context"].replace("\n", " ")
            text += "\n" * bool(text)
            for question in paragraph["qas"]:
                answer = question["answers"][0]
                start = len(text) + answer["answer_start"]
                place = chunks.Answer(str(len(articles)), start, start + len(answer["text"]))
                questions.append(Question(question["question"], place))
            text += context
        articles.append(chunks.Source(str(len(articles)), article["title"].replace("_", " "), text))
    return articles, questions


def of_tokens(size: int, overlap: int) -> chunks.Way:
    """Windows of so many tokens of MiniLM."""
    return lambda source: chunks.windows(source.text, models.load("symmetric").tokenizer, size, overlap)


def of_words(least: int, most: int) -> chunks.Way:
    return lambda source: chunks.by_words(source, least, most)


WAYS: dict[str, chunks.Way] = {
    "sentences": lambda source: passages.spans(source.text.replace(". ", ".\n"), least=1, most=10_000),
    "paragraphs": lambda source: [match.span() for match in re.finditer(r"[^\n]+", source.text)],
    "paragraphs, short ones joined: 60 to 160 words": of_words(60, 160),
    "paragraphs, short ones joined: 40 to 100 words": of_words(40, 100),
    "paragraphs, short ones joined: 100 to 180 words": of_words(100, 180),
    "windows of 128 tokens, 32 in common": of_tokens(128, 32),
    "windows of 200 tokens, 50 in common": of_tokens(200, 50),
}


def measure(indices: np.ndarray[Any, Any], holds: list[list[bool]], lengths: np.ndarray[Any, Any]) -> list[float]:
    """hit@1, hit@5, MRR@10, and the share of answers within the first words."""
    found = np.array(holds)
    first = np.where(found.any(axis=1), found.argmax(axis=1), DEPTH)
    shown = np.cumsum(lengths[indices], axis=1) <= WORDS
    return [
        float((first < 1).mean()),
        float((first < 5).mean()),
        float(np.where(first < DEPTH, 1 / (1 + first), 0).mean()),
        float((found & shown).any(axis=1).mean()),
    ]


def run(file: Path, step: int, roles: list[str]) -> Iterator[dict[str, Any]]:
    """A row of the report for every way to split, with and without title, and method."""
    articles, questions = read(file)
    questions = questions[::step]
    asked = [question.text for question in questions]
    for (name, split), titled in itertools.product(WAYS.items(), (False, True)):
        pieces = chunks.split(articles, split)
        documents = [piece.headed if titled else piece.text for piece in pieces]
        lengths = np.array([len(piece.text.split()) for piece in pieces])
        found = {"BM25": lexical.BM25(documents).search(asked, k=DEPTH).indices}
        for role in roles:
            model = models.load(role)
            corpus = encoding.encode_documents(model, documents)
            name_of_model = models.identity(model).name
            found[name_of_model] = exact.search(encoding.encode_queries(model, asked), corpus, k=DEPTH).indices
        cut = encoding.truncation(models.load("symmetric"), documents).share_of_texts
        for method, indices in found.items():
            holds = [[pieces[i].holds(q.answer) for i in row] for q, row in zip(questions, indices, strict=True)]
            yield {
                "way": name,
                "title": titled,
                "passages": len(pieces),
                "words": float(lengths.mean()),
                "cut": cut,
                "method": method,
                "measured": measure(indices, holds, lengths),
            }


def markdown(rows: list[dict[str, Any]], n_questions: int) -> str:
    lines = [
        "# Splitting articles into passages",
        "",
        f"`python benchmarks/splitting.py`, SQuAD, {n_questions:,} questions. A hit holds the whole answer. "
        f"Over the limit: passages of more tokens than MiniLM reads, with what stands before them. "
        f"In {WORDS} words: answers within the passages that a reader of so many words sees.",
    ]
    for method, titled in itertools.product(dict.fromkeys(row["method"] for row in rows), (False, True)):
        lines += ["", f"## {method}, {'title and passage' if titled else 'passage alone'}", ""]
        lines += [f"| way | passages | words | over the limit | hit@1 | hit@5 | MRR@10 | in {WORDS} words |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        for row in rows:
            if (row["method"], row["title"]) == (method, titled):
                figures = " | ".join(f"{value:.3f}" for value in row["measured"])
                lines.append(
                    f"| {row['way']} | {row['passages']:,} | {row['words']:.0f} | {row['cut']:.0%} | {figures} |"
                )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=4, help="ask every so many-th question")
    parser.add_argument("--roles", nargs="*", default=["symmetric", "asymmetric"], help="of the models; BM25 is always")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", encoding.TruncationWarning)
    folder = settings.current().data_dir
    if folder is None:
        raise SystemExit("set SEMSEARCH_DATA_DIR to a folder with squad/dev-v1.1.json")
    file = folder / "squad" / "dev-v1.1.json"
    rows = list(run(file, arguments.every, arguments.roles))
    n_questions = len(read(file)[1][:: arguments.every])
    RESULTS.mkdir(exist_ok=True)
    report = {"n_questions": n_questions, "rows": rows}
    (RESULTS / "splitting.json").write_text(json.dumps(report, indent=1) + "\n")
    (RESULTS / "splitting.md").write_text(markdown(rows, n_questions))
    print(markdown(rows, n_questions))


if __name__ == "__main__":
    main()
