"""Causal language models for chat and completion: any of Hugging Face's as teacher, Llamas as students."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from alambique.config.text import Network as Architecture
from alambique.config.text import Params, Student
from alambique.errors import ConfigurationError
from alambique.evaluation.measures import Measure, Metrics, Resampled
from alambique.files import read_json
from alambique.layout import CARD
from alambique.runtimes.base import Exportable, Program, Quantization, TensorSpec, Validation, WeightOnly
from alambique.tasks import classifiers, transformers
from alambique.tasks.base import Calibration, Card, Facts, Measurement, TensorTypes
from alambique.tasks.transformers.base import TransformersTask

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from alambique.evaluation.leaderboard import Leaderboard
    from alambique.report.pictures import Picture
    from alambique.softlabels.reader import Cache
    from alambique.tasks.training_loop import Measure as TrainingMeasure
    from alambique.tasks.training_loop import TrainingObjective
    from alambique.tasks.transformers.checkpoint import Network
    from alambique.tasks.transformers.dataset import Texts
    from alambique.tasks.transformers.prunable import Batches
    from alambique.tasks.transformers.soft_labels import TokenLabels, TokenRecipe


class CausalText(TransformersTask):
    """The task `text`; see `alambique.tasks.Task`."""

    name: ClassVar[str] = "text"
    about: ClassVar[str] = "continue texts, answer in chats: Llamas, from any causal language model"
    measures: ClassVar[Mapping[str, Measure]] = {
        "accuracy": Measure(
            "accuracy", shown=True, about="share of the words that greedy decoding writes, given the text before each"
        ),
        "bits_per_byte": Measure(
            "bits/byte", "number", lower_is_better=True, shown=True, about="−log₂ p of the text over its bytes"
        ),
        "token_accuracy": Measure("token accuracy", about="share of the tokens that are the likeliest"),
        "perplexity": Measure(
            "perplexity",
            "number",
            lower_is_better=True,
            shown=True,
            about="e to the mean nats of a token; of one tokenizer alone",
        ),
        "kl": Measure(
            "KL to teacher",
            "number",
            lower_is_better=True,
            shown=True,
            about="nats a token, estimated from the likeliest tokens of both; the remaining mass is taken as even",
        ),
        "agreement": Measure("as the teacher", about="share of the tokens with the teacher's likeliest token"),
        "tokens_per_second": Measure(
            "tokens/s", "number", shown=True, about="one after the other, after half a text, on one core"
        ),
    }
    by_class: ClassVar[Mapping[str, Measure]] = {}
    methods: ClassVar[tuple[str, ...]] = ("soft", "sequence", "none")

    # Datasets

    def import_dataset(self, source: str, target: Path, params: Params) -> None:
        transformers.import_dataset.import_dataset(source, target)

    def facts(self, root: Path, params: Params) -> Facts:
        return transformers.contract.facts(self.dataset(root))

    # Networks

    def build(
        self, architecture: Architecture | Student, dataset: Texts, params: Params, *, seed: int, weights: Path | None
    ) -> Network:
        """A student without weights may be given the folder of a tokenizer; a teacher is as large as its weights."""
        tokenizer = self.tokenizer(dataset, weights, params.training.vocabulary)
        student = architecture if isinstance(architecture, Student) else None
        if weights is None or (student and not (weights / transformers.checkpoint.CONFIG).is_file()):
            plain = architecture.network if isinstance(architecture, Student) else architecture
            return transformers.checkpoint.Network(
                transformers.models.build_llama(plain, tokenizer, params.input_size, seed), tokenizer
            )
        network = self.load_weights(weights, tokenizer, dataset, params, seed)
        if student is None:
            return network
        narrowed = self.student_from(network, student, dataset, params)
        if student.lora and narrowed is not network:
            raise ConfigurationError(
                "lora: adapters mend no network that was narrowed; leave lora out, or make the sizes null: as in the "
                "weights"
            )
        return narrowed._replace(lora=student.lora)

    def read_model(self, folder: Path, classes: list[str] | None = None, seed: int = 0) -> PreTrainedModel:
        return transformers.models.load_causal(folder)

    def tokenizer(self, dataset: Texts, weights: Path | None, vocabulary: int) -> PreTrainedTokenizerFast:
        if weights is not None:
            tokenizer = transformers.tokenizers.load(weights)
        else:
            tokenizer = transformers.tokenizers.train_bpe([text.text for text in dataset.training_texts()], vocabulary)
        transformers.tokenizers.require_template(tokenizer, dataset.texts("train"))
        return tokenizer

    def describe_network(self, network: Network, max_tokens: int) -> dict[str, Any]:
        config, tokenizer = network.model.config, network.tokenizer
        heads = config.num_attention_heads
        return {
            "macs": transformers.models.macs(network.model, max_tokens)
            // max_tokens,  # of a token, mean over a text of full length
            "network": {
                "architecture": type(network.model).__name__,
                "layers": config.num_hidden_layers,
                "hidden": config.hidden_size,
                "heads": heads,
                "kv_heads": getattr(config, "num_key_value_heads", heads),
                "ffn": getattr(config, "intermediate_size", None),
                "head_width": getattr(config, "head_dim", None) or config.hidden_size // heads,
            },
            "begin": tokenizer.bos_token_id,
            "begins_with": tokenizer.bos_token,
            "end": tokenizer.eos_token_id,
            "chat": tokenizer.chat_template is not None,
            "classes": [],
        }

    # Training

    def label_objective(self, network: Network, dataset: Texts, params: Params) -> TrainingObjective:
        """The texts themselves, which are their own labels."""
        return transformers.objectives.by_text(dataset, network.tokenizer, params.input_size)

    def distillation_objective(
        self,
        network: Network,
        dataset: Texts,
        params: Params,
        cache: Cache[TokenLabels],
        teachers: Sequence[Path],
    ) -> TrainingObjective:
        teacher = transformers.checkpoint.load_tokenizer(teachers[0])
        if difference := transformers.tokenizers.difference(teacher, network.tokenizer):
            raise ConfigurationError(
                f"the student has another tokenizer than the teacher {params.teachers[0]} ({difference}), so that it "
                "cannot be compared with the teacher token by token; give networks.<student>.weights a model with the "
                "teacher's tokenizer, or none"
            )
        recipe = self.soft_label_recipe([read_json(folder / CARD) for folder in teachers], dataset, params)
        if params.distill.method == "sequence":
            return transformers.objectives.by_teacher_text(cache, recipe)
        return transformers.objectives.by_soft_labels(cache, recipe, params.distill)

    def measure_in_training(self, network: Network, dataset: Texts, params: Params) -> TrainingMeasure:
        return transformers.evaluate.measure_in_training(dataset.texts("val"), network.tokenizer, params.input_size)

    # Soft labels

    def soft_label_recipe(self, cards: Sequence[Card], dataset: Texts, params: Params) -> TokenRecipe:
        first, how = cards[0], params.soft_labels
        for name, card in zip(params.teachers, cards, strict=True):
            if card["tokenizer"] != first["tokenizer"]:
                raise ConfigurationError(
                    f"teachers: {params.teachers[0]} and {name} have different tokenizers, so that their distributions "
                    "cannot be averaged; name one of them"
                )
        return transformers.soft_labels.TokenRecipe(
            **classifiers.soft_labels.base_recipe(cards, dataset, params, []),
            preprocessing={"windows": "overlap by one token"},
            tokenizer=first["tokenizer"],
            vocabulary=first["vocabulary"],
            max_tokens=first["max_tokens"],
            temperature=how.temperature,
            prompt=how.prompt,
        )

    def soft_labels(
        self, teachers: Sequence[Path], dataset: Texts, params: Params, recipe: Any, shard: int
    ) -> Iterator[TokenLabels]:
        return transformers.soft_labels.rows(
            list(map(self.load, teachers)), dataset, recipe, shard, len(params.soft_labels.shards)
        )

    def shard_metrics(self, rows: Sequence[tuple[str, Mapping[str, float]]]) -> Metrics:
        """Texts, sequences and tokens, and the mean probability of the tokens that are not kept."""
        tokens = sum(totals["tokens"] for _, totals in rows)
        return {
            "images": sum("#" not in name for name, _ in rows),
            "sequences": len(rows),
            "tokens": tokens,
            "mean_remaining_mass": sum(totals["remaining_mass"] for _, totals in rows) / max(tokens, 1),
        }

    def row_totals(self, row: TokenLabels) -> Mapping[str, float]:
        """Number of tokens, and the sum over them of the probability of all tokens that are not kept."""
        kept = np.exp(row.log_probabilities.astype(float)).sum(-1)
        return {"tokens": len(row.ids), "remaining_mass": float((1 - kept).clip(0).sum())}

    # Pruning

    def importance_batches(self, network: Network, dataset: Texts, params: Params) -> Batches:
        return transformers.sequences.importance_batches(dataset.texts("train"), network.tokenizer, params.input_size)

    def removed(self, full: Network, pruned: Network, params: Params) -> Metrics:
        config = pruned.model.config
        return {
            "how": params.prune.how,
            "target": "parameters",
            "removed": 1
            - transformers.checkpoint.parameters(pruned.model) / transformers.checkpoint.parameters(full.model),
            "layers": config.num_hidden_layers,
            "heads": config.num_attention_heads,
            "kv_heads": getattr(config, "num_key_value_heads", config.num_attention_heads),
            "ffn": getattr(config, "intermediate_size", None),
        }

    # Export and quantization

    def exportable(self, folder: Path) -> Exportable:
        return transformers.export.decoder(self.load(folder), read_json(folder / CARD)["max_tokens"])

    def artifact(self, card: Card, runtime: str, tensors: Sequence[TensorSpec]) -> dict[str, Any]:
        about = {
            "ids": "tokens",
            "past_keys": "of the tokens before; none at the beginning",
            "past_values": "of the tokens before",
            "logits": "of each next token",
            "keys": "of all tokens: the next step's past_keys",
            "values": "of all tokens: the next step's past_values",
        }
        described = {
            name: {"type": tensor.dtype, "shape": tensor.shape, "about": about[name]}
            for name, tensor in zip(about, tensors, strict=True)
        }
        return {
            "max_tokens": card["max_tokens"],
            "vocabulary": card["vocabulary"],
            **{key: card[key] for key in ("begin", "end", "chat")},
            "input": {name: described[name] for name in list(about)[:3]},
            "output": {name: described[name] for name in list(about)[3:]},
            "preprocessing": {"tokenizer": "tokenizer.json", "begins_with": card["begins_with"]},
        }

    def copy_beside(self, folder: Path, target: Path) -> None:
        transformers.checkpoint.load_tokenizer(folder).save_pretrained(target)

    def calibration(self, folder: Path, dataset: Texts, params: Params) -> Calibration:
        """Weights alone are quantized, so that no text is needed."""
        return Calibration([], {"bits": params.quantize.bits})

    def quantization(self, runtime: str, calibration: Calibration, params: Params) -> Quantization:
        return WeightOnly(params.quantize.bits, embedding="embedding")

    def validation(self, folder: Path, dataset: Texts, params: Params) -> Validation:
        return transformers.evaluate.validation(folder, dataset)

    # Measuring

    def forward(self, network: Network) -> Callable[..., tuple[Tensor, ...]]:
        return partial(transformers.models.decode, network.model, len(network.tokenizer))

    def noise(self, card: Card) -> tuple[NDArray[Any], ...]:
        """One token after half a text."""
        layers, heads, _, width = card["input"]["past_keys"]["shape"]
        shape = (2, layers, heads, card["max_tokens"] // 2, width)
        keys, values = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        return np.array([[card["vocabulary"] // 2]]), keys, values

    def measure(self, folder: Path, program: Program, dataset: Texts, split: str, params: Params) -> Measurement:
        return transformers.evaluate.measure(folder, program, dataset, split, params.evaluate.top_k)

    def parity(self, folder: Path, artifact: Program, checkpoint: Program, dataset: Texts, params: Params) -> Metrics:
        return transformers.evaluate.parity(folder, artifact, checkpoint, dataset)

    def resample(self, evaluations: Sequence[Path]) -> Resampled:
        return transformers.results.resample(evaluations)

    def relative(self, target: Path, teacher: Path, params: Params) -> Metrics:
        return transformers.results.divergence(target, teacher)

    # Serving and showing

    def tensors(self, card: Card) -> tuple[TensorTypes, TensorTypes]:
        return [("int64", [1, -1])], [("float32", [1, -1, card["vocabulary"]])]

    def predictor(self, folder: Path, threads: int) -> Callable[..., NDArray[Any]]:
        program, past = self.open(folder, threads), transformers.evaluate.empty_past(read_json(folder / CARD))
        return lambda ids: program(np.asarray(ids), *past)[0]

    def pictures(self, project: Path, params: Params, board: Leaderboard) -> list[Picture]:
        return transformers.pictures.pictures(project, board)

    def inspect(self, project: Path, output: Path, console: Console) -> None:
        transformers.inspection.show(project, output, self.measures, console)

    def inspect_sample(self, project: Path, sample: str, console: Console) -> None:
        transformers.inspection.show_sample(project, sample, console)


TEXT = CausalText()
