"""The file of an evaluation's predictions: of each test text its figures, and its tokens one by one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from alambique.evaluation.measures import Metrics, Resampled
from alambique.evaluation.paired_bootstrap import weights
from alambique.softlabels import schema, topk
from alambique.tasks.classifiers.results import read_table, require_same, write_table
from alambique.tasks.transformers.text_metrics import TextFigures

RESULTS = "texts.arrow"


class TokenPredictions(NamedTuple):
    """A network's predictions of n tokens of a text.

    Attributes:
        truth: the tokens themselves, (n,).
        nats: −log p of each, (n,).
        correct: whether it was the likeliest, (n,); never where a logit is not finite.
        tokens: the k likeliest, descending, (n, k).
        log_probabilities: theirs, (n, k).
        log_remaining_mass: of all others together, (n,).
    """

    truth: NDArray[np.int32]
    nats: NDArray[np.float32]
    correct: NDArray[np.bool_]
    tokens: NDArray[np.int32]
    log_probabilities: NDArray[np.float16]
    log_remaining_mass: NDArray[np.float16]

    @property
    def topk(self) -> topk.TopK:
        """As `softlabels.topk` takes them."""
        columns = self.log_probabilities, self.tokens.astype(np.int64), self.log_remaining_mass
        return topk.TopK(*map(torch.from_numpy, columns))


class TextPredictions(NamedTuple):
    figures: TextFigures
    tokens: TokenPredictions


class Predictions(NamedTuple):
    """An evaluation's predictions.

    Attributes:
        texts: by name, in the order of the dataset.
        vocabulary: tokens that the network knows.
        tokenizer: digest of its tokenizer.
    """

    texts: dict[str, TextPredictions]
    vocabulary: int
    tokenizer: str


COLUMNS = ("sample", *(f"text_{name}" for name in TextFigures._fields), *TokenPredictions._fields)


def predictions(logits: NDArray[np.float32], truth: NDArray[np.int64], top_k: int) -> TokenPredictions:
    """The `top_k` likeliest tokens of each logits, (n, vocabulary), beside the true ones, (n,)."""
    log_probabilities, targets = torch.from_numpy(logits).float().log_softmax(-1), torch.from_numpy(truth)
    kept = topk.keep(log_probabilities, top_k)
    finite = log_probabilities.isfinite().all(-1)
    return TokenPredictions(
        truth.astype(np.int32),
        -log_probabilities.gather(-1, targets[:, None])[:, 0].numpy(),
        ((kept.indices[:, 0] == targets) & finite).numpy(),
        kept.indices.numpy().astype(np.int32),
        kept.values.numpy().astype(np.float16),
        kept.log_remaining_mass.numpy().astype(np.float16),
    )


def join(parts: Sequence[TokenPredictions]) -> TokenPredictions:
    columns: list[Any] = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return TokenPredictions(*columns)


def write(folder: Path, evaluation: Predictions) -> None:
    """Write texts.arrow, a row for each text."""
    texts = evaluation.texts.values()
    figures = [pa.array([text.figures[column] for text in texts]) for column in range(len(TextFigures._fields))]
    tokens = [_lists([text.tokens[column] for text in texts]) for column in range(len(TokenPredictions._fields))]
    table = pa.table([pa.array(evaluation.texts, pa.string()), *figures, *tokens], names=list(COLUMNS))
    metadata = {"vocabulary": str(evaluation.vocabulary), "tokenizer": evaluation.tokenizer}
    write_table(folder / RESULTS, table.replace_schema_metadata(metadata))


def read(folder: Path) -> Predictions:
    """The predictions in an evaluation's folder; IntegrityError if another version wrote them."""
    table = read_table(folder / RESULTS, COLUMNS).combine_chunks()
    figures = [table.column(f"text_{name}").to_pylist() for name in TextFigures._fields]
    columns = [schema.items(table.column(name).chunk(0)) for name in TokenPredictions._fields]
    offsets = table.column("truth").chunk(0).offsets.to_numpy()
    texts = {
        name: TextPredictions(
            TextFigures(*(column[row] for column in figures)),
            TokenPredictions(*(column[offsets[row] : offsets[row + 1]] for column in columns)),
        )
        for row, name in enumerate(table.column("sample").to_pylist())
    }
    metadata = table.schema.metadata
    return Predictions(texts, int(metadata[b"vocabulary"]), metadata[b"tokenizer"].decode())


def resample(folders: Sequence[Path]) -> Resampled:
    """Word accuracy of some evaluations, which may have different tokenizers; see `alambique.tasks.Task.resample`.

    The words of a text depend on each other, so that whole texts are drawn.
    """
    evaluations = [read(folder) for folder in folders]
    require_same(folders, [list(evaluation.texts) for evaluation in evaluations])
    figures = [[text.figures for text in evaluation.texts.values()] for evaluation in evaluations]
    words = np.array([[text.words for text in texts] for texts in figures], float)
    correct = np.array([[text.correct_words for text in texts] for texts in figures], float)
    count = words.shape[1]
    with np.errstate(invalid="ignore"):  # a resample without a word has no accuracy
        values = np.stack([(correct @ drawn) / (words @ drawn) for drawn in weights(count)], axis=1)
    return Resampled(values, count)


def divergence(target: Path, teacher: Path) -> Metrics:
    """kl, nats a token (see `topk.pairwise_kl`), and agreement: share of tokens with the same likeliest token.

    Returns:
        nothing where the two have different tokens.
    Raises:
        DataError: the evaluations are not of the same texts.
    """
    evaluation, reference = read(target), read(teacher)
    require_same((teacher, target), (list(reference.texts), list(evaluation.texts)))
    student, expected = (
        join([text.tokens for text in predictions.texts.values()]) for predictions in (evaluation, reference)
    )
    if evaluation.tokenizer != reference.tokenizer or not np.array_equal(student.truth, expected.truth):
        return {}
    kl = topk.pairwise_kl(expected.topk, student.topk, evaluation.vocabulary)
    agree = float((student.tokens[:, 0] == expected.tokens[:, 0]).mean())
    return {"kl": max(float(kl.mean()), 0.0), "agreement": agree}


def _lists(values: Sequence[NDArray[Any]]) -> pa.Array:
    number = pa.from_numpy_dtype(values[0].dtype)
    entry = pa.list_(number, values[0].shape[1]) if values[0].ndim > 1 else number
    return schema.list_column(values, pa.list_(entry))
