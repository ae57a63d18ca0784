"""How a language model is pruned: layers, heads and neurons are removed, then the teacher helps it recover."""

from __future__ import annotations

import shutil
from pathlib import Path

from alambique.config.text import Params
from alambique.evaluation.measures import Metrics
from alambique.layout import CURVES, DATA, checkpoint
from alambique.tasks.cards import read_card
from alambique.tasks.text import folders, importance, measuring, network, sequences, smaller
from alambique.tasks.text.data import Texts
from alambique.tasks.text.decoder import require_llama
from alambique.tasks.text.distill import recover


def prune(project: Path, params: Params, student: str, target: Path) -> Metrics:
    """Remove `params.prune.ratio` of the distilled student's parameters; a share of 0 copies the student.

    Returns:
        parameters and macs before and after; how, the removed share, layers, heads, kv_heads and ffn; what recovery
        reports.
    Raises:
        ConfigurationError: no such share can be removed, or the student is not built as a Llama.
        IntegrityError: the distilled checkpoint is not what its card says, or the soft labels are damaged.
    """
    source = project / checkpoint(student, "distilled", params.seeds[0])
    distilled = read_card(source)
    model, tokenizer = network.load(source)
    data, how = Texts.load(project / DATA), params.prune
    if how.ratio == 0:
        shutil.copyfile(source / CURVES, target / CURVES)
        val = measuring.on(data.texts("val"), tokenizer, params.input_size)
        metrics: Metrics = {f"val_{name}": value for name, value in val(model).items()}
    else:
        require_llama(model, "pruned")
        kept = smaller.choose(model, how.how, how.ratio)
        seen = sequences.encode(data.texts("train")[: importance.TEXTS], tokenizer, params.input_size)
        model = smaller.cut(model, kept, importance.measure(model, seen))
        metrics = recover(model, tokenizer, project, params, target)
    folders.save(model, tokenizer, target)
    card = network.write_card(
        target,
        "pruned",
        model,
        tokenizer,
        params.input_size,
        data.digest("train"),
        student=student,
        teachers=distilled["teachers"],
        source=distilled["sha256"],
        val_accuracy=metrics["val_accuracy"],
    )
    built = card["network"]
    return {
        **metrics,
        **folders.figures(card),
        "parameters_before": distilled["parameters"],
        "macs_before": distilled["macs"],
        "how": how.how,
        "removed": 1 - card["parameters"] / distilled["parameters"],
        **{name: built[name] for name in ("layers", "heads", "kv_heads", "ffn")},
    }
