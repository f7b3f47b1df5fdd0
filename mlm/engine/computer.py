"""What the scheduler asks of llama.cpp: to compute parts of a batch, and to keep or forget them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

NO_ROOM = 1  # llama_decode: no place in the KV cache; nothing was changed


@dataclass(frozen=True, slots=True)
class Part:
    """Tokens of one sequence in one batch; ``start`` is the position of the first."""

    seq_id: int
    start: int
    tokens: Sequence[int]
    wants_logits: bool  # of its last token


class Computer(Protocol):
    """What the scheduler asks of a context; see `mlm.engine.llama.Context`."""

    n_slots: int
    n_ctx_slot: int
    n_batch: int
    n_ubatch: int

    def decode(self, parts: Sequence[Part]) -> int:
        """Compute the parts; 0 is success."""

    def forget(self, seq_id: int, keep: int) -> bool:
        """Drop all positions from ``keep`` on; False when only all of them can be dropped."""


class Speller(Protocol):
    """What the scheduler asks of a vocabulary."""

    @property
    def end_tokens(self) -> Collection[int]:
        """Tokens that end an answer."""

    def piece(self, token: int) -> bytes:
        """Return the bytes that a token adds to the text."""
