"""`params.yaml`, checked: one frozen model per section, unknown keys refused before any work."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from alambique.errors import ConfigurationError


def _name(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"[a-z][a-z0-9_]*", value):
        raise ValueError(f"{value!r} is not a name: a lower-case letter, then letters, digits and underscores")
    return value


Name = Annotated[str, BeforeValidator(_name)]
"""Names become folders, stage names, task ids and registered models: no path, hyphen or space."""

Probability = Annotated[float, Field(ge=0, le=1)]
Runtime = Literal["onnx", "openvino", "torchscript", "ncnn", "executorch", "litert", "coreml", "engine"]
Target = Literal["macs", "parameters", "latency"]
Importance = Literal["magnitude", "bn_scale", "taylor"]
Reference = Literal["champion", "teacher", "control", "checkpoint", "distilled"]

WITH_INTERVAL = ("map50_95", "latency_p50_ms")
"""The metrics whose difference from a reference has an interval."""

INT8 = ("onnx", "openvino", "engine")
"""The runtimes that students can be quantized for."""

SUPPRESSING = ("onnx", "openvino", "torchscript")
"""The runtimes whose files can hold the suppression that a head with one branch needs, as YOLO11's and YOLOv8's do."""

CHAMPION = "champion:"
"""Before a runtime: a teacher's weights are the checkpoint behind that runtime's present champion."""


class Section(BaseModel):
    """Frozen, strict about its keys and types."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Network(Section):
    """An architecture: a family and its compound scale (a letter, or depth, width, largest number of channels)."""

    family: Literal["yolo26", "yolo11", "yolov8"] = "yolo26"
    scale: Literal["n", "s", "m", "l", "x"] | tuple[float, float, int] = "n"


class Student(Network):
    """A student's architecture and the weights it and its control start from."""

    start: str | None = None


class Teacher(Section):
    source: Literal["train", "fetch"] = "train"
    weights: str | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    network: Network = Network()
    image_size: Annotated[int, Field(ge=32, multiple_of=32)] | None = None
    epochs: Annotated[int, Field(ge=1)] = 30

    @model_validator(mode="after")
    def _fetch_needs_weights(self) -> Self:
        if self.source == "fetch" and self.weights is None:
            raise ValueError("source: fetch needs `weights`: a file, s3:// or models:/ URI, or an Ultralytics asset")
        if self.sha256 and self.weights is None:
            raise ValueError("sha256 pins `weights`, but there are none")
        return self

    @model_validator(mode="after")
    def _champion_is_fetched(self) -> Self:
        if self.weights is None or not self.weights.startswith(CHAMPION):
            return self
        if (runtime := self.weights.removeprefix(CHAMPION)) not in get_args(Runtime):
            raise ValueError(f"weights: {runtime!r} is no runtime: champion:<one of {', '.join(get_args(Runtime))}>")
        if self.source != "fetch":
            raise ValueError(f"weights: {self.weights} is taken as it is: self-distillation needs source: fetch")
        return self


class SoftLabels(Section):
    shards: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    combine: Literal["average", "best_per_class"] = "average"
    min_score: Probability = 0.05
    top_k: Annotated[int, Field(ge=1)] = 10
    max_boxes: Annotated[int, Field(ge=1)] = 100

    @model_validator(mode="after")
    def _shards_count_up(self) -> Self:
        if self.shards != tuple(range(len(self.shards))):
            raise ValueError(f"shards must count up from 0, as in [0, 1, 2]; got {list(self.shards)}")
        return self


class Training(Section):
    batch: Annotated[int, Field(ge=1)] = 16
    learning_rate: Annotated[float, Field(gt=0)] = 0.002
    optimizer: Literal["AdamW", "SGD", "MuSGD"] = "AdamW"
    mosaic: Probability = 1.0
    flip: Probability = 0.5
    workers: Annotated[int, Field(ge=0)] = 0
    patience: Annotated[int, Field(ge=1)] | None = None


class Distill(Section):
    method: Literal["soft", "feature", "hybrid", "none"] = "soft"
    epochs: Annotated[int, Field(ge=1)] = 30
    temperature: Annotated[float, Field(gt=0)] = 2.0
    weight: Annotated[float, Field(gt=0)] = 0.5
    feature_weight: Annotated[float, Field(gt=0)] = 6.0
    fade: Probability = 0.0
    min_trust: Probability = 0.2


class Prune(Section):
    target: Target = "macs"
    share: Annotated[float, Field(ge=0, lt=1)] = 0.3
    importance: Importance = "magnitude"
    widths: Literal["uniform", "sensitivity"] = "uniform"
    rounds: Annotated[int, Field(ge=1)] = 1
    epochs: Annotated[int, Field(ge=1)] = 10


class Budget(Section):
    """What the deployed artifact may cost. With any limit set, a search finds student, pruning share and precision.

    Attributes:
        latency_p95_ms: of one image, on the machine that searches.
        size_mb: 10⁶ bytes of all the artifact's files.
        max_drop: of mAP50-95 against the distilled student with the best one, unpruned.
        trials: trainings at most.
        epochs: of recovery in each.
    """

    latency_p95_ms: Annotated[float, Field(gt=0)] | None = None
    size_mb: Annotated[float, Field(gt=0)] | None = None
    max_drop: Probability | None = None
    trials: Annotated[int, Field(ge=1)] = 12
    epochs: Annotated[int, Field(ge=1)] = 3

    @property
    def asked(self) -> bool:
        """Whether there is anything to search for."""
        return (self.latency_p95_ms, self.size_mb, self.max_drop) != (None, None, None)


class Quantize(Section):
    images: Annotated[int, Field(ge=1)] = 128
    max_drop: Probability = 0.01
    qat_epochs: Annotated[int, Field(ge=0)] = 0


class Evaluate(Section):
    min_score: Probability = 0.001
    max_boxes: Annotated[int, Field(ge=1)] = 300
    threshold: Probability = 0.25


class Benchmark(Section):
    threads: Annotated[int, Field(ge=1)] = 1
    warmup: Annotated[int, Field(ge=0)] = 10
    runs: Annotated[int, Field(ge=1)] = 100
    cold_starts: Annotated[int, Field(ge=1)] = 3


class Validation(Section):
    min_boxes_per_class: Annotated[int, Field(ge=0)] = 1


class AtLeast(Section):
    """The candidate's metric has a floor."""

    kind: Literal["at_least"]
    metric: str
    value: float


class AtMost(Section):
    """The candidate's metric has a ceiling: also latency (`latency_p50_ms`) and size (`size_mb`) budgets."""

    kind: Literal["at_most"]
    metric: str
    value: float


class NotWorseThan(Section):
    """The candidate's metric may be worse than the reference's by `margin`, and the interval may reach `limit`.

    Attributes:
        margin: of the difference itself, in the metric's unit.
        limit: of the unfavourable end of its 95 % interval; null: the interval is not asked.
    """

    kind: Literal["not_worse_than"]
    metric: str
    reference: Reference
    margin: Annotated[float, Field(ge=0)] = 0.0
    limit: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _limit_can_be_judged(self) -> Self:
        if self.limit is None:
            return self
        if self.metric not in WITH_INTERVAL:
            raise ValueError(
                f"limit: {self.metric} has no interval, only {' and '.join(WITH_INTERVAL)} have; leave it out"
            )
        if self.limit < self.margin:
            raise ValueError(
                f"limit: {self.limit:g} is less than the margin {self.margin:g}, but an interval reaches further than "
                "the difference itself; raise it"
            )
        return self


class EachClass(Section):
    """The candidate's figure of every class of the dataset has a floor."""

    kind: Literal["each_class"]
    metric: Literal["ap", "recall"]
    value: Probability


Gate = Annotated[AtLeast | AtMost | NotWorseThan | EachClass, Field(discriminator="kind")]


class Promotion(Section):
    """Which candidate becomes champion, and who decides.

    Attributes:
        policy: whether a challenger is promoted by itself, or when a person approved it in Airflow's UI.
        timeout_hours: after which an approval that nobody answered is a rejection.
    """

    objective: Literal["accuracy", "latency", "size"] = "accuracy"
    policy: Literal["automatic", "approval"] = "automatic"
    timeout_hours: Annotated[float, Field(gt=0)] = 72.0


class Retraining(Section):
    """When new data or drift may start a run: so many hours after the last one was recorded."""

    cooldown_hours: Annotated[float, Field(ge=0)] = 24.0


class Arriving(Section):
    """How new data joins the dataset.

    Attributes:
        val, test: shares of the labelled images that go there; the rest goes to train.
        max_bad: share of a batch's files that may be broken; above it none of the batch joins.
    """

    val: Probability = 0.1
    test: Probability = 0.1
    max_bad: Probability = 0.5

    @model_validator(mode="after")
    def _some_are_left_to_train(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError(f"val {self.val:g} and test {self.test:g} leave nothing to train on; lower them")
        return self


class Watching(Section):
    """How production images are compared with the champion's training data.

    Attributes:
        window: newest images that are looked at.
        min_images: below it there is no verdict.
        false_alarms: share of batches of the training distribution that may be called drifted.
    """

    window: Annotated[int, Field(ge=20)] = 500
    min_images: Annotated[int, Field(ge=20)] = 100
    false_alarms: Annotated[float, Field(gt=0, lt=1)] = 0.05

    @model_validator(mode="after")
    def _window_holds_enough(self) -> Self:
        if self.min_images > self.window:
            raise ValueError(f"min_images {self.min_images} is more than the window {self.window} holds; lower it")
        return self


class Params(Section):
    """All of `params.yaml`."""

    project: Name
    task: Literal["detect"] = "detect"
    seed: Annotated[int, Field(ge=0)] = 0
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    image_size: Annotated[int, Field(ge=32, multiple_of=32)] = 320
    students: Annotated[tuple[Name, ...], Field(min_length=1)]
    runtimes: Annotated[tuple[Runtime, ...], Field(min_length=1)]
    int8: tuple[Runtime, ...] = ()
    networks: dict[Name, Student]
    teachers: Annotated[tuple[Name, ...], Field(min_length=1)]
    teacher: dict[Name, Teacher]
    soft_labels: SoftLabels = SoftLabels()
    training: Training = Training()
    distill: Distill = Distill()
    prune: Prune = Prune()
    budget: Budget = Budget()
    quantize: Quantize = Quantize()
    evaluate: Evaluate = Evaluate()
    benchmark: Benchmark = Benchmark()
    validation: Validation = Validation()
    gates: tuple[Gate, ...] = ()
    promotion: Promotion = Promotion()
    retraining: Retraining = Retraining()
    arriving: Arriving = Arriving()
    drift: Watching = Watching()

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        for student in self.students:
            if student in {"teacher", "champion"}:
                raise ValueError(f"students: {student!r} is reserved; choose another name")
            if student not in self.networks:
                raise ValueError(f"students: {student!r} has no entry in `networks`")
        for teacher in self.teachers:
            if teacher not in self.teacher:
                raise ValueError(f"teachers: {teacher!r} has no entry in `teacher`")
        if self.distill.method in {"feature", "hybrid"} and len(self.teachers) > 1:
            raise ValueError(
                f"distill.method: {self.distill.method} matches the features of one teacher, but teachers names "
                f"{list(self.teachers)}; name one, or choose soft"
            )
        if never := [runtime for runtime in self.int8 if runtime not in INT8]:
            raise ValueError(f"int8: {', '.join(never)} cannot be quantized for; only {', '.join(INT8)} can")
        if without := [runtime for runtime in self.int8 if runtime not in self.runtimes]:
            raise ValueError(f"int8: {', '.join(without)} must stand among the runtimes too")
        for key in ("students", "runtimes", "int8", "teachers", "seeds"):
            names = getattr(self, key)
            if len(set(names)) < len(names):
                raise ValueError(f"{key}: one stands twice in {list(names)}")
        return self

    @model_validator(mode="after")
    def _families_can(self) -> Self:
        never = [runtime for runtime in self.runtimes if runtime not in SUPPRESSING]
        for student in self.students:
            family = self.networks[student].family
            if never and family != "yolo26":
                raise ValueError(
                    f"runtimes: {', '.join(never)} cannot suppress overlapping boxes, as {student}, a {family}, needs; "
                    f"only {', '.join(SUPPRESSING)} can: take the others out, or choose family: yolo26"
                )
        return self


def load(project: Path) -> Params:
    """Read and check `params.yaml`.

    Args:
        project: the project's root.
    Raises:
        ConfigurationError: missing, unreadable or impossible; every offending key is named by its path.
    """
    return parse(read_yaml(project / "params.yaml"), "params.yaml")


def parse(content: Any, source: str) -> Params:
    """Check the content of a `params.yaml`; see `load`."""
    try:
        # As JSON, since only there strict types let a list be a tuple: YAML has no tuples.
        return Params.model_validate_json(json.dumps(content, default=str), strict=True)
    except ValidationError as error:
        raise ConfigurationError(describe(error, source)) from None


def read_yaml(path: Path) -> Any:
    """Parse a YAML file.

    Raises:
        ConfigurationError: it is missing or not YAML.
    """
    try:
        return yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}; is this the project's root?") from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not YAML: {error}") from None


def describe(error: ValidationError, source: str) -> str:
    """One line per offence: the key's path, what is wrong, the value."""
    lines = []
    for item in error.errors():
        path = ".".join(str(part) for part in item["loc"]) or "(whole file)"
        message = item["msg"].removeprefix("Value error, ")
        given = "" if isinstance(item["input"], dict) else f" (got {_redacted(repr(item['input']))})"
        lines.append(f"{source}: {path}: {message}{given}")
    return "\n".join(lines)


def _redacted(text: str) -> str:
    """Without what stands before the @ of a URL."""
    return re.sub(r"(\w+://)[^/@]*@", r"\1…@", text)
