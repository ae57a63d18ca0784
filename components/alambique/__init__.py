"""Alambique: from a DVC-versioned dataset to a promoted, edge-ready student model.

cli, verbs, stage commands for people; the requests of Airflow's side to the ML side; a stage's command in dvc.yaml
airflow           DAGs, operators, triggers and UI; no ML library
drift             production images against the champion's training data
runs              what a run starts from and leaves: snapshot, inputs, ingestion, record
registry          MLflow, the gate and approval verbs, the ledger of champions, publishing
stages            the commands of dvc.yaml
tasks             detection, classification, texts …: what differs between them
runtimes          ONNX Runtime, OpenVINO …: what differs between them
report            report.html, and tables in a terminal
evaluation        confidence intervals, the leaderboard, the gates
softlabels, data  the cache of teachers' outputs; datasets and their contract
pipeline          dvc.yaml's graph, keys, workspaces, transfers
process           child processes and their environment
config            params.yaml and alambique.yaml
layout, messages  paths inside a project; requests and results of the verbs
local, demo       services on this machine; the demo projects
pull              what a device runs, a file of its own
errors, files, git   what all others use

A module imports only from what stands below it (import-linter's contract in pyproject.toml).
"""

from importlib.metadata import version

__version__ = version("alambique")
