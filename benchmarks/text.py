"""What distilling models of text from a cache saves, what the cache leaves out, and what a teacher is worth.

    python -m benchmarks.text --data PATH --weights PATH [--jobs N] [--quick]

Training, on a CPU: a Llama student learns from one of about five times its parameters, 8,192 tokens of vocabulary, in
batches of equally long texts. In one process these take turns, in rounds that each begin with another of them, each a
real training of a few steps with AdamW; counted is from the first step of the optimizer to the last:

plain       `tasks.learning` on the texts alone, as `control` does
cached      the same from the cache of soft labels, as `distill` does
trl         TRL's GKDTrainer, the teacher online at every batch, forward KL, nothing generated (lmbda 0)

speedup_over_trl      tokens a second, cached over trl, within a round; its median and quartiles
cached_over_plain     seconds a token, likewise

Size, for 32,000 tokens of vocabulary: a teacher is simulated whose probabilities fall with a power of the rank, steeper
at some places than at others (exponents 1.2 to 3), and a student that errs by a normal number at each logit. Written is
a real shard.

dense_over_cached     bytes of all logits in half precision over bytes of the shard; details hold the bias of
                      KL(teacher ‖ student) from it, against that over the whole vocabulary

Gain, see `benchmarks.distillation_gain`: a BERT of two layers, from scratch, on questions of 77 intents (banking77:
a folder of train.csv and test.csv), with a teacher of three layers, twice as wide, also from scratch; and a Llama of
two fifths of the parameters of the given one (stories260K: a Hugging Face folder), on texts that this one generates.

gain_over_control             points of test top-1, distilled − control; every fifth text of a class keeps its label,
                              the others become unlabelled, and the teacher is trained on the labels that are left
gain_over_control_all_labels  the same where all texts are labelled
gain_over_control_stories     points of word accuracy; both learn from the same texts

`runs` holds what every subject came to on test, `means` what students and controls did over their seeds. What is done
is kept in benchmarks/.runs; cost is measured anew.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer

from alambique.files import sha256
from benchmarks import common, distillation_gain
from benchmarks.common import Row
from benchmarks.round_robin import Round, interleave, ratio
from benchmarks.text_cost import make_blocks, size
from benchmarks.text_gain import QUICK, Scale, given, lay_out


def main(
    data: Annotated[Path | None, typer.Option(help="Tables of texts and classes, such as banking77's.")] = None,
    weights: Annotated[Path | None, typer.Option(help="A small Llama's Hugging Face folder.")] = None,
    jobs: Annotated[int, typer.Option(help="Trainings at a time, each with one thread.")] = 1,
    quick: Annotated[bool, typer.Option(help="The same code in under two minutes, on the demo's texts.")] = False,
) -> None:
    """Measure what distilling texts from a cache saves, and what it is worth."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the goals are a CPU's
    os.environ["OMP_NUM_THREADS"] = "1"  # inherited by the jobs
    torch.set_num_threads(1)
    batch, steps, rounds = (2, 2, 1) if quick else (8, 6, 7)
    with tempfile.TemporaryDirectory() as scratch:
        source, scale = given(data, weights, Path(scratch), quick), QUICK if quick else Scale()
        digests = [source.digest(split) for split in ("train", "val", "test")]
        pinned = weights and sha256(weights / "model.safetensors")
        folder = Path(scratch) / "runs" if quick else common.state("text", data=digests, weights=pinned, scale=scale)
        blocks = make_blocks(Path(scratch), batch, steps)
        measured = interleave(blocks, rounds, folder / "speed")
        projects = lay_out(folder, source, None if quick else weights, scale)
        distillation_gain.do(projects, jobs)
        common.publish(
            "text",
            [
                *speed(measured),
                size(Path(scratch), tokens=256 if quick else 4096),
                distillation_gain.gain(folder / "scarce", "gain_over_control", "low > 0"),
                distillation_gain.gain(folder / "full", "gain_over_control_all_labels"),
                distillation_gain.gain(folder / "stories", "gain_over_control_stories"),
            ],
            quick=quick,
            threads=1,
            jobs=jobs,
            scale=scale._asdict(),
            seconds_per_token={name: [each[name] for each in measured] for name in blocks},
            means=[figures for project in projects for figures in distillation_gain.means(project)],
            runs=[figures for project in projects for figures in distillation_gain.runs(project)],
        )
        shutil.rmtree(folder / "speed")  # the next run measures anew


def speed(measured: Sequence[Round]) -> list[Row]:
    """The published ratios of time."""
    return [
        ratio("speedup_over_trl", measured, "trl", "cached", "≥ 1.5"),
        ratio("cached_over_plain", measured, "cached", "plain"),
    ]


if __name__ == "__main__":
    common.run(main)
