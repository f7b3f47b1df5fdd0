"""Intel Arc cards through sysfs. The drivers publish no memory figures, so the table's are used."""

from pathlib import Path

from mlm.hardware.drm import INTEL, list_cards
from mlm.hardware.gpu_table import find_gpu
from mlm.hardware.probe import Probe
from mlm.hardware.types import Accelerator

# Only cards with memory of their own; from the kernel's include/drm/intel/pciids.h.
_NAMES = {
    0x56A0: "Arc A770", 0x56A1: "Arc A750", 0x56A2: "Arc A580", 0x56A5: "Arc A380",
    0xE20B: "Arc B580", 0xE20C: "Arc B570", 0xE211: "Arc B60", 0xE212: "Arc B50",
}  # fmt: skip


def probe_intel(root: Path = Path("/")) -> Probe:
    """Return the Intel Arc cards that the i915 or xe driver runs."""
    cards = [
        card
        for card in list_cards(root)
        if card.vendor == INTEL and card.device in _NAMES and card.driver in ("i915", "xe")
    ]
    found = []
    for index, card in enumerate(cards):
        name = _NAMES[card.device]
        row = find_gpu(name)
        found.append(
            Accelerator(
                index=index,
                name=name,
                kind="sycl",
                memory_total=row.memory_sizes[0] if row and row.memory_sizes else None,
                memory_free=None,
                bandwidth_bytes_per_s=row.bandwidth_bytes_per_s if row else None,
                driver=card.driver,
            )
        )
    return Probe(tuple(found), source="/sys/class/drm, memory from the GPU table")
