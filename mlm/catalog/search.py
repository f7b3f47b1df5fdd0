"""Finds models by words: what they are called, who made them, what they are for, their licence."""

import re
from collections.abc import Iterable

from mlm.catalog.types import CatalogEntry

_PARTS = re.compile(r"[^a-z0-9.]+")
_SEPARATORS = re.compile(r"[^a-z0-9]+")
# What a word is worth by where it is found. A name beats everything else; of two models that
# have the word in their name, the one whose whole name it is comes first.
_WHOLE_NAME, _FIRST_PART, _BEGINS_NAME, _PART_OF_NAME = 100, 70, 60, 50
_IN_NAME, _FAMILY, _USE, _ELSEWHERE = 30, 25, 20, 10


def search_entries(entries: Iterable[CatalogEntry], text: str) -> list[CatalogEntry]:
    """Return the models in which every word of ``text`` is found, the best match first."""
    words = text.lower().split()
    found = []
    for entry in entries:
        worth = [_worth(entry, word) for word in words]
        if worth and all(worth):
            found.append((-sum(worth), -_quality(entry, words), entry.model_id, entry))
    return [entry for *_, entry in sorted(found, key=lambda row: row[:3])]


def _quality(entry: CatalogEntry, words: list[str]) -> float:
    """Return how good the model is at the uses asked for, else at what it is best at."""
    asked = [figure for use, figure in entry.quality.items() if use in words]
    return max(asked or entry.quality.values(), default=0.0)


def _worth(entry: CatalogEntry, word: str) -> int:
    names = [entry.model_id, *entry.aliases]
    squeezed = _SEPARATORS.sub("", word)
    if word in names:
        return _WHOLE_NAME
    if any(name.startswith(f"{word}-") for name in names):
        return _FIRST_PART
    if any(name.startswith(word) for name in names):
        return _BEGINS_NAME
    if any(word in _PARTS.split(name) for name in names):
        return _PART_OF_NAME
    if word == entry.family:
        return _FAMILY
    if word in entry.use_cases:
        return _USE
    called = [*names, entry.name, entry.base_repo or ""]
    if squeezed and any(squeezed in _SEPARATORS.sub("", name.lower()) for name in called):
        return _IN_NAME
    others = (entry.family, entry.license, entry.architecture.name)
    return _ELSEWHERE if any(word in other.lower() for other in others) else 0
