"""A Llama as artifacts compute it: some tokens, after those whose keys and values are remembered.

So a chat costs each token once. The weights stay the model's own modules; only how they are called is written anew,
since a graph wants plain tensors where the library has objects.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu
from transformers import PreTrainedModel

from alambique.errors import ConfigurationError

Step = tuple[Tensor, Tensor, Tensor]


def require_llama(model: PreTrainedModel, what: str) -> None:
    """Refuse networks that are not built as a Llama is.

    Raises:
        ConfigurationError: so it is.
    """
    layers: Any = getattr(getattr(model, "model", None), "layers", None)
    parts = ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp")
    gated = layers and all(hasattr(layers[0].mlp, name) for name in ("gate_proj", "up_proj", "down_proj"))
    if not gated or {name for name, _ in layers[0].named_children()} != set(parts):
        raise ConfigurationError(
            f"a {type(model).__name__} cannot be {what}: only networks built as a Llama can (Llama, Mistral, Qwen2, "
            "SmolLM, …); start the student from one of these, or from none"
        )


class Decoder(nn.Module):
    """One step of a Llama, for tracing.

    Args:
        model: with its weights.
        vocabulary: tokens that the tokenizer knows; the logits of others are cut off.
    """

    def __init__(self, model: PreTrainedModel, vocabulary: int) -> None:
        super().__init__()
        require_llama(model, "exported")
        config: Any = model.config
        inner: Any = model.model
        self.embedding, self.layers, self.norm = inner.embed_tokens, inner.layers, inner.norm
        # Its own copy: what is tied here would be one array that is read in two ways, and quantized in neither.
        output: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        self.output = nn.Parameter(output.weight[:vocabulary].detach().clone(), requires_grad=False)
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.width = inner.layers[0].self_attn.head_dim
        self.frequencies = nn.Buffer(inner.rotary_emb.inv_freq.float())
        self.scale = float(inner.rotary_emb.attention_scaling)

    def forward(self, ids: Tensor, past_keys: Tensor, past_values: Tensor) -> Step:
        """What follows each token.

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
        turn = angles.cos() * self.scale, angles.sin() * self.scale
        seen = places[None] <= now[:, None]
        mask = torch.zeros(1).masked_fill(~seen, -1e9)
        keys, values = [], []
        for number, layer in enumerate(self.layers):
            attended, key, value = self._attend(
                layer.self_attn,
                layer.input_layernorm(hidden),
                past_keys[number],
                past_values[number],
                turn,
                mask,
            )
            hidden = hidden + attended
            hidden = hidden + _feed_forward(layer.mlp, layer.post_attention_layernorm(hidden))
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
        turn: tuple[Tensor, Tensor],
        mask: Tensor,
    ) -> Step:
        query = _turned(self._split(attention.q_proj(hidden), self.heads), turn)
        key = torch.cat((past_key, _turned(self._split(attention.k_proj(hidden), self.kv_heads), turn)), 1)
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


def _turned(heads: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """With rotary positions (Su et al. 2021), in the library's order of the halves."""
    first, second = heads.chunk(2, -1)
    return heads * turn[0] + torch.cat((-second, first), -1) * turn[1]


def _feed_forward(mlp: Any, hidden: Tensor) -> Tensor:
    return mlp.down_proj(silu(mlp.gate_proj(hidden)) * mlp.up_proj(hidden))  # type: ignore[no-any-return]
