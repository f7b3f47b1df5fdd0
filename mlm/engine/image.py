"""Pictures in a prompt: what stands for them among its tokens."""

import hashlib
from array import array
from dataclasses import dataclass
from typing import Any

_WORDS = 8  # numbers of 31 bits that tell pictures apart


@dataclass(slots=True, eq=False)
class Image:
    """A picture, or a piece of one, where a prompt has it.

    ``tokens`` stand for it: numbers below zero, the same for the same picture, so that prompts are
    compared as if all were text. ``n_positions`` is less than their number with M-RoPE, whose
    positions have rows and columns. The scheduler has it encoded when its turn comes, and lets
    ``embeddings`` go when the KV cache has it.
    """

    tokens: "array[int]"
    n_positions: int
    is_causal: bool  # its tokens see those before them only; otherwise all are computed in one go
    source: Any  # what the encoder makes the embeddings from
    embeddings: Any = None  # one row for each token, once it is encoded
    is_asked_for: bool = False  # the encoder has been told
    failure: str = ""  # why it cannot be encoded

    @property
    def n_tokens(self) -> int:
        """How many tokens of the context it takes."""
        return len(self.tokens)


def stand_ins(name: bytes, n_tokens: int) -> "array[int]":
    """Return tokens for a picture called ``name``: below zero, and others for another name."""
    words = array("i", hashlib.sha256(name).digest())[:_WORDS]
    word = [value if value < 0 else ~value for value in words]
    return array("i", (word * (n_tokens // _WORDS + 1))[:n_tokens])
