"""A run's surroundings: what it starts from, and what it leaves.

new_project       `alambique init`
dataset_page      `alambique data`
initial_params    what `init` decides in params.yaml by the dataset and the given weights
snapshot          verb `snapshot`: data and inputs become the commit that the run starts from
resolve_inputs    weights and champions that params.yaml names, downloaded into inputs/
weight_sources    where weights come from: a file, S3, MLflow, an Ultralytics asset
huggingface       weights that are folders of Hugging Face
versioning        the dataset's DVC file, commits and tags
versions          versions.yaml: the installed packages that results depend on
ingest            verb `ingest`: new files join the dataset; see `data.arrivals`, `data.staging`, `data.merge`
run_stage         verb `run-stage`: one stage of one commit, tracked by MLflow
record            verb `record`: the run's tag with dvc.lock and decisions.json
cli_actions       `alambique results`, `rollback` and `publish`
"""
