"""A KV cache that holds tokens instead of keys and values, with the limits of each kind."""

import itertools
from dataclasses import dataclass, field

from mlm.engine.computer import State

MOVE_S = 0.000_02  # per token that is copied
BYTES_PER_TOKEN = 100
_cells = itertools.count()

Cell = tuple[int, int]  # its number, and the token in it; shared cells have one number


@dataclass
class FakeMemory:
    """What each sequence holds; ``kind`` is ``parts``, ``window`` or ``whole``.

    Of a ``window`` the positions before the last ``n_window + n_spare`` are lost. What is
    ``whole`` cannot be cut back.
    """

    n_slots: int
    kind: str = "parts"
    is_unified: bool = False
    n_window: int = 32
    n_spare: int = 16
    seconds: float = 0.0  # that copying took
    n_moves: int = 0
    fails_to_restore: bool = False
    cells: list[list[Cell]] = field(default_factory=list)
    oldest: list[int] = field(default_factory=list)  # position that has not been lost, by sequence

    def __post_init__(self) -> None:
        self.cells = [[] for _ in range(self.n_slots)]
        self.oldest = [0] * self.n_slots

    def tokens(self, seq_id: int) -> list[int]:
        return [token for _, token in self.cells[seq_id]]

    def n_cells(self) -> int:
        return len({number for cells in self.cells for number, _ in cells})

    def extend(self, seq_id: int, tokens: list[int]) -> None:
        self.cells[seq_id] += [(next(_cells), token) for token in tokens]
        if self.kind == "window":
            lost = len(self.cells[seq_id]) - self.n_window - self.n_spare
            self.oldest[seq_id] = max(self.oldest[seq_id], lost)

    @property
    def forgets_parts(self) -> bool:
        return self.kind == "parts"

    @property
    def shares_cells(self) -> bool:
        return self.is_unified and self.kind == "parts"

    def shortest_keep(self, seq_id: int) -> int:
        if self.kind == "whole":
            return len(self.cells[seq_id])
        return self.oldest[seq_id] + self.n_window if self.oldest[seq_id] else 0

    def shortest_copy(self, seq_id: int) -> int:
        length = len(self.cells[seq_id])
        fits = self.kind == "window" and length <= self.n_window
        return 0 if fits or self.kind == "parts" else length

    def forget(self, seq_id: int, keep: int) -> bool:
        if keep and keep < min(self.shortest_keep(seq_id), len(self.cells[seq_id])):
            return False
        del self.cells[seq_id][keep:]
        if not keep:
            self.oldest[seq_id] = 0
        return True

    def copy(self, source: int, target: int, keep: int) -> bool:
        assert source != target
        assert keep <= len(self.cells[source])
        if self.shares_cells:
            self.cells[target] = self.cells[source][:keep]
            return True
        return self.restore(target, self.save(source), keep)

    def state_bytes(self, seq_id: int) -> int:
        return BYTES_PER_TOKEN * len(self.cells[seq_id])

    def save(self, seq_id: int) -> State:
        self._move(len(self.cells[seq_id]))
        tokens = self.tokens(seq_id)
        return State(tokens, self.state_bytes(seq_id), self.shortest_copy(seq_id))

    def restore(self, seq_id: int, state: State, keep: int) -> bool:
        self._move(len(state.data))
        self.forget(seq_id, 0)
        if not self.fails_to_restore:
            self.extend(seq_id, state.data)
            if self.kind == "window":
                self.oldest[seq_id] = max(0, len(state.data) - self.n_window)
            if self.forget(seq_id, keep):
                return True
        self.forget(seq_id, 0)
        return False

    def _move(self, n_tokens: int) -> None:
        self.n_moves += 1
        self.seconds += MOVE_S * n_tokens
