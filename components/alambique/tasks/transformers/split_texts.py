"""Part texts that come without splits into train, val and test, by their own hashes: equal texts are in one split."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from alambique.data.source_files import PREFERRED, SHARES, some
from alambique.errors import DataError
from alambique.tasks.transformers.dataset import Text, key

LEAST_KEY = "validation.min_texts_per_class"

log = logging.getLogger(__name__)


def split(texts: Sequence[Text], least: int, by_class: bool) -> dict[str, list[Text]]:
    """Part samples into train, val and test; see `_places`."""
    return _parted(texts, tuple(SHARES), least, by_class)


def split_val_off(texts: Sequence[Text], least: int) -> dict[str, list[Text]]:
    """Part the samples of train into train and val, as `split` does where val is concerned."""
    parts = _parted(texts, ("train", "val"), least, by_class=True)
    # The order has no meaning, and is that of the datasets which were made before: equal tables give equal digests.
    parts["train"].sort(key=lambda text: _by_hash(_digest(text), tuple(SHARES)) == "test")
    return parts


def disjoint(splits: dict[str, list[Text]]) -> dict[str, list[Text]]:
    """Each text in one split alone, in test rather than val, and in val rather than train: many tables repeat some."""
    taken: set[str] = set()
    kept: dict[str, list[Text]] = {}
    for split in PREFERRED:
        if split in splits:
            kept[split] = [text for text in splits[split] if key(text) not in taken]
            if left_out := [text.name for text in splits[split] if key(text) in taken]:
                log.warning(
                    "%d texts of %s were left out: they stand in another split, too (%s)",
                    len(left_out),
                    split,
                    some(left_out),
                )
            taken |= {key(text) for text in splits[split]}
    return {split: kept[split] for split in splits}


def _parted(texts: Sequence[Text], names: Sequence[str], least: int, by_class: bool) -> dict[str, list[Text]]:
    places = _places(texts, names, least, by_class)
    return {name: [text for text in texts if places[key(text)] == name] for name in names}


def _places(texts: Sequence[Text], names: Sequence[str], least: int, by_class: bool) -> dict[str, str]:
    """The split of each text, by `key`.

    A text's hash says where it belongs, so that it stays there when others join. The classes of which some split
    would have fewer than `least` texts are parted by rank instead, each in the order of its hashes.

    Raises:
        DataError: a class has too few texts for that.
    """
    hashes: dict[str, bytes] = {}
    classes: dict[str | None, list[str]] = {}
    for text in texts:
        digest, same = _digest(text), key(text)
        hashes[same] = min(hashes.get(same, digest), digest)
        classes.setdefault(text.label if by_class else None, []).append(same)
    places: dict[str, str] = {}
    small: dict[str | None, int] = {}
    for label, keys in classes.items():
        order = sorted(set(keys), key=hashes.__getitem__)
        placed = {same: _by_hash(hashes[same], names) for same in order}
        counts = Counter(placed[same] for same in keys)
        if any(counts[name] < least for name in names):
            if len(order) < least * len(names):
                small[label] = len(order)
                continue
            placed = _by_rank(order, names, least)
        places |= placed
    if small:
        raise DataError(_too_small(small, names, least))
    return places


def _digest(text: Text) -> bytes:
    return hashlib.sha256(text.text.encode()).digest()


def _by_hash(digest: bytes, names: Sequence[str]) -> str:
    place, found = int.from_bytes(digest[:8]) / 2**64, "test"
    for name, share in SHARES.items():
        if place < share:
            found = name
            break
        place -= share
    return found if found in names else names[0]


def _by_rank(order: Sequence[str], names: Sequence[str], least: int) -> dict[str, str]:
    counts = {name: max(least, round(SHARES[name] * len(order))) for name in names[1:]}
    counts = {names[0]: len(order) - sum(counts.values()), **counts}
    return dict(zip(order, (name for name, count in counts.items() for _ in range(count)), strict=True))


def _too_small(small: Mapping[str | None, int], names: Sequence[str], least: int) -> str:
    into = f"{', '.join(names[:-1])} and {names[-1]}"
    if None in small:
        return f"{small[None]} different texts are too few to be parted into {into}; give more"
    rows = [f"{label!r} has {count}" for label, count in sorted(small.items(), key=lambda row: (row[1], str(row[0])))]
    return (
        f"a table is parted into {into}, each with {least} or more texts of every class ({LEAST_KEY}: {least}), but of "
        f"different texts {some(rows)}; add texts, merge or remove {'these classes' if len(rows) > 1 else 'this class'}"
        f", lower {LEAST_KEY}, or give a table for each split"
    )
