"""AMD GPUs through sysfs: the files that the amdgpu driver writes need no ROCm to be read."""

from pathlib import Path

from mlm.hardware.drm import AMD, Card, list_cards
from mlm.hardware.gpu_table import find_gpu
from mlm.hardware.probe import Probe
from mlm.hardware.sysfs import read_int, read_text
from mlm.hardware.types import Accelerator

# Names of common boards, for machines without libdrm's list; (device, revision) where one chip
# carries several names. From libdrm's data/amdgpu.ids and the kernel's amdgpu driver.
_NAMES = {
    (0x744C, 0xC8): "RX 7900 XTX", (0x744C, 0xCC): "RX 7900 XT", (0x744C, 0xCE): "RX 7900 GRE",
    (0x747E, 0xC8): "RX 7800 XT", (0x747E, 0xFF): "RX 7700 XT",
    (0x7550, 0xC0): "RX 9070 XT", (0x7550, 0xC3): "RX 9070",
    (0x73BF, 0xC3): "RX 6800", (0x73DF, 0xC1): "RX 6700 XT", (0x731F, 0xC1): "RX 5700 XT",
    (0x74A1, 0x00): "MI300X", (0x740F, 0x02): "MI210", (0x740C, 0x01): "MI250",
    (0x738C, 0x01): "MI100",
}  # fmt: skip
# Graphics inside a processor: its memory is main memory.
_INTEGRATED = {
    0x1586: "Radeon 8060S", 0x150E: "Radeon 890M", 0x1114: "Radeon 860M", 0x15BF: "Radeon 780M",
    0x15C8: "Radeon 740M", 0x1900: "Radeon 780M", 0x1901: "Radeon 740M", 0x1681: "Radeon 680M",
    0x164E: "Radeon 610M", 0x13C0: "Radeon 610M", 0x1506: "Radeon 610M", 0x1638: "Radeon Vega",
    0x1636: "Radeon Vega", 0x164C: "Radeon Vega", 0x15D8: "Radeon Vega", 0x15DD: "Radeon Vega",
    0x163F: "Steam Deck GPU", 0x1435: "Steam Deck GPU",
}  # fmt: skip


def probe_amd(root: Path = Path("/")) -> Probe:
    """Return the AMD GPUs that the amdgpu driver runs."""
    cards = [card for card in list_cards(root) if card.vendor == AMD]
    running = [card for card in cards if card.driver == "amdgpu"]
    ids = parse_ids(read_text(root / "usr/share/libdrm/amdgpu.ids") or "") if running else {}
    found = tuple(_read_card(card, ids, index) for index, card in enumerate(running))
    problem = None
    if len(running) < len(cards):
        problem = "an AMD GPU is there, but the amdgpu driver does not run it"
    return Probe(found, source="/sys/class/drm (amdgpu)", problem=problem)


def _read_card(card: Card, ids: dict[tuple[int, int], str], index: int) -> Accelerator:
    total, free = _memory(card.folder, "vram")
    mapped, mapped_free = _memory(card.folder, "gtt")
    # Of a processor's own GPU, the kernel's compute driver uses whichever pool is larger: pages of
    # main memory, or what the firmware has carved out for it (amdgpu's apu_prefer_gtt).
    unified = card.device in _INTEGRATED and (mapped or 0) >= (total or 0)
    if unified:
        total, free = mapped, mapped_free
    name = _name(card, ids)
    row = find_gpu(name, total)
    return Accelerator(
        index=index,
        name=name,
        kind="rocm",
        memory_total=total,
        memory_free=free,
        bandwidth_bytes_per_s=row.bandwidth_bytes_per_s if row else None,
        compute_capability=_gfx_name(card.folder),
        driver="amdgpu",
        unified=unified,
        source="sysfs (amdgpu); bandwidth: GPU table" if row else "sysfs (amdgpu)",
    )


def _gfx_name(folder: Path) -> str | None:
    """Return what ROCm's kernels are built for, from the chip's own list of its parts: gfx1100."""
    block = folder / "ip_discovery/die/0/GC/0"
    version = [read_int(block / name) for name in ("major", "minor", "revision")]
    if None in version:
        return None
    major, minor, revision = (number or 0 for number in version)
    return f"gfx{major}{minor:x}{revision:x}"


def _memory(folder: Path, pool: str) -> tuple[int | None, int | None]:
    """Return total and free bytes of a memory pool: vram, or gtt (main memory the GPU can map)."""
    total = read_int(folder / f"mem_info_{pool}_total")
    used = read_int(folder / f"mem_info_{pool}_used")
    if not total or total < 0:
        return None, None
    return total, max(0, total - used) if used is not None else None


def _name(card: Card, ids: dict[tuple[int, int], str]) -> str:
    key = (card.device, card.revision)
    name = (
        read_text(card.folder / "product_name")  # professional boards carry their own
        or _NAMES.get(key)
        or ids.get(key)
        or _INTEGRATED.get(card.device)
        or f"AMD GPU 1002:{card.device:04x}"
    )
    return name.removeprefix("AMD Radeon ").strip()


def parse_ids(text: str) -> dict[tuple[int, int], str]:
    """Return (device, revision) -> name from libdrm's ``amdgpu.ids``."""
    names = {}
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",", 2)]
        if len(fields) != 3 or line.startswith("#"):
            continue
        try:
            names[int(fields[0], 16), int(fields[1], 16)] = fields[2]
        except ValueError:
            continue
    return names
