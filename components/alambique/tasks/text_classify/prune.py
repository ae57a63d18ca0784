"""How a classifier of texts is pruned: neurons or layers are removed, then the teacher helps it recover."""

from __future__ import annotations

import shutil
from pathlib import Path

from alambique.config.text_classify import Params
from alambique.evaluation.measures import Metrics
from alambique.layout import CURVES, DATA, checkpoint
from alambique.tasks.cards import read_card
from alambique.tasks.text import folders
from alambique.tasks.text.data import Texts
from alambique.tasks.text_classify import encoding, measuring, network, smaller
from alambique.tasks.text_classify.distill import recover

TEXTS = 256
"""That importance is measured on, the first of train."""


def prune(project: Path, params: Params, student: str, target: Path) -> Metrics:
    """Remove `params.prune.ratio` of the distilled student's multiply-accumulates; a share of 0 copies the student.

    Returns:
        parameters and macs before and after; how, the removed share, layers and ffn; what recovery reports.
    Raises:
        ConfigurationError: no such share can be removed, or the student is not built as a BERT.
        IntegrityError: the distilled checkpoint is not what its card says, or the soft labels are damaged.
    """
    source = project / checkpoint(student, "distilled", params.seeds[0])
    distilled, how = read_card(source), params.prune
    model, tokenizer = network.load(source)
    data = Texts.load(project / DATA)
    if how.ratio == 0:
        shutil.copyfile(source / CURVES, target / CURVES)
        measured = measuring.on_val(data, tokenizer, params.input_size)(model)
        metrics: Metrics = {f"val_{name}": value for name, value in measured.items()}
    else:
        kept = smaller.choose(model, how.how, how.ratio, params.input_size)
        seen = encoding.encode(data.texts("train")[:TEXTS], tokenizer, data.classes, params.input_size)
        model = smaller.cut(model, kept, smaller.importance(model, seen, tokenizer.pad_token_id))
        metrics = recover(model, tokenizer, project, params, target)
    folders.save(model, tokenizer, target)
    card = network.write_card(
        target,
        "pruned",
        model,
        tokenizer,
        data.classes,
        params.input_size,
        data.digest("train"),
        student=student,
        teachers=distilled["teachers"],
        source=distilled["sha256"],
    )
    return {
        **metrics,
        **folders.figures(card),
        "parameters_before": distilled["parameters"],
        "macs_before": distilled["macs"],
        "how": how.how,
        "target": "macs",
        "removed": 1 - card["macs"] / distilled["macs"],
        **{name: card["network"][name] for name in ("layers", "ffn")},
    }
