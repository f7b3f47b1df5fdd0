"""Builds the machine that somebody named: what they said, and what has to be assumed.

Assumed are 32 GiB of main memory beside a card, the least that a chip was sold with, and a
desktop's processor. The system takes an eighth of main memory, from 2 GiB of a PC's to 16 of a
server's; driver and screen take half a GiB of a card.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from mlm.errors import UsageError
from mlm.hardware.apple import metal_budget
from mlm.hardware.gpu_table import GpuRow
from mlm.hardware.machines import KINDS, Kind
from mlm.hardware.types import Accelerator, AcceleratorKind, Cpu, Hardware, Memory
from mlm.units import GIB

MOST_CARDS = 16
_CARD_RESERVE = GIB // 2
_SYSTEM_SHARE, _PC_RESERVE, _MOST_RESERVE = 8, 2 * GIB, 16 * GIB
_ASSUMED_MEMORY, _ASSUMED_SHARED = 32 * GIB, 16 * GIB
# Of an APU's memory: what owners give the GPU in the firmware or by the driver's limits.
_APU_SHARE = (3, 4)
_ACCELERATORS: dict[str, AcceleratorKind] = {
    "NVIDIA": "cuda", "AMD": "rocm", "Apple": "metal", "Intel": "sycl", "Qualcomm": "vulkan",
}  # fmt: skip
_ISA = {
    "NVIDIA": ("neon", "fp16", "dotprod", "i8mm", "bf16"), "Apple": ("neon", "fp16", "dotprod"),
    "Qualcomm": ("neon", "fp16", "dotprod", "i8mm"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cards:
    """Cards of one kind; ``memory`` is that of each, in bytes."""

    row: GpuRow
    memory: int | None
    count: int


@dataclass(frozen=True, slots=True)
class Chip:
    """A chip whose GPU shares main memory: ``memory`` bytes of it, where somebody said."""

    row: GpuRow
    memory: int | None


@dataclass(frozen=True, slots=True)
class Box:
    """A machine without a card."""

    name: str  # of a kind in KINDS
    memory: int | None


Base = Hardware | Chip | Box


def build_machine(base: Base | None, memory: int | None, cards: Sequence[Cards]) -> Hardware:
    """Return the machine around ``cards``, still without them.

    Raises:
        UsageError: it was never sold so, or nobody said how much memory it has.
    """
    if isinstance(base, Hardware):
        return base if memory is None else _with_memory(base, memory)
    if isinstance(base, Chip):
        return _unified_machine(base, memory)
    if base is None:
        kind = "laptop" if any(each.row.kind == "laptop" for each in cards) else "desktop"
        return _box(kind, memory)
    if base.memory is None and memory is None:
        _ask_memory(base.name)
    return _box(base.name, memory or base.memory)


def _ask_memory(kind: str) -> NoReturn:
    size = "8GB" if "pi" in kind.split() else "16GB"
    raise UsageError(f"how much memory has the {kind}?", remedy=f'write "{kind} {size}"')


def _box(name: str, memory: int | None) -> Hardware:
    kind = KINDS[name]
    size = memory or _ASSUMED_MEMORY
    said = "as asked" if memory else "assumed beside a card"
    return Hardware(
        cpu=_cpu(name, kind),
        memory=_memory_of(size, 0 if "pi" in name.split() else _PC_RESERVE),
        accelerators=(),
        memory_bandwidth_bytes_per_s=kind.bandwidth_bytes_per_s,
        fingerprint="",
        sources={
            "cpu": f"assumed of a {name}",
            "cpu.usable_cores": f"assumed of a {name}",
            "memory": said,
            "memory_bandwidth_bytes_per_s": f"assumed: {kind.memory}",
        },
    )


def _cpu(name: str, kind: Kind) -> Cpu:
    cores, threads = kind.cores, kind.threads_per_core
    label = f"{name} (assumed)"
    return Cpu(label, cores, cores * threads, cores, kind.isa, cores, 0, threads)


def with_cores(cpu: Cpu, cores: int) -> Cpu:
    """Return ``cpu`` with another number of cores, all alike."""
    threads = cpu.threads_per_core or 1
    return replace(
        cpu,
        physical_cores=cores,
        logical_cores=cores * threads,
        usable_cores=cores,
        performance_cores=cores,
        efficiency_cores=0,
    )


def _memory_of(size: int, least_taken: int) -> Memory:
    taken = min(max(size // _SYSTEM_SHARE, least_taken), _MOST_RESERVE, size // 2)
    usable = size - taken
    return Memory(total=size, available=usable, limit=None, usable=usable)


def _with_memory(machine: Hardware, size: int) -> Hardware:
    """Return ``machine`` with other main memory, of which the same amount is taken as before."""
    before = machine.memory
    free = max(0, size - (before.total - before.available))
    shared = [replace(gpu, memory_total=size, memory_free=free) for gpu in machine.accelerators]
    return replace(
        machine,
        memory=Memory(size, free, None, free),
        accelerators=tuple(
            _budgeted(new, size, free) if new.unified else old
            for old, new in zip(machine.accelerators, shared, strict=True)
        ),
        sources={**machine.sources, "memory": "as asked"},
    )


def _budgeted(gpu: Accelerator, size: int, usable: int) -> Accelerator:
    """Return a GPU that shares ``size`` bytes of memory, with what it may use of them."""
    part, whole = _APU_SHARE
    budgets = {"metal": metal_budget(size), "rocm": size * part // whole}
    budget = budgets.get(gpu.kind, size)
    return replace(gpu, memory_total=budget, memory_free=min(budget, usable))


def _unified_machine(chip: Chip, memory: int | None) -> Hardware:
    row = chip.row
    check_sold(row, memory)
    size = memory or chip.memory or min(row.memory_sizes, default=_ASSUMED_SHARED)
    kept = _memory_of(size, _PC_RESERVE)
    gpu = _budgeted(_accelerator(row, 0, None), size, kept.usable)
    laptop = KINDS["laptop"]
    isa = _ISA.get(row.vendor, laptop.isa)
    known = row.bandwidth_bytes_per_s
    return Hardware(
        cpu=Cpu(f"{row.name} (assumed)", 8, 8, 8, isa, 8, 0, 1),
        memory=kept,
        accelerators=(gpu,),
        memory_bandwidth_bytes_per_s=round(0.75 * known) if known else laptop.bandwidth_bytes_per_s,
        fingerprint="",
        sources={
            "cpu": "assumed",
            "cpu.usable_cores": "assumed",
            "memory": "as asked" if memory or chip.memory else "assumed: the least it is sold with",
            "memory_bandwidth_bytes_per_s": "75 % of the GPU table's" if known else laptop.memory,
            "accelerators": "GPU table",
        },
    )


def add_cards(machine: Hardware, cards: Sequence[Cards]) -> Hardware:
    """Return ``machine`` with more accelerators."""
    added = [_accelerator(each.row, 0, each.memory) for each in cards for _ in range(each.count)]
    together = [*machine.accelerators, *added]
    if len(together) > MOST_CARDS:
        raise UsageError(f"at most {MOST_CARDS} cards fit one machine", remedy="8x H100")
    sources = {**machine.sources, "accelerators": "GPU table"} if added else machine.sources
    numbered = tuple(replace(gpu, index=index) for index, gpu in enumerate(together))
    return replace(machine, accelerators=numbered, sources=sources)


def _accelerator(row: GpuRow, index: int, memory: int | None) -> Accelerator:
    return Accelerator(
        index=index,
        name=row.name,
        kind=_ACCELERATORS[row.vendor],
        memory_total=memory,
        memory_free=memory - _CARD_RESERVE if memory else None,
        bandwidth_bytes_per_s=row.bandwidth_bytes_per_s,
        compute_capability=row.compute_capability,
        unified=row.kind == "unified",
        source="GPU table",
    )


def check_sold(row: GpuRow, size: int | None) -> None:
    """Make sure that the card or chip was sold with so much memory.

    Raises:
        UsageError: it was not.
    """
    if size is not None and row.memory_sizes and size not in row.memory_sizes:
        there = ", ".join(f"{each // GIB}GB" for each in row.memory_sizes)
        raise UsageError(f"the {row.name} has {there}", remedy=f'write "{row.name}"')
