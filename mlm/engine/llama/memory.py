"""What a context holds of each sequence: cutting it back, copying it, taking it out and in."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as C

from mlm.engine.computer import State
from mlm.engine.image import Image


class Memory:
    """The KV cache and recurrent states of a context, by ``seq_id``.

    Positions of recurrent state cannot be told apart: it stands for a sequence up to its end and
    for nothing less. Of a sliding window only the end of a sequence exists.

    Lengths are in tokens. With M-RoPE an image has fewer positions than tokens, so that positions
    are counted here: nobody else needs to know.
    """

    def __init__(self, context: Any, model: Any, *, is_unified: bool) -> None:
        self._context = context
        self._memory = C.llama_get_memory(context)
        self._n_swa = int(C.llama_model_n_swa(model))
        self._is_whole = bool(C.llama_model_is_recurrent(model) or C.llama_model_is_hybrid(model))
        self.is_unified = is_unified
        self._images: dict[int, tuple[_Span, ...]] = {}  # where positions are not tokens

    def position(self, seq_id: int, n_tokens: int) -> int:
        """Return the position of the token that has so many before it."""
        spans = self._images.get(seq_id, ())
        return n_tokens - sum(span.excess for span in spans if span.end <= n_tokens)

    def note_image(self, seq_id: int, start: int, image: Image) -> None:
        """Know that a sequence has an image from its token ``start`` on."""
        span = _Span(start, start + image.n_tokens, image.n_tokens - image.n_positions)
        if span.excess:
            others = (other for other in self._images.get(seq_id, ()) if other.start < start)
            self._images[seq_id] = (*others, span)

    @property
    def forgets_parts(self) -> bool:
        """Whether any sequence can be cut back to any length."""
        return not self._is_whole and not self._n_swa

    @property
    def shares_cells(self) -> bool:
        """Whether a copy takes no room and no time."""
        return self.is_unified and self.forgets_parts

    def shortest_keep(self, seq_id: int) -> int:
        """Return the shortest beginning, besides none, to which a sequence can be cut back."""
        if self._is_whole:
            return self._length(seq_id)
        oldest = int(C.llama_memory_seq_pos_min(self._memory, seq_id)) if self._n_swa else 0
        return oldest + self._n_swa if oldest > 0 else 0

    def shortest_copy(self, seq_id: int) -> int:
        """Return the shortest beginning, besides none, to which a copy can be cut back.

        What is outside the window is not copied, even if it is there.
        """
        length = self._length(seq_id)
        fits_window = not self._is_whole and length <= self._n_swa
        return 0 if self.forgets_parts or fits_window else length

    def forget(self, seq_id: int, keep: int) -> bool:
        """Drop a sequence's positions from ``keep`` on; False when that cannot be done.

        Then the caller starts the sequence again with ``keep=0``, which always works.
        """
        if keep > 0:
            if keep >= self._length(seq_id):
                return True
            if keep < self.shortest_keep(seq_id):
                return False
        start = self.position(seq_id, keep) if keep > 0 else -1
        done = bool(C.llama_memory_seq_rm(self._memory, seq_id, start, -1))
        self._is_whole = self._is_whole or not done  # some that do not say so cannot be cut either
        if done:
            self._keep_images(seq_id, self._images.get(seq_id, ()), keep)
        return done

    def copy(self, source: int, target: int, keep: int) -> bool:
        """Let ``target`` hold the first ``keep`` positions of ``source``, and nothing else.

        False when that cannot be done; then it holds nothing.
        """
        self.forget(target, 0)
        if self.shares_cells:
            end = self.position(source, keep)
            C.llama_memory_seq_cp(self._memory, source, target, 0, end)
            self._keep_images(target, self._images.get(source, ()), keep)
            return True
        return self.restore(target, self.save(source), keep)

    def state_bytes(self, seq_id: int) -> int:
        """Return the size of what `save` would return."""
        return int(C.llama_state_seq_get_size(self._context, seq_id))

    def save(self, seq_id: int) -> State:
        """Return a copy of all that a sequence holds."""
        size = self.state_bytes(seq_id)
        data = np.empty(size, np.uint8)
        C.llama_state_seq_get_data(self._context, _pointer(data), size, seq_id)
        return State(data, size, self.shortest_copy(seq_id), self._images.get(seq_id, ()))

    def restore(self, seq_id: int, state: State, keep: int) -> bool:
        """Let a sequence hold the first ``keep`` positions of ``state``, and nothing else.

        False when that cannot be done; then it holds nothing.
        """
        self.forget(seq_id, 0)
        pointer = _pointer(state.data)
        read = C.llama_state_seq_set_data(self._context, pointer, state.n_bytes, seq_id)
        self._keep_images(seq_id, state.images, state.images[-1].end if state.images else 0)
        if read and self.forget(seq_id, keep):
            return True
        self.forget(seq_id, 0)
        return False

    def _length(self, seq_id: int) -> int:
        """Return how many tokens a sequence holds; of one that ends in an image, with all of it."""
        length = int(C.llama_memory_seq_pos_max(self._memory, seq_id)) + 1
        for span in self._images.get(seq_id, ()):
            if length > span.start:
                length = max(length + span.excess, span.end)
        return length

    def _keep_images(self, seq_id: int, spans: Sequence["_Span"], keep: int) -> None:
        self._images.pop(seq_id, None)
        if kept := tuple(span for span in spans if span.end <= keep):
            self._images[seq_id] = kept


@dataclass(frozen=True, slots=True)
class _Span:
    """Tokens of an image, and how many more they are than positions."""

    start: int
    end: int
    excess: int


def _pointer(data: "np.ndarray[Any, Any]") -> Any:
    return data.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
