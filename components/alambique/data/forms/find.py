"""Which files of a folder are annotations, of which format, and where the images are that they name."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from alambique.data.dataset import IMAGE_SUFFIXES, OTHER_IMAGES, files_below
from alambique.data.forms import class_list, coco, cvat, label_studio, voc
from alambique.data.forms.annotations import AnnotatedImage, Annotations
from alambique.data.forms.parsing import guarded, read_json, read_xml
from alambique.data.forms.splits import split_in, words
from alambique.data.source_files import some
from alambique.errors import DataError

SUFFIXES = (".json", ".xml")
CLASS_LIST = class_list.NAME
FOLDERS_OF_ANNOTATIONS = frozenset({"annotation", "annotations", "label", "labels", "json", "xml", "xmls"})
"""Names of folders whose images lie beside them."""

OTHER_COCO = frozenset({"captions", "panoptic", "stuff", "info"})
"""Words in the names of COCO's files that are not of instances."""

log = logging.getLogger(__name__)


def root_of(path: Path) -> Path:
    """The folder with annotations and images, of a path that may be an annotation file."""
    if path.is_dir():
        return path
    folder = path.absolute().parent
    return folder.parent if folder.name.lower() in FOLDERS_OF_ANNOTATIONS else folder


def annotation_files(path: Path) -> list[Path]:
    """The file itself; or a folder's list of classes, or the JSON and XML files in it, hidden ones passed over."""
    if not path.is_dir():
        return [path]
    lists = [file for folder in (path, path / "labels") if (file := folder / class_list.NAME).is_file()]
    found = [file for file in files_below(path) if file.suffix.lower() in SUFFIXES and file.is_file()]
    # Label Studio puts a notes.json beside its list.
    return lists[:1] if lists and not any(file.suffix.lower() == ".xml" for file in found) else found


def read(files: Sequence[Path], head: str, root: Path) -> list[Annotations]:
    """The content of each file that is of a known format; what the others are is said in the log.

    Args:
        root: the folder of the images.

    Raises:
        DataError: none is, or they are of several formats, or one is broken.
    """
    found: list[Annotations] = []
    unknown: list[Path] = []
    for file in _instances(files, head):
        annotations = class_list.read(file, root) if file.name == class_list.NAME else _read(file, head)
        if annotations is None:
            unknown.append(file)
        else:
            found.append(annotations)
    forms = sorted({annotations.form for annotations in found})
    names = some([str(file) for file in unknown])
    if not found:
        raise DataError(
            f"{names} is no annotation file that is known: COCO, Label Studio (JSON), Pascal VOC, CVAT for images (XML)"
        )
    if len(forms) > 1:
        raise DataError(f"{files[0].parent} holds annotations as {' and '.join(forms)}; give the file that counts")
    if unknown:
        log.warning("left out, being no %s files: %s", forms[0], names)
    return found


def _read(file: Path, head: str) -> Annotations | None:
    kind = file.suffix.lower().removeprefix(".").upper()
    content: Any = read_json(file) if kind == "JSON" else read_xml(file)
    for form in (coco, label_studio) if kind == "JSON" else (voc, cvat):
        is_form = next(getattr(form, name) for name in vars(form) if name.startswith("is_"))
        if is_form(content):
            with guarded(file, kind):
                annotations: Annotations = form.read(file, content, head)
            return annotations
    return None


def _instances(files: Sequence[Path], head: str) -> list[Path]:
    """Without COCO's files of captions and the like, and of its two files of instances the one for this head."""
    keypoints = [file for file in files if "keypoints" in words(file.stem)]
    instances = [file for file in files if "instances" in words(file.stem)]
    others = [file for file in files if file.suffix.lower() == ".json" and OTHER_COCO & set(words(file.stem))]
    if keypoints and instances:
        others += instances if head == "pose" else keypoints
    if others and len(others) < len(files):
        log.warning("left out, being of no objects for %s: %s", head, some([str(file) for file in others]))
        return [file for file in files if file not in others]
    return list(files)


class ImageIndex:
    """Finds the images that annotations name, below one folder and nowhere else.

    Args:
        root: the folder; images are identified by the ends of their paths, since annotations keep those of the machine
            that they were made on.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.images = [path for path in files_below(root) if path.suffix.lower() in IMAGE_SUFFIXES | OTHER_IMAGES]
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        for path in self.images:
            self._by_name[path.name].append(path)
            self._by_stem[path.stem].append(path)

    def find(self, image: AnnotatedImage, split: str | None) -> Path | None:
        """The file of an image, None where there is none.

        Of several with one name, it is the one whose path ends most like the name, then the one in a folder of the
        split, then the one nearest to the annotation file.

        Raises:
            DataError: several are equally likely, or the file is of a format that is not taken.
        """
        for name in image.names:
            path = PurePosixPath(name.replace("\\", "/"))
            found = self._by_stem[path.stem] if path.suffix == ".*" else self._by_name[path.name]
            ranked = sorted(found, key=lambda file: self._likeness(file, path, image, split), reverse=True)
            if not ranked:
                continue
            likenesses = [self._likeness(file, path, image, split) for file in ranked[:2]]
            if len(ranked) > 1 and likenesses[0] == likenesses[1]:
                raise DataError(f"{image.file} names {name}, which may be {ranked[0]} or {ranked[1]}; rename one")
            if ranked[0].suffix.lower() in OTHER_IMAGES:
                raise DataError(f"{ranked[0]} is of a format that is not taken; convert it to .png or .jpg")
            return ranked[0]
        return None

    def _likeness(self, file: Path, name: PurePosixPath, image: AnnotatedImage, split: str | None) -> tuple[int, ...]:
        inside = file.relative_to(self.root).parts
        ending = _common(reversed(inside[:-1]), reversed(name.parts[:-1]))
        of_split = split is not None and any(split_in(folder) == split for folder in inside[:-1])
        return ending, of_split, _common(iter(file.parts), iter(image.file.absolute().parts))


def _common(first: Iterator[str], second: Iterator[str]) -> int:
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count
