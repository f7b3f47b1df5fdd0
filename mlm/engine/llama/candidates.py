"""The form in which llama.cpp's samplers take tokens and their logits."""

import ctypes
from typing import Self

import numpy as np
from llama_cpp import llama_cpp as C

from mlm.engine.logits import Array, check_highest

_TOKEN_DATA = np.dtype([("id", "<i4"), ("logit", "<f4"), ("p", "<f4")])  # llama_token_data


class Candidates:
    """Room for so many tokens with their logits. Samplers reorder them and leave fewer."""

    def __init__(self, n_tokens: int) -> None:
        self._rows = np.zeros(n_tokens, _TOKEN_DATA)
        self._all = np.arange(n_tokens, dtype=np.int32)
        self._data = self._rows.ctypes.data_as(ctypes.POINTER(C.llama_token_data))

    def fill(self, logits: Array, tokens: Array | None = None) -> Self:
        """Begin a new choice with ``logits``; those of the first tokens if none are named.

        Raises:
            ModelError: the highest is no number.
        """
        check_highest(logits.max())
        self._rows["id"] = self._all if tokens is None else tokens
        self._rows["logit"] = logits
        self.array = C.llama_token_data_array(self._data, len(self._rows), -1, False)
        return self

    def is_exhausted(self) -> bool:
        """Return whether every candidate has been ruled out."""
        return bool(np.isneginf(self._rows["logit"]).all())
