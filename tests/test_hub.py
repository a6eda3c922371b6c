"""Full data and hub models, with the real clients against a hub on loopback."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hub import COMMIT, serve

from semsearch_nb import models, packaged_minilm, packaged_reranker
from semsearch_nb.datasets import quora, wikipedia

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def hub():
    with serve() as server:
        yield server


@pytest.fixture
def client(tmp_path, hub):
    """Start a program in a process of its own, which knows no other hub and no other cache."""

    def start(program, **environment):
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "SEMSEARCH_"))}
        own = {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "SEMSEARCH_CACHE_DIR": str(tmp_path / "cache"),
            "NO_PROXY": "127.0.0.1",
        }
        return subprocess.Popen(
            [sys.executable, "-c", program],
            env=clean | own | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def run(client):
    """What a program prints; it must end well."""

    def to_the_end(program, **environment):
        process = client(program, **environment)
        out, err = process.communicate()
        assert process.returncode == 0, err
        return out

    return to_the_end


def parquet(columns, dictionary=True):
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table(columns), sink, use_dictionary=dictionary)
    return sink.getvalue().to_pybytes()


PAPERS = [
    {"title": "Trees", "abstract": "We parse.", "url": "D18-1001", "venue": "EMNLP", "year": "2018", "authors": []},
    {"title": "Silence", "abstract": "", "url": "D16-1001", "venue": "EMNLP", "year": "2016", "authors": []},
]
URL_FILE = json.dumps(PAPERS).encode() + b" " * 3_000_000  # longer than a block
TEXT = "April is a month.\n\nIt rains."
ARTICLES = {"id": ["7", "9"], "url": ["", ""], "title": ["April", "Rome"], "text": [TEXT, ""]}
PAIRS = {
    "sentence1": ["How old is Rome?", "How old is Rome?", "Who was Nero?"],
    "sentence2": ["What is the age of Rome?", "Who was Nero?", "When did it rain?"],
    "label": [1, 0, 0],
}
LOAD = """
from semsearch_nb import datasets, settings
settings.configure(data="full")
"""
QUESTIONS = LOAD + 'print(datasets.load("questions").query_texts)'
PASSAGES = LOAD + 'print([d.text for d in datasets.load("passages").documents[-1:]])'
ANSWER = "['How old is Rome?']\n"


@pytest.fixture
def quora_path(hub):
    repo, name = quora.HUB
    hub.files[f"datasets/{repo}"][name] = parquet(PAIRS)
    return f"datasets/{repo}/{name}"


def test_a_data_set_is_downloaded_once(hub, run, quora_path):
    assert run(QUESTIONS) == ANSWER
    assert len(hub.bodies(".parquet")) == 1
    assert run(QUESTIONS) == run(QUESTIONS, HF_HUB_OFFLINE="1") == ANSWER
    assert len(hub.bodies(".parquet")) == 1


def test_wikipedia_comes_from_the_hub_in_passages(hub, run):
    repo, name = wikipedia.HUB
    hub.files[f"datasets/{repo}"][name] = parquet(ARTICLES)
    assert run(PASSAGES) == f"{[TEXT]}\n"


def test_two_processes_download_once(hub, client, quora_path):
    both = [client(QUESTIONS) for _ in range(2)]
    assert [process.communicate()[0] for process in both] == [ANSWER] * 2
    assert len(hub.bodies(".parquet")) == 1


def test_a_body_that_is_cut_is_continued(hub, run, quora_path):
    # The client writes pieces of 10 MB, so that only a larger file has something to go on from.
    noise = pyarrow.array([os.urandom(8_000_000)] * 3)
    hub.files[f"datasets/{quora.HUB[0]}"][quora.HUB[1]] = parquet(PAIRS | {"noise": noise}, dictionary=False)
    hub.faults[quora_path] = ["cut"]
    assert run(QUESTIONS) == ANSWER
    assert [request.status for request in hub.bodies(".parquet")] == [200, 206]


def test_a_wrong_body_is_noticed_and_asked_for_again(hub, run, quora_path):
    hub.faults[quora_path] = ["wrong"]
    assert run(QUESTIONS) == ANSWER
    assert len(hub.bodies(".parquet")) == 2


def test_the_client_waits_when_the_hub_says_so(hub, run, quora_path):
    hub.faults[quora_path] = [429]
    assert run(QUESTIONS) == ANSWER
    assert [r.status for r in hub.requests if r.method == "GET" and r.path.endswith(".parquet")] == [429, 200]


FAILING = """
try:
    datasets.load({name!r})
except datasets.DatasetError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("faults", "environment", "words"),
    [
        (None, {}, "pair-class/train-00000-of-00001.parquet"),  # 404
        (["wrong"] * 2, {}, "another content than the hub's SHA-256"),
        ([], {"HF_HUB_OFFLINE": "1"}, "is not to be had"),
        ([], {"HF_ENDPOINT": "http://127.0.0.1:9"}, "is not to be had"),
    ],
    ids=["404", "wrong twice", "offline", "no network"],
)
def test_what_cannot_be_had_names_the_ways_to_go_on(faults, environment, words, hub, run, quora_path):
    if faults is None:
        hub.files.clear()
    else:
        hub.faults[quora_path] = faults
    message = run(LOAD + FAILING.format(name="questions"), **environment)
    assert words in message
    assert "Set SEMSEARCH_DATA_DIR to a folder with quora/quora_duplicate_questions.tsv" in message
    assert "data='sample'" in message


# Plain addresses


PLAIN = """
import os
from semsearch_nb import download
download.RETRIES = int(os.environ.get("RETRIES", download.RETRIES))
try:
    print(download.from_url(os.environ["URL"], sha256=os.environ.get("SHA256")).stat().st_size)
except download.DownloadError as error:
    print(error)
"""


@pytest.fixture
def url(hub):
    hub.files[""]["papers.json"] = URL_FILE
    return f"{hub.url}/papers.json"


def test_an_address_is_downloaded_once_by_two_processes_and_then_needs_no_network(hub, client, run, url):
    both = [client(PLAIN, URL=url) for _ in range(2)]
    assert [process.communicate()[0] for process in both] == [f"{len(URL_FILE)}\n"] * 2
    assert len(hub.requests) == 1
    run(PLAIN, URL=url, HF_HUB_OFFLINE="1")
    assert len(hub.requests) == 1


def test_a_cut_is_continued_and_too_many_requests_are_waited_for(hub, run, url):
    hub.faults["/papers.json"] = [429, "cut", 503]
    right = hashlib.sha256(URL_FILE).hexdigest()
    assert run(PLAIN, URL=url, SHA256=right) == f"{len(URL_FILE)}\n"
    assert [request.status for request in hub.requests] == [429, 200, 503, 206]


def test_a_process_that_was_killed_is_continued(hub, client, run, url, tmp_path):
    process = client(PLAIN.replace("try:", "download.tqdm.update = lambda bar, n: os._exit(9)\ntry:"), URL=url)
    process.communicate()
    assert process.returncode == 9
    (part,) = (tmp_path / "cache" / "downloads").glob("*.part")
    assert 0 < part.stat().st_size < len(URL_FILE)
    assert run(PLAIN, URL=url, SHA256=hashlib.sha256(URL_FILE).hexdigest()) == f"{len(URL_FILE)}\n"
    assert [request.status for request in hub.requests] == [200, 206]


def test_a_changed_file_is_not_continued(hub, run, url, tmp_path):
    hub.faults["/papers.json"] = ["cut", 404]
    assert "404" in run(PLAIN, URL=url)
    hub.files[""]["papers.json"] = b"{}" + URL_FILE
    assert run(PLAIN, URL=url) == f"{len(URL_FILE) + 2}\n"
    assert hub.requests[-1].status == 200


@pytest.mark.parametrize(
    ("faults", "environment", "words"),
    [
        ([404], {}, "404"),
        ([429] * 9, {"RETRIES": "1"}, "429"),
        ([], {"SHA256": "0" * 64}, "000000000000… is expected"),
        ([], {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE forbids"),
        ([], {"URL": "http://127.0.0.1:9/papers.json"}, "could not be downloaded"),
    ],
    ids=["404", "429 for ever", "another content", "offline", "no network"],
)
def test_an_address_that_fails_says_why_and_leaves_nothing(faults, environment, words, hub, run, url, tmp_path):
    hub.faults["/papers.json"] = faults
    assert words in run(PLAIN, **{"URL": url, **environment})
    assert not list((tmp_path / "cache" / "downloads").rglob("*.json"))


FETCH = f"""
from semsearch_nb import download
print(download.from_hub(*{quora.HUB!r}).stat().st_size, download.from_url(URL).stat().st_size, flush=True)
"""
AFTER_SETUP = f"""
import os, subprocess, sys
from semsearch_nb import hub_cache
hub_cache.use_packaged()
here, there = ({FETCH!r}.replace("URL", repr(os.environ["URL"] + end)) for end in ("", "?again"))
exec(here)
subprocess.run([sys.executable, "-c", there], check=True)
"""


def test_where_only_the_hub_is_out_of_reach_the_packaged_model_hinders_no_other_download(hub, run, url, quora_path):
    """In the process of the setup cell, and in one that it starts."""
    run(QUESTIONS)
    sizes = f"{len(hub.files[f'datasets/{quora.HUB[0]}'][quora.HUB[1]])} {len(URL_FILE)}\n"
    assert run(AFTER_SETUP, URL=url, HF_ENDPOINT="http://127.0.0.1:9") == sizes * 2
    assert [len(hub.bodies(end)) for end in (".parquet", "papers.json")] == [1, 2]


# Models


LOAD_MODELS = """
import json
import numpy as np
from semsearch_nb import configure, models, reranking
configure(data="full", models="hub", engine="torch", precision="float32")
text = "Paris is the capital of France."
vectors = {role: models.load(role).encode_document(text)[:4].tolist() for role in models.ROLES}
pair = reranking.rerank("What is the capital of France?", [text, "Cats purr."], models.load_reranker())
revisions = {models.identity(models.load(role)).revision for role in models.ROLES}
print(json.dumps([vectors, pair.scores.tolist(), sorted(revisions)]))
"""


@pytest.fixture
def hub_models(hub, tmp_path):
    """MiniLM under all names, and a cross-encoder made of it."""
    try:
        minilm = packaged_minilm.find()
    except models.PackagedModelError as error:
        pytest.skip(str(error))
    reranker = tmp_path / "reranker"
    packaged_reranker.untrained().save_pretrained(str(reranker))
    folders = {source.name: minilm for source in models.HUB.values()} | {models.HUB_RERANKER: reranker}
    for name, folder in folders.items():
        hub.files[name] = {str(f.relative_to(folder).as_posix()): f for f in folder.rglob("*") if f.is_file()}
    return hub


def test_every_role_loads_from_the_hub_once(hub_models, run):
    first = run(LOAD_MODELS)
    vectors, _, revisions = json.loads(first)
    expected = models.load("symmetric")
    for role, vector in vectors.items():
        prompt = models.HUB[role].prompts["document"]
        assert np.allclose(vector, expected.encode(prompt + "Paris is the capital of France.")[:4], atol=1e-5), role
    assert revisions == [COMMIT]
    weights = len({source.name for source in models.HUB.values()}) + 1
    assert len(hub_models.bodies(".safetensors")) == weights
    assert run(LOAD_MODELS) == first
    assert len(hub_models.bodies(".safetensors")) == weights
    before = len(hub_models.requests)
    assert run(LOAD_MODELS, HF_ENDPOINT="http://127.0.0.1:9") == first  # as with HF_HUB_OFFLINE=1
    assert len(hub_models.requests) == before


FAILING_MODELS = """
import json
from semsearch_nb import configure, models
configure(models="hub")
words = {}
for role in ("symmetric", "multilingual", "publications"):
    try:
        models.load(role)
    except OSError as error:
        words[role] = str(error)
print(json.dumps(words))
"""


def test_models_that_cannot_be_had_name_the_packaged_ones(hub_models, run, tmp_path):
    lacking, cut, wrong = (models.HUB[role].name for role in ("symmetric", "multilingual", "publications"))
    del hub_models.files[lacking]
    hub_models.faults[f"{cut}/model.safetensors"] = ["cut"] * 99
    hub_models.faults[f"{wrong}/model.safetensors"] = ["wrong"] * 99
    for name in (cut, wrong):
        hub_models.files[name]["model.safetensors"] = b"1" * 100
    words = json.loads(run(FAILING_MODELS))
    for name, message in zip((lacking, cut, wrong), words.values(), strict=True):
        assert f"{name} could not be loaded from the Hugging Face hub" in message
        assert 'configure(models="packaged")' in message
        assert ("arrived damaged; load it again" in message) == (name == wrong)
    assert not [file for file in (tmp_path / "hf").rglob(hub_models.sha256(b"1" * 100)) if file.is_file()]
    without = json.loads(run(FAILING_MODELS, HF_ENDPOINT="http://127.0.0.1:9"))
    assert all("check the network" in message for message in without.values())
