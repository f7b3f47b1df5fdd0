"""Slots: the places in the KV cache where requests live, and which of them a request gets."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mlm.engine.request import Request

_COMPARED_AT_ONCE = 512


@dataclass(slots=True)
class Slot:
    """One sequence of the KV cache.

    ``tokens`` are those of its request, prompt first, then the answer as it grows; the KV cache
    holds the first ``n_held`` of them. They stay when the request ends, so that the next turn of
    the same conversation computes only what is new.
    """

    seq_id: int
    tokens: list[int] = field(default_factory=list)
    n_held: int = 0
    tenant: str = ""
    request: Request | None = None
    used_s: float = 0.0  # when its last request ended

    @property
    def n_todo(self) -> int:
        """Tokens that are known but not computed yet."""
        return len(self.tokens) - self.n_held

    @property
    def is_free(self) -> bool:
        """Whether a request can move in."""
        return self.request is None

    @property
    def is_decoding(self) -> bool:
        """Whether only the newest token of an answer remains to be computed."""
        return self.request is not None and self.request.n_generated > 0 and self.n_todo == 1

    @property
    def is_deterministic(self) -> bool:
        """Whether its request is computed in batches of its own."""
        return self.request is not None and self.request.is_deterministic

    @property
    def is_prefilling(self) -> bool:
        """Whether a prompt (or, after a failure, prompt and answer) is still being computed."""
        return self.request is not None and not self.is_decoding


def choose_slot(slots: Sequence[Slot], request: Request) -> tuple[Slot, int] | None:
    """Return the free slot for ``request`` and how many of its tokens the slot holds already.

    A slot is taken for its prefix when at least half of what it holds is used again; a longer
    conversation is not thrown away for the few tokens with which all prompts begin. Otherwise an
    empty slot; and of several the one with the most busy neighbours, because llama.cpp computes a
    batch in as many passes as its sequence ids have gaps; then the one unused for the longest
    time. None when no slot is free.
    """
    shared = {slot.seq_id: count_shared(slot, request) for slot in slots if slot.is_free}
    busy = {slot.seq_id for slot in slots if not slot.is_free}

    def preference(slot: Slot) -> tuple[int, bool, int, float, int]:
        worth = shared[slot.seq_id] if 2 * shared[slot.seq_id] >= slot.n_held else 0
        neighbours = len(busy & {slot.seq_id - 1, slot.seq_id + 1})
        return (worth, slot.n_held == 0, neighbours, -slot.used_s, -slot.seq_id)

    chosen = max((slot for slot in slots if slot.is_free), key=preference, default=None)
    return None if chosen is None else (chosen, shared[chosen.seq_id])


def count_shared(slot: Slot, request: Request) -> int:
    """Return how many of the request's first tokens the slot holds, and may be used.

    Never all of them: the last one is computed again, because its logits are needed. Nothing is
    shared between tenants.
    """
    if not request.reuses_prefix or slot.tenant != request.tenant:
        return 0
    limit = min(slot.n_held, len(request.tokens) - 1)
    return count_common_prefix(slot.tokens, request.tokens, limit)


def count_common_prefix(left: list[int], right: list[int], limit: int) -> int:
    """Return how many of the first ``limit`` items are equal. Fast for long, equal lists."""
    for start in range(0, limit, _COMPARED_AT_ONCE):
        end = min(start + _COMPARED_AT_ONCE, limit)
        if left[start:end] != right[start:end]:
            pairs = zip(left[start:end], right[start:end], strict=True)
            return next(start + i for i, (a, b) in enumerate(pairs) if a != b)
    return limit
