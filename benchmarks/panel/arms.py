"""The panel's arms as projects, whose stages are the product's own.

Each share of the labels has a project as `alambique init` makes it, with the defaults of params.yaml but for what
`changes` names. It has the same network twice: `pico` starts from the teacher, `baseline` from what the teacher was
trained from, both narrowed. An arm with another `distill.method` has a variant of that project.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from alambique import layout
from alambique.files import read_json
from alambique.layout import CURVES
from alambique.tasks import curves
from benchmarks import datasets
from benchmarks.panel.sets import FULL, SHARES, PanelSet, labelled_every
from benchmarks.stage_runs import Stage, do, lay_out, variant

SEEDS = (0, 1, 2)
TEACHER, STUDENT, BASELINE = "main", "pico", "baseline"
NETWORK = {"family": "yolo26", "scale": [0.5, 0.125, 1024]}
SHARED = ("data", "inputs", "soft_labels", "models/teacher", "metrics/validate.json")
"""What a variant has in common with the project of its share."""

TEACHER_STAGES = [Stage("teacher", (TEACHER,)), Stage("evaluate", (f"teacher-{TEACHER}",))]
"""Train the teacher, then measure it; as `Run.stages`."""


class Arm(NamedTuple):
    """One way to train the student.

    Attributes:
        student: its name in params.yaml, which says what it starts from.
        kind: of its checkpoint; only a distilled one learns from more than labels.
        method: `distill.method` of its project.
        shares: at which it is trained.
    """

    student: str
    kind: Literal["control", "start", "distilled"]
    method: Literal["soft", "feature"]
    shares: tuple[int, ...]


ARMS = {
    "control": Arm(BASELINE, "control", "soft", SHARES),
    "distilled": Arm(STUDENT, "distilled", "soft", SHARES),
    "start": Arm(STUDENT, "start", "soft", (10,)),
    "builtin": Arm(BASELINE, "distilled", "feature", (100,)),
}


class Run(NamedTuple):
    """One training of an arm, in the folder of its set."""

    share: int
    arm: str
    seed: int

    def project(self, folder: Path) -> Path:
        method = ARMS[self.arm].method
        return folder / (f"{self.share}" if method == "soft" else f"{self.share}-{method}")

    @property
    def target(self) -> str:
        """Its name among the project's evaluation targets."""
        arm = ARMS[self.arm]
        return f"{arm.student}-{arm.kind}-{self.seed}"

    @property
    def stages(self) -> list[Stage]:
        """Train the student, then measure it."""
        student, kind, seed = ARMS[self.arm].student, ARMS[self.arm].kind, str(self.seed)
        training = {
            "control": Stage("control", (student, seed)),
            "start": Stage("ablation", (student, "start", seed)),
            "distilled": Stage("distill", (student, seed)),
        }
        return [training[kind], Stage("evaluate", (self.target,))]

    def evaluation(self, folder: Path) -> Path:
        return self.project(folder) / layout.evaluation(self.target)

    def curve(self, folder: Path) -> list[curves.Row]:
        arm = ARMS[self.arm]
        return curves.read(self.project(folder) / layout.checkpoint(arm.student, arm.kind, self.seed) / CURVES)

    def done(self, folder: Path) -> bool:
        return self.stages[-1].metrics(self.project(folder)).exists()


def runs(shares: tuple[int, ...] = SHARES, seeds: tuple[int, ...] = SEEDS) -> list[Run]:
    """The trainings of a set, those of the first seed first, so that a run that is cut short has whole comparisons."""
    return [
        Run(share, name, seed)
        for seed in seeds
        for share in shares
        for name, arm in ARMS.items()
        if share in arm.shares
    ]


def prepare(panel_set: PanelSet, share: int) -> None:
    """The project of a share of the labels up to its soft labels, and its variants.

    At 100 % it trains the set's teacher; at less it fetches that one, which has to be there.
    """
    project = panel_set.folder / str(share)
    splits = labelled_every(panel_set.source, FULL // share)
    lay_out(project, "detect", partial(datasets.link, panel_set.source, splits=splits), changes(panel_set, share))
    do(project, (Stage("validate"), Stage("teacher", (TEACHER,)), Stage("soft_labels", ("0",))))
    if share == FULL:
        do(project, TEACHER_STAGES)
    for method in {arm.method for arm in ARMS.values() if share in arm.shares and arm.method != "soft"}:
        variant(project, f"{share}-{method}", SHARED, distill={"method": method})


def train(panel_set: PanelSet, run: Run) -> None:
    """Train and measure one student."""
    do(run.project(panel_set.folder), run.stages)


def changes(panel_set: PanelSet, share: int) -> dict[str, Any]:
    """What params.yaml of a share's project has other than the defaults."""
    setup = panel_set.setup
    pretrained = panel_set.weights and str(panel_set.weights.resolve())
    if share == FULL:
        teacher = {"source": "train", "weights": pretrained}
    else:
        trained = panel_set.folder / str(FULL) / layout.teacher(TEACHER) / layout.WEIGHTS
        teacher = {"source": "fetch", "weights": str(trained.resolve())}
    return {
        "input_size": setup.image_size,
        "seeds": list(SEEDS),
        "students": [STUDENT, BASELINE],
        "networks": {STUDENT: {**NETWORK, "weights": "teacher"}, BASELINE: {**NETWORK, "weights": pretrained}},
        "teacher": {TEACHER: {**teacher, "steps": setup.steps}},
        "soft_labels": {"shards": [0], **setup.soft_labels},
        "training": dict(setup.training),
        "distill": {"steps": setup.steps},
        "validation": {"min_boxes_per_class": 0},  # a tenth of the labels may miss a class
    }


def figures(panel_set: PanelSet, run: Run) -> dict[str, Any]:
    """What one training came to: on test, and in steps."""
    return _figures(panel_set, run.share, run.arm, run.seed, run.project(panel_set.folder), run.stages)


def teacher_figures(panel_set: PanelSet) -> dict[str, Any]:
    """The same of the set's teacher, whose seed is that of params.yaml."""
    return _figures(panel_set, FULL, "teacher", 0, panel_set.folder / str(FULL), TEACHER_STAGES)


def _figures(
    panel_set: PanelSet, share: int, arm: str, seed: int, project: Path, stages: list[Stage]
) -> dict[str, Any]:
    training, accuracy = (read_json(stage.metrics(project)) for stage in stages)
    return {
        "set": panel_set.name,
        "share": share,
        "arm": arm,
        "seed": seed,
        **{key: accuracy[key] for key in ("map50_95", "map50")},
        **{key: training[key] for key in ("steps", "best_step", "still_improving")},
    }
