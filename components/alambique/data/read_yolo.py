"""Read a data.yaml, as people have it: which images and labels each split has, and what is left out."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alambique.data.dataset import (
    IMAGE_SUFFIXES,
    LABELLED,
    OTHER_IMAGES,
    SPLITS,
    files_below,
    image_files,
    read_description,
)
from alambique.data.source_files import NAMES
from alambique.errors import DataError, TransientError

Pairs = dict[Path, Path]
"""Each image of a split, sorted, and where its labels would be."""

KEYPOINTS = ("kpt_shape", "flip_idx", "kpt_oks_sigmas")
"""Keys of keypoints in a data.yaml: their shape, which become each other when mirrored, and the OKS deviations."""

logger = logging.getLogger(__name__)


def read(data: str) -> tuple[Path, dict[str, Any]]:
    """The data.yaml in a folder, or that is given or that Ultralytics downloads by name, and its content.

    Raises:
        DataError: there is none, or it is another file.
        TransientError: Ultralytics' dataset could not be downloaded.
    """
    path = Path(data).expanduser()
    if path.is_dir():
        files = sorted(path.glob("*.y*ml"))
        named = path / "data.yaml"
        if named not in files and len(files) != 1:
            raise DataError(
                f"{path} holds no data.yaml (found {[file.name for file in files]}), nor annotations as .json or .xml; "
                "give the file itself"
            )
        path = named if named in files else files[0]
    if not path.is_file():
        return _download(data)
    return path.resolve(), read_description(_yaml(path), "it needs train, val, test and names")


def _yaml(path: Path) -> Path:
    """A file that may be a data.yaml, by its suffix.

    Raises:
        DataError: it is an archive or of another format; the message says what to do.
    """
    if path.suffix.lower() in {".yaml", ".yml"}:
        return path
    if path.suffix.lower() in {".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"}:
        raise DataError(f"{path} is an archive; unpack it, and give the folder or its data.yaml")
    raise DataError(f"{path} is no .yaml, .json or .xml file; give a data.yaml or annotations, or a folder")


def _download(name: str) -> tuple[Path, dict[str, Any]]:
    if "/" in name:
        raise DataError(f"there is no {name}; give a data.yaml, a folder with one, or a dataset name as in coco8")
    from alambique.process.environment import prepare

    prepare()
    from ultralytics.data.utils import check_det_dataset

    try:
        content = check_det_dataset(name)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {name}, and Ultralytics knows no dataset of that name: {error}") from None
    except (OSError, SyntaxError, TypeError) as error:
        raise TransientError(f"Ultralytics cannot provide the dataset {name}: {error}") from error
    return Path(content["yaml_file"]), {**content, "path": str(content["path"])}


def splits_of(file: Path, content: dict[str, Any]) -> dict[str, Pairs]:
    """The images and labels of each split that a data.yaml names; a `path` in it that does not exist is ignored."""
    path = file.parent / Path(str(content.get("path") or ".")).expanduser()
    base = path if path.is_dir() else file.parent
    splits = {}
    for split in SPLITS:
        if value := _named(split, content, file):
            places = value if isinstance(value, list) else [value]
            folders = [_find(base, str(place), split, file) for place in places]
            images = sorted({image for folder in folders for image in _images(folder, base)})
            splits[split] = {image: existing_label(image) if split in LABELLED else image for image in images}
    _say_what_is_left_out(file, content, base, splits)
    for split in LABELLED:
        _check(split, splits.get(split), file)
    return splits


def _named(split: str, content: dict[str, Any], file: Path) -> Any:
    """What a data.yaml says of a split, under any of its names."""
    given = [name for name in NAMES[split] if content.get(name)]
    if len(given) > 1:
        raise DataError(
            f"{file} has both `{given[0]}` and `{given[1]}`, which are one split; put their images together"
        )
    return content[given[0]] if given else None


def _say_what_is_left_out(file: Path, content: dict[str, Any], base: Path, splits: dict[str, Pairs]) -> None:
    """Name the images under other keys than the splits', as in `minival: images/minival`, and labels without images."""
    known = {*(name for names in NAMES.values() for name in names), "path"}
    folders = {key: base / value for key, value in content.items() if isinstance(value, str) and value}
    for key, folder in folders.items():
        if key not in known and folder.is_dir() and (images := image_files(folder)):
            logger.warning("%s: %s: %d images are left out: no split is called so", file, key, len(images))
    used = {label for split in LABELLED for label in splits.get(split, {}).values()}
    alone = [
        path
        for folder in sorted({label.parent for label in used})
        for path in files_below(folder)
        if path.suffix.lower() == ".txt" and path not in used and path.name != "classes.txt"
    ]
    if alone:
        logger.warning("%d label files have no image, and are left out: %s …", len(alone), alone[0])


def existing_label(image: Path) -> Path:
    """`label_of`, or a file of that name with its suffix in other letters, as in X.TXT; a DataError if it is beside."""
    label = label_of(image)
    if label.exists():
        return label
    for suffix in (".TXT", ".Txt"):
        if (other := label.with_suffix(suffix)).exists():
            return other
    if label.parent != image.parent and (beside := image.with_suffix(".txt")).exists():
        raise DataError(
            f"{beside} lies beside its image, where YOLO does not look: the labels of a folder called images lie in a "
            f"folder called labels; move it to {label}"
        )
    return label


def label_of(image: Path) -> Path:
    """Where YOLO looks for an image's labels: the last folder called images becomes labels, the suffix .txt."""
    parts = list(image.parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
    return Path(*parts).with_suffix(".txt")


def _find(base: Path, place: str, split: str, file: Path) -> Path:
    # Roboflow writes ../train/images for folders beside the data.yaml.
    for candidate in (base / place, base / place.removeprefix("../")):
        if candidate.exists():
            return absolute(candidate)
    raise DataError(f"{file}: {split}: {place} is not in {base}; correct the path")


def absolute(path: Path) -> Path:
    """Without following links: labels are found by an image's own path, not by that of the store it is linked from."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def _images(place: Path, base: Path) -> Iterator[Path]:
    if place.is_dir():
        _require_known_formats(place)
        yield from image_files(place)
        return
    if place.suffix.lower() in IMAGE_SUFFIXES:
        yield place
        return
    for number, line in enumerate(_listed(place), start=1):
        if name := line.strip():
            found = next((path for folder in (place.parent, base) if (path := folder / name).is_file()), None)
            if found is None:
                raise DataError(f"{place}:{number} lists {name}, which is not there; paths are relative to the list")
            if found.suffix.lower() not in IMAGE_SUFFIXES:
                raise DataError(f"{place}:{number} lists {name}, no image of {', '.join(sorted(IMAGE_SUFFIXES))}")
            yield absolute(found)


def _listed(place: Path) -> list[str]:
    try:
        return place.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{place} is neither a folder, nor an image, nor a list of images in UTF-8") from None


def _require_known_formats(folder: Path) -> None:
    others = [path for path in files_below(folder) if path.suffix.lower() in OTHER_IMAGES]
    if others:
        suffixes = ", ".join(sorted({path.suffix.lower() for path in others}))
        raise DataError(
            f"{folder} holds {len(others)} images of formats that are not taken ({suffixes}), as in {others[0].name}; "
            f"convert them to .png or .jpg, or take them out (taken are {', '.join(sorted(IMAGE_SUFFIXES))})"
        )


def _check(split: str, pairs: Pairs | None, file: Path) -> None:
    if pairs is None:
        raise DataError(
            f"{file} names no `{split}` split. Alambique trains on train, decides on val and measures once on test: "
            f"move some images and labels to a folder of their own and add `{split}: images/{split}`"
        )
    if not pairs:
        raise DataError(f"{file}: {split}: no images ({', '.join(sorted(IMAGE_SUFFIXES))}) were found")
    if not any(label.exists() for label in pairs.values()):
        first = next(iter(pairs.values()))
        raise DataError(f"{file}: {split}: none of {len(pairs)} images has labels; the first would be {first}")
