"""What is right in the exercises and the quiz of notebook 00."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from sentence_transformers import SentenceTransformer

from semsearch_nb import encoding, exact
from semsearch_nb.datasets import Collection
from semsearch_nb.evaluation import ndcg_at_k
from semsearch_nb.lexical import BM25
from semsearch_nb.teaching.exercises import Choice, Task, number
from semsearch_nb.vectors import FloatArray

JELLYFISH = "Jellyfish"


def finds_jellyfish(
    answer: Any, *, model: SentenceTransformer, documents: FloatArray, index: BM25, passages: Collection
) -> str | None:
    """A hint unless the question finds the passage first and shares no word with it."""
    if not isinstance(answer, str) or not answer.strip():
        return "write the question as a string in quotation marks"
    titles = [document.title for document in passages.documents]
    wanted = titles.index(JELLYFISH)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # stop words alone are no query, and here each word is one
        shared = [word.strip(".,;:?!") for word in answer.split() if index.scores([word])[0, wanted] > 0]
    if shared:
        return f"the passage holds {', '.join(map(repr, shared))}; say the same in other words"
    first = int(exact.search(encoding.encode_queries(model, [answer]), documents, k=1).indices[0, 0])
    if first != wanted:
        return f"{titles[first]!r} comes first; describe what only a jellyfish is or does"
    return None


def only_model(answer: Any, *, runs: Mapping[str, Any], passages: Collection) -> str | None:
    """A hint unless the answer is the number of questions that only the model puts right."""
    qrels = passages.where(kind="natural").qrels
    by_words, by_model = (ndcg_at_k(run, qrels, k=1) > 0 for run in _in_order(runs))
    return number(
        answer,
        (by_model & ~by_words).sum(),
        0,
        "`values > 0` gives a truth value for each question; compare those of both methods",
        {
            "this counts all questions that the model puts right; BM25 puts most of these right too": by_model.sum(),
            "this is the other way round: BM25 is right and the model is not": (by_words & ~by_model).sum(),
            "this counts both ways round; keep those that the model puts right": (by_words != by_model).sum(),
        },
    )


def _in_order(runs: Mapping[str, Any]) -> Sequence[Any]:
    """The run of BM25, then that of the model."""
    return [run for _, run in sorted(runs.items(), key=lambda item: not item[0].startswith("BM25"))]


ANSWERS: dict[str, Choice | Task] = {
    "quiz 1": Choice(
        "b",
        "the stress questions were written to avoid the words of their answer, so they measure the missing words.",
        {
            "a": "tempting, because 0.04 is so low; but BM25 reached 0.83 on the natural questions. Compare how the "
            "two kinds were made",
            "c": "tempting, because both kinds ask about the same passages; but no user wrote the stress questions. "
            "Read again how they came about",
        },
    ),
    "quiz 2": Choice(
        "c",
        "an interval says what to expect of the mean when other questions of this kind are asked of these passages.",
        {
            "a": "tempting, because the means are far apart; but a mean says nothing about a single question. Count "
            "the questions that BM25 ranks better, printed above",
            "b": "tempting, because there are more than a thousand questions; but all of them are asked of the same "
            "480 passages. An interval knows nothing of passages that were not searched",
        },
    ),
    "1": Task(finds_jellyfish, because="the model found the passage although they share no word."),
    "2": Choice(
        "b",
        "to say 'no good match' takes a threshold, measured for the model. Notebook 07 sets one.",
        {
            "a": "tempting, because a passage with an elephant would score higher; that could explain which hits come, "
            "not that any come. What does a search do for a question that no passage is about?",
            "c": "tempting, because a model does make mistakes; but a model without any mistake would return three "
            "hits as well. Look at what k means",
        },
    ),
    "3": Task(only_model, because="now count the other way round: BM25 and the model miss different questions."),
}
