"""MLflow runs and registered models, the gates' decisions, and the ledger of champions.

tracking, metrics_tail   MLflow runs: one parent a pipeline run, one child a stage, curves while a stage runs
client                   connections to MLflow, and what its failures mean for a retry
model_versions           verb `register`: a registered model a runtime, a version an artifact
pyfunc                   how a registered version is loaded by MLflow
gate_command             verb `gate`: judges the registered versions, and reads the decisions of a recorded run; the
                         gates themselves are in `evaluation.gates`
approval_request         verb `propose`: the text and tables that an approval in Airflow shows
ledger                   who is champion, and its columns (`Entry`)
promotion, aliases       verbs `promote` and `rollback`, and MLflow's aliases that follow the ledger
run_artifacts            a clone at a run's commit with the outs that a verb needs; outs of recorded runs and champions
publishing               verb `publish`: champions on S3 for devices (`alambique.pull`)
"""
