"""Summing up: percentiles of a few values, and the lists of ``mlm.stats/1`` from tallies."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlm.stats.tally import Tally


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """Return the value below which ``percent`` of the ``ordered`` values lie.

    Between two values it is interpolated linearly; of nothing it is None.
    """
    if not ordered:
        return None
    position = (len(ordered) - 1) * percent / 100
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def summarise_groups(name: str, tallies: Mapping[str, Tally]) -> list[dict[str, Any]]:
    """Return a row for each tally, the most used first; ``name`` is the field with its key."""
    rows = [{name: key} | tally.summarise() for key, tally in tallies.items()]
    return sorted(rows, key=lambda row: (-row["requests"], row[name]))


def summarise_cache(tallies: Iterable[Tally]) -> dict[str, Any]:
    """Return how often the response cache answered, over all models."""
    counts: Counter[str] = Counter()
    for tally in tallies:
        counts.update(tally.cache)
    answered, asked = counts["hit"] + counts["shared"], counts.total() - counts["bypass"]
    return {
        "hits": counts["hit"],
        "misses": counts["miss"],
        "shared": counts["shared"],
        "hit_rate": answered / asked if asked else None,
    }
