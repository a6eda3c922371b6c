"""Exact search: every query against every vector, the best k kept. Taught in notebooks 02 and 03.

`search` takes any matrix and computes every score in float32. A corpus that is searched more than
once is worth a `prepare`: the search then finds the same hits several times faster, from coarse
scores and a proof of which vectors need no better ones (`certified` has the proof). `mine` finds
the pairs within a corpus; `score_pairs` scores what another search found.

    rows → first_pass → prepared → certified → top_k → mining
"""

from semsearch_nb.exact.mining import Pairs, mine
from semsearch_nb.exact.prepared import SCORES, Prepared, load, prepare
from semsearch_nb.exact.top_k import PRECISIONS, Report, score_pairs, search, search_report

__all__ = [
    "PRECISIONS",
    "SCORES",
    "Pairs",
    "Prepared",
    "Report",
    "load",
    "mine",
    "prepare",
    "score_pairs",
    "search",
    "search_report",
]
