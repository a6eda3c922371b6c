"""Certified search against sorting every score in float64, on corpora that were made to break it."""

import numpy as np
import pytest
import torch
from corpora import CORPORA, far_from_zero, random
from hypothesis import given, settings
from hypothesis import strategies as st

from semsearch_nb import exact
from semsearch_nb.exact import certified, first_pass, rows, top_k
from semsearch_nb.exact.prepared import GROUP

FIRST_PASSES = [name for name in first_pass.NAMES if first_pass.is_right(name, "cpu")]


def in_float64(rows, score):
    """As they are compared: of length 1 under cosine."""
    rows = rows.astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True) if score == "cosine" else rows


def assert_exact(queries, corpus, k, hits, score):
    """Every hit's score is right, none comes twice, and none is worse than the true k-th best."""
    queries, corpus = in_float64(queries, score), in_float64(corpus, score)
    query_lengths, lengths = np.linalg.norm(queries, axis=1), np.linalg.norm(corpus, axis=1)
    scores = queries @ corpus.T
    rounding = (corpus.shape[1] + 8) * 2.0**-23 * query_lengths[:, None]
    k = min(k, len(corpus))
    assert hits.indices.shape == hits.scores.shape == (len(queries), k)
    assert all(len(set(row)) == k for row in hits.indices.tolist())
    found = np.take_along_axis(scores, hits.indices, axis=1)
    assert (np.abs(found - hits.scores) <= rounding * lengths[hits.indices]).all()
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    truth = np.take_along_axis(scores, best, axis=1)
    allowed = rounding * np.maximum(lengths[hits.indices], lengths[best].max(axis=1, keepdims=True))
    assert (found >= truth[:, -1:] - allowed).all()
    assert (np.diff(hits.scores, axis=1) <= 0).all()


def many_tie(queries, corpus, k, score):
    """Whether more vectors lie within rounding of a query's k-th best than `search` looks at for a last place."""
    queries, corpus = in_float64(queries, score), in_float64(corpus, score)
    scores, k = queries @ corpus.T, min(k, len(corpus))
    largest = np.linalg.norm(queries, axis=1, keepdims=True) * np.linalg.norm(corpus, axis=1).max()
    near = np.abs(scores - np.sort(scores, axis=1)[:, -k, None]) <= 8 * (corpus.shape[1] + 64) * 2.0**-24 * largest
    return near.sum(axis=1).max() > certified.FEW * k


@pytest.mark.parametrize("name", FIRST_PASSES)
@settings(max_examples=120, deadline=None)
@given(
    make=st.sampled_from(CORPORA),
    n=st.sampled_from([1, 31, 32, 130, 700, 3_000]),
    dimension=st.sampled_from([2, 3, 17, 64, 384, 1_024]),
    k=st.sampled_from([1, 2, 10, 100, 5_000]),
    score=st.sampled_from(exact.SCORES),
    block=st.sampled_from([None, 32, 96, 1_000]),
    seed=st.integers(0, 2**32 - 1),
)
def test_never_a_wrong_neighbour(name, make, n, dimension, k, score, block, seed):
    generator = np.random.default_rng(seed)
    corpus = make(generator, n, dimension).astype(np.float32)
    queries = np.concatenate([corpus[:3], make(generator, 4, dimension)]).astype(np.float32)
    prepared = exact.prepare(corpus, score=score, first_pass=name)
    hits, report = exact.search_report(queries, prepared, k, precision="certified", block=block)
    assert report.precision == ("certified" if certified.fits(n, min(k, n)) else "float32")
    assert_exact(queries, corpus, k, hits, score)
    plain = exact.search(queries, corpus, k, score=score)
    assert_exact(queries, corpus, k, plain, score)
    if not many_tie(queries, corpus, k, score):
        assert np.array_equal(hits.indices, plain.indices) and np.array_equal(hits.scores, plain.scores)


def slack_and_error(prepared, queries):
    """What the bound allows for each pair beside its coarse score, and how wrong that is, in float64."""
    scan = certified.Scan(prepared, torch.from_numpy(queries))
    n = len(prepared)
    of_members = scan.multiply(scan.codes_of(0, n), scan.room(n)).double()
    s, t = 1 / prepared.bounds[0].double(), scan.scale.double()[:, None]
    coarse = of_members * (s * t)[:, :, None] + scan.offset.double()[:, None, None]
    slack = -(scan.factors[:, 1:].double() @ prepared.bounds[1:].double()) * s * t
    rows = prepared.rows(torch.arange(n)).double()
    exactly = torch.from_numpy(queries).double() @ rows.T
    error = exactly - coarse.reshape(len(queries), -1)[:, :n]
    return slack.repeat_interleave(GROUP, dim=1)[:, :n], error


def unit(rows):
    return (rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("name", [*FIRST_PASSES, "float32"])
@pytest.mark.parametrize("make", CORPORA)
@pytest.mark.parametrize("score", exact.SCORES)
@pytest.mark.parametrize("magnitude", [1, 1e-22, 1e-37, 1e30])
def test_the_bound_holds_for_every_vector(name, make, score, magnitude):
    """Not the hits but the bound itself: in exact arithmetic no score lies above it."""
    generator = np.random.default_rng(5)
    corpus = (make(generator, 330, 96) * magnitude).astype(np.float32)
    queries = unit(np.concatenate([corpus[:20], make(generator, 20, 96)]))
    slack, error = slack_and_error(exact.prepare(corpus, score=score, first_pass=name), queries)
    assert (error <= slack).all()
    if name in ("int8", "bfloat16"):
        assert (-error <= slack).all()  # it is symmetric
        # Not by being loose: an error comes within a small factor of it (the inequality is a worst case).
        if make is random:
            assert error.abs().max() > slack.max() / 40


@pytest.mark.parametrize("n_queries", [1, 2, 40])
@pytest.mark.parametrize("name", [*FIRST_PASSES, "float32"])
def test_what_float32_rounds_hides_no_hit(name, n_queries):
    """Sixty vectors whose scores differ in their last bits, in another order for every way of adding."""
    generator = np.random.default_rng(3)
    corpus = unit(generator.normal(size=(9_000, 384)))
    query = unit(generator.normal(size=(1, 384)))
    near = generator.choice(9_000, 60, replace=False)
    corpus[near] = unit(query + 0.01 * generator.normal(size=(1, 384)) + 1e-8 * generator.normal(size=(60, 384)))
    queries = np.repeat(query, n_queries, axis=0)
    scores = np.einsum("ij,ij->i", corpus, np.broadcast_to(query, corpus.shape))
    expected = np.lexsort((np.arange(len(corpus)), -scores))[:30]
    for searched in (corpus, exact.prepare(corpus, first_pass=name)):
        hits = exact.search(queries, searched, 30, precision="auto" if searched is corpus else "certified")
        assert (hits.indices == expected).all() and (hits.scores == scores[expected]).all()


@pytest.mark.parametrize("name", ["int8", "bfloat16"])
def test_the_bound_holds_where_squares_vanish(name):
    """The squares of 1e-28 are zero in float32, so the length of what a code leaves out is lost."""
    if name not in FIRST_PASSES:
        pytest.skip(f"no {name} here")
    generator = np.random.default_rng(4)
    corpus = (generator.normal(size=(320, 96)) * 1e-25).astype(np.float32)
    corpus[:32] = np.eye(32, 96)
    corpus[16:32] = -corpus[:16]  # so that the mean is not large
    slack, error = slack_and_error(
        exact.prepare(corpus, score="dot", first_pass=name), unit(generator.normal(size=(30, 96)))
    )
    assert (error.abs() <= slack).all()


@pytest.fixture
def scored(monkeypatch):
    """How many pairs are scored for themselves, a number for each call."""
    counts, pairs = [], certified.scores_of_pairs
    monkeypatch.setattr(
        certified, "scores_of_pairs", lambda *arguments: counts.append(len(arguments[2])) or pairs(*arguments)
    )
    return counts


@pytest.mark.parametrize("n_queries", [1, 300])
def test_a_corpus_of_equal_vectors_is_searched_by_products(scored, n_queries):
    """What all vectors share tells them not apart: the first k of them are scored for themselves, and few others."""
    generator = np.random.default_rng(5)
    corpus = np.repeat(unit(generator.normal(size=(1, 64))), 50_000, axis=0)
    corpus[40_000] = unit(generator.normal(size=(1, 64)))
    queries = unit(generator.normal(size=(n_queries, 64)) + 40 * corpus[0])
    for searched in (corpus, exact.prepare(corpus)):
        hits = exact.search(queries, searched, 5)
        assert (hits.indices == np.arange(5)).all() and np.ptp(hits.scores, axis=1).max() == 0
    assert sum(scored) < 2 * n_queries * 50_000 / 3


@pytest.mark.parametrize("n", [33, 480, 2_463])
def test_a_small_corpus_is_not_scored_pair_by_pair(scored, n):
    """Even where more hits are wanted than it has groups; and the last group is not full."""
    generator = np.random.default_rng(9)
    corpus, queries = generator.normal(size=(n, 48)), generator.normal(size=(50, 48))
    corpus[-1] = queries[0] = queries[1:].sum(axis=0)  # near to many: counted twice it would hide another
    k = min(100, n - 3)
    hits = exact.search(queries, corpus, k)
    assert_exact(queries, corpus, k, hits, "cosine")
    assert sum(scored) <= 50 * (min(2 * k, n) + k + 3)


def test_the_worst_case_of_the_bound_is_met():
    """Remainder and query in one direction: the Cauchy-Schwarz inequality holds with equality.

    Whoever leaves the remainder out of the bound skips the nearest vector, without giving the query up.
    """
    dimension, n = 64, 32 * 400
    generator = np.random.default_rng(0)
    corpus = np.zeros((n, dimension), np.float32)
    corpus[:, 1:] = generator.choice([-1, 0, 1], (n, dimension - 1), p=[0.05, 0.9, 0.05])  # rounded to themselves
    corpus[:, 0] = np.where(np.arange(n) % 2, 127, -127)  # the scale is 1, and the mean zero
    query = np.where(np.arange(dimension) < 1, 0, generator.choice([-1, 1], dimension)).astype(np.float32)[None]
    hidden = n - 7
    corpus[hidden, 1:] = 0.49 * query[0, 1:]  # rounded to 0: its coarse score is one of the middle
    corpus[::2] = -corpus[1::2]
    hits, report = exact.search_report(
        query, exact.prepare(corpus, score="dot", first_pass="int8"), 1, precision="certified"
    )
    assert hits.indices[0, 0] == hidden and report.n_float32 == 0 and report.survivors[0] < n / 64
    assert_exact(query, corpus, 1, hits, "dot")


def test_few_survive_on_vectors_like_those_of_models():
    generator = np.random.default_rng(1)
    for make in (random, far_from_zero):
        centres = make(generator, 400, 384)
        corpus = centres[generator.integers(0, 400, 20_000)] + 0.7 * generator.normal(size=(20_000, 384))
        queries = centres[:50] + 0.7 * generator.normal(size=(50, 384))
        hits, report = exact.search_report(queries, exact.prepare(corpus, first_pass="int8"), 10, precision="certified")
        assert report.n_float32 == 0 and report.survivors.mean() < 250
        assert_exact(queries, corpus, 10, hits, "cosine")


def test_a_query_that_cannot_be_told_apart_is_searched_in_float32():
    corpus = np.tile(np.eye(1, 16), (4_000, 1)).astype(np.float32)
    hits, report = exact.search_report(corpus[:3], exact.prepare(corpus, first_pass="int8"), 10, precision="certified")
    assert report.n_float32 == 3 and (report.survivors == 4_000).all()
    assert np.allclose(hits.scores, 1)


def test_only_the_queries_that_need_float32_get_it():
    generator = np.random.default_rng(2)
    same = np.tile(np.eye(1, 32), (3_000, 1))
    corpus = np.concatenate([same, generator.normal(size=(3_000, 32))]).astype(np.float32)
    queries = np.concatenate([same[:1], generator.normal(size=(3, 32))]).astype(np.float32)
    hits, report = exact.search_report(queries, exact.prepare(corpus, first_pass="int8"), 5, precision="certified")
    assert report.n_float32 == 1 and report.survivors[0] == 6_000 and report.survivors[1:].max() < 1_000
    assert_exact(queries, corpus, 5, hits, "cosine")


@pytest.mark.parametrize("name", FIRST_PASSES)
def test_saved_and_mapped_it_finds_the_same(name, tmp_path, recwarn):
    generator = np.random.default_rng(3)
    corpus, queries = generator.normal(size=(2_007, 48)), generator.normal(size=(9, 48))
    prepared = exact.prepare(corpus.astype(np.float32), first_pass=name)
    assert prepared.save(tmp_path / "new" / "corpus") == tmp_path / "new" / "corpus"
    again = exact.load(tmp_path / "new" / "corpus")
    one, other = (exact.search(queries, it, 7, precision="certified") for it in (prepared, again))
    assert np.array_equal(one.indices, other.indices) and np.array_equal(one.scores, other.scores)
    assert again.nbytes == prepared.nbytes and repr(again) == repr(prepared)
    assert not recwarn.list
    again.save(tmp_path / "new" / "corpus")  # over the files that it is mapped from
    assert exact.load(tmp_path / "new" / "corpus", verify=False).nbytes == prepared.nbytes
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["corpus"]
    exact.load(tmp_path / "new" / "corpus").vectors.zero_()  # in memory alone
    assert np.array_equal(exact.search(queries, exact.load(tmp_path / "new" / "corpus"), 7).indices, one.indices)


def test_vectors_in_bfloat16_are_saved_with_their_values(tmp_path):
    corpus = torch.randn(300, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    again = exact.load(exact.prepare(corpus).save(tmp_path / "corpus"))
    assert torch.equal(again.vectors, corpus.float())


def test_an_array_is_prepared_for_the_score_that_is_asked_for():
    generator = np.random.default_rng(3)
    corpus = generator.normal(size=(2_000, 16)) * generator.uniform(0.1, 10, (2_000, 1))
    for score in exact.SCORES:
        hits = exact.search(corpus[:5], corpus, 4, score=score, precision="certified")
        assert_exact(corpus[:5], corpus, 4, hits, score)
        plain, report = exact.search_report(corpus[:5], corpus, 4, score=score, precision="float32")
        assert np.array_equal(hits.indices, plain.indices)
        assert report.survivors.tolist() == [2_000] * 5 and report.n_float32 == 5


def test_a_memory_mapped_corpus_is_neither_copied_nor_changed(tmp_path, recwarn):
    corpus = np.random.default_rng(4).normal(size=(3_000, 24)).astype(np.float32)
    np.save(tmp_path / "corpus.npy", corpus)
    mapped = np.load(tmp_path / "corpus.npy", mmap_mode="r")
    prepared = exact.prepare(mapped)
    assert prepared.vectors.data_ptr() == mapped.ctypes.data
    assert_exact(corpus[:5], corpus, 10, exact.search(corpus[:5], prepared, 10, precision="certified"), "cosine")
    assert np.array_equal(mapped, corpus) and not recwarn.list


def test_bytes_are_about_a_quarter_of_the_vectors():
    corpus = np.random.default_rng(5).normal(size=(10_000, 384)).astype(np.float32)
    assert exact.prepare(corpus, first_pass="int8").nbytes < 0.27 * corpus.nbytes + 10_000 * 4


def test_torch_in_torch_out():
    corpus = torch.randn(500, 16, generator=torch.Generator().manual_seed(0))
    for it in (corpus, exact.prepare(corpus), corpus.bfloat16()):
        hits = exact.search(corpus[:3], it, 2)
        assert isinstance(hits.scores, torch.Tensor) and hits.indices[:, 0].tolist() == [0, 1, 2]
        assert isinstance(exact.search(corpus[:3].numpy(), it, 2).scores, np.ndarray)


def test_auto_is_float32_where_no_first_pass_gains(monkeypatch):
    monkeypatch.setattr(top_k, "gains", lambda device, n_queries: None if n_queries > 1 else "int8")
    monkeypatch.setattr(top_k, "CERTIFIED_FROM", 2_000)
    corpus = np.random.default_rng(6).normal(size=(2_000, 16))
    prepared = exact.prepare(corpus, first_pass="int8")
    assert exact.search_report(corpus[:2], prepared, 3)[1].precision == "float32"
    assert exact.search_report(corpus[:1], prepared, 3)[1].precision == "certified"
    monkeypatch.setattr(top_k, "gains", lambda device, n_queries: "int8")
    assert exact.search_report(corpus[:2], prepared, 3)[1].precision == "certified"
    assert exact.search_report(corpus[:2], exact.prepare(corpus[1:], first_pass="int8"), 3)[1].precision == "float32"
    assert exact.search_report(corpus[:2], prepared, 3, precision="certified")[1].precision == "certified"


def saturating(queries, codes, out):
    out.copy_((queries.float() @ codes.float()).clamp(-(2**15), 2**15 - 1))


def alike(generator, n, dimension):
    """Positive, so that the sums are as large as they get."""
    return np.abs(generator.normal(size=(n, dimension))).astype(np.float32)


@pytest.mark.parametrize("product", [saturating, None])
def test_a_product_that_is_wrong_or_missing_is_used_nowhere(monkeypatch, tmp_path, product):
    generator = np.random.default_rng(0)
    corpus, queries = alike(generator, 6_400, 384), alike(generator, 8, 384)
    truth, pairs = exact.search(queries, corpus), exact.mine(corpus, threshold=0.74)
    elsewhere = exact.prepare(corpus, first_pass="int8").save(tmp_path / "corpus")
    if product is None:
        monkeypatch.delattr(torch, "_int_mm")
    else:
        monkeypatch.setattr(torch, "_int_mm", product)
    assert not first_pass.is_right("int8", "cpu") and first_pass.verified("int8", "cpu", 392) is None
    for prepared in (exact.load(elsewhere), exact.prepare(corpus, first_pass="int8"), exact.prepare(corpus)):
        hits, report = exact.search_report(queries, prepared, precision="certified")
        assert np.array_equal(hits.indices, truth.indices) and report.first_pass != "int8"
        for found, true in zip(exact.mine(prepared, threshold=0.74), pairs, strict=True):
            assert len(true) and np.array_equal(found, true)


@pytest.mark.parametrize("shape", [lambda n, m: m > 4_096, lambda n, m: n == 1, lambda n, m: n > 512])
def test_a_product_that_is_wrong_in_some_shapes_only_is_refused(monkeypatch, shape):
    def wrong(queries, codes, out):
        out.copy_(queries.float() @ codes.float())
        if shape(queries.shape[0], codes.shape[1]):
            out.clamp_(-(2**15), 2**15 - 1)

    monkeypatch.setattr(torch, "_int_mm", wrong)
    monkeypatch.setattr(first_pass, "numkong", None)  # which would multiply one query in its place
    assert not first_pass.is_right("int8", "cpu", 384)


@pytest.mark.parametrize("installed", [True, False])
def test_the_int8_product_of_one_query_is_exact_with_numkong_and_without(monkeypatch, installed):
    if installed:
        pytest.importorskip("numkong", reason="the extra `numkong` is not installed")
    else:
        monkeypatch.setattr(first_pass, "numkong", None)
    codes = torch.from_numpy(np.random.default_rng(0).integers(-127, 128, (5_001, 392), dtype=np.int8))
    codes[:2] = 127
    product = first_pass.verified("int8", "cpu", 392)
    if product is None:
        pytest.skip("torch has no right int8 product here")
    for row in (0, 7):
        out = torch.empty((1, len(codes)), dtype=torch.int32)
        product.multiply(codes[[row]], codes, out)
        assert torch.equal(out[0].long(), (codes.long() @ codes[row].long()))


def test_one_query_is_certified_where_only_one_gains(monkeypatch):
    monkeypatch.setattr(first_pass, "_gains", lambda device, n_queries: "int8" if n_queries == 1 else None)
    assert first_pass.fastest("cpu") == first_pass.gains("cpu", 1) == "int8"
    assert first_pass.gains("cpu", 2) is None and first_pass.gains("cpu", 10_000) is None


def test_a_float32_product_is_one_whatever_the_user_allows():
    corpus = np.random.default_rng(0).normal(size=(3_000, 64)).astype(np.float32)
    before, of_bfloat16 = torch.get_float32_matmul_precision(), torch.backends.cuda.matmul
    reduced = of_bfloat16.allow_bf16_reduced_precision_reduction
    try:
        for allowed in ("medium", "highest"):
            torch.set_float32_matmul_precision(allowed)
            of_bfloat16.allow_bf16_reduced_precision_reduction = True
            with rows.full_precision():
                assert torch.get_float32_matmul_precision() == "highest"
                assert not of_bfloat16.allow_bf16_reduced_precision_reduction
            assert torch.get_float32_matmul_precision() == allowed
            assert of_bfloat16.allow_bf16_reduced_precision_reduction
        assert_exact(corpus[:4], corpus, 5, exact.search(corpus[:4], exact.prepare(corpus), 5), "cosine")
    finally:
        torch.set_float32_matmul_precision(before)
        of_bfloat16.allow_bf16_reduced_precision_reduction = reduced


def test_scores_beyond_float32_are_refused_here_too():
    corpus = np.full((400, 2), 2e38, np.float32)
    with pytest.raises(ValueError, match="exceed the range"):
        exact.search(corpus[:1], exact.prepare(corpus, score="dot"), 2, precision="certified")
