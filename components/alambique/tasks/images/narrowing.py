"""Weights of a larger classifier for a smaller one of its family: the blocks and channels that matter most are kept.

Of the larger one nothing but its tensors is known. So it is rebuilt from the smaller: first the blocks that it has more
of are dropped; then a copy of the smaller network takes its widths, and loses channels as in pruning.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn
from ultralytics.nn.modules.block import Attention

from alambique.errors import DataError
from alambique.tasks.images.network import Classifier, fit
from alambique.tasks.yolo.attention_split import SplitAttention, join_attention, split_attention
from alambique.tasks.yolo.chunk_split import SplitBlock

State = dict[str, Tensor]

PROBE = 64
"""Side of the input that the dependency graph is traced with, pixels."""
HEAD_WIDTH = 64
"""Channels of each of a C2PSA's attention heads, of which there is one at least."""


def without_blocks(given: State, model: Classifier) -> State:
    """Drop the blocks that `given` has more of than `model`, in any row of blocks; the first of a row stays.

    A residual block ends in a batch norm, whose scales are the size of what it adds: the blocks with the smallest go.
    """
    target = model.state_dict()
    for row, module in model.named_modules():
        if not isinstance(module, nn.Sequential | nn.ModuleList):
            continue
        wanted, blocks = (_blocks(state, row) for state in (target, given))
        if not 0 < len(wanted) < len(blocks):
            continue
        first, *others = blocks
        others.sort(key=lambda number: -_last_scale(blocks[number]))
        kept = sorted([first, *others[: len(wanted) - 1]])
        places = dict(zip(kept, wanted, strict=True))
        parent = row.rpartition(".")[0]
        if isinstance(block := model.get_submodule(parent), SplitBlock) and block.chained:
            given = _without_inputs(given, parent, len(blocks), kept)
        given = {name: tensor for name, tensor in given.items() if not name.startswith(f"{row}.")} | {
            f"{row}.{places[number]}.{name}": tensor
            for number, block_state in blocks.items()
            if number in places
            for name, tensor in block_state.items()
        }
    return given


def without_channels(given: State, model: Classifier, head: str) -> State:
    """Tensors of the shapes of `model`, of the channels of `given` whose weights are largest.

    Args:
        given: tensors by the names of `model`.
        model: is left as it was.
        head: name of the layer of the logits, which keeps all of its outputs.
    Raises:
        DataError: they cannot be narrowed; the message says why.
    """
    target = model.state_dict()
    _require_prunable(model)
    _require_larger(given, target, head)
    wide = fit(deepcopy(model), given)
    wide.load_state_dict({name: given[name] for name in target})
    for module in wide.modules():
        if isinstance(module, Attention):
            _set_heads(module)
    split_attention(wide)
    try:
        for name, module in list(wide.named_modules()):
            if isinstance(module, SplitAttention):
                module.keep_heads(model.get_submodule(name))
        _remove_channels(wide, model, head)
    except (RuntimeError, IndexError) as error:
        raise DataError(f"its layers do not fit together ({' '.join(str(error).split())})") from error
    narrow = join_attention(model, wide.state_dict())
    for name, tensor in target.items():
        if narrow[name].shape != tensor.shape and not name.startswith(f"{head}."):
            raise DataError(f"{name} would have the shape {[*narrow[name].shape]}, not {[*tensor.shape]}")
    return narrow


def _blocks(state: State, row: str) -> dict[int, State]:
    """The tensors of each numbered child of the module `row`, by the rest of their names."""
    blocks: dict[int, State] = {}
    for name, tensor in state.items():
        number, _, rest = name.removeprefix(f"{row}.").partition(".")
        if name.startswith(f"{row}.") and number.isdecimal():
            blocks.setdefault(int(number), {})[rest] = tensor
    return dict(sorted(blocks.items()))


def _last_scale(block: State) -> float:
    """Mean square of the scales of a block's last norm; of all its weights, if it has none."""
    weights = [tensor for name, tensor in block.items() if name.endswith("weight")]
    scales = [tensor for tensor in weights if tensor.ndim == 1]
    return float(torch.cat([tensor.float().flatten() for tensor in scales[-1:] or weights]).square().mean())


def _without_inputs(given: State, block: str, count: int, kept: list[int]) -> State:
    """Without those inputs of a C2f's last convolution that come from blocks which are not kept."""
    name = f"{block}.cv2.conv.weight"
    width = len(given[f"{block}.cv1.1.conv.weight"])
    before = given[name].shape[1] - count * width
    columns = [*range(before)] + [before + number * width + offset for number in kept for offset in range(width)]
    return {**given, name: given[name][:, columns]}


def _require_larger(given: State, target: State, head: str) -> None:
    for name, tensor in target.items():
        have, want = given[name].shape, tensor.shape
        layer = name.rpartition(".")[0]
        if len(have) != len(want) or have[2:] != want[2:]:
            raise DataError(f"{layer} is of another kind ({name} is {[*have]}, not {[*want]})")
        wider = [axis for axis in range(min(len(want), 2)) if want[axis] > have[axis]]
        if wider and not (layer == head and wider == [0]):
            raise DataError(f"{layer} is wider than in the weights ({name} is {[*want]}, theirs {[*have]})")


def _require_prunable(model: Classifier) -> None:
    """Other layers (attention, layer norm, scales of blocks) have channels that the dependency graph does not know."""
    for module in model.modules():
        if not any(True for _ in module.parameters(recurse=False)):
            continue
        plain = isinstance(module, nn.BatchNorm2d | nn.Linear | nn.Conv2d)
        if not plain or (isinstance(module, nn.Conv2d) and module.groups not in (1, module.in_channels)):
            what = "a grouped convolution" if plain else f"a {type(module).__name__}"
            raise DataError(f"it has {what}, whose width cannot be narrowed")


def _remove_channels(wide: Classifier, model: Classifier, head: str) -> None:
    """Remove the channels of `wide` with the smallest weights, in place; layers that are coupled lose the same ones."""
    graph = tp.DependencyGraph().build_dependency(wide, torch.zeros(1, 3, PROBE, PROBE), verbose=False)
    importance = tp.importance.GroupMagnitudeImportance()
    for name, layer in model.named_modules():
        if not isinstance(layer, nn.Conv2d | nn.Linear) or name == head or name.endswith(".attn.qkv.conv"):
            continue
        # Pruning one layer of a group prunes all of it: later members find nothing left to do.
        wider: Any = wide.get_submodule(name)
        if (excess := len(wider.weight) - len(layer.weight)) > 0:
            remove = tp.prune_linear_out_channels if isinstance(layer, nn.Linear) else tp.prune_conv_out_channels
            group = graph.get_pruning_group(wider, remove, list(range(len(wider.weight))))
            weakest = importance(group).argsort(stable=True)[:excess].tolist()
            graph.get_pruning_group(wider, remove, weakest).prune()


def _set_heads(attention: Any) -> None:
    """Set what Ultralytics derives of an attention's width, after that has changed."""
    channels, outputs = attention.proj.conv.out_channels, attention.qkv.conv.out_channels
    attention.num_heads = max(channels // HEAD_WIDTH, 1)
    attention.head_dim = channels // attention.num_heads
    attention.key_dim = (outputs - channels) // (2 * attention.num_heads)
    attention.scale = attention.key_dim**-0.5
