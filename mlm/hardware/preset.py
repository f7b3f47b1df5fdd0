"""Machines to pretend: ``RTX 4090``, ``2x RTX 3090, 128GB``, ``M2 Max 64GB``, ``16GB laptop``.

What a name does not say is assumed: 32 GiB of main memory beside a card, 16 GiB shared with a chip
of unknown size, a desktop processor; an eighth of main memory is taken by the system, half a GiB
of a card by its driver and the screen.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from mlm.errors import NotFoundError, UsageError
from mlm.hardware.apple import metal_budget
from mlm.hardware.document import from_document
from mlm.hardware.gpu_table import GpuRow, find_gpu, load_table, words
from mlm.hardware.types import Accelerator, AcceleratorKind, Cpu, Hardware, Memory
from mlm.units import GIB, MIB

_MAX_FILE_BYTES = 4 * MIB
_CARD_RESERVE = GIB // 2
_ASSUMED_MEMORY, _ASSUMED_SHARED = 32 * GIB, 16 * GIB
_READ_SHARE = 0.75  # of the peak in a data sheet that a CPU really reads; 70 to 80 % is usual
_KINDS: dict[str, AcceleratorKind] = {
    "NVIDIA": "cuda", "AMD": "rocm", "Apple": "metal", "Intel": "sycl", "Qualcomm": "vulkan",
}  # fmt: skip
_X86 = ("avx", "f16c", "fma", "bmi2", "avx2")
_ARM = ("neon", "fp16", "dotprod")

# kind of machine -> cores, peak memory bandwidth in GB/s, instruction sets. Two channels of
# DDR4-3200 (51), DDR5-4800 (77) and eight of DDR4-3200 (205); Raspberry Pi: the boards' data
# sheets (32-bit LPDDR4-3200, LPDDR4X-4267), of which the CPU reads less than elsewhere.
_MACHINES = {
    "laptop": (4, 51.2, _X86),
    "desktop": (6, 76.8, _X86),
    "server": (32, 204.8, (*_X86, "avx512f", "avx512_vnni")),
    "raspberry pi 4": (4, 6.4, ("neon",)),
    "raspberry pi 5": (4, 17.1, _ARM),
    "raspberry pi": (4, 17.1, _ARM),
}
_SIZE = r"(\d{1,4})\s*(?:gib|gb|g)"


def find_preset(name: str) -> Hardware:
    """Return the machine that ``name`` describes: a file of ``mlm hardware --json``, or words.

    Raises:
        NotFoundError: no GPU, chip or kind of machine is called so; the nearest are offered.
        UsageError: the file is not a hardware document, or a size cannot be or is missing.
    """
    if name.endswith(".json") or "/" in name or "\\" in name:
        return _read_file(Path(name).expanduser())
    gpu_text, _, memory_text = name.partition(",")
    memory = _parse_gib(memory_text, name) if memory_text.strip() else None
    counted = re.fullmatch(r"\s*(?:(\d{1,2})\s*x\s+)?(.+?)\s*", gpu_text, re.IGNORECASE)
    if counted is None:
        raise _unknown(name)
    count, what = int(counted[1] or 1), counted[2]
    machine = _find_machine(what)
    if machine is not None:
        return machine
    if what.lower() in _MACHINES:
        raise UsageError(f"how much memory has the {what}?", remedy=f'write "{what} 16GB"')
    row = find_gpu(what)
    if row is None or not 1 <= count <= 16:
        raise _unknown(name)
    size = _memory_size(row, what)
    if row.kind == "unified":
        return _unified_machine(row, memory or size or _ASSUMED_SHARED, what)
    return _card_machine(row, size, count, memory or _ASSUMED_MEMORY)


def preset_names() -> list[str]:
    """Return every name that `find_preset` knows, one spelling each."""
    return [*dict.fromkeys(row.name for row in load_table()), "16GB laptop", "Raspberry Pi 8GB"]


def _read_file(path: Path) -> Hardware:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise NotFoundError(
            f"cannot read {path}: {error.strerror or error}",
            remedy="mlm hardware --json > machine.json",
        ) from error
    if len(raw) > _MAX_FILE_BYTES:
        raise UsageError(f"{path} is too long to be a hardware document")
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} is not JSON", remedy="mlm hardware --json > machine.json"
        ) from error
    return from_document(document, source=str(path))


def _find_machine(text: str) -> Hardware | None:
    """Return a machine without a card: ``16GB laptop``, ``Raspberry Pi 5 8GB``, ``64GB server``."""
    found = re.search(_SIZE, text.lower())
    if found is None:
        return None
    kind = " ".join((text.lower()[: found.start()] + text.lower()[found.end() :]).split())
    if kind not in _MACHINES:
        return None
    cores, peak, isa = _MACHINES[kind]
    cpu = Cpu(f"{kind} (assumed)", cores, cores, cores, isa)
    return _machine(text, cpu, _parse_gib(found[0], text), (), peak * 10**9)


def _card_machine(row: GpuRow, size: int | None, count: int, memory: int) -> Hardware:
    kind = "laptop" if row.kind == "laptop" else "desktop"
    cores, peak, isa = _MACHINES[kind]
    free = size - _CARD_RESERVE if size else None
    cards = [_accelerator(row, index, size, free) for index in range(count)]
    cpu = Cpu(f"{kind} (assumed)", cores, 2 * cores, cores, isa)
    name = f"{count}x {row.name}" if count > 1 else row.name
    return _machine(name, cpu, memory, cards, peak * 10**9)


def _unified_machine(row: GpuRow, memory: int, name: str) -> Hardware:
    usable = memory - memory // 8
    budget = metal_budget(memory) if row.vendor == "Apple" else usable
    gpu = _accelerator(row, 0, budget, min(budget, usable))
    arm = row.vendor in ("Apple", "Qualcomm", "NVIDIA")
    cpu = Cpu(f"{row.name} (assumed)", 8, 8, 8, _ARM if arm else _X86)
    peak = row.bandwidth_bytes_per_s or _MACHINES["laptop"][1] * 10**9
    return _machine(name, cpu, memory, [gpu], peak)


def _accelerator(row: GpuRow, index: int, total: int | None, free: int | None) -> Accelerator:
    return Accelerator(
        index=index,
        name=row.name,
        kind=_KINDS[row.vendor],
        memory_total=total,
        memory_free=free,
        bandwidth_bytes_per_s=row.bandwidth_bytes_per_s,
        compute_capability=row.compute_capability,
        unified=row.kind == "unified",
    )


def _machine(
    name: str, cpu: Cpu, memory: int, accelerators: Iterable[Accelerator], peak: float
) -> Hardware:
    usable = memory - memory // 8
    return Hardware(
        cpu=cpu,
        memory=Memory(total=memory, available=usable, limit=None, usable=usable),
        accelerators=tuple(accelerators),
        memory_bandwidth_bytes_per_s=round(peak * _READ_SHARE),
        fingerprint=f"preset:{' '.join(name.lower().split())}",
        sources={"cpu": "assumed", "memory": "assumed", "accelerators": "GPU table"},
    )


def _memory_size(row: GpuRow, text: str) -> int | None:
    """Return the size that ``text`` names; else the smallest there is: never promise too much."""
    if found := re.search(rf"\b{_SIZE}\b", text.lower()):
        size = _parse_gib(found[0], text)
        if size not in row.memory_sizes and row.memory_sizes and row.kind != "unified":
            there = ", ".join(f"{each // GIB}GB" for each in row.memory_sizes)
            raise UsageError(f"the {row.name} has {there}", remedy=f'write "{row.name}"')
        return size
    return row.memory_sizes[0] if row.memory_sizes else None


def _parse_gib(text: str, name: str) -> int:
    found = re.fullmatch(_SIZE, text.strip().lower())
    if found is None or not 1 <= int(found[1]) <= 8192:
        raise UsageError(f"'{text.strip()}' in '{name}' is not a memory size", remedy="like 64GB")
    return int(found[1]) * GIB


def _unknown(name: str) -> NotFoundError:
    from difflib import get_close_matches  # only when something is wrong

    spelled = {" ".join(sorted(words(each))): each for each in preset_names()}
    near = get_close_matches(" ".join(sorted(words(name))), spelled, n=3, cutoff=0.5)
    offered = f"; near it: {', '.join(spelled[each] for each in near)}" if near else ""
    return NotFoundError(
        f"no machine is called '{name}'{offered}",
        remedy='name a GPU, an Apple chip like "M2 Max 64GB", "16GB laptop", or a file.json',
    )
