"""What was computed for requests that have left their slots, in main memory, within a budget."""

from array import array
from dataclasses import dataclass

from mlm.engine.computer import State
from mlm.engine.slots import is_continued


@dataclass(frozen=True, slots=True, eq=False)
class Parked:
    """A sequence that was taken out of the KV cache."""

    tokens: "array[int]"
    tenant: str
    n_prompt: int  # of the tokens, those of the newest prompt
    state: State

    @property
    def n_held(self) -> int:
        """Tokens that need not be computed; all of them."""
        return len(self.tokens)

    def is_continued(self, n_shared: int) -> bool:
        """Return whether a request that shares so much needs all that is worth keeping."""
        return is_continued(n_shared, n_held=self.n_held, n_prompt=self.n_prompt)


class ParkedSequences:
    """Sequences in main memory. When there is no room, the one unused for the longest time goes."""

    def __init__(self, budget: int) -> None:
        """Make room for ``budget`` bytes; 0 keeps nothing."""
        self.budget = budget
        self.n_bytes = 0
        self._all: dict[Parked, None] = {}  # the newest last

    def of(self, tenant: str) -> list[Parked]:
        """Return what is kept for ``tenant``, the newest first."""
        return [parked for parked in reversed(self._all) if parked.tenant == tenant]

    def add(self, parked: Parked) -> None:
        """Keep a sequence, if it is not larger than all there is room for."""
        if parked.state.n_bytes > self.budget:
            return
        while self.n_bytes + parked.state.n_bytes > self.budget:
            self.remove(next(iter(self._all)))
        self._all[parked] = None
        self.n_bytes += parked.state.n_bytes

    def touch(self, parked: Parked) -> None:
        """Note that a sequence is in use."""
        self._all[parked] = self._all.pop(parked)

    def remove(self, parked: Parked) -> None:
        """Forget a sequence."""
        del self._all[parked]
        self.n_bytes -= parked.state.n_bytes
