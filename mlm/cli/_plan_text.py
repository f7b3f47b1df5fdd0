"""A memory plan as rows of text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlm.units import format_size

if TYPE_CHECKING:
    from mlm.planning.types import DevicePlan

VERDICTS = {"fits": "fits", "tight": "only just fits", "does_not_fit": "does not fit"}
_PARTS = (
    ("weights", "weights"),
    ("repack", "repacked weights"),
    ("kv_cache", "KV cache"),
    ("compute", "compute buffer"),
    ("output", "output buffer"),
    ("overhead", "overhead"),
    ("total", "total"),
    ("available", "available"),
)


def device_rows(devices: "Sequence[DevicePlan]") -> list[tuple[str, ...]]:
    """Return what each device will hold: a row per part, a column per device."""
    rows = [("MEMORY", *(device.device for device in devices))]
    for name, label in _PARTS:
        sizes = [max(getattr(device, name), 0) for device in devices]
        if any(sizes):
            rows.append((label, *map(format_size, sizes)))
    return rows
