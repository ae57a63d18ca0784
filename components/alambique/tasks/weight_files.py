"""Weights that somebody gave, named for what they are before a loader sees them; nothing of them is run.

A loader has the same words for a web page, an ONNX graph and another repository's checkpoint. What passes here may
still be refused there.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from alambique.errors import AlambiqueError, DataError
from alambique.tasks import weight_formats

PICKLE_LIMIT = 64 << 20
"""Bytes of a pickle that is searched for names: that of the largest YOLO has a few; tensors lie elsewhere."""
KNOWN = frozenset(
    {
        *("__builtin__", "_codecs", "builtins", "collections", "copy_reg", "copyreg", "datetime", "numpy", "pathlib"),
        *("torch", "ultralytics"),
    }
)
"""Packages whose classes stand in Ultralytics' checkpoints."""
LAYERS_OF_OTHERS = {
    "models.yolo": "the YOLOv5 repository, or of one made after it (YOLOv7, YOLOv9)",
    "models.common": "the YOLOv5 repository, or of one made after it (YOLOv7, YOLOv9)",
    "yolov6": "the YOLOv6 repository",
    "yolox": "the YOLOX repository",
    "mmengine": "OpenMMLab (MMDetection, MMPreTrain, …)",
    "super_gradients": "SuperGradients",
    "pytorch_lightning": "PyTorch Lightning",
    "lightning": "PyTorch Lightning",
}
"""Whose checkpoint it is, by the beginning of a module's name."""


@contextmanager
def named(path: Path | None, uri: str | None) -> Iterator[None]:
    """Have errors of the block name `uri`, which the user knows, instead of our copy of its bytes at `path`."""
    try:
        yield
    except AlambiqueError as error:
        if path is None or uri is None:
            raise
        message = str(error).replace(str(path.absolute()), uri).replace(str(path), uri)
        raise type(error)(message) from error


def require_pytorch(path: Path) -> None:
    """Refuse by its name what is no file that `torch.save` writes.

    Raises:
        DataError: it is something else, empty, or cut short.
    """
    if wrong := weight_formats.not_pytorch(path):
        raise DataError(f"cannot use {path}: it is {wrong}")


def require_network(path: Path) -> None:
    """Refuse by its name what is no checkpoint of Ultralytics.

    Raises:
        DataError: see `require_pytorch`; or it holds tensors without their network, or another library's.
    """
    require_pytorch(path)
    names = class_names(path)
    if not names or any(name.startswith("ultralytics.") for name in names):
        return
    what = others(names) or (
        "a state dict, tensors without the network they belong to; give the checkpoint that Ultralytics saved, such as "
        "runs/detect/train/weights/best.pt"
    )
    raise DataError(f"cannot use {path}: it is {what}")


def require_folder_file(path: Path) -> None:
    """Refuse by its name a file of a Hugging Face folder that stands for another, is empty, or is cut short.

    Raises:
        DataError: see above.
    """
    if wrong := weight_formats.not_of_hugging_face(path):
        raise DataError(f"cannot use {path}: it is {wrong}")


def others(names: list[str]) -> str | None:
    """What a checkpoint with these classes is, if they are not only those of torch and Ultralytics."""
    foreign = [name for name in names if name.partition(".")[0] not in KNOWN]
    if not foreign:
        return None
    whose = next((f"of {LAYERS_OF_OTHERS[start]}" for name in foreign if (start := _whose(name))), "another library's")
    return (
        f"a checkpoint {whose}: it needs {', '.join(foreign[:3])}, which neither torch nor Ultralytics has; "
        "give weights that the ultralytics package saved, of a YOLO26, YOLO11 or YOLOv8"
    )


def class_names(path: Path) -> list[str]:
    """The classes and functions that a file of `torch.save` asks for, as module.name; none if they cannot be read."""
    try:
        with path.open("rb") as file:
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive, archive.open(_pickle(archive) or "") as inner:
                    return sorted(set(_globals(inner)))
            file.seek(0)
            return sorted({name for _ in range(4) for name in _globals(file)})  # magic, protocol, system, content
    except (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile):
        return []


def _whose(name: str) -> str | None:
    return next((start for start in LAYERS_OF_OTHERS if name.startswith(f"{start}.")), None)


def _pickle(archive: zipfile.ZipFile) -> str | None:
    return next((name for name in archive.namelist() if name.endswith("/data.pkl")), None)


def _globals(file: IO[bytes]) -> Iterator[str]:
    strings: list[str] = []
    for opcode, value, position in pickletools.genops(file):
        if position is not None and position > PICKLE_LIMIT:
            raise ValueError("too long")
        if opcode.name == "GLOBAL":
            yield str(value).replace(" ", ".")
        elif opcode.name == "STACK_GLOBAL":
            yield ".".join(strings[-2:])
        elif isinstance(value, str):
            strings.append(value)
