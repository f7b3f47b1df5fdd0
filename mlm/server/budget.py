"""How much memory the models may take together."""

from collections.abc import Callable

from mlm.planning.evict import Room
from mlm.planning.residency import MAIN_MEMORY
from mlm.server.model import ServedModel


class Budget:
    """What the plans found to be available, under the limit that main memory has by now.

    ``limit`` looks at that limit: of the control group, in bytes; None when there is none.
    """

    def __init__(self, max_models: int, limit: Callable[[], int | None]) -> None:
        self._max_models, self._limit = max_models, limit
        self._available: dict[str, int] = {}  # per device, while main memory's limit was
        self._first_limit: int | None = None

    def take_in(self, model: ServedModel) -> None:
        """Learn what devices there are from the plan of ``model``."""
        for device in model.memory.devices:
            if device.device == MAIN_MEMORY and MAIN_MEMORY not in self._available:
                self._first_limit = self._limit()  # it was planned for that
            self._available.setdefault(device.device, device.available)

    def room(self) -> Room:
        """Return what may be occupied now."""
        available, now = dict(self._available), self._limit()
        if now is not None and MAIN_MEMORY in available:
            first, planned = self._first_limit, available[MAIN_MEMORY]
            changed = min(planned, now) if first is None else planned + now - first
            available[MAIN_MEMORY] = max(0, changed)
        return Room(available, self._max_models)
