"""Students as the runtimes' converters take them: graphs that need neither torch nor transformers.

A language model's is one decoding step: some tokens, given the keys and values of those before, so that a chat computes
each token once. The weights stay the model's own modules; only the calls are written anew, since a graph takes plain
tensors where the library has objects.
"""

from __future__ import annotations

from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn.functional import linear, silu
from transformers import PreTrainedModel

from alambique.errors import ConfigurationError
from alambique.runtimes.base import Exportable
from alambique.runtimes.torch_graph import to_onnx
from alambique.tasks.transformers.checkpoint import Network
from alambique.tasks.transformers.models import class_logits

Names = tuple[str, ...]
Step = tuple[Tensor, Tensor, Tensor]
OPSET = 20
TOKENS, PAST = 5, 7
"""Sizes of the example: they occur nowhere else in a network, since equal sizes would be taken for one."""
ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM")
"""Classes of the library that compute what `Decoder` does. Others may have modules of the same names, and more."""
COMPARED_TOKENS = 12
"""Random tokens on which a decoder is compared with its model."""
TOLERANCE = 1e-3
"""Largest difference between their logits, as a fraction of the largest logit."""


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
        ConfigurationError: it is not built as a Llama; see `checked_decoder`.
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


def require_llama(model: PreTrainedModel, what: str) -> None:
    """Raise a ConfigurationError for what cannot be done with a network whose class is not among `ARCHITECTURES`."""
    if type(model).__name__ not in ARCHITECTURES:
        raise ConfigurationError(
            f"a {type(model).__name__} cannot be {what}: only networks built as a Llama can "
            f"({', '.join(ARCHITECTURES)}); start the student from one of these, or from none"
        )


def checked_decoder(model: PreTrainedModel, vocabulary: int, max_tokens: int) -> Decoder:
    """The decoder of a model, once both compute the same logits on random tokens.

    Args:
        vocabulary: tokens that the tokenizer knows.
    Raises:
        ConfigurationError: the model is not built as a Llama, attends to a shorter window than `max_tokens`, or
            computes something else.
    """
    require_llama(model, "exported")
    name = type(model).__name__
    window = getattr(model.config, "sliding_window", None)
    if window is not None and window < max_tokens:
        raise ConfigurationError(
            f"a {name} that attends to the last {window} tokens cannot be exported for texts of {max_tokens}; lower "
            "input_size"
        )
    decoder = Decoder(model, vocabulary).eval()
    difference = _difference(model, decoder, vocabulary)
    if not difference <= TOLERANCE:
        raise ConfigurationError(
            f"a {name} cannot be exported: the exported step differs from the model by {difference:.2g} of its largest "
            "logit; its configuration asks for something that a Llama does not compute: start the student from another "
            "model, or from none"
        )
    return decoder


@torch.inference_mode()
def _difference(model: PreTrainedModel, decoder: Decoder, vocabulary: int) -> float:
    """The largest difference between their logits on random tokens in two steps, over the largest logit."""
    ids = torch.randint(vocabulary, (1, COMPARED_TOKENS), generator=torch.Generator().manual_seed(0))
    expected = model(input_ids=ids, use_cache=False).logits[..., :vocabulary]
    empty = torch.zeros(*decoder.past_shape(0))
    first, keys, values = decoder(ids[:, : COMPARED_TOKENS // 2], empty, empty)
    second, _, _ = decoder(ids[:, COMPARED_TOKENS // 2 :], keys, values)
    return float((torch.cat((first, second), 1) - expected).abs().max() / expected.abs().max())


class Decoder(nn.Module):
    """One step of a Llama, for tracing, without the logits of tokens from `vocabulary` on; see `checked_decoder`."""

    def __init__(self, model: PreTrainedModel, vocabulary: int) -> None:
        super().__init__()
        config: Any = model.config
        inner: Any = model.model
        self.embedding, self.layers, self.norm = inner.embed_tokens, inner.layers, inner.norm
        # A copy: tied weights would be one array that is read in two ways, and quantized in neither.
        output: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        self.output = nn.Parameter(output.weight[:vocabulary].detach().clone(), requires_grad=False)
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.width = inner.layers[0].self_attn.head_dim
        self.frequencies = nn.Buffer(inner.rotary_emb.inv_freq.float())
        self.scale = float(inner.rotary_emb.attention_scaling)

    def past_shape(self, tokens: int) -> tuple[int, int, int, int]:
        """Of the keys, and of the values, of so many tokens."""
        return len(self.layers), self.kv_heads, tokens, self.width

    def forward(self, ids: Tensor, past_keys: Tensor, past_values: Tensor) -> Step:
        """The logits of each next token.

        Args:
            ids: (1, tokens).
            past_keys, past_values: of the tokens before, (layers, kv_heads, past, width).
        Returns:
            logits, (1, tokens, vocabulary); keys and values, (layers, kv_heads, past + tokens, width).
        """
        count, before = ids.shape[1], past_keys.shape[2]
        places = torch.arange(before + count, device=ids.device)
        hidden = self.embedding(ids)
        now = places[before:]
        angles = now[:, None].float() * self.frequencies[None]
        angles = torch.cat((angles, angles), -1)
        rotation = angles.cos() * self.scale, angles.sin() * self.scale
        later = places[None] > now[:, None]
        mask = torch.zeros(1).masked_fill(later, -1e9)
        keys, values = [], []
        for number, layer in enumerate(self.layers):
            attended, key, value = self._attend(
                layer.self_attn,
                layer.input_layernorm(hidden),
                past_keys[number],
                past_values[number],
                rotation,
                mask,
            )
            hidden = hidden + attended
            normalised, mlp = layer.post_attention_layernorm(hidden), layer.mlp
            hidden = hidden + mlp.down_proj(silu(mlp.gate_proj(normalised)) * mlp.up_proj(normalised))
            keys.append(key)
            values.append(value)
        logits = linear(self.norm(hidden), self.output)
        return logits, torch.stack(keys), torch.stack(values)

    def _attend(
        self,
        attention: Any,
        hidden: Tensor,
        past_key: Tensor,
        past_value: Tensor,
        rotation: tuple[Tensor, Tensor],
        mask: Tensor,
    ) -> Step:
        query = _rotated(self._split(attention.q_proj(hidden), self.heads), rotation)
        key = torch.cat((past_key, _rotated(self._split(attention.k_proj(hidden), self.kv_heads), rotation)), 1)
        value = torch.cat((past_value, self._split(attention.v_proj(hidden), self.kv_heads)), 1)
        shared = self.heads // self.kv_heads
        grouped = query.reshape(self.kv_heads, -1, self.width)  # heads that share a key stand together
        scores = (grouped @ key.transpose(1, 2)) * attention.scaling
        scores = scores.reshape(self.kv_heads, shared, hidden.shape[1], -1) + mask
        weights = scores.softmax(-1).reshape(self.kv_heads, shared * hidden.shape[1], -1)
        mixed = (weights @ value).reshape(self.heads, hidden.shape[1], self.width)
        return attention.o_proj(mixed.transpose(0, 1).reshape(1, hidden.shape[1], -1)), key, value

    def _split(self, projected: Tensor, heads: int) -> Tensor:
        return projected.reshape(-1, heads, self.width).transpose(0, 1)


def _rotated(heads: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """With rotary positions (Su et al. 2021), in the library's order of the halves."""
    first, second = heads.chunk(2, -1)
    return heads * rotation[0] + torch.cat((-second, first), -1) * rotation[1]
