"""Hardware as the JSON document ``mlm.hardware/1``, both ways."""

from pathlib import Path
from typing import Any, NoReturn, cast, get_args

from mlm.errors import UsageError
from mlm.hardware.types import Accelerator, AcceleratorKind, Cpu, Disk, Hardware, Memory

_BANDWIDTH = "memory_bandwidth_bytes_per_s"
_MAX_BYTES = 1 << 60
_MAX_CORES = 1 << 16  # Linux knows at most 8192 CPUs
_MAX_ISA_NAME = 40


def to_document(hardware: Hardware) -> dict[str, Any]:
    """Return the fields of ``mlm.hardware/1``: sizes in bytes, what is not known is None."""
    cpu, memory = hardware.cpu, hardware.memory
    return {
        "cpu": {
            "name": cpu.name,
            "physical_cores": cpu.physical_cores,
            "logical_cores": cpu.logical_cores,
            "usable_cores": cpu.usable_cores,
            "isa": list(cpu.isa),
            "performance_cores": cpu.performance_cores,
            "efficiency_cores": cpu.efficiency_cores,
            "threads_per_core": cpu.threads_per_core,
            "quota": cpu.quota,
        },
        "memory": {
            "total": memory.total,
            "available": memory.available,
            "limit": memory.limit,
            "usable": memory.usable,
            "lockable": memory.lockable,
        },
        "accelerators": [_accelerator_document(a) for a in hardware.accelerators],
        "memory_bandwidth_bytes_per_s": hardware.memory_bandwidth_bytes_per_s,
        "fingerprint": hardware.fingerprint,
        "disks": [
            {"path": str(disk.path), "total": disk.total, "free": disk.free}
            for disk in hardware.disks
        ],
        "sources": dict(hardware.sources),
    }


def _accelerator_document(accelerator: Accelerator) -> dict[str, Any]:
    return {
        "index": accelerator.index,
        "name": accelerator.name,
        "kind": accelerator.kind,
        "memory_total": accelerator.memory_total,
        "memory_free": accelerator.memory_free,
        "bandwidth_bytes_per_s": accelerator.bandwidth_bytes_per_s,
        "compute_capability": accelerator.compute_capability,
        "driver": accelerator.driver,
        "unified": accelerator.unified,
        "source": accelerator.source,
    }


def from_document(document: object, *, source: str = "hardware document") -> Hardware:
    """Return the hardware that ``document`` describes; ``source`` names it in errors.

    Only ``memory.total`` and ``cpu.logical_cores`` are needed; what is left out is unknown, or
    free. Fields of later versions are ignored.

    Raises:
        UsageError: something in it cannot be.
    """
    reader = _Reader(source)
    top = reader.mapping(document, "the document")
    memory = _read_memory(reader, reader.mapping(top.get("memory"), "memory"))
    listed = reader.items(top, "accelerators")
    return Hardware(
        cpu=_read_cpu(reader, reader.mapping(top.get("cpu"), "cpu")),
        memory=memory,
        accelerators=tuple(
            _read_accelerator(reader, reader.mapping(item, f"accelerators[{index}]"), index)
            for index, item in enumerate(listed)
        ),
        memory_bandwidth_bytes_per_s=reader.size(top, _BANDWIDTH, least=1),
        fingerprint=reader.text(top, "fingerprint") or source,
        disks=tuple(
            _read_disk(reader, reader.mapping(item, f"disks[{index}]"))
            for index, item in enumerate(reader.items(top, "disks"))
        ),
        sources=dict.fromkeys(("cpu", "cpu.usable_cores", "memory", _BANDWIDTH, "disks"), source),
    )


def _read_cpu(reader: "_Reader", fields: dict[str, Any]) -> Cpu:
    def count(name: str, least: int = 1) -> int | None:
        return reader.size(fields, name, least=least, most=_MAX_CORES)

    logical = reader.needed(count("logical_cores"), "cpu.logical_cores")
    physical = count("physical_cores")
    usable = count("usable_cores") or physical or logical
    isa = reader.items(fields, "isa")
    if not all(isinstance(name, str) and len(name) <= _MAX_ISA_NAME for name in isa):
        reader.refuse("cpu.isa must be a list of names")
    return Cpu(
        name=reader.text(fields, "name"),
        physical_cores=physical,
        logical_cores=logical,
        usable_cores=min(usable, logical),
        isa=tuple(isa),
        performance_cores=count("performance_cores", least=0),
        efficiency_cores=count("efficiency_cores", least=0),
        threads_per_core=count("threads_per_core"),
        quota=reader.number(fields, "quota"),
    )


def _read_memory(reader: "_Reader", fields: dict[str, Any]) -> Memory:
    total = reader.needed(reader.size(fields, "total", least=1), "memory.total")
    available = _or(reader.size(fields, "available"), total)
    limit = reader.size(fields, "limit", least=1)
    usable = _or(reader.size(fields, "usable"), min(available, _or(limit, total)))
    if available > total or usable > total:
        reader.refuse("more memory available than there is")
    lockable = reader.size(fields, "lockable")
    return Memory(total, available, limit, usable, lockable)


def _read_accelerator(reader: "_Reader", fields: dict[str, Any], index: int) -> Accelerator:
    kind = fields.get("kind")
    if kind not in get_args(AcceleratorKind):
        reader.refuse(f"accelerators[{index}].kind is none of {get_args(AcceleratorKind)}")
    total = reader.size(fields, "memory_total", least=1)
    free = reader.size(fields, "memory_free")
    if free is not None and total is not None and free > total:
        reader.refuse(f"accelerators[{index}] has more memory free than there is")
    return Accelerator(
        index=index,
        name=reader.text(fields, "name") or "unnamed",
        kind=cast(AcceleratorKind, kind),
        memory_total=total,
        memory_free=free if free is not None else total,
        bandwidth_bytes_per_s=reader.size(fields, "bandwidth_bytes_per_s", least=1),
        compute_capability=reader.text(fields, "compute_capability"),
        driver=reader.text(fields, "driver"),
        unified=fields.get("unified") is True,
        source=reader.text(fields, "source"),
    )


def _read_disk(reader: "_Reader", fields: dict[str, Any]) -> Disk:
    return Disk(
        path=Path(reader.text(fields, "path") or ""),
        total=_or(reader.size(fields, "total"), 0),
        free=_or(reader.size(fields, "free"), 0),
    )


def _or(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


class _Reader:
    """Takes fields out of a document and refuses what cannot be, naming the document."""

    def __init__(self, source: str) -> None:
        self._source = source

    def refuse(self, problem: str) -> NoReturn:
        raise UsageError(
            f"{self._source}: {problem}", remedy="write such a file with: mlm hardware --json"
        )

    def mapping(self, value: object, name: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.refuse(f"{name} must be an object")
        return value

    def items(self, fields: dict[str, Any], name: str) -> list[Any]:
        value = fields.get(name) or []
        if not isinstance(value, list) or len(value) > 256:
            self.refuse(f"{name} must be a list")
        return value

    def text(self, fields: dict[str, Any], name: str) -> str | None:
        value = fields.get(name)
        if value is not None and (not isinstance(value, str) or len(value) > 200):
            self.refuse(f"{name} must be a short text")
        return value

    def size(
        self, fields: dict[str, Any], name: str, *, least: int = 0, most: int = _MAX_BYTES
    ) -> int | None:
        value = fields.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.refuse(f"{name} must be an integer from {least} to {most}, not {value!r:.40}")
        return value

    def number(self, fields: dict[str, Any], name: str) -> float | None:
        value = fields.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
            self.refuse(f"{name} must be a number above 0, not {value!r:.40}")
        return float(value)

    def needed(self, value: int | None, name: str) -> int:
        if value is None:
            self.refuse(f"{name} is missing")
        return value
