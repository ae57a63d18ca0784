from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from alambique.errors import ConfigurationError
from alambique.tasks.text import importance, smaller
from alambique.tasks.text.folders import parameters
from alambique.tasks.text.sequences import TokenSequence
from alambique.tasks.text.smaller import Sizes


@pytest.mark.parametrize(("how", "share"), [("width", 0.2), ("depth", 0.2), ("both", 0.3)])
def test_as_much_as_asked_is_gone_for_good(
    model: PreTrainedModel, own: list[TokenSequence], how: str, share: float, tmp_path: Path
) -> None:
    kept = smaller.choose(model, how, share)
    made = smaller.cut(model, kept, importance.measure(model, own))
    removed = 1 - parameters(made) / parameters(model)
    assert share <= removed < share + 0.17  # a whole layer at most
    assert smaller.sizes(made) == kept
    made.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(again(ids).logits, made(ids).logits)


def test_what_adds_nothing_goes_first(model: PreTrainedModel, own: list[TokenSequence]) -> None:
    attention, mlp = model.model.layers[1].self_attn, model.model.layers[1].mlp
    attention.o_proj.weight.data[:, 16:] = 0  # the second of two groups of heads
    mlp.down_proj.weight.data[:, 10:40] = 0
    kept = Sizes(3, 1, 18)
    found = importance.measure(model, own)
    made = smaller.cut(model, kept, found)
    assert torch.equal(made.model.layers[1].self_attn.o_proj.weight, attention.o_proj.weight[:, :16])
    assert torch.equal(made.model.layers[1].mlp.up_proj.weight, mlp.up_proj.weight[[*range(10), *range(40, 48)]])


def test_a_layer_that_turns_nothing_goes_first(model: PreTrainedModel, own: list[TokenSequence]) -> None:
    idle = model.model.layers[1]
    idle.self_attn.o_proj.weight.data.zero_()
    idle.mlp.down_proj.weight.data.zero_()
    found = importance.measure(model, own)
    assert float(found.layers[1]) == pytest.approx(0, abs=1e-5)
    made = smaller.cut(model, smaller.sizes(model)._replace(layers=2), found)
    ids = torch.tensor([[1, 2, 3, 200]])
    assert torch.allclose(made(ids).logits, model(ids).logits, atol=1e-4)


def test_more_than_can_go_is_refused(model: PreTrainedModel) -> None:
    with pytest.raises(ConfigurationError, match=r"prune.ratio: 0.95 of the parameters by width is more than can go"):
        smaller.choose(model, "width", 0.95)
