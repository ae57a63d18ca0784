"""Run a data contract (Great Expectations suites over tables of facts), and list what failed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Read when the library is imported: nothing about a user's data leaves the machine.
os.environ["GX_ANALYTICS_ENABLED"] = "false"

import great_expectations as gx
import pandas as pd
from great_expectations.checkpoint import Checkpoint
from great_expectations.data_context.types.base import ProgressBarsConfig

from alambique.data import data_docs
from alambique.errors import AlambiqueError

NAMED = 20
"""Files that a failure lists at most."""

Suites = Mapping[str, list[Any]]
"""The expectations on each of a dataset's tables; a failure's message is the expectation's `notes`."""


def judge(tables: Mapping[str, pd.DataFrame], contract: Suites, docs: Path | None = None) -> dict[str, Any]:
    """Run the contract on a dataset's facts.

    Args:
        tables: by name; the column `path` identifies a row in messages.
        docs: a folder to be made for Great Expectations' own HTML report (Data Docs).
    Returns:
        each table's result as Great Expectations describes it, without dates and run ids.
    Raises:
        AlambiqueError: an expectation could not be evaluated.
    """
    with tempfile.TemporaryDirectory() as folder:
        # Only a context of files can build Data Docs; one in memory is faster.
        context = gx.get_context(mode="file", project_root_dir=folder) if docs else gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        source = context.data_sources.add_pandas("manifest")
        results = {
            table: _run(context, source, table, tables[table], expectations) for table, expectations in contract.items()
        }
        if docs:
            data_docs.build(context, Path(folder), docs)
    return results


def failures(results: dict[str, Any]) -> list[str]:
    """One line per failed expectation of `judge`'s results: what was expected, then the offenders by name."""
    return [f"{failed['expectation_config']['notes']}: {_offenders(failed)}" for failed in _failed(results)]


def offenders(results: dict[str, Any]) -> dict[str, list[str]]:
    """By `path` in the manifest, the notes of the expectations that the file does not meet."""
    reasons: dict[str, list[str]] = {}
    for failed in _failed(results):
        column, notes = failed["expectation_config"]["kwargs"]["column"], failed["expectation_config"]["notes"]
        for row in failed["result"]["unexpected_index_list"]:
            reason = f"{notes} ({column}: {row[column]})"
            if reason not in reasons.setdefault(row["path"], []):
                reasons[row["path"]].append(reason)
    return reasons


def _failed(results: dict[str, Any]) -> list[dict[str, Any]]:
    return [result for table in results.values() for result in table["results"] if not result["success"]]


def _run(context: Any, source: Any, table: str, rows: pd.DataFrame, expectations: list[Any]) -> dict[str, Any]:
    batch = source.add_dataframe_asset(table).add_batch_definition_whole_dataframe("all")
    suite = context.suites.add(gx.ExpectationSuite(name=table, expectations=expectations))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=table, data=batch, suite=suite))
    checkpoint = context.checkpoints.add(
        Checkpoint(
            name=table,
            validation_definitions=[definition],
            result_format={
                "result_format": "COMPLETE",  # less keeps the offenders' paths out of Data Docs
                "partial_unexpected_count": NAMED,
                "unexpected_index_column_names": ["path"],
                "return_unexpected_index_query": False,
            },
        )
    )
    (result,) = checkpoint.run(batch_parameters={"dataframe": rows}).run_results.values()
    return _timeless(table, result.to_json_dict())


def _timeless(table: str, result: dict[str, Any]) -> dict[str, Any]:
    for expectation in result["results"]:
        # Without an error this is flat; with one it is a mapping from each failed metric to its error.
        if expectation["exception_info"].get("raised_exception") is not False:
            raise AlambiqueError(f"Great Expectations failed on {table}: {expectation['exception_info']}")
        for key in ("exception_info", "meta"):
            del expectation[key]
        del expectation["expectation_config"]["id"]
    return {key: result[key] for key in ("success", "statistics", "results")}


def _offenders(expectation: dict[str, Any]) -> str:
    result = expectation["result"]
    if "partial_missing_list" in result:
        return f"missing {', '.join(result['partial_missing_list'])}"
    column = expectation["expectation_config"]["kwargs"]["column"]
    rows = result["partial_unexpected_index_list"]
    names = list(dict.fromkeys(f"{row['path']} ({column}: {row[column]})" for row in rows))
    more = result["unexpected_count"] - len(rows)
    return ", ".join(names) + (f" and {more} more" if more else "")
