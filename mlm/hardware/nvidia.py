"""NVIDIA GPUs through NVML, the library that comes with the driver and that nvidia-smi asks."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlm.hardware.gpu_table import GpuRow, find_gpu
from mlm.hardware.probe import Probe
from mlm.hardware.sysfs import read_text
from mlm.hardware.types import Accelerator

# Known boards are in the table; a figure of the driver that differs by more is another variant.
_TABLE_TOLERANCE = 0.10
_BOARD_MODEL = Path("/proc/device-tree/model")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a GPU without memory of its own takes from the machine around it."""

    board: str | None = None  # what the firmware calls the machine, where it has a name for it
    memory: int | None = None  # all of main memory, bytes


def probe_nvidia(memory: int, environ: Mapping[str, str] = os.environ) -> Probe:
    """Return the NVIDIA GPUs that a CUDA program started now would see."""
    try:
        import pynvml
    except ImportError:
        return Probe(problem="the package nvidia-ml-py is not installed")
    return probe_nvml(pynvml, environ, Surroundings(read_text(_BOARD_MODEL), memory))


def probe_nvml(nvml: Any, environ: Mapping[str, str], around: Surroundings | None = None) -> Probe:
    """Return what the library ``nvml`` (the module pynvml, or one that acts like it) tells."""
    around = around or Surroundings()
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return Probe(problem=explain_failure(error))
    try:
        devices, problems = _devices(nvml)
        driver = _ask(nvml, nvml.nvmlSystemGetDriverVersion)
        found = [_read_device(nvml, *pair, driver, around) for pair in devices]
        ids = [_text(_ask(nvml, nvml.nvmlDeviceGetUUID, handle)) or "" for handle, _ in devices]
    except nvml.NVMLError as error:
        return Probe(problem=explain_failure(error))
    finally:
        _ask(nvml, nvml.nvmlShutdown)
    visible = select_visible(ids, environ.get("CUDA_VISIBLE_DEVICES"))
    chosen = [replace(found[n], index=index) for index, n in enumerate(visible)]
    return Probe(tuple(chosen), source="NVML", problem="; ".join(problems) or None)


def read_cuda_version() -> tuple[int, int] | None:
    """Return the newest CUDA that the driver can run, None without one."""
    try:
        import pynvml
    except ImportError:
        return None
    return ask_cuda_version(pynvml)


def ask_cuda_version(nvml: Any) -> tuple[int, int] | None:
    """Return the same from the library ``nvml``."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    try:
        version = _ask(nvml, nvml.nvmlSystemGetCudaDriverVersion_v2)  # 12040 is 12.4
    finally:
        _ask(nvml, nvml.nvmlShutdown)
    return (version // 1000, version % 1000 // 10) if version else None


def explain_failure(error: Exception) -> str | None:
    """Return what is wrong with the driver, None when there simply is none."""
    text = str(error)
    if "Not Found" in text and "Library" in text:
        return None
    if "version mismatch" in text.lower():
        return "the NVIDIA driver was updated but not reloaded: reboot"
    if "Not Loaded" in text:
        return "the NVIDIA driver is installed but not loaded"
    return f"NVML: {text}"


def select_visible(ids: list[str], wanted: str | None) -> list[int]:
    """Return the devices that CUDA_VISIBLE_DEVICES leaves, by position in ``ids``, in its order.

    As CUDA has it: numbers or beginnings of UUIDs; the first invalid one ends the list.
    """
    if wanted is None:
        return list(range(len(ids)))
    chosen: list[int] = []
    for item in (part.strip() for part in wanted.split(",")):
        matches = [n for n, uuid in enumerate(ids) if item and uuid.startswith(item)]
        if item.isascii() and item.isdigit() and len(item) < 6 and int(item) < len(ids):
            matches = [int(item)]
        if len(matches) != 1 or matches[0] in chosen:
            break
        chosen += matches
    return chosen


def _devices(nvml: Any) -> tuple[list[tuple[Any, Any]], list[str]]:
    """Return a handle for each GPU or MIG slice with that of its board; and who does not answer."""
    found, problems = [], []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            board = nvml.nvmlDeviceGetHandleByIndex(index)
        except nvml.NVMLError as error:  # lost from the bus, or not ours to ask
            problems.append(f"NVIDIA GPU {index}: {error}")
            continue
        mode = _ask(nvml, nvml.nvmlDeviceGetMigMode, board)
        if not mode or mode[0] != 1:  # (current, pending); 1 = enabled
            found.append((board, board))
            continue
        slices = _slices(nvml, board)
        found += [(piece, board) for piece in slices]
        if not slices:
            problems.append(f"NVIDIA GPU {index} is split (MIG), but has no slice to compute on")
    return found, problems


def _slices(nvml: Any, board: Any) -> list[Any]:
    count = _ask(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, board) or 0
    asked = (_ask(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, board, n) for n in range(count))
    return [piece for piece in asked if piece is not None]


def _read_device(
    nvml: Any, handle: Any, parent: Any, driver: Any, around: Surroundings
) -> Accelerator:
    name = _text(_ask(nvml, nvml.nvmlDeviceGetName, handle)) or "NVIDIA GPU"
    total, free = _memory(nvml, handle)
    whole = total if handle is parent else _memory(nvml, parent)[0]
    capability = _ask(nvml, nvml.nvmlDeviceGetCudaComputeCapability, parent)
    if total is None and find_gpu(name) is None:
        name = _board_name(around.board) or name
    row = find_gpu(name, whole or around.memory)
    clocked = _clocked_bandwidth(nvml, parent)
    bandwidth = choose_bandwidth(row, clocked)
    origin = "GPU table" if row and bandwidth == row.bandwidth_bytes_per_s else "bus width x clock"
    if bandwidth and handle is not parent and total and whole:
        bandwidth = round(bandwidth * total / whole)  # a slice gets its share of the memory
    return Accelerator(
        index=0,
        name=name.removeprefix("NVIDIA ").strip() or name,
        kind="cuda",
        memory_total=total,
        memory_free=free,
        bandwidth_bytes_per_s=bandwidth,
        compute_capability=f"{capability[0]}.{capability[1]}" if capability else None,
        driver=_text(driver),
        # Grace and Jetson boards have no memory of their own, so NVML has no figure for it. Of a
        # card that does not tell, the memory is unknown: it is not that of the machine.
        unified=row.kind == "unified" if row else total is None,
        source=f"NVML; bandwidth: {origin}" if bandwidth else "NVML",
    )


def _memory(nvml: Any, handle: Any) -> tuple[int | None, int | None]:
    memory = _ask(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    return (int(memory.total), int(memory.free)) if memory and memory.total else (None, None)


def _board_name(board: str | None) -> str | None:
    """Return what a Jetson's firmware calls the board, where NVML says no more than "Orin"."""
    if board is None or "Jetson" not in board:
        return None
    text = re.sub(r"Engineering|Reference|Developer Kit.*|\0", "", board)
    return " ".join(text.split())


def choose_bandwidth(row: GpuRow | None, clocked: int | None) -> int | None:
    """Return the peak bandwidth: the table's, unless the driver's own figure says otherwise."""
    known = row.bandwidth_bytes_per_s if row else None
    if known is None or clocked is None:
        return known or clocked
    return known if abs(clocked - known) <= _TABLE_TOLERANCE * known else clocked


def _clocked_bandwidth(nvml: Any, handle: Any) -> int | None:
    """Return bus width times memory clock, both edges of it: exact for GDDR and HBM boards."""
    width = _ask(nvml, nvml.nvmlDeviceGetMemoryBusWidth, handle)  # bits
    clock = _ask(nvml, nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_MEM)  # MHz
    return 2 * int(clock) * 10**6 * int(width) // 8 if width and clock else None


def _ask(nvml: Any, question: Callable[..., Any], *arguments: Any) -> Any:
    """Return NVML's answer, None when this GPU or driver has none."""
    try:
        return question(*arguments)
    except nvml.NVMLError:
        return None


def _text(value: Any) -> str | None:
    """Return text; older bindings answer in bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value) if value is not None else None
