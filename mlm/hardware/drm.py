"""Graphics cards as Linux lists them under /sys/class/drm."""

import re
from dataclasses import dataclass
from pathlib import Path

from mlm.hardware.sysfs import read_int, read_text

AMD, INTEL = 0x1002, 0x8086  # PCI vendor ids


@dataclass(frozen=True, slots=True)
class Card:
    """One card: its PCI ids, its driver, and the folder with its figures."""

    folder: Path
    vendor: int
    device: int
    revision: int
    driver: str | None


def list_cards(root: Path = Path("/")) -> list[Card]:
    """Return the cards in the order of their numbers; each physical device once."""
    cards: dict[str, Card] = {}
    try:
        entries = list((root / "sys/class/drm").iterdir())
    except OSError:
        return []
    numbered = [(int(m[1]), e) for e in entries if (m := re.fullmatch(r"card(\d{1,4})", e.name))]
    for _, entry in sorted(numbered):
        folder = entry / "device"
        vendor, device = read_int(folder / "vendor"), read_int(folder / "device")
        if vendor is None or device is None:
            continue
        uevent = parse_uevent(read_text(folder / "uevent") or "")
        slot = uevent.get("PCI_SLOT_NAME", entry.name)
        revision = read_int(folder / "revision") or 0
        cards.setdefault(slot, Card(folder, vendor, device, revision, uevent.get("DRIVER")))
    return list(cards.values())


def parse_uevent(text: str) -> dict[str, str]:
    """Return the variables of a ``uevent`` file."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {key: value for key, equals, value in pairs if equals}
