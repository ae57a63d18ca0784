from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from alambique.errors import ConfigurationError
from alambique.tasks.transformers import sequences, structured_pruning
from alambique.tasks.transformers.checkpoint import parameters
from alambique.tasks.transformers.prunable import Importance, measure_importance, sizes
from alambique.tasks.transformers.sequences import TokenSequence


def scores(model: PreTrainedModel, texts: list[TokenSequence]) -> Importance:
    ids = sequences.collate(texts)["ids"]
    return measure_importance(model, [({"input_ids": ids}, torch.ones(ids.shape, dtype=torch.bool))])


@pytest.mark.parametrize(("how", "ratio"), [("width", 0.2), ("depth", 0.2), ("both", 0.3)])
def test_as_much_as_asked_is_gone_for_good(
    model: PreTrainedModel, encoded: list[TokenSequence], how: str, ratio: float, tmp_path: Path
) -> None:
    kept = structured_pruning.choose(model, how, ratio, 48)
    smaller = structured_pruning.cut(model, kept, scores(model, encoded))
    removed = 1 - parameters(smaller) / parameters(model)
    assert ratio <= removed < ratio + 0.17  # a whole layer at most
    assert sizes(smaller) == kept
    smaller.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(again(ids).logits, smaller(ids).logits)


def test_what_adds_nothing_goes_first(model: PreTrainedModel, encoded: list[TokenSequence]) -> None:
    attention, mlp = model.model.layers[1].self_attn, model.model.layers[1].mlp
    attention.o_proj.weight.data[:, 16:] = 0  # the second of two groups of heads
    mlp.down_proj.weight.data[:, 10:40] = 0
    kept = sizes(model)._replace(groups=1, ffn=18)
    measured = scores(model, encoded)
    smaller = structured_pruning.cut(model, kept, measured)
    assert torch.equal(smaller.model.layers[1].self_attn.o_proj.weight, attention.o_proj.weight[:, :16])
    assert torch.equal(smaller.model.layers[1].mlp.up_proj.weight, mlp.up_proj.weight[[*range(10), *range(40, 48)]])


def test_a_layer_that_turns_nothing_goes_first(model: PreTrainedModel, encoded: list[TokenSequence]) -> None:
    idle = model.model.layers[1]
    idle.self_attn.o_proj.weight.data.zero_()
    idle.mlp.down_proj.weight.data.zero_()
    measured = scores(model, encoded)
    assert float(measured.layers[1]) == pytest.approx(0, abs=1e-5)
    smaller = structured_pruning.cut(model, sizes(model)._replace(layers=2), measured)
    ids = torch.tensor([[1, 2, 3, 200]])
    assert torch.allclose(smaller(ids).logits, model(ids).logits, atol=1e-4)


def test_more_than_can_go_is_refused(model: PreTrainedModel) -> None:
    with pytest.raises(ConfigurationError, match=r"prune.ratio: 0.95 of the parameters by width is more than can go"):
        structured_pruning.choose(model, "width", 0.95, 48)
