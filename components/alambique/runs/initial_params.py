"""What `init` writes into params.yaml by the dataset's size and by the weights that are given, and says so."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alambique import tasks
from alambique.config import Params
from alambique.config.detect import ONNX
from alambique.config.params import Teacher
from alambique.errors import ConfigurationError, IntegrityError
from alambique.files import read_json
from alambique.layout import INPUTS
from alambique.runs import https, weight_sources
from alambique.stages.work import INDEX, weights_sha256
from alambique.tasks import Task, weight_files, weight_formats
from alambique.tasks.base import Dataset

PASSES = 10
"""Over the samples of a training that its ceiling allows for."""
STEPS = Teacher().steps
"""The template's ceiling of teachers and students."""


def from_weights(task: Task, weights: str, params: Params, given: Mapping[str, Any], tracking: str | None) -> Any:
    """The networks of a teacher that is fine-tuned from `weights`, and of students that can start from it.

    An ONNX graph teaches as it is, and its students start from scratch. Where `given` has one as the teacher, `weights`
    are what its students start from.

    Args:
        weights: URI of pretrained weights.
        params: of the template, with what is given.
        given: content of params.yaml that somebody has decided; its networks stay.
        tracking: URI of the MLflow whose models:/ are meant.
    Returns:
        changes of params.yaml.
    Raises:
        ConfigurationError: `given` has another start of the teacher already.
        DataError: the weights cannot be read, or are of another task.
    """
    teacher, student = params.teachers[0], params.students[0]
    section = (given.get("teacher") or {}).get(teacher) or {}
    for_student = params.teacher[teacher].exported and bool(section.get("weights"))
    if section.get("weights") and not for_student:
        raise ConfigurationError(f"--weights is {weights}, and --params has other weights for the teacher {teacher}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.pt"
        weight_sources.fetch(weights, file, tracking)
        with weight_files.named(file, weights):
            task.require_weights(file)
            networks = task.networks_from(file)
        digest, exported = weights_sha256(file), weight_formats.is_onnx(file)
    start: dict[str, Any] = {"weights": weights}
    if weights.startswith(https.SCHEME):  # whoever serves it may change it
        if not for_student and section.get("sha256") not in (None, digest):
            raise IntegrityError(f"{weights} has sha256 {digest}, but --params pins {section['sha256']}")
        start["sha256"] = digest
    if for_student:
        return {} if given.get("networks") else {"networks": {student: _narrowed(networks) | start}}
    if exported:
        start |= {"source": "fetch", "network": None}
        if not weights.endswith(ONNX) and "onnx" not in section:
            start["onnx"] = {}
    elif networks is not None and "network" not in section:
        start["network"] = networks[0]
    changes: dict[str, Any] = {"teacher": {teacher: start}}
    if networks is not None and not given.get("networks"):
        changes["networks"] = {student: networks[1]}
    return changes


def from_scratch(given: Mapping[str, Any], template: Mapping[str, Any]) -> dict[str, Any]:
    """The template's students from scratch, where the first teacher of `given` is an ONNX graph: none can start there.

    Args:
        given, template: contents of params.yaml.
    """
    first = (given.get("teachers") or template["teachers"])[0]
    section = (given.get("teacher") or {}).get(first) or {}
    exported = section.get("onnx") is not None or str(section.get("weights")).endswith(ONNX)
    if not exported or given.get("networks"):
        return {}
    return {"networks": {student: {"weights": None} for student in template["networks"]}}


def _narrowed(networks: tuple[dict[str, Any], dict[str, Any]] | None) -> dict[str, Any]:
    """A student that can start from weights of these networks: half as wide where they can be narrowed."""
    if networks is None:
        return {}
    whole, half = networks
    return half if half["weights"] else whole


def require_loadable(project: Path, params: Params) -> None:
    """Load what teachers and students are given once, before anybody waits for a training that begins with it.

    Args:
        project: whose inputs/ are resolved.
    Raises:
        DataError: weights cannot be read, or are of another task; by the URI in params.yaml.
    """
    task = tasks.load(params.task)
    indexes = [project / INPUTS / owner / INDEX for owner in ("teachers", "students")]
    given = [(index.parent, entry) for index in indexes for entry in read_json(index).values() if entry["file"]]
    for folder, entry in {entry["sha256"]: (folder, entry) for folder, entry in given}.values():
        path = folder / entry["file"]
        with weight_files.named(path, entry["uri"]):
            task.networks_from(path)


def ceilings(params: Params, dataset: Dataset) -> dict[str, Any]:
    """The steps of ten passes over what a training sees, in thousands, where the template's are fewer.

    Interval and patience keep their proportion to the longest training: val is measured twenty times, however large.
    """
    labelled, everything = dataset.size("train"), dataset.size("train") + dataset.size("unlabelled")
    changes: dict[str, Any] = {"teacher": {}}
    # Where there are no classes, texts are their own labels.
    if (teachers := _ten_passes(labelled if dataset.classes else everything, params)) > STEPS:
        trained = [name for name in params.teachers if params.teacher[name].source == "train"]
        changes["teacher"] = {name: {"steps": teachers} for name in trained if params.teacher[name].steps == STEPS}
    if (students := _ten_passes(everything, params)) > STEPS == params.distill.steps:
        changes |= {"distill": {"steps": students}, "prune": {"steps": students // 2}}
    longest = max(section["steps"] for section in (*changes["teacher"].values(), changes.get("distill", {"steps": 0})))
    if longest:
        changes["training"] = {"val_interval": longest // 20, "patience": longest // 4}
    return changes


def notes(before: Params, after: Params) -> Iterator[str]:
    """A line on where each teacher and student starts, and one on the lengths that differ from those before."""
    for name in after.teachers:
        teacher = after.teacher[name]
        how = "taken as it is from" if teacher.source == "fetch" else "fine-tuned from"
        graph = ", an ONNX graph, which cannot be fine-tuned" if teacher.exported else ""
        start = (
            f"{how} {teacher.weights}{graph}"
            if teacher.weights
            else "trained from scratch; --weights gives it a better start"
        )
        yield f"teacher {name}: {start}"
    for student in after.students:
        weights = after.student_weights(student)
        if after.starts_from_teacher(student):
            control = f"from {weights}, narrowed alike" if weights else "from scratch"
            yield f"student {student}: starts from the teacher, narrowed to its size; its control starts {control}"
        else:
            yield f"student {student}: starts {f'from {weights}' if weights else 'from scratch'}, as its control does"
    lengths = _lengths(before)
    if longer := [f"{key} {steps:,}" for key, steps in _lengths(after).items() if steps and steps != lengths[key]]:
        yield f"the dataset is large, so trainings may be longer than by default: {', '.join(longer)}"


def _ten_passes(samples: int, params: Params) -> int:
    return round(PASSES * samples / params.training.batch / 1000) * 1000


def _lengths(params: Params) -> dict[str, int | None]:
    """What `ceilings` may change, by its key."""
    return {
        **{f"teacher.{name}.steps": params.teacher[name].steps for name in params.teachers},
        "distill.steps": params.distill.steps,
        "prune.steps": params.prune.steps,
        "training.val_interval": params.training.val_interval,
        "training.patience": params.training.patience,
    }
