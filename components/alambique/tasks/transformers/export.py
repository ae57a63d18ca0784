"""Students as the runtimes' converters take them: graphs that need neither torch nor transformers."""

from __future__ import annotations

from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim
from transformers import PreTrainedModel

from alambique.runtimes.base import Exportable
from alambique.runtimes.torch_graph import to_onnx
from alambique.tasks.transformers.checkpoint import Network
from alambique.tasks.transformers.decoder import checked_decoder
from alambique.tasks.transformers.models import class_logits

Names = tuple[str, ...]
OPSET = 20
TOKENS, PAST = 5, 7
"""Sizes of the example: they occur nowhere else in a network, since equal sizes would be taken for one."""


class LogitsOnly(nn.Module):
    """A classifier's logits from tokens alone, (1, tokens) → (1, classes): nothing is padded, so no mask is needed."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        return class_logits(self.model, ids)


def decoder(network: Network, max_tokens: int) -> Exportable:
    """A causal language model's decoding step: any number of tokens after any number of them, none included.

    Raises:
        ConfigurationError: it is not built as a Llama; see `decoder.checked_decoder`.
    """
    module = checked_decoder(network.model, len(network.tokenizer), max_tokens)
    past = torch.zeros(*module.past_shape(PAST))
    example = (torch.zeros(1, TOKENS, dtype=torch.long), past, past.clone())
    inputs, outputs = ("ids", "past_keys", "past_values"), ("logits", "keys", "values")
    shapes = ({1: Dim("tokens")}, {2: Dim("past")}, {2: Dim("past")})
    return _exportable(module, example, inputs, outputs, shapes)


def classifier(network: Network, max_tokens: int) -> Exportable:
    """A classifier of one text of any length up to `max_tokens`: a short text takes little time."""
    module = LogitsOnly(network.model).eval()
    example = (torch.ones(1, TOKENS, dtype=torch.long),)
    shapes = ({1: Dim("tokens", min=2, max=max_tokens)},)
    return _exportable(module, example, ("ids",), ("logits",), shapes)


def _exportable(module: nn.Module, example: Any, inputs: Names, outputs: Names, shapes: Any) -> Exportable:
    def graph() -> onnx.ModelProto:
        return to_onnx(module, example, inputs, outputs, OPSET, shapes)

    return Exportable(graph, lambda _: module, example, OPSET, inputs, outputs)
