"""The pipeline's lightweight components: kfp copies a function's source into the specification, and its types with it.

So each imports what it does when it runs, and no annotation here is a text: kfp reads no others.
"""

from kfp import dsl


def alambique_snapshot(deployment: str, digest: str, run_id: str) -> str:
    from alambique.kubeflow import steps

    return steps.snapshot(deployment, digest, run_id)


def alambique_stage(deployment: str, run: str, name: str, upstream: list[str], outs: dsl.Output[dsl.Artifact]) -> str:
    from alambique.kubeflow import steps

    result, hashes = steps.stage(deployment, run, name, upstream)
    outs.metadata.update(hashes)
    return result


def alambique_record(deployment: str, run: str, stages: list[str], decisions: dsl.Output[dsl.Artifact]) -> str:
    from alambique.kubeflow import steps

    tag, verdicts = steps.record(deployment, run, stages)
    decisions.metadata.update(verdicts)
    return tag


def alambique_promote(deployment: str, tag: str, approved: bool) -> str:
    from alambique.kubeflow import steps

    return steps.promote(deployment, tag, approved)
