"""A dataset of classified images, read-only: images/<split>/<class>/…, and images/unlabelled/… without classes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from alambique.data.dataset import Images
from alambique.errors import DataError
from alambique.files import sha256


@dataclass(frozen=True)
class Dataset(Images):
    """Where a dataset's images are; the first folder below a labelled split's names their class."""

    def class_of(self, image: Path) -> str:
        """The name of the folder that stands for an image's class, whether or not data.yaml knows it."""
        inside = image.relative_to(self.root)
        folder = next(folder for folder in self.folders.values() if inside.is_relative_to(folder))
        below = inside.relative_to(folder).parts
        return below[0] if len(below) > 1 else ""

    def label(self, image: Path) -> int:
        """The index of a labelled image's class; DataError if data.yaml knows no such class."""
        name = self.class_of(image)
        if name not in self.classes:
            raise DataError(
                f"{image} lies in the folder {name!r}, but data.yaml names {', '.join(self.classes)}; move the image "
                "into its class's folder, or name the class"
            )
        return self.classes.index(name)

    def require(self, split: str) -> list[Path]:
        """The images of a split that is needed; DataError where there are none."""
        if images := self.images(split):
            return images
        raise DataError(
            f"{self.root} has no {split} images; networks are trained, calibrated and measured on them: add some"
        )

    def size(self, split: str) -> int:
        return len(self.images(split))

    def digest(self, split: str) -> str:
        """SHA-256 over the class names and the split's sorted image paths and contents."""
        digest = hashlib.sha256("".join(f"{name}\n" for name in self.classes).encode())
        for image in self.images(split):
            digest.update(f"{sha256(image)} {image.relative_to(self.root).as_posix()}\n".encode())
        return digest.hexdigest()
