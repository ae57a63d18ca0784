from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from factories import checkpoints
from factories.stage_work import load, recipe, soft_labels
from factories.tiny_detection import params, project
from PIL import Image

from alambique.config.detect import Params
from alambique.errors import IntegrityError
from alambique.evaluation.measures import Metrics
from alambique.files import read_json, write_json
from alambique.softlabels.reader import Cache, read_recipe
from alambique.tasks.yolo import network
from alambique.tasks.yolo.preprocess import preprocess, restore
from alambique.tasks.yolo.soft_label_rows import BoxLabels, BoxRecipe


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a teacher of random weights over images that are wider or higher than they are long."""
    root = tmp_path_factory.mktemp("project")
    random = np.random.default_rng(0)
    shapes = [("train", (40, 64)), ("train", (64, 24)), ("unlabelled", (96, 64))] * 2 + [("val", (40, 64))]
    for index, (split, size) in enumerate(shapes):
        path = root / f"data/images/{split}/{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (*size, 3), np.uint8)).resize(size).save(path)
    (root / "data/data.yaml").write_text(
        "train: images/train\nval: images/val\nunlabelled: images/unlabelled\nnames: [cat, dog, eel]\n"
    )
    checkpoints.checkpoint(root)
    return root


def asked(teachers: Sequence[str], **soft: object) -> Params:
    sections = {name: {} for name in teachers}
    return params(teachers=list(teachers), teacher=sections, soft_labels={"shards": [0, 1], "min_score": 0.0, **soft})


def write(
    root: Path, target: Path, teachers: Sequence[str] = ("main",), **soft: object
) -> tuple[Cache[BoxLabels], list[Metrics]]:
    given = asked(teachers, **soft)
    metrics = []
    for shard in given.soft_labels.shards:
        (target / str(shard)).mkdir(parents=True)
        metrics.append(soft_labels(root, given, shard, target / str(shard)))
    return Cache.open(target, recipe(root, given)), metrics


def test_every_train_and_unlabelled_image_is_in_one_shard(root: Path, tmp_path: Path) -> None:
    cache, metrics = write(root, tmp_path)
    names = {path.relative_to(root / "data/images").as_posix() for path in root.glob("data/images/*/*.png")}
    assert set(cache) == names
    assert [shard["images"] for shard in metrics] == [4, 3]
    assert sum(shard["unlabelled_images"] for shard in metrics) == 2
    assert sum(shard["boxes"] for shard in metrics) == sum(len(image.boxes) for image in cache.values())


@pytest.mark.parametrize("size", [64, 96])
def test_boxes_are_the_teachers_own_in_the_images_coordinates(root: Path, tmp_path: Path, size: int) -> None:
    """At the size of the teacher's own input, which its card tells, whatever the students' is."""
    shutil.copytree(root, tmp_path / "project")
    card = tmp_path / "project" / checkpoints.TEACHER / "card.json"
    write_json(card, {**read_json(card), "image_size": size})
    cache, _ = write(tmp_path / "project", tmp_path / "cache")
    assert read_recipe(tmp_path / "cache", BoxRecipe).image_sizes == [size]
    teacher = load(root / "models/teacher/main", threads=1)
    compared = 0
    for name, seen in cache.items():
        inputs, place = preprocess(root / "data/images" / name, size)
        final = teacher(inputs)
        corners = restore(final[:, :4], place)
        inside = seen.scores > final[:, 4].min() + 1e-3  # what the head's own selection has left
        compared += inside.sum()
        for box, score, classes in zip(seen.boxes[inside], seen.scores, seen.classes, strict=False):
            matches = np.isclose(corners, box, atol=2e-3).all(1) & (final[:, 5] == classes[0])
            assert np.isclose(final[:, 4][matches], score, atol=2e-3).any()
    assert compared > 50


def test_logits_are_sorted_and_their_best_gives_the_score(root: Path, tmp_path: Path) -> None:
    cache, _ = write(root, tmp_path, top_k=2)
    for seen in cache.values():
        logits = seen.logits.astype(float)
        assert logits.shape[1] == seen.classes.shape[1] == 2
        assert (logits[:, 0] >= logits[:, 1]).all()
        np.testing.assert_allclose(seen.scores, 1 / (1 + np.exp(-logits[:, 0])), atol=2e-3)
        assert (np.diff(seen.scores.astype(float)) <= 0).all()


def test_unsure_and_surplus_boxes_are_not_kept(root: Path, tmp_path: Path) -> None:
    everything, _ = write(root, tmp_path / "all")
    sure, _ = write(root, tmp_path / "sure", min_score=0.5)
    few, _ = write(root, tmp_path / "few", max_boxes=3)
    for name, seen in everything.items():
        assert len(sure[name].boxes) == pytest.approx((seen.scores >= 0.5).sum(), abs=1)
        np.testing.assert_array_equal(few[name].scores, seen.scores[:3])
    assert 0 < sum(len(seen.boxes) for seen in sure.values()) < sum(len(seen.boxes) for seen in everything.values())


def test_equal_teachers_give_equal_bytes(root: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(root, tmp_path / name)
    for file in ("soft_labels.arrow", "manifest.json"):
        assert (tmp_path / "one/0" / file).read_bytes() == (tmp_path / "two/0" / file).read_bytes()


def test_a_changed_teacher_is_refused(scenes: Path, tmp_path: Path) -> None:
    root = project(tmp_path / "project", scenes)
    checkpoints.checkpoint(root)
    with (root / "models/teacher/main/weights.pt").open("ab") as file:
        file.write(b"more")
    with pytest.raises(IntegrityError, match="sha256"):
        soft_labels(root, params(), 0, tmp_path)


@pytest.fixture(scope="module")
def two(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same project with a second teacher, as the first one, but less sure of cats and surer of dogs."""
    copy = tmp_path_factory.mktemp("two") / "project"
    shutil.copytree(root, copy)
    add_teacher(copy, "other", torch.tensor([-1.0, 1.0, 0.0]))
    known = {"main": {"cat": 0.5, "dog": 0.2, "eel": 0.3}, "other": {"cat": 0.4, "dog": 0.3, "eel": 0.3}}
    for name, ap in known.items():
        card = copy / "models/teacher" / name / "card.json"
        write_json(card, {**read_json(card), "val_ap": ap})
    return copy


def add_teacher(project: Path, name: str, shift: torch.Tensor) -> None:
    """A teacher as the first one, but with `shift` added to each class's logits."""
    model = network.load(project / "models/teacher/main/weights.pt")
    with torch.no_grad():
        for head in model.model[-1].one2one_cv3:
            head[-1].bias += shift
    target = project / "models/teacher" / name
    target.mkdir()
    network.save(model, target / "weights.pt", 64)
    checkpoints.write_card(target, "teacher")


def test_a_silent_teacher_halves_every_probability(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "project"
    shutil.copytree(root, copy)
    add_teacher(copy, "other", torch.full((3,), -60.0))
    alone = write(copy, tmp_path / "alone", ["main"], min_score=0.2, max_boxes=20)[0]
    both = write(copy, tmp_path / "both", ["main", "other"], min_score=0.1, max_boxes=20)[0]
    for name, seen in alone.items():
        boxes = np.isclose(seen.boxes[:, None], both[name].boxes, atol=1e-3).all(2)
        scores = np.isclose(seen.scores[:, None] / 2, both[name].scores, atol=1e-3)
        assert (boxes & scores).any(0).all()
        assert (boxes & scores).any(1).all()
    assert sum(len(seen.boxes) for seen in alone.values()) > 20


def test_teachers_are_averaged_before_anything_is_cut_to_the_top_classes(two: Path, tmp_path: Path) -> None:
    main, other, both = (
        write(two, tmp_path / "-".join(names), names, top_k=1, max_boxes=20)[0]
        for names in (["main"], ["other"], ["main", "other"])
    )
    for name, seen in both.items():
        logits = seen.logits.astype(float)[:, 0]
        np.testing.assert_allclose(seen.scores, 1 / (1 + np.exp(-logits)), atol=2e-3)
        assert (np.diff(seen.scores.astype(float)) <= 0).all()
        assert seen.scores.max(initial=0) <= max(each[name].scores.max(initial=0) for each in (main, other))


def test_each_class_comes_from_the_teacher_who_is_best_at_it_on_val(two: Path, tmp_path: Path) -> None:
    options = {"min_score": 0.3, "max_boxes": 200}
    main, other = (write(two, tmp_path / name, [name], **options)[0] for name in ("main", "other"))
    both = write(two, tmp_path / "both", ["main", "other"], combine="best_per_class", **options)[0]
    assert read_recipe(tmp_path / "both", BoxRecipe).experts == [0, 1, 0]
    kept = 0
    for name, seen in both.items():
        for index, expert in enumerate((main, other, main)):
            theirs = expert[name]
            for one, of in zip((seen.boxes, seen.logits), (theirs.boxes, theirs.logits), strict=True):
                np.testing.assert_array_equal(one[seen.classes[:, 0] == index], of[theirs.classes[:, 0] == index])
            kept += (seen.classes[:, 0] == index).sum() if index == 1 else 0
    assert kept > 10


def test_the_key_names_teachers_and_how_they_are_combined(two: Path) -> None:
    variants = [asked(names) for names in (["main"], ["other"], ["main", "other"], ["other", "main"])]
    variants.append(asked(["main", "other"], combine="best_per_class"))
    assert len({recipe(two, variant).digest() for variant in variants}) == len(variants)


def test_the_key_changes_with_who_is_best_at_a_class(two: Path, tmp_path: Path) -> None:
    copy = tmp_path / "project"
    shutil.copytree(two, copy)
    given = asked(["main", "other"], combine="best_per_class")
    before = recipe(copy, given).digest()
    card = copy / "models/teacher/other/card.json"
    write_json(card, {**read_json(card), "val_ap": {"cat": 0.6, "dog": 0.3, "eel": 0.3}})
    assert recipe(copy, given).digest() != before


def test_a_teacher_of_other_classes_than_todays_is_refused(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "project"
    shutil.copytree(root, copy)
    yaml = copy / "data/data.yaml"
    yaml.write_text(yaml.read_text().replace("cat, dog", "dog, cat"))
    with pytest.raises(IntegrityError, match=r"was trained for the classes \['cat', 'dog', 'eel'\].*repro teacher"):
        soft_labels(copy, params(), 0, tmp_path)
