"""A student as files that need neither torch nor transformers: one step of decoding, and its tokenizer."""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import torch
from torch.export import Dim
from transformers import PreTrainedModel

from alambique.config.text import Params
from alambique.evaluation.measures import Metrics
from alambique.layout import Candidate, checkpoint
from alambique.tasks.openvino_models import save_openvino, to_openvino
from alambique.tasks.text import network
from alambique.tasks.text.card import write_candidate_card
from alambique.tasks.text.decoder import Decoder

OPSET = 20
FILES = {"onnx": "model.onnx", "openvino": "model.xml"}
"""The file that each runtime opens."""
INPUTS, OUTPUTS = ("ids", "past_keys", "past_values"), ("logits", "keys", "values")


def export(project: Path, params: Params, candidate: Candidate, target: Path) -> Metrics:
    """Export the pruned student in FP32 for the candidate's runtime; see `alambique.tasks.Task.export`.

    Returns:
        size_bytes, parameters, macs, opset.
    Raises:
        IntegrityError: the checkpoint is not what its card says.
        ConfigurationError: the student is not built as a Llama.
    """
    graph = student_graph(project, candidate.student)
    path = target / FILES[candidate.runtime]
    if candidate.runtime == "onnx":
        onnx.save(graph, path)
    else:
        save_openvino(to_openvino(graph), path)
    return write_candidate_card(project, candidate, target, path.name, opset=OPSET)


def student_graph(project: Path, student: str) -> onnx.ModelProto:
    """The pruned student as an FP32 graph."""
    model, tokenizer = network.load(project / checkpoint(student, "pruned"))
    return to_onnx(model, len(tokenizer))


def to_onnx(model: PreTrainedModel, vocabulary: int) -> onnx.ModelProto:
    """A model as an ONNX graph of `Decoder`: any number of tokens after any number of them, none included."""
    decoder = Decoder(model, vocabulary).eval()
    # Sizes that occur nowhere else, since what is traced with equal ones is taken for one.
    past = torch.zeros(len(decoder.layers), decoder.kv_heads, 7, decoder.width)
    shapes = ({1: Dim("tokens")}, {2: Dim("past")}, {2: Dim("past")})
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of the names of its own dimensions
        made = torch.onnx.export(
            decoder,
            (torch.zeros(1, 5, dtype=torch.long), past, past.clone()),
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    if made is None:
        raise RuntimeError("torch.onnx gave no program")
    graph: onnx.ModelProto = made.model_proto
    forget_where(graph)
    return graph


def forget_where(graph: onnx.ModelProto) -> None:
    """Leave out the stack traces of who built each node: paths of this machine."""
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*graph.graph.value_info, *graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""
    del graph.metadata_props[:]
    del graph.graph.metadata_props[:]
