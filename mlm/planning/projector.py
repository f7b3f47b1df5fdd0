"""Room for what a vision model sees with: its projector, a file of its own beside the weights.

llama.cpp holds it on the first accelerator, or in main memory where there is none.
"""

from collections.abc import Sequence
from dataclasses import replace

from mlm.hardware.types import Hardware
from mlm.planning.placement import devices_of
from mlm.planning.types import DevicePlan


def reserve_projector(hardware: Hardware, n_bytes: int) -> Hardware:
    """Return ``hardware`` with that much less memory where the projector goes."""
    place = _place(hardware)
    memory = hardware.memory
    if place is None:
        less = max(0, memory.usable - n_bytes)
        return replace(hardware, memory=replace(memory, usable=less))
    cards = list(hardware.accelerators)
    free = cards[place].memory_free
    known = free if free is not None else cards[place].memory_total or 0
    cards[place] = replace(cards[place], memory_free=max(0, known - n_bytes))
    return replace(hardware, accelerators=tuple(cards))


def add_projector(
    plans: Sequence[DevicePlan], hardware: Hardware, n_bytes: int
) -> tuple[DevicePlan, ...]:
    """Return ``plans``, made for what `reserve_projector` left, with the projector in them."""
    devices = devices_of(hardware)
    wanted = devices[min(1, len(devices) - 1)].name
    device = wanted if any(plan.device == wanted for plan in plans) else plans[0].device
    return tuple(
        replace(plan, weights=plan.weights + n_bytes, available=plan.available + n_bytes)
        if plan.device == device
        else plan
        for plan in plans
    )


def _place(hardware: Hardware) -> int | None:
    """Return the position of the first accelerator whose memory is known."""
    for position, found in enumerate(hardware.accelerators):
        if found.memory_free is not None or found.memory_total is not None:
            return position
    return None
