"""Tokenizers: loaded from a Hugging Face folder or trained on a dataset's texts; their digests and differences."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from alambique.errors import DataError

if TYPE_CHECKING:
    from alambique.tasks.transformers.dataset import Text

FILE = "tokenizer.json"
BEGIN, END, PAD = "<s>", "</s>", "<pad>"
BERT = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
NO_LIMIT = 10**9
"""Tokens of a text: callers truncate, the tokenizer does not."""
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
"""Renders conversations where the tokenizer has no template."""


def load(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer in a Hugging Face folder, no code of which runs; DataError if there is none."""
    if not (folder / FILE).is_file():
        raise DataError(f"{folder} has no {FILE}: give a Hugging Face folder with a fast tokenizer in it")
    try:
        return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)  # type: ignore[no-any-return]
    except Exception as error:  # the Rust side raises no narrower one
        raise DataError(f"cannot load the tokenizer in {folder}: {error}") from error


def train_bpe(texts: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE, which can encode any text; equal texts give an equal one.

    Args:
        size: of the vocabulary, 260 at least: every byte, and the special tokens.
    """
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[PAD, BEGIN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, tokenizer.token_to_id(BEGIN))]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
        model_max_length=NO_LIMIT,
    )


def train_wordpiece(texts: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """A WordPiece in lower case, as BERT's, with at most `size` tokens; equal texts give an equal one."""
    normalizer = normalizers.BertNormalizer(lowercase=True)
    texts = [normalizer.normalize_str(text) for text in texts]
    trained = tokenizers.Tokenizer(models.WordPiece(unk_token=BERT["unk_token"]))
    trained.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # The trainer numbers characters inside words in the order of a hash map that is seeded anew in each process, and
    # breaks ties by these numbers; special tokens get theirs beforehand.
    inner = sorted({f"##{character}" for text in texts for character in text if not character.isspace()})
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=[*BERT.values(), *inner], continuing_subword_prefix="##", show_progress=False
    )
    trained.train_from_iterator(texts, trainer)
    tokenizer = tokenizers.Tokenizer(models.WordPiece(trained.get_vocab(), unk_token=BERT["unk_token"]))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(BERT.values()))
    marks = [(token, tokenizer.token_to_id(token)) for token in (BERT["cls_token"], BERT["sep_token"])]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=marks
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, model_max_length=NO_LIMIT, **BERT
    )


def digest(tokenizer: PreTrainedTokenizerFast) -> str:
    """SHA-256 over all that decides which tokens a text becomes.

    Padding and truncation are left out, since callers set them.
    """
    content: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    content |= {"padding": None, "truncation": None, "special": _special(tokenizer)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def require_template(tokenizer: PreTrainedTokenizerFast, texts: Sequence[Text]) -> None:
    """Give the tokenizer a chat template if there are conversations and it has none."""
    if tokenizer.chat_template is None and any(text.messages for text in texts):
        tokenizer.chat_template = CHAT_TEMPLATE


def difference(first: PreTrainedTokenizerFast, second: PreTrainedTokenizerFast) -> str | None:
    """In words, how the two assign numbers to tokens differently; None where they do not."""
    one, other = first.get_vocab(), second.get_vocab()
    if differing := sorted(one.items() ^ other.items(), key=lambda item: (item[1], item[0])):
        token, number = differing[0]
        return (
            f"vocabularies of {len(one):,} and {len(other):,} tokens differ in {len({t for t, _ in differing}):,}, "
            f"first in {token!r} ({number})"
        )
    if names := sorted(_special(first).items() ^ _special(second).items()):
        return f"special tokens differ in {', '.join(dict.fromkeys(name for name, _ in names))}"
    return None


class Pieces:
    """Tokens as text, each decoded after another one: some tokenizers strip the space of a first token."""

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._before = tokenizer.encode("a", add_special_tokens=False).ids[-1]
        self._length = len(tokenizer.decode([self._before]))

    def __call__(self, token: int) -> str:
        return str(self._tokenizer.decode([self._before, token], skip_special_tokens=False))[self._length :]

    def listed(self, tokens: Iterable[int], probabilities: Iterable[float]) -> str:
        """Tokens with their probabilities: ' the' 0.61 · ' a' 0.22."""
        pairs = zip(tokens, probabilities, strict=False)
        return " · ".join(f"{self(int(token))!r} {value:.2g}" for token, value in pairs)

    def span(self, token: int, likeliest: Iterable[int], probabilities: Iterable[float], style: str) -> str:
        """A token as HTML in a style of CSS, with the likeliest tokens as its tooltip."""
        styled = f' style="{style}"' if style else ""
        title = html.escape(self.listed(likeliest, probabilities))
        return f'<span title="{title}"{styled}>{html.escape(self(int(token)))}</span>'


def _special(tokenizer: PreTrainedTokenizerFast) -> dict[str, str]:
    return {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
