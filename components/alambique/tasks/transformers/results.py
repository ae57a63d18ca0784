"""What an evaluation keeps of each test sequence: how it was foretold, token by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from alambique.errors import DataError, IntegrityError
from alambique.evaluation.measures import Resampled
from alambique.evaluation.paired_bootstrap import weights
from alambique.tasks.text.losses import EMPTY

RESULTS = "texts.arrow"
COLUMNS = ("sample", "truth", "nats", "right", "tokens", "logits", "rest")


class Foretold(NamedTuple):
    """A sequence's n tokens that were to be foretold.

    Attributes:
        truth: the tokens themselves, (n,).
        nats: what each costs: minus the log-probability that it got, (n,).
        right: whether it was the likeliest, (n,).
        tokens, logits: the k likeliest with their log-probabilities, (n, k).
        rest: the log-probability of all others together, (n,).
    """

    truth: NDArray[np.int32]
    nats: NDArray[np.float32]
    right: NDArray[np.bool_]
    tokens: NDArray[np.int32]
    logits: NDArray[np.float16]
    rest: NDArray[np.float16]


def judge(logits: NDArray[np.float32], truth: NDArray[np.int64], top_k: int) -> Foretold:
    """How tokens were foretold.

    What is no number counts as wrong, and makes the perplexity none either, which gates see.

    Args:
        logits: of each, (n, vocabulary).
        truth: which it was, (n,).
        top_k: tokens that are kept.
    """
    chances = torch.from_numpy(logits).float().log_softmax(-1)
    top = chances.topk(min(top_k, chances.shape[-1]), -1)
    found = torch.from_numpy(truth)
    left = chances.scatter(-1, top.indices, -torch.inf).logsumexp(-1).clamp(min=EMPTY)
    sound = chances.isfinite().all(-1)
    return Foretold(
        truth.astype(np.int32),
        -chances.gather(-1, found[:, None])[:, 0].numpy(),
        ((top.indices[:, 0] == found) & sound).numpy(),
        top.indices.numpy().astype(np.int32),
        top.values.clamp(min=EMPTY).numpy().astype(np.float16),
        left.numpy().astype(np.float16),
    )


def write(path: Path, rows: Mapping[str, Foretold], vocabulary: int) -> None:
    """Write one row for each sequence, in their order."""
    table = pa.table(
        [
            pa.array(rows, pa.string()),
            *(_column([getattr(row, name) for row in rows.values()]) for name in COLUMNS[1:]),
        ],
        names=list(COLUMNS),
    )
    table = table.replace_schema_metadata({"vocabulary": str(vocabulary)})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def read(folder: Path) -> tuple[dict[str, Foretold], int]:
    """An evaluation's sequences, and how many tokens the vocabulary has.

    Raises:
        IntegrityError: another version wrote it.
    """
    with pa.OSFile(str(folder / RESULTS)) as file:
        table = pa.ipc.open_file(file).read_all().combine_chunks()
    if tuple(table.schema.names) != COLUMNS:
        raise IntegrityError(
            f"{folder / RESULTS} has the columns {', '.join(table.schema.names)}, and should have "
            f"{', '.join(COLUMNS)}: another version wrote it; run the evaluate stages again (`dvc repro --force`)"
        )
    columns = [_values(table.column(name)) for name in COLUMNS[1:]]
    offsets = table.column("truth").chunk(0).offsets.to_numpy()
    rows = {
        name: Foretold(*(column[start:stop] for column in columns))
        for name, start, stop in zip(table.column("sample").to_pylist(), offsets, offsets[1:], strict=False)
    }
    return rows, int(table.schema.metadata[b"vocabulary"])


def require_same(tables: Mapping[Path, Mapping[str, Foretold]]) -> None:
    """Refuse to compare evaluations of different texts.

    Raises:
        DataError: they are.
    """
    reference, first = next(iter(tables.items()))
    for folder, rows in tables.items():
        if rows.keys() != first.keys() or any((rows[name].truth != first[name].truth).any() for name in rows):
            raise DataError(
                f"{folder} and {reference} were not evaluated on the same tokens, so that their difference means "
                "nothing; evaluate both on today's data with one tokenizer (`dvc repro`)"
            )


def resample(folders: Sequence[Path]) -> Resampled:
    """Next-token accuracy; see `alambique.tasks.Task.resample`.

    Tokens of a text hang together, so that whole sequences are drawn.

    Raises:
        DataError: the evaluations are not about the same tokens.
        IntegrityError: another version wrote one.
    """
    tables = {folder: read(folder)[0] for folder in folders}
    require_same(tables)
    tokens = np.array([len(row.truth) for row in tables[folders[0]].values()], float)
    right = np.array([[row.right.sum() for row in tables[folder].values()] for folder in folders], float)
    values = np.stack([right @ counts / (tokens @ counts) for counts in weights(len(tokens))], axis=1)
    return Resampled(values, len(tokens))


def _column(values: Sequence[NDArray[Any]]) -> pa.Array:
    offsets = pa.array(np.cumsum([0] + [len(each) for each in values]), pa.int32())
    joined = np.concatenate(values)
    inner = pa.array(joined.reshape(-1))
    if joined.ndim > 1:
        inner = pa.FixedSizeListArray.from_arrays(inner, joined.shape[1])
    return pa.ListArray.from_arrays(offsets, inner)


def _values(column: pa.ChunkedArray) -> NDArray[Any]:
    inner = column.chunk(0).values
    if pa.types.is_fixed_size_list(inner.type):
        return np.asarray(inner.values.to_numpy()).reshape(-1, inner.type.list_size)
    return np.asarray(inner.to_numpy(zero_copy_only=False))
