"""The same images and objects in the files of each annotation tool."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (80, 40)
CLASSES = ["cat", "dog"]
SPLITS = {"train": 12, "val": 4, "test": 4}
Objects = list[tuple[str, tuple[float, float, float, float]]]
"""Class and x1, y1, x2, y2 in pixels."""


def objects(number: int) -> Objects:
    """The objects on the image of this number; every fourth is background."""
    if number % 4 == 3:
        return []
    x = 4.0 + 2 * (number % 8)
    return [("cat", (x, 4, x + 20, 20)), ("dog", (x + 24, 8, x + 40, 36))][: 1 + number % 2]


def images() -> Iterator[tuple[str, str, Objects]]:
    """Split, file name and objects of each image."""
    number = 0
    for split, count in SPLITS.items():
        for _ in range(count):
            yield split, f"{number:04d}.png", objects(number)
            number += 1


def draw(path: Path, seed: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(int(path.stem) if seed is None else seed)
    Image.fromarray(random.integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)).save(path)


def coco_content(split: str | None = None) -> dict[str, Any]:
    """Category ids with holes; an outline and three keypoints for each object."""
    ids = {"dog": 18, "cat": 3}
    content: dict[str, Any] = {"images": [], "annotations": []}
    names = {"keypoints": ["nose", "left_ear", "right_ear"]}
    content["categories"] = [{"id": index, "name": name, **names} for name, index in ids.items()]
    for of_split, name, found in images():
        if split in (None, of_split):
            content["images"].append({"id": int(name[:4]), "file_name": name, "width": SIZE[0], "height": SIZE[1]})
            for category, (x1, y1, x2, y2) in found:
                content["annotations"].append(
                    {
                        "id": len(content["annotations"]),
                        "image_id": int(name[:4]),
                        "category_id": ids[category],
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]],
                        "keypoints": [x1, y1, 2, x2, y1, 1, 0, 0, 0],
                        "iscrowd": 0,
                    }
                )
    return content


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def coco(root: Path) -> None:
    """As COCO itself: annotations/instances_train2017.json, train2017/."""
    for split, name, _ in images():
        draw(root / f"{split}2017" / name)
    for split in SPLITS:
        write_json(root / f"annotations/instances_{split}2017.json", coco_content(split))
        write_json(root / f"annotations/captions_{split}2017.json", {"images": [], "annotations": []})


def roboflow_coco(root: Path) -> None:
    """Each split's folder holds its images and _annotations.coco.json, with a category above the others."""
    folders = {"train": "train", "val": "valid", "test": "test"}
    for split, name, _ in images():
        draw(root / folders[split] / name)
    for split, folder in folders.items():
        content = coco_content(split)
        content["categories"].insert(0, {"id": 0, "name": "animals", "supercategory": "none"})
        write_json(root / folder / "_annotations.coco.json", content)


def voc_xml(name: str, found: Objects, size: tuple[int, int] = SIZE) -> str:
    rows = "".join(
        f"<object><name>{category}</name><difficult>0</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for category, (x1, y1, x2, y2) in found
    )
    return (
        f"<annotation><folder>x</folder><filename>{name}</filename><size><width>{size[0]}</width>"
        f"<height>{size[1]}</height><depth>3</depth></size>{rows}</annotation>"
    )


def voc(root: Path) -> None:
    """As Pascal VOC itself: JPEGImages, Annotations, ImageSets/Main."""
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "Annotations").mkdir()
    for split, name, found in images():
        draw(root / "JPEGImages" / name)
        (root / "Annotations" / f"{name[:4]}.xml").write_text(voc_xml(name, found))
        for kind in {split, "trainval"} if split != "test" else {split}:
            with (root / f"ImageSets/Main/{kind}.txt").open("a") as file:
                file.write(f"{name[:4]}\n")
    (root / "ImageSets/Main/cat_train.txt").write_text("0000  1\n")


def labelimg(root: Path) -> None:
    """A folder for each split, an XML beside each image, without the image's size and with another path."""
    for split, name, found in images():
        draw(root / split / name)
        (root / split / f"{name[:4]}.xml").write_text(voc_xml(f"C:\\photos\\{name}", found, (0, 0)))


def cvat(root: Path) -> None:
    """A project's export: one XML with subsets."""
    subsets = {"train": "Train", "val": "Validation", "test": "Test"}
    labels = "".join(f"<label><name>{name}</name><type>any</type></label>" for name in CLASSES)
    rows = []
    for number, (split, name, found) in enumerate(images()):
        draw(root / "images" / subsets[split] / name)
        boxes = "".join(
            f'<box label="{category}" source="manual" occluded="0" xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}"/>'
            for category, (x1, y1, x2, y2) in found
        )
        head = f'<image id="{number}" name="{name}" subset="{subsets[split]}" width="{SIZE[0]}" height="{SIZE[1]}">'
        rows.append(f"{head}{boxes}</image>")
    meta = f"<meta><project><labels>{labels}</labels></project></meta>"
    (root / "annotations.xml").write_text(f"<annotations><version>1.1</version>{meta}{''.join(rows)}</annotations>")


def label_studio(root: Path) -> None:
    """A JSON for each split, of uploaded images with a prefix that the folder's files lack."""
    tasks: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    for split, name, found in images():
        draw(root / "images" / name)
        results = [
            {
                "type": "rectanglelabels",
                "original_width": SIZE[0],
                "original_height": SIZE[1],
                "value": {
                    "x": 100 * x1 / SIZE[0],
                    "y": 100 * y1 / SIZE[1],
                    "width": 100 * (x2 - x1) / SIZE[0],
                    "height": 100 * (y2 - y1) / SIZE[1],
                    "rotation": 0,
                    "rectanglelabels": [category],
                },
            }
            for category, (x1, y1, x2, y2) in found
        ]
        annotation = {"result": results, "was_cancelled": False}
        data = {"image": f"/data/upload/1/0a1b2c3d-{name}"}
        tasks[split].append({"id": int(name[:4]), "data": data, "annotations": [annotation]})
    for split in SPLITS:
        write_json(root / f"{split}.json", tasks[split])


FORMS: dict[str, Callable[[Path], None]] = {
    form.__name__: form for form in (coco, roboflow_coco, voc, labelimg, cvat, label_studio)
}


def without_splits(root: Path) -> None:
    """COCO in one file, annotations.json, and all images in one folder."""
    for _, name, _ in images():
        draw(root / "images" / name)
    write_json(root / "annotations.json", coco_content())


def clear(root: Path) -> Path:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    return root
