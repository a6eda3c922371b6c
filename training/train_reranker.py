"""Train the re-ranker that the package ships, from scratch.

    pip install -c constraints.txt -e ".[training]"
    SEMSEARCH_DATA_DIR=... python training/train_reranker.py

A cross-encoder that starts from the packaged MiniLM. Each example is a question with a relevant text
and hard negatives: what BM25, MiniLM and e5 together rank highest. The targets are logits: high for
the relevant text, low for the others, and among these higher for what the three retrievers like
(distillation). Two losses compare the model's logits with them: one over the list (ListNet, Cao et
al. 2007), which teaches the order, and one a text, which keeps logits comparable between questions.

Learned from: SQuAD (paragraphs, and single sentences), MedQuAD, PubMedQA, our own passages and
WordNet. Of all but WordNet every third article, topic or question is held out with its documents
(`Collection.split`), and the figures are measured on that part.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.util import batch_to_device
from torch import nn

from semsearch_nb import datasets, encoding, lexical, models, packaged_reranker, settings
from semsearch_nb.datasets import Collection, Document, Query, labelled, wordnet

SEED = 0
CHECKPOINTS = Path("build/training")
DEPTH = 30  # negatives come from the first 30 of the three retrievers together
RELEVANT, NEGATIVE = 3.0, -5.0  # target logits, before the retrievers' scores are added


@dataclass(frozen=True)
class Part:
    """How many questions of a set are learned from, with how many negatives each."""

    n_queries: int
    n_negatives: int
    teacher: float  # logits for a standard deviation of the retrievers' scores: more where judgements are sparse


PARTS = {
    "squad": Part(4_000, 5, 0.5),
    "sentences": Part(4_000, 5, 0.5),
    "passages": Part(1_000, 7, 0.5),
    "pubmedqa": Part(400, 4, 0.5),
    "medquad": Part(1_000, 4, 1.0),
    "wordnet": Part(3_000, 7, 1.0),
}


def collections() -> dict[str, Collection]:
    """The parts that are learned from."""
    data_dir = settings.current().data_dir
    if data_dir is None:
        raise SystemExit("set SEMSEARCH_DATA_DIR to a folder with squad/, medquad/ and pubmedqa/")
    public = labelled.available(data_dir)
    found = {name: public[name]().split()[0] for name in ("squad", "pubmedqa", "medquad")}
    found["sentences"] = sentences(data_dir / "squad" / "dev-v1.1.json", found["squad"])
    return found | {"passages": datasets.load("passages").split()[0], "wordnet": definitions()}


def sentences(file: Path, paragraphs: Collection) -> Collection:
    """The same questions, to be answered by one sentence: the one in which SQuAD marks the answer."""
    learned = {document.text for document in paragraphs.documents}
    documents: dict[str, Document] = {}
    queries, qrels = [], {}
    for article in json.loads(file.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            context = paragraph["context"]
            if context.strip() not in learned:
                continue
            spans = [match.span() for match in re.finditer(r".+?(?:[.!?](?=\s+[A-Z\"])|$)", context, re.DOTALL)]
            for start, end in spans:
                text = context[start:end].strip()
                documents.setdefault(text, Document(f"s{len(documents)}", text))
            for question in paragraph["qas"]:
                at = question["answers"][0]["answer_start"]
                start, end = next(span for span in spans if span[0] <= at < span[1])
                queries.append(Query(question["id"], question["question"]))
                qrels[question["id"]] = {documents[context[start:end].strip()].id: 1}
    return Collection("sentences", tuple(documents.values()), tuple(queries), qrels, paragraphs.source)


def definitions(n_documents: int = 20_000) -> Collection:
    """Questions for the meaning of a word, as people type them, among some definitions."""
    generator = np.random.default_rng(SEED)
    collection = wordnet.read(n_queries=1)
    drawn = sorted(generator.choice(len(collection.documents), n_documents, replace=False))
    documents = tuple(collection.documents[i] for i in drawn)
    asked = generator.choice(n_documents, PARTS["wordnet"].n_queries, replace=False)
    queries, qrels = [], {}
    for i in asked:
        word = str(generator.choice(documents[i].metadata["lemmas"]))
        query = Query(
            f"q{i}", str(generator.choice(["{}", "what is {}", "{} meaning", "what does {} mean?"])).format(word)
        )
        queries.append(query)
        qrels[query.id] = {d.id: 1 for d in documents if word in d.metadata["lemmas"]}
    return Collection("wordnet", documents, tuple(queries), qrels, collection.source)


def examples(collection: Collection, part: Part) -> Iterator[dict[str, Any]]:
    """Questions, each with a list of texts and their target logits, the relevant one first."""
    generator = np.random.default_rng(SEED)
    chosen = sorted(generator.permutation(len(collection.queries))[: part.n_queries])
    queries = [collection.queries[i] for i in chosen]
    if len(collection.documents) > 8_000 and collection.name != "wordnet":
        collection = collection.only(queries)
    texts, row_of = collection.document_texts, {id: row for row, id in enumerate(collection.document_ids)}
    scores = teacher([query.text for query in queries], texts)
    for query, row in zip(queries, scores, strict=True):
        relevant = [row_of[id] for id, grade in collection.qrels[query.id].items() if grade > 0]
        best = [i for i in np.argsort(-row)[: DEPTH + len(relevant)] if i not in relevant]
        weights = 1 / np.arange(3, len(best) + 3)  # the first ones more often
        drawn = generator.choice(best, part.n_negatives, replace=False, p=weights / weights.sum())
        positive = int(generator.choice(relevant))
        logits = [RELEVANT + part.teacher * row[positive], *(NEGATIVE + part.teacher * row[drawn])]
        yield {
            "query": query.text,
            "texts": [texts[positive], *(texts[i] for i in drawn)],
            "labels": [float(np.clip(logit, -6, 6)) for logit in logits],
        }


def teacher(queries: list[str], texts: list[str]) -> np.ndarray[Any, Any]:
    """The mean of three retrievers' scores, each in standard deviations from its mean over all texts."""
    total = np.zeros((len(queries), len(texts)), dtype=np.float32)
    scores = [lexical.BM25(texts).scores(queries)]
    for role in ("symmetric", "asymmetric"):
        model = models.load(role)
        scores.append(encoding.encode_queries(model, queries) @ encoding.encode_documents(model, texts).T)
    for each in scores:
        total += (each - each.mean(axis=1, keepdims=True)) / (each.std(axis=1, keepdims=True) + 1e-6)
    return total / len(scores)


class OrderAndLevel(nn.Module):
    """Cross-entropy with the targets, over the list and a text. Texts of a length are computed together."""

    def __init__(self, model: CrossEncoder, at_once: int = 16) -> None:
        super().__init__()
        self.model, self.at_once = model, at_once
        self.precision = encoding.resolve_precision("auto", model.device.type)

    def forward(self, inputs: list[Any], labels: list[torch.Tensor], **_: Any) -> torch.Tensor:
        queries, lists = inputs
        pairs = [(query, text) for query, texts in zip(queries, lists, strict=True) for text in texts]
        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][1]))
        logits = []
        for start in range(0, len(pairs), self.at_once):
            features = self.model.preprocess([pairs[i] for i in order[start : start + self.at_once]])
            with encoding.autocast(self.precision, self.model.device.type):
                logits.append(self.model(batch_to_device(features, self.model.device))["scores"])
        found = torch.cat(logits).view(-1).float()[torch.tensor(np.argsort(order))]
        targets = torch.cat(list(labels)).to(found)
        level = nn.functional.binary_cross_entropy_with_logits(found, targets.sigmoid())
        sizes = [len(texts) for texts in lists]
        lists_of = zip(found.split(sizes), targets.split(sizes), strict=True)
        orders = [nn.functional.cross_entropy(row, target.softmax(0)) for row, target in lists_of]
        return torch.stack(orders).mean() + level


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=packaged_reranker.WEIGHTS)
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--batch", type=int, default=8, help="questions in a batch")
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--limit", type=int, help="only so many examples, to try the script")
    options = parser.parse_args()
    torch.manual_seed(SEED)
    from datasets import Dataset  # the library; our own `datasets` is imported above

    learned = [row for name, collection in collections().items() for row in examples(collection, PARTS[name])]
    learned = [learned[i] for i in np.random.default_rng(SEED).permutation(len(learned))[: options.limit]]
    print(f"{len(learned):,} questions, {sum(len(row['texts']) for row in learned):,} pairs", flush=True)

    model = packaged_reranker.untrained(seed=SEED)
    network = model[0].auto_model
    network.bert.embeddings.word_embeddings.weight.requires_grad_(False)
    network.set_attn_implementation("eager")  # its backward pass is faster on a CPU
    started = time.perf_counter()
    trainer = CrossEncoderTrainer(
        model=model,
        args=CrossEncoderTrainingArguments(
            output_dir=str(CHECKPOINTS),
            num_train_epochs=options.epochs,
            per_device_train_batch_size=options.batch,
            learning_rate=options.rate,
            warmup_steps=0.05,
            lr_scheduler_type="linear",
            use_cpu=model.device.type == "cpu",
            seed=SEED,
            save_strategy="steps",
            save_steps=200,
            save_total_limit=1,
            logging_steps=50,
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(learned),
        loss=OrderAndLevel(model),
    )
    trainer.train(resume_from_checkpoint=any(CHECKPOINTS.glob("checkpoint-*")))  # goes on after a stop
    shutil.rmtree(CHECKPOINTS)
    packaged_reranker.write(model, options.output)
    print(f"trained in {(time.perf_counter() - started) / 60:.0f} minutes; wrote {options.output}")


if __name__ == "__main__":
    main()
