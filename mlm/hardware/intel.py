"""Intel GPUs through sysfs: Arc cards, and those inside processors that are worth computing on.

The drivers publish no memory figures. How much a card has shows in the window through which the
processor reaches it; a GPU inside a processor uses main memory.
"""

from pathlib import Path

from mlm.hardware.drm import INTEL, Card, list_cards
from mlm.hardware.gpu_table import GpuRow, find_gpu
from mlm.hardware.probe import Probe
from mlm.hardware.sysfs import read_text
from mlm.hardware.types import Accelerator

# From the kernel's include/drm/intel/pciids.h.
_CARDS = {
    0x56A0: "Arc A770", 0x56A1: "Arc A750", 0x56A2: "Arc A580", 0x56A5: "Arc A380",
    0xE20B: "Arc B580", 0xE20C: "Arc B570", 0xE211: "Arc B60", 0xE212: "Arc B50",
}  # fmt: skip
# With matrix units (or many vector ones); older ones are no faster than their processor.
_INTEGRATED = {
    0x7D55: "Arc Graphics (Meteor Lake)", 0x7DD5: "Arc Graphics (Meteor Lake)",
    0x7D51: "Arc 140T (Arrow Lake)", 0x7DD1: "Arc 130T (Arrow Lake)",
    0x64A0: "Arc 140V (Lunar Lake)", 0x6420: "Arc 130V (Lunar Lake)",
}  # fmt: skip
_WINDOW = 2  # the PCI resource through which a card's memory is seen


def probe_intel(root: Path = Path("/")) -> Probe:
    """Return the Intel GPUs that the i915 or xe driver runs."""
    known = {**_CARDS, **_INTEGRATED}
    cards = [card for card in list_cards(root) if card.vendor == INTEL and card.device in known]
    running = [card for card in cards if card.driver in ("i915", "xe")]
    found = tuple(_read_card(card, index) for index, card in enumerate(running))
    problem = None
    if len(running) < len(cards):
        problem = "an Intel GPU is there, but neither i915 nor xe runs it"
    return Probe(found, source="/sys/class/drm (i915, xe)", problem=problem)


def _read_card(card: Card, index: int) -> Accelerator:
    unified = card.device in _INTEGRATED
    name = _INTEGRATED.get(card.device) or _CARDS[card.device]
    row = find_gpu(name)
    size = None if unified or row is None else _card_memory(row, card.folder)
    origin = "memory of the machine" if unified else "memory and bandwidth: GPU table"
    return Accelerator(
        index=index,
        name=name,
        kind="sycl",
        memory_total=size,
        memory_free=None,
        bandwidth_bytes_per_s=row.bandwidth_bytes_per_s if row else None,
        driver=card.driver,
        unified=unified,
        source=f"sysfs ({card.driver}); {origin}",
    )


def _card_memory(row: GpuRow, folder: Path) -> int | None:
    """Return the largest size sold that fits the window; without "resizable BAR" the smallest."""
    window = _window(read_text(folder / "resource") or "")
    fitting = [size for size in row.memory_sizes if size <= window]
    return max(fitting, default=min(row.memory_sizes, default=None))


def _window(resources: str) -> int:
    """Return the bytes of the window from a device's ``resource`` file: lines of start and end."""
    lines = resources.splitlines()
    try:
        start, end = (int(field, 16) for field in lines[_WINDOW].split()[:2])
    except (IndexError, ValueError):
        return 0
    return end - start + 1
