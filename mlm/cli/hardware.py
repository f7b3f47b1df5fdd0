"""``mlm hardware``: what mlm sees of a machine, and where each figure comes from."""

from typing import TYPE_CHECKING

import typer

from mlm.cli._options import HardwareOpt, JsonOpt
from mlm.cli._session import print_document, print_text, session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlm.hardware.types import Accelerator, Hardware

_WIDTH = 80
_LABEL = 16  # columns, gap included


EXAMPLES = {
    "mlm hardware": "What this machine has",
    "mlm hardware --json > box.json": "Keep it in a file, to plan for this machine elsewhere",
    'mlm hardware --hardware "M2 Max 64GB"': "What is assumed of another machine",
}


def hardware(ctx: typer.Context, machine: HardwareOpt = None, as_json: JsonOpt = False) -> None:
    """Show processor, memory, accelerators and disks, and where each figure comes from.

    Of another machine, it shows what is assumed.
    """
    from mlm.hardware.document import to_document

    found = _find(ctx, machine)
    if as_json:
        print_document("hardware", to_document(found))
    else:
        print_text("\n".join(line for row in _rows(found) for line in _lines(*row)))


def _find(ctx: typer.Context, machine: str | None) -> "Hardware":
    if machine is not None:
        from mlm.hardware.preset import find_preset

        return find_preset(machine)
    from mlm.cli._waiting import waiting_for
    from mlm.hardware.cached import cached_hardware

    settings = session(ctx).settings
    with waiting_for(session(ctx), "measuring this machine"):
        return cached_hardware(settings.home.cache, (settings.home.root, settings.hub_cache))


def _lines(label: str, value: str, source: str) -> list[str]:
    """Return a row as text: the value, and its source in brackets, under each other."""
    from textwrap import wrap

    from mlm.cli._columns import one_line

    said = one_line(f"{value} [{source}]" if source else value)
    lines = wrap(said, _WIDTH - _LABEL) or [""]
    return [f"{label if n == 0 else '':<{_LABEL}}{line}" for n, line in enumerate(lines)]


def _rows(found: "Hardware") -> "Iterator[tuple[str, str, str]]":
    from mlm.units import format_size

    cpu, memory, sources = found.cpu, found.memory, found.sources
    cpu_source = sources.get("cpu", "")
    yield "processor", cpu.name or "?", cpu_source
    yield "cores", _cores(found), sources.get("cpu.cores", cpu_source)
    quota = f", for {cpu.quota:g} CPUs' worth of time" if cpu.quota is not None else ""
    yield "threads to use", f"{cpu.usable_cores}{quota}", sources.get("cpu.usable_cores", "")
    yield "instructions", " ".join(cpu.isa) or "?", cpu_source
    usable = f"{format_size(memory.usable)} usable of {format_size(memory.total)}"
    limit = f", limit {format_size(memory.limit)}" if memory.limit is not None else ""
    origin = ", ".join(filter(None, (sources.get("memory"), sources.get("memory.limit"))))
    yield "memory", usable + limit, origin
    speed_source = sources.get("memory_bandwidth_bytes_per_s", "")
    yield "memory speed", _speed(found.memory_bandwidth_bytes_per_s), speed_source
    for gpu in found.accelerators:
        source = gpu.source or sources.get("accelerators", "")
        yield f"GPU {gpu.index}", _describe(gpu), source
    problem = sources.get("accelerators.problem", "")
    if problem or not found.accelerators:
        yield "GPU", problem or "none found", ""
    for disk in found.disks:
        free = f"{format_size(disk.free)} free of {format_size(disk.total)} at {disk.path}"
        yield "disk", free, sources.get("disks", "")


def _cores(found: "Hardware") -> str:
    """Return the cores as data sheets have them: 8 performance and 16 efficiency cores."""
    cpu = found.cpu
    physical = "?" if cpu.physical_cores is None else cpu.physical_cores
    kinds = f"{physical} physical"
    if cpu.efficiency_cores:
        kinds += f" ({cpu.performance_cores} performance, {cpu.efficiency_cores} efficiency)"
    smt = f", {cpu.threads_per_core} threads a core" if (cpu.threads_per_core or 1) > 1 else ""
    return f"{kinds}, {cpu.logical_cores} logical{smt}"


def _describe(gpu: "Accelerator") -> str:
    from mlm.units import format_size

    kind = " ".join(filter(None, (gpu.kind, gpu.compute_capability)))
    free = f"{format_size(gpu.memory_free)} free of " if gpu.memory_free is not None else ""
    memory = f"{free}{format_size(gpu.memory_total)}{' of main memory' if gpu.unified else ''}"
    driver = f", driver {gpu.driver}" if gpu.driver else ""
    return f"{gpu.name} ({kind}), {memory}, {_speed(gpu.bandwidth_bytes_per_s)}{driver}"


def _speed(bytes_per_s: int | None) -> str:
    """Return a bandwidth as data sheets have it: in powers of 1000."""
    if bytes_per_s is None:
        return "speed unknown"
    value = bytes_per_s / 10**9
    return f"{value:.0f} GB/s" if value >= 100 else f"{value:.3g} GB/s"
