"""Effect sizes, which p-values do not give: with many images the smallest difference is significant."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BINS = 10
FLOOR = 1e-4
"""Assumed share of an empty bin."""


def stability_index(reference: NDArray[np.float64], batch: NDArray[np.float64]) -> float:
    """Population stability index over the reference's deciles: Σ (b − r) ln(b / r), b and r the shares in a bin.

    By custom, less than 0.1 is little and more than 0.25 is much (Siddiqi 2006, Credit Risk Scorecards, §8).

    Args:
        reference, batch: (n,) and (m,).
    """
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, BINS + 1)))[1:-1]
    first, second = (
        np.bincount(np.searchsorted(edges, sample, side="left"), minlength=len(edges) + 1) / len(sample)
        for sample in (reference, batch)
    )
    first, second = np.maximum(first, FLOOR), np.maximum(second, FLOOR)
    return float(np.sum((second - first) * np.log(second / first)))


def class_divergence(
    reference: NDArray[np.float64], batch: NDArray[np.float64], classes: Sequence[str]
) -> float | None:
    """Kullback–Leibler divergence of the batch's class distribution from the reference's, nats, by Great Expectations.

    Args:
        reference, batch: totals by class, (classes,). Half a count is added to each of the reference's, or a class that
            it lacks would make the divergence infinite.
        classes: their names.
    Returns:
        None if the batch holds nothing.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when the library is imported
    import great_expectations as gx
    import pandas as pd
    from great_expectations.data_context.types.base import ProgressBarsConfig
    from great_expectations.expectations import ExpectColumnKLDivergenceToBeLessThan

    if not batch.sum():
        return None
    weights = (reference + 0.5) / (reference + 0.5).sum()
    frame = pd.DataFrame({"class": np.repeat(list(classes), batch.astype(np.int64))})
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("predictions").add_dataframe_asset("predictions")
    batch_frame = asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": frame})
    partition = {"values": list(classes), "weights": weights.tolist()}
    expectation = ExpectColumnKLDivergenceToBeLessThan(column="class", partition_object=partition, threshold=None)
    return float(batch_frame.validate(expectation).result["observed_value"])
