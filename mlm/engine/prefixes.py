"""Who holds the beginning of a prompt already, and how a request gets it from there.

Holders are the slots, busy or free, and what is parked in main memory, always of one tenant. They
are compared with a prompt one by one. No tree over their tokens would pay: comparing takes 4 ns
per token, and each of these tokens takes kilobytes in a KV cache, so that there never are many.
"""

import time
from array import array
from collections.abc import Callable, Iterator, Sequence

from mlm.engine.computer import Memory
from mlm.engine.parked import Parked, ParkedSequences
from mlm.engine.request import Request
from mlm.engine.slots import WORTH, Slot, choose_slot, count_common_prefix

# Tokens that are moved in the time of one computed, at least: with a 0.5B model on two cores it is
# 300 to 500. No running average: one copy that others held up would end copying, and with it
# measuring, for good.
_MOVES_PER_PREFILL = 50
_LEAST_COPIED = 4  # tokens; short beginnings are those of chat templates, which all requests share

Holder = Slot | Parked


class Prefixes:
    """Puts requests into slots, with as much of their prompts as anybody holds."""

    def __init__(
        self,
        memory: Memory,
        slots: Sequence[Slot],
        *,
        budget: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep up to ``budget`` bytes of what is pushed out of its slot."""
        self._memory = memory
        self._slots = slots
        self._clock = clock
        self._turns = 0
        self.parked = ParkedSequences(budget)

    def place(self, request: Request) -> Slot | None:
        """Give ``request`` a slot, and what is held of its prompt; None when none is free."""
        free = [slot for slot in self._slots if slot.is_free]
        if not free:
            return None
        tokens = array("i", request.tokens)
        found = self._find(request, tokens) if request.reuses_prefix else {}
        shared = {slot.seq_id: self._count_kept(slot, request, tokens) for slot in free}
        slot = choose_slot(self._slots, shared, max([*found.values(), *shared.values()]))
        assert slot is not None
        keep = shared[slot.seq_id]
        if not slot.is_continued(keep):
            self.park(slot)
        if not self._memory.forget(slot.seq_id, keep):
            self._memory.forget(slot.seq_id, 0)
            keep = 0
        self._turns += 1
        slot.take_in(request, keep, self._turns)
        request.admitted_s = self._clock()
        self._begin(slot, request)
        return slot

    def advance(self) -> list[Slot]:
        """Let those go on who have nothing more to wait for, first come, first served."""
        for slot in self._slots:
            if slot.n_held in slot.cuts and not self._memory.forgets_parts:
                self.park(slot)
        waiting = [slot for slot in self._slots if slot.can_go_on()]
        waiting.sort(key=lambda slot: slot.turn)
        for slot in waiting:
            assert slot.request is not None
            self._begin(slot, slot.request)
        return waiting

    def release(self, slot: Slot) -> None:
        """Let the request of a slot go, and keep what it leaves, if it leaves it to others."""
        was_shared = slot.is_shared
        slot.release(self._clock())
        if not was_shared:
            self.clear(slot)

    def clear(self, slot: Slot) -> None:
        """Let a slot hold nothing."""
        self._memory.forget(slot.seq_id, 0)
        slot.clear()

    def make_room(self) -> bool:
        """Give up what a free slot holds, for others that need its room; False when none does."""
        idle = [slot for slot in self._slots if slot.is_free and slot.n_held]
        if not idle or not self._memory.is_unified:
            return False
        slot = min(idle, key=lambda slot: slot.used_s)
        self.park(slot)
        self.clear(slot)
        return True

    def park(self, slot: Slot) -> None:
        """Copy what a slot holds to main memory, if that is worth it and nobody else has it."""
        tokens = slot.tokens[: slot.n_held]
        if not self.parked.budget or slot.n_held < WORTH or not slot.is_shared:
            return
        others = (h for h in self._holders(slot.tenant) if h is not slot)
        held = max((self._usable(other, tokens, slot.n_held) for other in others), default=0)
        if slot.n_held - held < WORTH or not _pays(slot.n_held - held, 2 * slot.n_held):
            return
        if self._memory.state_bytes(slot.seq_id) > self.parked.budget:
            return
        parked = Parked(tokens, slot.tenant, slot.n_prompt, self._memory.save(slot.seq_id))
        for older in self.parked.of(slot.tenant):
            if self._usable(parked, older.tokens, older.n_held) == older.n_held:
                self.parked.remove(older)
        self.parked.add(parked)

    def _begin(self, slot: Slot, request: Request) -> None:
        """Get what is held of the prompt, or wait for somebody who is computing more of it."""
        slot.leader = slot.leading = None
        if not request.reuses_prefix:
            return
        found = self._find(request, slot.tokens)
        source = max(found, key=lambda h: (found[h], h is slot, not isinstance(h, Parked)))
        most = found[source]
        leader, n_awaited = self._find_leader(slot)
        pays = n_awaited >= most + WORTH or request.has_image_between(most, n_awaited)
        if leader is not None and pays:
            slot.follow(leader, n_awaited)
            return
        gain, moved = most - slot.n_held, source.n_held
        if source is not slot and _pays(gain, 0 if self._is_free(source) else moved):
            self._fetch(slot, source, most)
        request.cached_tokens = slot.n_held
        self._plan_cuts(slot)

    def _find_leader(self, slot: Slot) -> tuple[Slot | None, int]:
        """Return who computes the longest common beginning, among those that came earlier."""
        best, most = None, 0
        for other in self._slots:
            is_candidate = other.is_shared and not other.is_free and other.turn < slot.turn
            if is_candidate and other.tenant == slot.tenant:
                limit = min(other.n_prompt, slot.n_prompt - 1)
                common = count_common_prefix(other.tokens, slot.tokens, limit)
                if common > max(most, other.n_held):
                    best, most = other, common
        return best, most

    def _fetch(self, slot: Slot, source: Holder, n_wanted: int) -> None:
        if isinstance(source, Slot):
            done = self._memory.copy(source.seq_id, slot.seq_id, n_wanted)
        else:
            done = self._memory.restore(slot.seq_id, source.state, n_wanted)
        slot.n_held = n_wanted if done else 0
        if isinstance(source, Parked):
            is_needed = not self._memory.forgets_parts or not source.is_continued(n_wanted)
            (self.parked.touch if is_needed or not done else self.parked.remove)(source)

    def _plan_cuts(self, slot: Slot) -> None:
        """Say where a copy has to be kept, for a model that cannot go back to there later.

        At the end of the prompt, where the next turn goes on; and where this prompt parts from
        others, because the next one is likely to part from it there.
        """
        if self._memory.forgets_parts or not self.parked.budget:
            return
        parting = 0
        for other in self._holders(slot.tenant):
            if other is not slot:
                limit = min(len(other.tokens), slot.n_prompt - 1)
                parting = max(parting, count_common_prefix(other.tokens, slot.tokens, limit))
        slot.cuts |= {cut for cut in (parting, slot.n_prompt) if cut >= slot.n_held + WORTH}

    def _find(self, request: Request, tokens: "array[int]") -> dict[Holder, int]:
        """Return how many of a request's first tokens each holder can give.

        Never all of them: the last one is computed again, because its logits are needed.
        """
        limit = len(request.tokens) - 1
        return {h: self._usable(h, tokens, limit) for h in self._holders(request.tenant)}

    def _holders(self, tenant: str) -> Iterator[Holder]:
        for slot in self._slots:
            if slot.tenant == tenant and slot.is_shared:
                yield slot
        yield from self.parked.of(tenant)

    def _count_kept(self, slot: Slot, request: Request, tokens: "array[int]") -> int:
        """Return how much of what a free slot holds can stay there for a request."""
        if slot.tenant != request.tenant or not request.reuses_prefix:
            return 0
        limit = min(slot.n_held, len(tokens) - 1)
        common = count_common_prefix(slot.tokens, tokens, limit)
        if common in (0, slot.n_held) or common >= self._memory.shortest_keep(slot.seq_id):
            return common
        return 0

    def _usable(self, holder: Holder, tokens: "array[int]", limit: int) -> int:
        """Return how many of the tokens can be had by a copy of what ``holder`` holds."""
        common = count_common_prefix(holder.tokens, tokens, min(holder.n_held, limit))
        if common in (0, holder.n_held) or self._memory.forgets_parts:
            return common
        if isinstance(holder, Parked):
            shortest = holder.state.shortest_keep
        else:
            shortest = self._memory.shortest_copy(holder.seq_id)
        return common if common >= shortest else 0

    def _is_free(self, source: Holder) -> bool:
        return isinstance(source, Slot) and self._memory.shares_cells


def _pays(n_saved: int, n_moved: int) -> bool:
    """Return whether computing ``n_saved`` tokens takes longer than moving ``n_moved``."""
    return n_saved >= _LEAST_COPIED and n_saved * _MOVES_PER_PREFILL >= n_moved
