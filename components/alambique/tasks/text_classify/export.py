"""A student as files that need neither torch nor transformers: from one text's tokens to its classes' logits.

Texts of any length up to `input_size` are taken as they are, one at a time: nothing is filled up, so that a short text
costs little.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim
from transformers import PreTrainedModel

from alambique.config.text_classify import Params
from alambique.evaluation.measures import Metrics
from alambique.layout import Candidate, checkpoint
from alambique.tasks.cards import read_card
from alambique.tasks.openvino_models import save_openvino, to_openvino
from alambique.tasks.text.export import forget_where
from alambique.tasks.text_classify import network
from alambique.tasks.text_classify.card import write_candidate_card
from alambique.tasks.traced import write_torchscript

OPSET = 20
FILES = {"onnx": "model.onnx", "openvino": "model.xml", "torchscript": "model.torchscript"}
"""The file that each runtime opens."""
INPUT, OUTPUT = "ids", "logits"
TRACED = 5
"""Tokens of the text that a graph is made from: any number that occurs nowhere else in a network."""


class Reader(nn.Module):
    """Logits from tokens alone, (1, tokens) → (1, classes): all of them are there, so that nothing needs a mask."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        return network.logits(self.model, ids)


def export(project: Path, params: Params, candidate: Candidate, target: Path) -> Metrics:
    """Export the pruned student in FP32 for the candidate's runtime; see `alambique.tasks.Task.export`.

    Returns:
        size_bytes, parameters, macs, and opset, where there is one.
    Raises:
        IntegrityError: the checkpoint is not what its card says.
    """
    model, max_tokens = student_model(project, candidate.student)
    path = target / FILES[candidate.runtime]
    match candidate.runtime:
        case "onnx":
            onnx.save(to_onnx(model, max_tokens), path)
        case "openvino":
            save_openvino(to_openvino(to_onnx(model, max_tokens)), path)
        case _:
            write_torchscript(Reader(model).eval(), torch.ones(1, TRACED, dtype=torch.long), path)
            return write_candidate_card(project, candidate, target, path.name)
    return write_candidate_card(project, candidate, target, path.name, opset=OPSET)


def student_model(project: Path, student: str) -> tuple[PreTrainedModel, int]:
    """The pruned student, and how many tokens it takes at most."""
    folder = project / checkpoint(student, "pruned")
    return network.load(folder)[0], read_card(folder)["max_tokens"]


def to_onnx(model: PreTrainedModel, max_tokens: int) -> onnx.ModelProto:
    """A model as an FP32 graph that takes a text of any length up to `max_tokens`."""
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of the names of its own dimensions
        made = torch.onnx.export(
            Reader(model).eval(),
            (torch.ones(1, TRACED, dtype=torch.long),),
            dynamo=True,
            dynamic_shapes=({1: Dim("tokens", min=2, max=max_tokens)},),
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    if made is None:
        raise RuntimeError("torch.onnx gave no program")
    graph: onnx.ModelProto = made.model_proto
    forget_where(graph)
    return graph
