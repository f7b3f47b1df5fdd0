"""What the scheduler asks of llama.cpp: to compute parts of a batch, and to keep or forget them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from mlm.engine.image import Image

NO_ROOM = 1  # llama_decode: no place in the KV cache; nothing was changed


class Part(msgspec.Struct, frozen=True):  # there is one for each token
    """Tokens of one sequence in one batch; so many of the sequence are before the first.

    Those of an ``image`` are a batch of their own. ``start`` is where the image begins, however
    many of its tokens have been computed already.
    """

    seq_id: int
    start: int
    tokens: Sequence[int]
    wants_logits: bool  # of its last token
    image: Image | None = None
    image_start: int = 0  # tokens of the image before these


@dataclass(frozen=True, slots=True)
class State:
    """What a context held of a sequence, in main memory."""

    data: Any
    n_bytes: int
    shortest_keep: int  # the shortest beginning, besides none, to which it can be cut back
    images: Any = ()  # where in it images are


class Memory(Protocol):
    """What the scheduler asks of a KV cache; see `mlm.engine.llama.memory.Memory`."""

    @property
    def is_unified(self) -> bool:
        """Whether all sequences share the room there is."""

    @property
    def shares_cells(self) -> bool:
        """Whether a copy takes no room and no time."""

    @property
    def forgets_parts(self) -> bool:
        """Whether any sequence can be cut back to any length."""

    def shortest_keep(self, seq_id: int) -> int:
        """Return the shortest beginning, besides none, to which a sequence can be cut back."""

    def shortest_copy(self, seq_id: int) -> int:
        """Return the shortest beginning, besides none, to which a copy of it can be cut back."""

    def forget(self, seq_id: int, keep: int) -> bool:
        """Drop all positions from ``keep`` on; False when only all of them can be dropped."""

    def copy(self, source: int, target: int, keep: int) -> bool:
        """Let ``target`` hold what ``source`` holds up to ``keep``; False: it holds nothing."""

    def state_bytes(self, seq_id: int) -> int:
        """Return the size of what `save` would return."""

    def save(self, seq_id: int) -> State:
        """Return a copy of all that a sequence holds."""

    def restore(self, seq_id: int, state: State, keep: int) -> bool:
        """Let a sequence hold ``state`` up to ``keep``; False: it holds nothing."""


class Computer(Protocol):
    """What the scheduler asks of a context; see `mlm.engine.llama.Context`."""

    n_slots: int
    n_ctx_slot: int
    n_batch: int
    n_ubatch: int
    attention_tile: int  # tokens of a piece from which on attention is computed in tiles; 0: never

    @property
    def memory(self) -> Memory:
        """What is held of each sequence."""

    def decode(self, parts: Sequence[Part]) -> int:
        """Compute the parts; 0 is success."""


class Speller(Protocol):
    """What the scheduler asks of a vocabulary."""

    @property
    def end_tokens(self) -> Collection[int]:
        """Tokens that end an answer."""

    def piece(self, token: int) -> bytes:
        """Return the bytes that a token adds to the text."""
