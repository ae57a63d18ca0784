"""The split that a name means, and our own split of images that come without, each class in its share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from alambique.data.source_files import split_of


def words(name: str) -> list[str]:
    """The words of a name without digits: `instances_train2017` is of instances and train."""
    return [word for word in re.split(r"[^a-z]+", name.lower()) if word]


def split_in(name: str) -> str | None:
    """The split that a word of a name means; None if no word does, or words mean several."""
    splits = {split for word in words(name) if (split := split_of(word))}
    return splits.pop() if len(splits) == 1 else None


def split_of_folders(path: Path, root: Path) -> str | None:
    """The split that the nearest folder around a path is named after, below `root`."""
    folders = path.relative_to(root).parts[:-1] if path.is_relative_to(root) else ()
    return next((split for name in reversed(folders) if (split := split_in(name))), None)


def stratified(groups: Mapping[str, Sequence[str]], shares: Mapping[str, float]) -> dict[str, str]:
    """Part images so that every class has its share in every split (iterative stratification: Sechidis et al. 2011).

    The rarest class is parted first, each of its images to the split that lacks the class most; images without
    objects come last.

    Args:
        groups: by an image's sha256, the classes of its objects, one for each object; equal images are one group.
        shares: of the splits, which add up to 1; every class is in each of them, if it is on as many images.
    Returns:
        the split of each group; the order of the sha256 decides between equals, so equal images give equal splits.
    """
    objects = {key: Counter(names) for key, names in groups.items()}
    totals = Counter(name for names in objects.values() for name in names)  # images with the class
    first, *others = shares
    wanted = {split: {name: max(1.0, shares[split] * count) for name, count in totals.items()} for split in others}
    wanted[first] = {
        name: max(1.0, count - sum(wanted[split][name] for split in others)) for name, count in totals.items()
    }
    room = {split: share * len(groups) for split, share in shares.items()}
    with_class: dict[str, list[str]] = {name: [] for name in totals}
    for key in sorted(objects):
        for name in objects[key]:
            with_class[name].append(key)
    places: dict[str, str] = {}

    def put(key: str, name: str | None) -> None:
        def lack(split: str) -> tuple[float, float]:
            return (wanted[split][name] if name else 0.0, room[split])

        split = max(shares, key=lack)
        places[key] = split
        room[split] -= 1
        for present in objects[key]:
            wanted[split][present] -= 1

    for name in sorted(totals, key=lambda name: (totals[name], name)):
        for key in with_class[name]:
            if key not in places:
                put(key, name)
    for key in sorted(objects):
        if key not in places:
            put(key, None)
    return places
