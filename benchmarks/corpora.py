"""Corpora that were made to break a certified search, for its tests and for `exact_search.py --certify`."""

from typing import Any

import numpy as np

Vectors = np.ndarray[Any, np.dtype[np.float64]]


def random(generator: np.random.Generator, n: int, dimension: int) -> Vectors:
    return generator.normal(size=(n, dimension))


def clustered(generator: np.random.Generator, n: int, dimension: int) -> Vectors:
    centres = generator.normal(size=(5, dimension))
    return centres[generator.integers(0, 5, n)] + 0.01 * generator.normal(size=(n, dimension))


def duplicated(generator: np.random.Generator, n: int, dimension: int) -> Vectors:
    return generator.normal(size=(n // 10 + 1, dimension))[generator.integers(0, n // 10 + 1, n)]


def close(generator: np.random.Generator, n: int, dimension: int) -> Vectors:
    """All scores within a few units in the last place of float32 of each other."""
    return 1 + 1e-6 * generator.normal(size=(n, dimension))


def equal(generator: np.random.Generator, n: int, dimension: int) -> Vectors:
    return np.ones((n, 1)) * generator.normal(size=dimension)


def far_from_zero(generator: np.random.Generator, n: int, dimension: int) -> Vectors:
    """As e5's vectors: a common direction holds most of their length."""
    return 5 * generator.normal(size=dimension) + generator.normal(size=(n, dimension))


def outlier_dimension(generator: np.random.Generator, n: int, dimension: int) -> Vectors:
    corpus = generator.normal(size=(n, dimension))
    corpus[:, generator.integers(0, dimension)] *= 300
    return corpus


def outlier_values(generator: np.random.Generator, n: int, dimension: int) -> Vectors:
    corpus = generator.normal(size=(n, dimension))
    corpus[generator.random(corpus.shape) < 1e-3] *= 1e4
    return corpus


def unequal_lengths(generator: np.random.Generator, n: int, dimension: int) -> Vectors:
    return generator.normal(size=(n, dimension)) * np.exp(3 * generator.normal(size=(n, 1)))


def sparse(generator: np.random.Generator, n: int, dimension: int) -> Vectors:
    corpus = generator.normal(size=(n, dimension)) * (generator.random((n, dimension)) < 0.1)
    corpus[:, 0] += 1e-3
    return corpus


CORPORA = [
    random,
    clustered,
    duplicated,
    close,
    equal,
    far_from_zero,
    outlier_dimension,
    outlier_values,
    unequal_lengths,
    sparse,
]
