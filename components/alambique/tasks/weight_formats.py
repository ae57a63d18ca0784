"""What a file is, by its first bytes and its outline, in the words of a refusal: what it is, and what to do."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import IO

HEAD = 1024
"""Bytes that tell a format."""
LFS = b"version https://git-lfs.github.com/spec/"
METADATA = "__metadata__"
EXPORTED = "it is what a training was exported to; give the .pt that it was exported from"
AGAIN = "download or copy it again"
FORMATS = (
    (0, b"GGUF", "a GGUF file", "give its Hugging Face folder in safetensors"),
    (0, b"\x89HDF\r\n", "an HDF5 file, as Keras writes", "give a checkpoint of PyTorch"),
    (0, b"\x93NUMPY", "a NumPy array", "give a checkpoint of PyTorch"),
    (0, b"ftrt", "a TensorRT engine", EXPORTED),
    (4, b"TFL3", "a TensorFlow Lite model", EXPORTED),
    (0, b"7767517", "the network of an ncnn model", EXPORTED),
    (0, b"\x1f\x8b", "a gzip archive", "unpack it"),
    (0, b"BZh", "a bzip2 archive", "unpack it"),
    (0, b"\xfd7zXZ", "an xz archive", "unpack it"),
    (0, b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (0, b"Rar!", "a RAR archive", "unpack it"),
    (257, b"ustar", "a tar archive", "unpack it"),
    (0, b"\x89PNG", "an image", "give a checkpoint of PyTorch"),
    (0, b"\xff\xd8\xff", "an image", "give a checkpoint of PyTorch"),
    (0, b"%PDF", "a PDF", "give a checkpoint of PyTorch"),
)
"""Offset, bytes, what they begin, and what to do."""
TEXTS = {
    LFS.decode(): "a Git LFS pointer, which stands for the weights; run `git lfs pull` in its repository",
    "outs:": "a pointer of DVC, which stands for the weights; run `dvc pull`, and give what it brings",
    "{": f"JSON, an answer rather than weights; {AGAIN}",
}
"""What a text is that begins so."""


def is_onnx(path: Path) -> bool:
    """Whether a file is an ONNX graph, by the outline of its protocol buffer."""
    if not path.is_file() or (size := path.stat().st_size) == 0:
        return False
    with path.open("rb") as file:
        return _is_model_proto(file, size)


def not_pytorch(path: Path) -> str | None:
    """What a file or folder is that `torch.save` did not write; None where it did, as far as can be seen."""
    if path.is_dir():
        inside = sorted(file.relative_to(path).as_posix() for file in path.rglob("*.pt"))
        return f"a folder; give {f'a file in it, such as {inside[0]}' if inside else 'a file of weights'}"
    if (size := path.stat().st_size) == 0:
        return f"empty; {AGAIN}"
    with path.open("rb") as file:
        head = file.read(HEAD)
        if head.startswith(b"PK"):
            return _not_saved(file, size)
        if head.startswith(b"\x80"):
            return None  # a pickle, as torch wrote before 1.6
        if _is_model_proto(file, size):
            return f"an ONNX graph; {EXPORTED}, or let a detector teach as it is (source: fetch)"
    return _binary(head, size) or _text(head) or f"no file of torch: it begins with {head[:8].hex(' ')}; {AGAIN}"


def _binary(head: bytes, size: int) -> str | None:
    """What a file is that begins with these bytes, if that has a name."""
    for offset, magic, what, remedy in FORMATS:
        if head[offset:].startswith(magic):
            return f"{what}; {remedy}"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < size:
        return "a safetensors file: tensors without the network they belong to; give a .pt, or for texts its folder"
    # Ultralytics puts the length of its description, and that, before the engine.
    return f"a TensorRT engine; {EXPORTED}" if head[4:5] == b"{" else None


def not_of_hugging_face(path: Path) -> str | None:
    """What a file is that has no place in a Hugging Face folder; None where nothing is wrong with it."""
    size = path.stat().st_size
    if size == 0:
        return f"empty; {AGAIN}"
    with path.open("rb") as file:
        head = file.read(HEAD)
        if head.startswith(LFS):
            return _text(head)
        return _not_safetensors(file, head, size) if path.suffix == ".safetensors" else None


def _not_safetensors(file: IO[bytes], head: bytes, size: int) -> str | None:
    """What is wrong with a safetensors file, which has its header's length, the header in JSON, and its tensors."""
    if head[8:9] != b"{":
        return _text(head) or f"no safetensors file: it begins with the bytes {head[:8].hex(' ')}; {AGAIN}"
    length = int.from_bytes(head[:8], "little")
    end = 0
    if 8 + length <= size:
        file.seek(8)
        try:
            tensors = json.loads(file.read(length))
            end = max((entry["data_offsets"][1] for name, entry in tensors.items() if name != METADATA), default=0)
        except (ValueError, LookupError, TypeError, AttributeError):
            return f"a safetensors file with a damaged header; {AGAIN}"
    return None if 8 + length + end <= size else f"a safetensors file that is cut short, with {size:,} bytes; {AGAIN}"


def _not_saved(file: IO[bytes], size: int) -> str | None:
    """What a zip archive is if `torch.save` did not write it."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return f"cut short or damaged, with {size:,} bytes; {AGAIN}"
    if any(name.endswith("/constants.pkl") for name in names):
        return f"a TorchScript archive; {EXPORTED}"
    if any(name.endswith("/data.pkl") for name in names):
        return None
    if names and all(name.endswith(".npy") for name in names):
        return "a file of NumPy arrays; give a checkpoint of PyTorch"
    if inner := next((name for name in names if name.endswith((".pt", ".pth"))), None):
        return f"a zip archive that holds {inner}; unpack it, and give that"
    return f"a zip archive of {', '.join(names[:3]) or 'nothing'}; give a checkpoint of PyTorch"


def _text(head: bytes) -> str | None:
    """What a file is that begins with this text; None where it is no text."""
    text = head.removeprefix(b"\xef\xbb\xbf").decode("latin-1").strip()
    if not text or not all(character.isprintable() or character.isspace() for character in text):
        return None
    if text.startswith("<"):
        if "<net" in text:
            return f"the graph of an OpenVINO model; {EXPORTED}"
        return f"a web page or an answer in XML: the download led to a log-in or an error; {AGAIN}"
    known = (what for start, what in TEXTS.items() if text.startswith(start))
    return next(known, None) or f"a text, which begins {json.dumps(text[:40])}; {AGAIN}"


def _is_model_proto(file: IO[bytes], size: int) -> bool:
    """Whether the fields of the protocol buffer up to the file's end are those of ONNX's ModelProto, with a graph."""
    file.seek(0)
    fields: set[int] = set()
    while file.tell() < size:
        key, length = _varint(file), 0
        if key is None or key & 7 not in (0, 2) or (value := _varint(file)) is None:
            return False
        fields.add(key >> 3)
        length = value if key & 7 == 2 else 0
        if file.tell() + length > size or key >> 3 not in (*range(1, 9), 14, 20, 25, 26):
            return False
        file.seek(length, 1)
    return {1, 7} <= fields


def _varint(file: IO[bytes]) -> int | None:
    value = 0
    for shift in range(0, 70, 7):
        if not (byte := file.read(1)):
            return None
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    return None
