"""Initial weights from a larger network of the same family: fewer channels, attention heads and repeats of a block.

A student that starts with what its teacher (or a pretrained network) has learned needs far fewer steps than one that
is initialised at random. Channels are kept by magnitude, as `prune` keeps them; of repeated blocks the first stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn
from ultralytics.nn.modules import C2PSA, C2f
from ultralytics.nn.tasks import DetectionModel

from alambique.config.detect import Network
from alambique.config.section import TEACHER
from alambique.errors import DataError
from alambique.tasks.yolo import upstream
from alambique.tasks.yolo.attention_split import SplitAttention, join_attention, split_attention
from alambique.tasks.yolo.channel_importance import magnitude
from alambique.tasks.yolo.chunk_split import join, split
from alambique.tasks.yolo.dataset import HeadName
from alambique.tasks.yolo.network import load, verify_loadable
from alambique.tasks.yolo.structured_pruning import convolutions, remove_channels

STOCK = re.compile(r"(yolo26|yolo11|yolov8)([nsmlx])(?:-|$)")
"""Stems of the YAML files of Ultralytics' scales, such as yolo26n-seg."""


def narrow_into(model: DetectionModel, source: DetectionModel, seed: int) -> None:
    """Overwrite the weights of `model` by the most important ones of `source`, which is left as it was.

    Args:
        model: its head decides the classes; one for other classes than the source's is initialised by `seed`.
        source: trained, of the same kinds of layers, and nowhere narrower.
    Raises:
        DataError: its layers are of another kind, or narrower; the message names the first.
    """
    wide = _with_head_of(model, source, seed)
    _require_same_blocks(wide, model)
    _drop_repeats(wide, model)
    pruned, target = split(wide).float().eval(), split(model)
    split_attention(pruned)
    split_attention(target)
    _require_not_narrower(pruned, target)
    for name, module in pruned.named_modules():
        if isinstance(module, SplitAttention):
            attention: Any = model.get_submodule(name)
            try:
                module.keep_heads(attention)
            except DataError as error:
                raise DataError(f"layer {name}: {error}; choose another scale, or weights: null") from None
    remove_channels(pruned, {name: layer.out_channels for name, layer in convolutions(target)}, magnitude())
    model.load_state_dict(join_attention(model, join(pruned.state_dict())))


def networks_from(model: DetectionModel) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The architecture of `model`, and that of a student of half its width, with its initial weights.

    Those are the teacher's where a scale of three numbers has the same blocks. None: not one of Ultralytics' scales.
    """
    match = STOCK.match(Path(model.yaml.get("yaml_file", "")).stem)
    if match is None or match[2] not in (scales := model.yaml.get("scales") or {}):
        return None
    family, scale = match.groups()
    depth, width, most = scales[scale]
    same_blocks = family == "yolov8" or scale in "ns"
    student = {"family": family, "scale": [depth, width / 2, most], "weights": TEACHER if same_blocks else None}
    return {"family": family, "scale": scale}, student


def network_of(weights: Path, head: HeadName) -> Network:
    """The family and scale of a checkpoint; a DataError if it is of another task, or none of Ultralytics' scales."""
    verify_loadable(weights, head)
    networks = networks_from(load(weights, head))
    if networks is None:
        raise DataError(f"{weights} does not say which family and scale it is of; name them in `network`")
    return Network(**networks[0])


def _with_head_of(model: DetectionModel, source: DetectionModel, seed: int) -> DetectionModel:
    """A copy of `source` that predicts what `model` does."""
    if _outputs(source) == _outputs(model):
        return deepcopy(source)
    content: dict[str, Any] = deepcopy(source.yaml)
    for key in ("nc", "kpt_shape"):
        if key in model.yaml:
            content[key] = model.yaml[key]
    with torch.random.fork_rng(devices=[]), upstream.quiet():
        torch.manual_seed(seed)
        wide = type(model)(content, nc=model.nc, verbose=False)
    upstream.copy_tensors(wide, source, seed)
    return wide


def _outputs(model: DetectionModel) -> tuple[object, ...]:
    return model.nc, getattr(model.model[-1], "kpt_shape", None)


def _require_same_blocks(wide: DetectionModel, model: DetectionModel) -> None:
    for index, (given, asked) in enumerate(zip(wide.model, model.model, strict=False)):
        if _kind(given) != _kind(asked):
            raise DataError(
                f"layer {index} is made of {' of '.join(_kind(given))}, and of {' of '.join(_kind(asked))} in the "
                "network that is asked for. Scales n and s have the same blocks, and so do m, l and x; choose a scale "
                "of one kind, or weights: null"
            )
    if len(wide.model) != len(model.model):
        raise DataError(f"it has {len(wide.model)} layers, and the network that is asked for {len(model.model)}")


def _kind(layer: Any) -> list[str]:
    """Names of a layer's class, and of those of the blocks that it repeats."""
    names = [type(layer).__name__]
    blocks = getattr(layer, "m", None)
    if isinstance(layer, C2f | C2PSA) and isinstance(blocks, nn.ModuleList | nn.Sequential):
        first: Any = blocks[0]
        names += [type(part).__name__ for part in (first if isinstance(first, nn.Sequential) else [first])]
    return names


def _drop_repeats(wide: DetectionModel, model: DetectionModel) -> None:
    """Remove the last of the repeated blocks where `model` has fewer, in place."""
    for given, asked in zip(wide.model, model.model, strict=True):
        if not isinstance(given, C2f | C2PSA) or len(given.m) <= (kept := len(asked.m)):
            continue
        given.m = given.m[:kept]
        if isinstance(given, C2f):  # which concatenates what each block puts out
            convolution: Any = given.cv2.conv
            convolution.in_channels = (2 + kept) * given.c
            convolution.weight = nn.Parameter(convolution.weight.detach()[:, : convolution.in_channels].clone())


def _require_not_narrower(wide: nn.Module, narrow: nn.Module) -> None:
    given = dict(_channels(wide))
    for name, channels in _channels(narrow):
        if name not in given:
            raise DataError(f"it has no layer {name}: it repeats a block less often than the network asked for")
        if channels > given[name] and ".attn." not in name:  # attention says itself what it lacks
            raise DataError(
                f"layer {name} has {given[name]} channels, fewer than the {channels} of the network that is asked for; "
                "choose a smaller scale, or weights: null"
            )


def _channels(model: nn.Module) -> Iterator[tuple[str, int]]:
    return ((name, layer.out_channels) for name, layer in convolutions(model))
