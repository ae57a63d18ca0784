"""The same pipeline for Kubeflow Pipelines: `compile` makes its specification, `steps` is what its containers run.

Only `compile` needs kfp. Kubeflow gets no graph of its own: one step for each stage in pipeline.json, an edge for each
dependency, around them the verbs that Airflow's DAG asks for, too.
"""
