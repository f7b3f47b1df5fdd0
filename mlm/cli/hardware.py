"""``mlm hardware``: what mlm sees of this machine, and where each figure comes from."""

from typing import TYPE_CHECKING

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import session

if TYPE_CHECKING:
    from rich.table import Table

    from mlm.hardware.types import Accelerator, Hardware


def hardware(ctx: typer.Context, as_json: JsonOpt = False) -> None:
    """Show processor, memory, accelerators and disks as mlm sees them.

    Save it with: mlm hardware --json > box.json; then: mlm recommend --hardware box.json
    """
    from mlm.hardware.cached import cached_hardware
    from mlm.hardware.document import to_document

    settings = session(ctx).settings
    found = cached_hardware(settings.home.cache, (settings.home.root, settings.hub_cache))
    session(ctx).emit("hardware", to_document(found), as_json=as_json, human=lambda: _table(found))


def _table(found: "Hardware") -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=3)
    table.add_column(overflow="fold", ratio=2, style="dim")
    for label, value, source in _rows(found):
        table.add_row(label, Text(value), Text(source))
    return table


def _rows(found: "Hardware") -> list[tuple[str, str, str]]:
    from mlm.units import format_size

    cpu, memory, sources = found.cpu, found.memory, found.sources
    physical = "?" if cpu.physical_cores is None else cpu.physical_cores
    cores = f"{cpu.usable_cores} usable, {physical} physical, {cpu.logical_cores} logical"
    limit = f", limit {format_size(memory.limit)}" if memory.limit is not None else ""
    usable = f"{format_size(memory.usable)} usable of {format_size(memory.total)}{limit}"
    memory_source = ", ".join(filter(None, (sources.get("memory"), sources.get("memory.limit"))))
    speed_source = sources.get("memory_bandwidth_bytes_per_s", "")
    rows = [
        ("processor", cpu.name or "?", sources.get("cpu", "")),
        ("cores", cores, sources.get("cpu.usable_cores", "")),
        ("instructions", " ".join(cpu.isa) or "?", sources.get("cpu", "")),
        ("memory", usable, memory_source),
        ("memory speed", _speed(found.memory_bandwidth_bytes_per_s), speed_source),
    ]
    for gpu in found.accelerators:
        rows.append((f"GPU {gpu.index}", _describe(gpu), sources.get("accelerators", "")))
    if not found.accelerators:
        rows.append(("GPU", "none found", sources.get("accelerators.problem", "")))
    elif problem := sources.get("accelerators.problem"):
        rows.append(("", "", problem))
    for disk in found.disks:
        free = f"{format_size(disk.free)} free of {format_size(disk.total)}"
        rows.append(("disk", f"{free} at {disk.path}", ""))
    return rows


def _describe(gpu: "Accelerator") -> str:
    from mlm.units import format_size

    kind = " ".join(filter(None, (gpu.kind, gpu.compute_capability)))
    free = f"{format_size(gpu.memory_free)} free of " if gpu.memory_free is not None else ""
    memory = f"{free}{format_size(gpu.memory_total)}{' of main memory' if gpu.unified else ''}"
    driver = f", driver {gpu.driver}" if gpu.driver else ""
    return f"{gpu.name} ({kind}), {memory}, {_speed(gpu.bandwidth_bytes_per_s)}{driver}"


def _speed(bytes_per_s: int | None) -> str:
    """Return a bandwidth as data sheets have it: in powers of 1000."""
    return "speed unknown" if bytes_per_s is None else f"{bytes_per_s / 10**9:.3g} GB/s"
