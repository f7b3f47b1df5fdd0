"""Gaps between the ids of running answers, and how they are closed.

With a stream per sequence llama.cpp computes ids that follow each other in one pass over the
weights. An id that is missing costs another pass at each step (1.4 to 1.8 times the time, for 8
answers of a 0.5B model), so that it pays to move an answer as soon as no newcomer takes the place.
"""

from collections.abc import Collection, Sequence
from itertools import pairwise

from mlm.engine.computer import Memory
from mlm.engine.prefixes import Prefixes
from mlm.engine.slots import Slot

PATIENCE = 4  # steps; a client that has its answer often sends the next request at once


class Gaps:
    """Moves running answers together, one in `PATIENCE` steps."""

    def __init__(self, memory: Memory, slots: list[Slot], prefixes: Prefixes) -> None:
        self._memory = memory
        self._slots = slots
        self._prefixes = prefixes
        self._n_steps = 0  # for how long there has been a gap

    def close(self, running: Sequence[Slot]) -> None:
        """Move one of the ``running`` answers, if there has been a gap for long and it helps."""
        if len(running) < 2:
            self._n_steps = 0
            return
        slots = self._slots
        decoding = {s.seq_id for s in running if s.is_decoding and not s.is_deterministic}
        now = count_runs(decoding)
        is_gap = not self._memory.is_unified and now[0] > 1
        self._n_steps = self._n_steps + 1 if is_gap else 0
        if self._n_steps < PATIENCE:
            return
        self._n_steps = 0
        free = [slot for slot in slots if slot.is_free]
        moves = [(slots[seq_id], target) for seq_id in decoding for target in free]

        def outcome(move: tuple[Slot, Slot]) -> tuple[int, int]:
            return count_runs(decoding - {move[0].seq_id} | {move[1].seq_id})

        def cost(move: tuple[Slot, Slot]) -> tuple[tuple[int, int], int, int]:
            return outcome(move), move[1].n_held, move[0].n_held

        best = min(moves, key=cost, default=None)
        if best is not None and outcome(best) < now:
            self._move(*best)

    def _move(self, slot: Slot, target: Slot) -> None:
        """Let two slots change places. What a free one holds is parked, or lost."""
        self._prefixes.park(target)
        self._prefixes.clear(target)
        if self._memory.copy(slot.seq_id, target.seq_id, slot.n_held):
            self._memory.forget(slot.seq_id, 0)
            slot.seq_id, target.seq_id = target.seq_id, slot.seq_id
            self._slots[slot.seq_id], self._slots[target.seq_id] = slot, target


def count_runs(ids: Collection[int]) -> tuple[int, int]:
    """Return in how many runs of consecutive numbers ``ids`` lie, and how long the shortest is."""
    ordered = sorted(ids)
    starts = [0, *(i for i, (a, b) in enumerate(pairwise(ordered), 1) if b - a > 1), len(ordered)]
    lengths = [b - a for a, b in pairwise(starts)]
    return len(lengths), min(lengths)
