"""What surrounds a pipeline run: new project, snapshot, ingest, inputs, record, results."""
