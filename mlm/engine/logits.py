"""Looking for the highest in a row of logits, of which there may be a hundred thousand and more."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

_ROWS = 64  # of the table below; fewer or more take longer
_WORTH = 4  # columns for each wanted one, or too many places remain to be looked at

Array = np.ndarray[Any, Any]


class ModelError(Exception):
    """The model computes no numbers, from which nothing can be chosen."""

    def __init__(self) -> None:
        super().__init__(
            "the model computes no numbers (NaN or infinity): its file may be damaged, which "
            "'mlm inspect FILE --lint --full' shows; or they grow too large for this machine's "
            "way of computing: try '--flash-attn off', or another quantization"
        )


def check_highest(logit: float) -> None:
    """Return if the highest of some logits is a number.

    With others llama.cpp's samplers choose anything, or write where they must not. numpy's ``max``
    and ``argmax`` take NaN for the highest, so that looking at the highest alone is enough.

    Raises:
        ModelError: it is NaN or infinite.
    """
    if not logit < math.inf:
        raise ModelError


def find_contenders(logits: Array, count: int) -> Array | None:
    """Return places, in ascending order, among which the ``count`` highest logits are.

    None where there is no short way to a few places. This one: in a table of the logits, the
    ``count``-th highest of the columns' maxima cannot be above the ``count``-th highest of all.
    What is no number is among them, too.
    """
    n_columns = len(logits) // _ROWS
    if not 0 < _WORTH * count <= n_columns:
        return None
    n_table = _ROWS * n_columns
    table = logits[:n_table].reshape(_ROWS, n_columns)
    highest = table.max(axis=0)
    least = np.partition(highest, -count)[-count]
    if not np.isfinite(least):
        return None
    # Not ">=": NaN is neither.
    columns = np.flatnonzero(~(highest < least))
    rows, places = np.nonzero(~(table[:, columns] < least))
    beyond = np.flatnonzero(~(logits[n_table:] < least))
    return np.concatenate([rows * n_columns + columns[places], n_table + beyond])


def find_highest(logits: Array, count: int) -> list[int]:
    """Return the places of the ``count`` highest logits, the highest first; ties by place."""
    count = min(count, len(logits))
    if count <= 0:
        return []
    places = find_contenders(logits, count)
    if places is None:
        lowest = np.partition(logits, -count)[-count]
        places = np.flatnonzero(logits >= lowest)
    order = np.lexsort((places, -logits[places]))
    return [int(i) for i in places[order][:count]]


class Biases:
    """What is added to the logits of some tokens before anything is chosen."""

    def __init__(self, biases: Iterable[tuple[int, float]]) -> None:
        """``biases`` are tokens and what is added; of a token that comes twice, both."""
        sums: dict[int, float] = {}
        for token, bias in biases:
            sums[token] = sums.get(token, 0.0) + bias
        self._tokens = np.fromiter(sums, np.intp, len(sums))
        self._values = np.fromiter(sums.values(), np.float32, len(sums))
        self._are_bans = all(bias <= 0 for bias in sums.values())
        self._biased = frozenset(sums)

    def spare(self, token: int) -> bool:
        """Return whether ``token`` stays the highest with them, if it is without."""
        return self._are_bans and token not in self._biased

    @contextmanager
    def added_to(self, logits: Array) -> Iterator[None]:
        """Add them, in place, until the block ends."""
        if not len(self._tokens):  # nearly always; what does nothing would take as long
            yield
            return
        kept = logits[self._tokens]
        logits[self._tokens] = kept + self._values
        try:
            yield
        finally:
            logits[self._tokens] = kept
