"""The sections of `params.yaml` that all tasks share; each task's module extends them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from alambique.config.gate_config import EachClass, Gate, NotWorseThan
from alambique.config.section import CHAMPION, TEACHER, Count, Name, Positive, Probability, Runtime, Section, Sha256
from alambique.layout import Ablation

SIGNALS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "soft": ("soft labels",),
    "sequence": ("soft labels",),
    "feature": ("features",),
    "hybrid": ("soft labels", "features"),
}
"""What each `distill.method` takes from the teacher on labelled samples."""


class Student(Section):
    """A student's initial weights; tasks add the architecture.

    Attributes:
        weights: URI, also of its control's; of a larger network of the same family they are narrowed. TEACHER: those of
            the first teacher, narrowed. None: initialised at random.
        sha256: refuses other bytes; https:// needs it.
    """

    weights: str | None = None
    sha256: Sha256 | None = None


class Teacher(Section):
    source: Literal["train", "fetch"] = "train"
    weights: str | None = None
    sha256: Sha256 | None = None
    steps: Count = 2000

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

    @property
    def exported(self) -> bool:
        """Whether it is an artifact of a training, which teaches as it is and starts no other."""
        return False


def require_network(network: Section | None, weights: str | None) -> None:
    """A ValueError if a teacher has neither a network nor weights that say one."""
    if network is None and weights is None:
        raise ValueError("network: null is that of `weights`, but there are none; name a family and a scale")


class SoftLabels(Section):
    shards: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)

    @model_validator(mode="after")
    def _shards_count_up(self) -> Self:
        if self.shards != tuple(range(len(self.shards))):
            raise ValueError(f"shards must count up from 0, as in [0, 1, 2]; got {list(self.shards)}")
        return self


class Training(Section):
    """How teachers, students, controls and pruned students are trained.

    Attributes:
        val_interval: steps between two measurements on val.
        patience: steps without a better headline metric on val, after which a training ends; None: never.
    """

    batch: Count = 16
    learning_rate: Positive = 0.002
    optimizer: str = "AdamW"
    workers: Annotated[int, Field(ge=0)] = 0
    val_interval: Count = 100
    patience: Count | None = 500


class Distill(Section):
    method: str = "soft"
    steps: Count = 2000


class Prune(Section):
    ratio: Annotated[float, Field(ge=0, lt=1)] = 0.3
    steps: Count = 1000


class Budget(Section):
    """What the deployed artifact may cost. With any limit set, a search chooses student, pruning ratio and precision.

    Attributes:
        latency_p95_ms: of one input, on the machine that searches.
        size_mb: 10⁶ bytes of all the artifact's files.
        max_drop: of the headline metric, against the best distilled student, unpruned.
        trials: trainings, at most.
        steps: of each training, which recovers the accuracy after pruning.
    """

    latency_p95_ms: Positive | None = None
    size_mb: Positive | None = None
    max_drop: Probability | None = None
    trials: Count = 12
    steps: Count = 300

    @property
    def asked(self) -> bool:
        """Whether any limit is set."""
        return (self.latency_p95_ms, self.size_mb, self.max_drop) != (None, None, None)


class Quantize(Section):
    max_drop: Probability = 0.01


class StaticQuantize(Quantize):
    """Quantization of activations by their ranges on `images` samples of the training split."""

    images: Count = 128


class Benchmark(Section):
    threads: Count = 1
    warmup: Annotated[int, Field(ge=0)] = 10
    runs: Count = 100
    cold_starts: Count = 3


class Promotion(Section):
    """Which candidate becomes champion, and who decides.

    Attributes:
        policy: automatic, or after an approval in Airflow's UI.
        timeout_hours: after which an unanswered approval counts as rejected.
    """

    objective: Literal["accuracy", "latency", "size"] = "accuracy"
    policy: Literal["automatic", "approval"] = "automatic"
    timeout_hours: Positive = 72.0


class Retraining(Section):
    """New data and drift start a run at the earliest `cooldown_hours` after the last recorded one."""

    cooldown_hours: Annotated[float, Field(ge=0)] = 24.0


class Ingest(Section):
    """How new data joins the dataset.

    Attributes:
        val, test: fractions of the labelled samples that go there; the rest goes to train.
        max_invalid_fraction: above this fraction of broken files none of a batch joins.
    """

    val: Probability = 0.1
    test: Probability = 0.1
    max_invalid_fraction: Probability = 0.5

    @model_validator(mode="after")
    def _some_are_left_to_train(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError(f"val {self.val:g} and test {self.test:g} leave nothing to train on; lower them")
        return self


class Drift(Section):
    """How production is compared with the champion's training data.

    Attributes:
        window: number of newest images that are compared.
        min_images: with fewer there is no verdict.
        false_alarms: fraction of undrifted batches that may be reported as drifted.
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
    """All of `params.yaml`; each task's class extends the sections, and names the task.

    Attributes:
        HEADLINE: name of the task's headline metric, from 0 to 1, higher is better.
        BY_CLASS: names of its metrics for each class.
        RUNTIMES, INT8: runtimes that its students can be exported to, and quantized for.
        SEARCHED: whether there is a search for a `budget`.
        ablations: trainings beside student and control: from the student's initial weights on labels alone (start), or
            distilled without the unlabelled samples (labelled).
    """

    HEADLINE: ClassVar[str]
    BY_CLASS: ClassVar[tuple[str, ...]]
    RUNTIMES: ClassVar[tuple[Runtime, ...]]
    INT8: ClassVar[tuple[Runtime, ...]]
    SEARCHED: ClassVar[bool] = False

    project: Name
    task: str
    seed: Annotated[int, Field(ge=0)] = 0
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    input_size: Count
    students: Annotated[tuple[Name, ...], Field(min_length=1)]
    runtimes: Annotated[tuple[Runtime, ...], Field(min_length=1)]
    int8: tuple[Runtime, ...] = ()
    ablations: tuple[Ablation, ...] = ()
    networks: Mapping[Name, Student]
    teachers: Annotated[tuple[Name, ...], Field(min_length=1)]
    teacher: Mapping[Name, Teacher]
    soft_labels: SoftLabels = SoftLabels()
    training: Training = Training()
    distill: Distill = Distill()
    prune: Prune = Prune()
    budget: Budget = Budget()
    quantize: Quantize = Quantize()
    evaluate: Section = Section()
    benchmark: Benchmark = Benchmark()
    validation: Section = Section()
    gates: tuple[Gate, ...] = ()
    promotion: Promotion = Promotion()
    retraining: Retraining = Retraining()
    ingest: Ingest = Ingest()
    drift: Drift = Drift()

    def starts_from_teacher(self, student: str) -> bool:
        """Whether the distilled student begins with its first teacher's weights."""
        return self.networks[student].weights == TEACHER

    def student_weights(self, student: str) -> str | None:
        """URI of the initial weights of a student's control, and of the student unless it starts from its teacher.

        None: random initialisation. The control of a student that starts from a trained teacher starts from what that
        was trained from; what a fetched one was trained from is not known.
        """
        if not self.starts_from_teacher(student):
            return self.networks[student].weights
        teacher = self.teacher[self.teachers[0]]
        return teacher.weights if teacher.source == "train" else None

    def student_pin(self, student: str) -> str | None:
        """The sha256 that `student_weights` have to have; None: any."""
        starts = self.starts_from_teacher(student)
        owner = self.teacher[self.teachers[0]] if starts else self.networks[student]
        return owner.sha256 if self.student_weights(student) is not None else None

    @property
    def labelled_signals(self) -> tuple[str, ...]:
        """What the distilled student learns from its teacher on labelled samples, in the report's words."""
        return SIGNALS[self.distill.method]

    @property
    def unlabelled_signals(self) -> bool:
        """Whether the distilled student learns from unlabelled samples, and its control does not."""
        return self.distill.method not in {"none", "feature"}

    @property
    def prune_rounds(self) -> int:
        """Rounds of pruning and recovery; 1 where the task's `prune` section has no `rounds`."""
        return 1

    def for_teacher(self, name: str) -> Self:
        """These parameters as a teacher is trained with, which may have an input size of its own."""
        return self

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
        for key in ("students", "runtimes", "int8", "ablations", "teachers", "seeds"):
            names = getattr(self, key)
            if len(set(names)) < len(names):
                raise ValueError(f"{key}: {list(names)} names one twice")
        return self

    @model_validator(mode="after")
    def _runtimes_can(self) -> Self:
        if never := [runtime for runtime in self.runtimes if runtime not in self.RUNTIMES]:
            raise ValueError(
                f"runtimes: {', '.join(never)} cannot run a {self.task} student here; only "
                f"{', '.join(self.RUNTIMES)} can"
            )
        if never := [runtime for runtime in self.int8 if runtime not in self.INT8]:
            raise ValueError(f"int8: {', '.join(never)} cannot be quantized for; only {', '.join(self.INT8)} can")
        if without := [runtime for runtime in self.int8 if runtime not in self.runtimes]:
            raise ValueError(f"int8: {', '.join(without)} must stand among the runtimes too")
        return self

    @model_validator(mode="after")
    def _ablations_differ(self) -> Self:
        method = f"with distill.method {self.distill.method}"
        for ablation in self.ablations:
            if ablation == "start" and not any(map(self.starts_from_teacher, self.students)):
                raise ValueError(
                    "ablations: start is the control again: no student has `weights: teacher`; take it out"
                )
            if self.distill.method == "none" or (ablation == "labelled" and not self.unlabelled_signals):
                raise ValueError(f"ablations: {ablation} is the distilled student again {method}; take it out")
            if ablation == "labelled" and not self.labelled_signals:
                raise ValueError(f"ablations: labelled learns from labels alone, as start, {method}; take it out")
        return self

    @model_validator(mode="after")
    def _budget_can_be_searched(self) -> Self:
        if self.budget.asked and not self.SEARCHED:
            raise ValueError(
                f"budget: {self.task} has no search yet; take its limits out, and choose prune.ratio yourself"
            )
        return self

    @model_validator(mode="after")
    def _gates_can_be_judged(self) -> Self:
        known = (self.HEADLINE, "latency_p50_ms")
        for number, gate in enumerate(self.gates):
            if isinstance(gate, EachClass) and gate.metric not in self.BY_CLASS:
                raise ValueError(
                    f"gates.{number}.metric: {gate.metric} is not measured of each class, only "
                    f"{' and '.join(self.BY_CLASS) or 'nothing'} is"
                )
            if isinstance(gate, NotWorseThan) and gate.limit is not None and gate.metric not in known:
                raise ValueError(
                    f"gates.{number}.limit: {gate.metric} has no interval, only {' and '.join(known)} have; "
                    "leave it out"
                )
        return self
