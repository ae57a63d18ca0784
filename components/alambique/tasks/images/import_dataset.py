"""Copy folders of classified images, as people have them, into the canonical layout: split/class/image."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import yaml
from PIL import Image

from alambique.data.dataset import IMAGE_SUFFIXES, LABELLED, OTHER_IMAGES
from alambique.data.source_files import by_split, some, split_of, visible
from alambique.errors import DataError

log = logging.getLogger(__name__)


def import_dataset(source: str, target: Path) -> None:
    """Copy the images of the folder `source` to `target`, which is made; see `dataset.Dataset`.

    Links are followed, and hidden files and folders passed over.

    Args:
        source: train, val and test (or as in `source_files.NAMES`), each with a folder for every class, and unlabelled
            images if any; all of them may lie below images/.
    Raises:
        DataError: what is missing, and where; or an image is of a format that is not taken, or a broken link.
    """
    root = Path(source).expanduser()
    if not root.is_dir():
        what = "is a file, which may have to be unpacked first" if root.exists() else "is not there"
        raise DataError(f"{root} {what}; give a folder with train, val and test, each with a folder a class")
    present = _splits(root)
    classes = sorted({folder.name for split in LABELLED for folder in _folders(present[split])})
    if len(classes) < 2:
        raise DataError(f"{present['train']} holds {len(classes)} folders of classes; a classifier tells at least two")
    for split, folder in present.items():
        _copy(folder, target / "images" / split, split)
    content = {split: f"images/{split}" for split in present} | {"names": dict(enumerate(classes))}
    log.info("%s is taken as folders of classes: %s", source, ", ".join(present))
    (target / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def _splits(source: Path) -> dict[str, Path]:
    """The folder of each split, in images/ if some are there; what else lies beside them is named in the log."""
    inside = source / "images"
    root = inside if inside.is_dir() and by_split(_folders(inside))[0] else source
    found, others = by_split(_folders(root))
    others += [path for path in visible(root) if not path.is_dir()]
    if root == inside:
        others += [path for path in _folders(source) if path != inside]
    for split in LABELLED:
        if split not in found:
            raise DataError(
                f"{root} has no folder `{split}` (found {some([path.name for path in _folders(root)]) or 'none'}). "
                "Alambique trains on train, decides on val and measures once on test: move some images of each class "
                f"to {split}/<class>"
            )
    if others:
        names = ", ".join(path.relative_to(source).as_posix() for path in others)
        log.warning("%s: left out, being no folder named after a split: %s", source, names)
    return {split: _unnested(folders[0], split) for split, folders in found.items()}


def _unnested(folder: Path, split: str) -> Path:
    """The folder, or the one that alone lies in it under the same name: an archive unpacked into train/train."""
    inside = visible(folder)
    same = len(inside) == 1 and inside[0].is_dir() and split_of(inside[0].name) == split
    return _unnested(inside[0], split) if same else folder


def _folders(root: Path) -> list[Path]:
    return [path for path in visible(root) if path.is_dir()]


def _copy(folder: Path, target: Path, split: str) -> None:
    files = list(_files(folder, ()))
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    others = [path for path in files if path.suffix.lower() not in IMAGE_SUFFIXES]
    taken = ", ".join(sorted(IMAGE_SUFFIXES))
    if refused := [str(path) for path in others if _is_image(path)]:
        raise DataError(
            f"{len(refused)} images in {folder} are of a format that is not taken: {some(refused)}; convert them to "
            f"one of {taken}, or move them away"
        )
    if not images:
        raise DataError(f"{folder} holds no images ({taken}); give some for {split}")
    if others:
        names = some([path.relative_to(folder).as_posix() for path in others])
        log.warning("%s: left out, being no images: %s", folder, names)
    for image in images:
        inside = image.relative_to(folder)
        if split in LABELLED and len(inside.parts) < 2:
            raise DataError(f"{image} lies in no folder of a class; move it into one, or to unlabelled/")
        if not image.exists():
            raise DataError(f"{image} links to {image.readlink()}, which is not there; restore it, or remove the link")
        (target / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, target / inside)


def _files(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    """The files below a folder, sorted, through links to folders other than those `above`."""
    above = (*above, folder.resolve())
    for path in visible(folder):
        if not path.is_dir():
            yield path
        elif path.resolve() not in above:
            yield from _files(path, above)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in OTHER_IMAGES or path.suffix.lower() in Image.registered_extensions()
