"""Models as Hugging Face folders, local or on the hub: safetensors and text files alone, never code."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from alambique.config.text import HUB, TOKENIZER
from alambique.errors import ConfigurationError, DataError, TransientError
from alambique.tasks import weight_files

OF_TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("chat_template.jinja", "vocab.json", "vocab.txt", "merges.txt"),
)
OF_MODEL = (
    *("config.json", "generation_config.json", "*.safetensors", "model.safetensors.index.json"),
    *OF_TOKENIZER,
)


def is_folder(uri: str) -> bool:
    """Whether a reference names a folder rather than a file of weights."""
    return uri.startswith((HUB, TOKENIZER)) or Path(uri).expanduser().is_dir()


def pin_revision(uri: str) -> str:
    """A reference to the hub with its present commit; any other reference unchanged.

    Raises:
        ConfigurationError: the hub has no such model or revision.
        TransientError: the hub is out of reach.
    """
    if uri.startswith(TOKENIZER):
        return TOKENIZER + pin_revision(uri.removeprefix(TOKENIZER))
    if not uri.startswith(HUB) or immutable(uri):
        return uri
    from huggingface_hub import model_info
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    name, _, revision = uri.removeprefix(HUB).partition("@")
    try:
        return f"{HUB}{name}@{model_info(name, revision=revision or None).sha}"
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise ConfigurationError(f"{uri}: the hub has no such model: {error}; correct the name") from None
    except (HfHubHTTPError, OSError) as error:
        raise TransientError(f"cannot reach the hub for {uri}: {error}") from error


def immutable(uri: str) -> bool:
    """Whether a reference names a commit of the hub."""
    return re.fullmatch(rf"({TOKENIZER})?{HUB}[^@]*@[0-9a-f]{{40}}", uri) is not None


def fetch(uri: str, target: Path) -> None:
    """Copy a model's folder to the new folder `target`; for tokenizer: references only the tokenizer.

    Args:
        uri: an absolute path (or ~/…), hf://org/name@commit, or either prefixed by tokenizer:.
    Raises:
        ConfigurationError: the path is relative.
        DataError: the folder holds no such model.
        TransientError: the hub is out of reach.
    """
    patterns = OF_TOKENIZER if uri.startswith(TOKENIZER) else OF_MODEL
    place = uri.removeprefix(TOKENIZER)
    if place.startswith(HUB):
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            _download(place, Path(scratch), patterns)
            _copy(Path(scratch), target, patterns, uri)
        return
    folder = Path(place).expanduser()
    if not folder.is_absolute():
        raise ConfigurationError(f"{place!r} is relative; give an absolute path, or {HUB}org/name")
    _copy(folder, target, patterns, uri)


def _download(place: str, scratch: Path, patterns: tuple[str, ...]) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    name, _, revision = place.removeprefix(HUB).partition("@")
    try:
        snapshot_download(name, revision=revision or None, local_dir=scratch, allow_patterns=list(patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise TransientError(f"cannot download {place}: {error}") from error


def _copy(folder: Path, target: Path, patterns: tuple[str, ...], uri: str) -> None:
    files = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
    needed = "tokenizer.json" if patterns is OF_TOKENIZER else "config.json"
    if needed not in {path.name for path in files}:
        inside = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.pt"))
        file = f", or the file itself, such as {folder / inside[0]}" if inside else ""
        raise DataError(f"{uri} is a folder that holds no {needed}: give a Hugging Face folder{file}")
    for path in files:
        with weight_files.named(path, f"{uri}/{path.name}"):
            weight_files.require_folder_file(path)
    if patterns is OF_MODEL and not any(path.suffix == ".safetensors" for path in files):
        raise DataError(f"{uri} holds no .safetensors: other weights are pickles, which can run any code; convert them")
    target.mkdir()
    for path in files:
        shutil.copyfile(path, target / path.name)
