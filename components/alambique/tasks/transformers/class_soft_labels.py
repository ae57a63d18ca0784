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
from alambique.tasks.transformers.dataset import Texts
from alambique.tasks.transformers.encoding import Encoded
from alambique.tasks.transformers.models import class_logits

BATCH = 64


def rows(
    teachers: Sequence[Network], dataset: Texts, recipe: ClassRecipe, shard: int, shards: int
) -> Iterator[ClassLabels]:
    """The rows of one shard, every n-th text by name, from the shard's number on."""
    texts = sorted(dataset.training_texts(), key=lambda text: text.name)[shard::shards]
    if not texts:
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    predictions = []
    for network, max_tokens in zip(teachers, recipe.preprocessing["tokens"], strict=True):
        model: nn.Module = network.model
        encoded = encoding.encode(texts, network.tokenizer, dataset.classes, max_tokens)
        predictions.append(predict(model.to(device), encoded, network.tokenizer.pad_token_id))
    averaged = soft_labels.average(torch.stack(predictions))
    for text, log_probabilities in zip(texts, averaged, strict=True):
        yield soft_labels.keep(text.name, log_probabilities[None], [checksum(text.text)], recipe)


def checksum(text: str) -> int:
    """Of the one view of a text: the text itself, since each network has tokens of its own."""
    return zlib.crc32(text.encode())


@torch.inference_mode()
def predict(model: nn.Module, texts: Sequence[Encoded], pad: int) -> Tensor:
    """Log-probabilities of some texts, (texts, classes), on the CPU; batches are padded with the token `pad`."""
    device = next(model.parameters()).device
    predicted: dict[str, Tensor] = {}
    for part in encoding.bucket_by_length(texts, BATCH):
        batch = encoding.collate(part, pad)
        logits = class_logits(model, batch["ids"].to(device), batch["mask"].to(device))
        predicted |= zip((text.name for text in part), logits.float().log_softmax(1).cpu(), strict=True)
    return torch.stack([predicted[text.name] for text in texts])


def measure_in_training(dataset: Texts, tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> Measure:
    """Measures a network in training on val: top1, then nll, the mean negative log-likelihood, nats.

    Raises:
        DataError: val is empty, or one of its texts has no label.
    """
    texts = encoding.encode_labelled(dataset, "val", tokenizer, max_tokens)
    labels = torch.tensor([text.label for text in texts])

    def measure(model: nn.Module) -> dict[str, float]:
        log_probabilities = predict(model, texts, tokenizer.pad_token_id)
        return {
            "top1": float((log_probabilities.argmax(1) == labels).double().mean()),
            "nll": float(nn.functional.nll_loss(log_probabilities, labels)),
        }

    return measure
