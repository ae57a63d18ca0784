"""Run the teachers of text classifiers over all training texts, and keep their top-k classes; a text has one view."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from alambique.tasks.classifiers import soft_labels
from alambique.tasks.classifiers.soft_labels import ClassLabels, ClassRecipe
from alambique.tasks.training_loop import Measure
from alambique.tasks.transformers import encoding
from alambique.tasks.transformers.checkpoint import Network
from alambique.tasks.transformers.dataset import Text, Texts
from alambique.tasks.transformers.encoding import Encoded
from alambique.tasks.transformers.models import class_logits

BATCH = 64


def rows(
    teachers: Sequence[Network], dataset: Texts, recipe: ClassRecipe, shard: int, shards: int
) -> Iterator[ClassLabels]:
    """The rows of one shard, every n-th text by name, from the shard's number on.

    Args:
        shard, shards: which of how many.
    """
    texts = sorted(dataset.training_texts(), key=lambda text: text.name)[shard::shards]
    pairs = zip(teachers, recipe.preprocessing["tokens"], strict=True)
    averaged = soft_labels.average(
        torch.stack([_predict_all(network, texts, dataset.classes, max_tokens) for network, max_tokens in pairs])
    )
    for text, log_probabilities in zip(texts, averaged, strict=True):
        yield soft_labels.keep(text.name, log_probabilities[None], [checksum(text.text)], recipe)


def checksum(text: str) -> int:
    """Of the one view of a text: the text itself, since each network has tokens of its own."""
    return zlib.crc32(text.encode())


@torch.inference_mode()
def predict(model: nn.Module, texts: Sequence[Encoded], pad: int) -> Iterator[tuple[str, Tensor]]:
    """Each text's name and log-probabilities, (classes,), on the CPU.

    Args:
        pad: the token to pad batches with.
    """
    device = next(model.parameters()).device
    for part in encoding.bucket_by_length(texts, BATCH):
        batch = encoding.collate(part, pad)
        logits = class_logits(model, batch["ids"].to(device), batch["mask"].to(device))
        yield from zip((text.name for text in part), logits.float().log_softmax(1).cpu(), strict=True)


def _predict_all(network: Network, texts: Sequence[Text], classes: Sequence[str], max_tokens: int) -> Tensor:
    """A teacher's log-probabilities, (texts, classes)."""
    module: nn.Module = network.model
    module.to("cuda" if torch.cuda.is_available() else "cpu")
    encoded = encoding.encode(texts, network.tokenizer, classes, max_tokens)
    predicted = dict(predict(module, encoded, network.tokenizer.pad_token_id))
    return torch.stack([predicted[text.name] for text in texts]) if texts else torch.zeros(0, len(classes))


def measure_in_training(dataset: Texts, tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> Measure:
    """Measures a network in training on val: top1, then nll, the mean negative log-likelihood, nats.

    Raises:
        DataError: val is empty, or one of its texts has no label.
    """
    texts = encoding.encode_labelled(dataset, "val", tokenizer, max_tokens)
    labels = torch.tensor([text.label for text in texts])

    def measure(model: nn.Module) -> dict[str, float]:
        predicted = dict(predict(model, texts, tokenizer.pad_token_id))
        log_probabilities = torch.stack([predicted[text.name] for text in texts])
        return {
            "top1": float((log_probabilities.argmax(1) == labels).double().mean()),
            "nll": float(nn.functional.nll_loss(log_probabilities, labels)),
        }

    return measure
