"""Copy folders of classified images, as people have them, into the canonical layout: split/class/image."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from alambique.data.dataset import IMAGE_SUFFIXES, LABELLED
from alambique.errors import DataError

NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
    "unlabelled": ("unlabelled", "unlabeled"),
}
"""Common names of each split's folder."""


def import_dataset(source: str, target: Path) -> None:
    """Copy the images of the folder `source` to `target`, which is made; see `dataset.Dataset`.

    Args:
        source: train, val and test (or as in `NAMES`), each with a folder for every class, and unlabelled images if
            any; all of them may lie below images/.
    Raises:
        DataError: what is missing, and where.
    """
    root = Path(source).expanduser()
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; give one with train, val and test, each with a folder a class")
    root = root / "images" if (root / "images").is_dir() else root
    present = {split: root / name for split, names in NAMES.items() for name in names[::-1] if (root / name).is_dir()}
    for split in LABELLED:
        if split not in present:
            raise DataError(
                f"{root} has no folder `{split}` (found {', '.join(_folders(root)) or 'none'}). Alambique trains on "
                f"train, decides on val and measures once on test: move some images of each class to {split}/<class>"
            )
    classes = sorted({name for split in LABELLED for name in _folders(present[split])})
    if len(classes) < 2:
        raise DataError(f"{present['train']} holds {len(classes)} folders of classes; a classifier tells at least two")
    for split, folder in present.items():
        _copy(folder, target / "images" / split, split)
    content = {split: f"images/{split}" for split in present} | {"names": dict(enumerate(classes))}
    (target / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def _folders(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _copy(folder: Path, target: Path, split: str) -> None:
    images = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise DataError(f"{folder} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}); give some for {split}")
    for image in images:
        inside = image.relative_to(folder)
        if split in LABELLED and len(inside.parts) < 2:
            raise DataError(f"{image} lies in no folder of a class; move it into one, or to unlabelled/")
        (target / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, target / inside)
