"""What a user can get wrong, and what they are told: the argument, what was wrong, what to do."""

import numpy as np
import pytest

from semsearch_nb import benchmark, datasets, encoding, evaluation, exact, models, plots, settings
from semsearch_nb.lexical import BM25
from semsearch_nb.vectors import Hits

ROWS = np.eye(3, dtype=np.float32)
QRELS = {"q": {"d": 1}}


def with_value(value):
    rows = ROWS.copy()
    rows[1, 2] = value
    return rows


def symmetric():
    return models.load("symmetric")


CASES = {
    "one vector": (lambda: exact.search(ROWS[0], ROWS), ValueError, r"queries must have the shape.*queries\[None, :\]"),
    "three dimensions": (lambda: exact.search(ROWS, ROWS[None]), ValueError, r"corpus must have the shape \(n, dim"),
    "empty corpus": (lambda: exact.search(ROWS, ROWS[:0]), ValueError, r"corpus is empty.*at least one vector"),
    "empty queries": (lambda: exact.search([], ROWS), ValueError, r"queries must have the shape.*not \(0,\)"),
    "no columns": (lambda: exact.search(ROWS, np.ones((3, 0))), ValueError, r"corpus is empty: its shape is \(3, 0\)"),
    "NaN": (lambda: exact.search(ROWS, with_value(np.nan)), ValueError, r"corpus has NaN.*1 of 3 rows.*row 1; remove"),
    "infinity": (lambda: exact.search(with_value(np.inf), ROWS), ValueError, r"queries has NaN or infinite"),
    "too large": (lambda: exact.search(ROWS, ROWS.astype(float) * 1e39), ValueError, r"corpus has NaN or infinite"),
    "texts": (lambda: exact.search(["a question"], ROWS), TypeError, r"queries must be an array of numbers.*encode"),
    "objects": (lambda: exact.search(np.array([[None]]), ROWS), TypeError, r"queries must be an array of numbers"),
    "ragged": (
        lambda: exact.search([[1.0], [1.0, 2.0]], ROWS),
        ValueError,
        r"queries holds vectors that np.stack",
    ),
    "zeros": (lambda: exact.search(ROWS, ROWS * [[1], [0], [1]]), ValueError, r"corpus has 1 rows of zeros.*row 1"),
    "dimensions": (lambda: exact.search(ROWS, np.eye(4)), ValueError, r"queries have 3 dim.*corpus has 4.*same model"),
    "k = 0": (lambda: exact.search(ROWS, ROWS, k=0), ValueError, r"k must be at least 1, not 0"),
    "k = 2.5": (lambda: exact.search(ROWS, ROWS, k=2.5), TypeError, r"k must be a whole number, not 2.5"),
    "k = True": (lambda: exact.search(ROWS, ROWS, k=True), TypeError, r"k must be a whole number, not True"),
    "block": (lambda: exact.search(ROWS, ROWS, block=0), ValueError, r"block must be at least 1"),
    "device": (lambda: exact.search(ROWS, ROWS, device="gpu"), ValueError, r"device must be .*'cuda'.*not 'gpu'"),
    "prepared": (lambda: exact.prepare(exact.prepare(ROWS)), TypeError, r"corpus is prepared already; use it as it is"),
    "threshold": (
        lambda: exact.mine(ROWS, threshold="0.5"),
        TypeError,
        r"threshold must be a finite number, not '0.5'",
    ),
    "endless": (lambda: exact.mine(ROWS, threshold=np.nan), ValueError, r"threshold must be a finite number, not nan"),
    "score": (lambda: exact.search(ROWS, ROWS, score="l2"), ValueError, r"score must be one of .*'cosine'.*not 'l2'"),
    "role": (lambda: models.load("best"), ValueError, r"role must be one of 'symmetric'.*not 'best'"),
    "one text": (lambda: encoding.encode_queries(symmetric(), "text"), TypeError, r"list of strings.*pass \[text\]"),
    "no texts": (lambda: encoding.encode_documents(symmetric(), []), ValueError, r"texts is empty"),
    "a number as text": (
        lambda: encoding.encode_documents(symmetric(), ["a", 7]),
        TypeError,
        r"texts\[1\] must be a string, not int: 7",
    ),
    "kind": (lambda: encoding.encode(symmetric(), ["a"], "passage"), ValueError, r"kind must be 'query' or 'document'"),
    "batch size": (lambda: encoding.encode(symmetric(), ["a"], "query", batch_size=0), ValueError, r"batch_size must"),
    "precision": (lambda: encoding.resolve_precision("int4", "cpu"), ValueError, r"precision must be one of"),
    "engine": (
        lambda: encoding.resolve_engine("onnx", "cpu"),
        ValueError,
        r"engine must be one of .*not 'onnx'",
    ),
    "int8 in torch": (
        lambda: encoding.resolve_precision("int8", "cpu"),
        ValueError,
        r"int8 needs.*install",
    ),
    "float16 on a CPU": (lambda: encoding.resolve_precision("float16", "cpu"), ValueError, r"slower.*use 'bfloat16'"),
    "setting": (
        lambda: settings.from_environment({"SEMSEARCH_DATA": "ful"}),
        ValueError,
        r"SEMSEARCH_DATA must be one",
    ),
    "data folder": (
        lambda: settings.from_environment({"SEMSEARCH_DATA_DIR": "/no/such"}),
        ValueError,
        r"SEMSEARCH_DATA_DIR must be a folder that exists",
    ),
    "cache is a file": (
        lambda: settings.from_environment({"SEMSEARCH_CACHE_DIR": __file__}),
        ValueError,
        r"SEMSEARCH_CACHE_DIR must be a folder",
    ),
    "data set": (lambda: datasets.load("quora"), datasets.DatasetError, r"must be one of 'passages'.*with a slash"),
    "folder": (lambda: datasets.load("./no/such"), datasets.DatasetError, r"is not a folder"),
    "no such query": (lambda: datasets.load("passages").where(topic="golf"), datasets.DatasetError, r"topic='golf'"),
    "split": (lambda: datasets.load("questions", split="train"), datasets.DatasetError, r"no split 'train'"),
    "BM25 of one text": (lambda: BM25("text"), TypeError, r"list of strings"),
    "BM25 of no words": (lambda: BM25(["the", "..."]), ValueError, r"no words"),
    "language": (lambda: BM25(["a cat"], language="klingon"), ValueError, r"language must be None or one of"),
    "metric's k": (lambda: evaluation.ndcg_at_k({}, QRELS, k=0), ValueError, r"k must be at least 1"),
    "no qrels": (lambda: evaluation.ndcg_at_k({}, {}), ValueError, r"qrels is empty"),
    "a hit twice": (lambda: evaluation.mrr_at_k({"q": ["d", "d"]}, QRELS), ValueError, r"twice for the query 'q'"),
    "lengths": (lambda: evaluation.as_run(Hits(ROWS, np.zeros((3, 3), int)), ["q"], ["d"]), ValueError, r"3 rows"),
    "other documents": (
        lambda: evaluation.as_run(Hits(ROWS[:1, :1], np.array([[5]])), ["q"], ["d"]),
        ValueError,
        r"indices from 5 to 5 and document_ids has 1",
    ),
    "padding": (lambda: evaluation.as_run(Hits(ROWS[:1, :1], np.array([[-1]])), ["q"], ["d"]), ValueError, r"from -1"),
    "nothing to resample": (lambda: evaluation.bootstrap([]), ValueError, r"at least one"),
    "NaN to resample": (lambda: evaluation.bootstrap([1.0, np.nan]), ValueError, r"values must be finite"),
    "level": (lambda: evaluation.bootstrap([1.0], level=95), ValueError, r"level must lie between 0 and 1"),
    "unpaired": (lambda: evaluation.paired_bootstrap([1.0], [1.0, 2.0]), ValueError, r"one value for each query"),
    "repeat": (lambda: benchmark.time_call(lambda: None, repeat=0), ValueError, r"repeat must be at least 1"),
    "no alt text": (lambda: plots.show(None, alt=" "), ValueError, r"alt is empty"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_gets_a_clear_error(name):
    call, error, message = CASES[name]
    with pytest.raises(error, match=message):
        call()
