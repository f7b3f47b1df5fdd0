"""Which loaded models make room for another one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that occupies memory now. ``memory`` is bytes per device."""

    model_id: str
    memory: Mapping[str, int]
    idle_s: float  # since its last request ended; 0 while busy
    busy: bool = False
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Room:
    """What may be occupied altogether: bytes per device, and a number of models.

    A device that ``memory`` does not name has no limit.
    """

    memory: Mapping[str, int]
    max_models: int

    def holds(self, models: Sequence[Mapping[str, int]]) -> bool:
        """Tell whether models that need these bytes may be loaded at the same time."""
        return len(models) <= self.max_models and all(
            sum(needed.get(device, 0) for needed in models) <= limit
            for device, limit in self.memory.items()
        )


def choose_evictions(
    needed: Mapping[str, int], room: Room, loaded: Sequence[LoadedModel]
) -> list[str] | None:
    """Return the models to unload so that ``needed`` bytes per device fit, in that order.

    Idle models go first, the longest idle first; then busy ones, which the caller lets finish.
    No model goes whose bytes are not needed in the end. Pinned models stay. None means that even
    without all others there is no room.
    """
    candidates = sorted(
        (model for model in loaded if not model.pinned), key=lambda m: (m.busy, -m.idle_s)
    )
    kept = {model.model_id: model.memory for model in loaded}
    evicted: list[str] = []
    for model in candidates:
        if room.holds([needed, *kept.values()]):
            break
        del kept[model.model_id]
        evicted.append(model.model_id)
    if not room.holds([needed, *kept.values()]):
        return None
    memory = {model.model_id: model.memory for model in loaded}
    for model_id in list(evicted):  # an early victim may have freed nothing that was short
        if room.holds([needed, memory[model_id], *kept.values()]):
            kept[model_id] = memory[model_id]
            evicted.remove(model_id)
    return evicted
