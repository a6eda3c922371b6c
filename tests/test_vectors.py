import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from semsearch_nb import exact
from semsearch_nb.vectors import Hits, as_texts, as_vectors, unit_rows


def test_what_is_right_already_is_not_copied():
    rows = np.eye(3, dtype=np.float32)
    assert as_vectors(rows, "rows") is rows
    assert unit_rows(rows, "rows") is rows


@pytest.mark.parametrize(
    "array",
    [[[1, 2], [3, 4]], np.array([[1, 2], [3, 4]], np.float64), torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
     np.array([[1, 2], [3, 4]], np.float32).T.copy().T],
    ids=["lists", "float64", "torch", "column-major"],
)  # fmt: skip
def test_other_arrays_become_contiguous_float32(array):
    rows = as_vectors(array, "rows")
    assert rows.dtype == np.float32 and rows.flags.c_contiguous
    assert rows.tolist() == [[1, 2], [3, 4]]


def test_columns_and_lists_of_vectors_become_matrices():
    rows = [np.arange(3.0), np.ones(3)]
    objects = np.empty(2, object)
    objects[:] = rows
    tensors = [torch.arange(3.0, requires_grad=True), torch.ones(3, dtype=torch.bfloat16)]
    for column in (objects, pd.Series(rows), pd.Series([list(row) for row in rows]), tensors, tuple(tensors)):
        assert as_vectors(column, "rows").tolist() == [[0, 1, 2], [1, 1, 1]]
    tensor = torch.ones(2, 3, dtype=torch.bfloat16, requires_grad=True)
    assert unit_rows(tensor, "rows").dtype == np.float32
    with pytest.raises(ValueError, match=r"rows holds vectors that np.stack\(rows\) cannot make one array of"):
        as_vectors(pd.Series([np.ones(2), np.ones(3)]), "rows")


def test_unit_rows_are_made_in_parts():
    rows = np.random.default_rng(0).normal(size=(40_000, 64)).astype(np.float32)
    tracemalloc.start()
    unit_rows(rows, "rows")
    assert tracemalloc.get_traced_memory()[1] < 1.4 * rows.nbytes  # the result, and little more
    tracemalloc.stop()


def test_unit_rows_survive_values_whose_squares_overflow_or_vanish():
    rows = unit_rows([[3e30, 4e30], [3e-30, 4e-30], [0.0, 1e-40]], "rows")
    assert np.allclose(rows, [[0.6, 0.8], [0.6, 0.8], [0, 1]], atol=1e-6)


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(1, 16)), elements=st.floats(0.5, 1000, width=32))
)
def test_unit_rows_have_length_one_and_keep_their_direction(array):
    rows = unit_rows(array, "rows")
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=2e-6)
    assert np.allclose(rows * np.linalg.norm(array, axis=1, keepdims=True), array, rtol=1e-4)


def test_a_length_that_is_nearly_one_is_not_one():
    assert unit_rows([[1.0001, 0.0], [0.0, 1.0]], "rows").tolist() == [[1, 0], [0, 1]]


def test_only_what_has_a_score_advises_another_one():
    with pytest.raises(ValueError, match=r"a zero vector has no direction: remove those rows$"):
        unit_rows([[1.0, 0.0], [0.0, 0.0]], "rows")
    with pytest.raises(ValueError, match=r"remove those rows, or search with score='dot'$"):
        exact.search([[1.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]])


def test_as_texts_takes_any_sequence_of_strings():
    assert as_texts(("a", "b")) == ["a", "b"]
    assert as_texts(np.array(["a", "b"])) == ["a", "b"]


def test_rows_of_any_length_become_hits_that_end_with_empty_places():
    hits = Hits.of_rows([([0.9, 0.5], [7, 3]), ([], [])], 3, "rows")
    assert hits.indices.tolist() == [[7, 3, -1], [-1, -1, -1]] and hits.indices.dtype == np.int64
    assert hits.scores.dtype == np.float32 and hits.found.tolist() == [[True, True, False], [False] * 3]
    named = Hits.of_rows([([0.9], ["a"])], 2, "ids", kind=object)
    assert named.indices.tolist() == [["a", None]] and named.holds == "ids"
    assert Hits.of_rows([], 2, "rows").scores.shape == (0, 2)


def test_what_hits_hold_is_known_of_their_parts_too():
    scores, numbers = torch.tensor([[0.9, 0.5], [0.8, 0.1]]), torch.tensor([[7, 3], [5, 4]])
    for holds in ("rows", "ids"):
        hits = Hits(scores, numbers, holds)
        for part in (hits.cut(1), hits.take([True, False]), hits.numpy(), hits.numpy().cut(1), hits.numpy().take([1])):
            assert part.holds == holds
