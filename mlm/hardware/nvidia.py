"""NVIDIA GPUs through NVML, the library that comes with the driver and that nvidia-smi asks."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from mlm.hardware.gpu_table import find_gpu
from mlm.hardware.probe import Probe
from mlm.hardware.types import Accelerator

# Known boards are in the table; a figure of the driver that differs by more is another variant.
_TABLE_TOLERANCE = 0.10


def probe_nvidia(environ: Mapping[str, str] = os.environ) -> Probe:
    """Return the NVIDIA GPUs that a CUDA program started now would see."""
    try:
        import pynvml
    except ImportError:
        return Probe(problem="the package nvidia-ml-py is not installed")
    return probe_nvml(pynvml, environ)


def probe_nvml(nvml: Any, environ: Mapping[str, str]) -> Probe:
    """Return what the library ``nvml`` (the module pynvml, or one that acts like it) tells."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return Probe(problem=explain_failure(error))
    try:
        devices = list(_devices(nvml))
        driver = _ask(nvml, nvml.nvmlSystemGetDriverVersion)
        found = [_read_device(nvml, handle, parent, driver) for handle, parent in devices]
        ids = [str(_ask(nvml, nvml.nvmlDeviceGetUUID, handle) or "") for handle, _ in devices]
    except nvml.NVMLError as error:
        return Probe(problem=explain_failure(error))
    finally:
        _ask(nvml, nvml.nvmlShutdown)
    visible = select_visible(ids, environ.get("CUDA_VISIBLE_DEVICES"))
    chosen = [replace(found[n], index=index) for index, n in enumerate(visible)]
    return Probe(tuple(chosen), source="NVML")


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


def _devices(nvml: Any) -> Iterator[tuple[Any, Any]]:
    """Yield a handle for each GPU, or for each of its MIG slices, with the handle of the board."""
    for index in range(nvml.nvmlDeviceGetCount()):
        board = nvml.nvmlDeviceGetHandleByIndex(index)
        mode = _ask(nvml, nvml.nvmlDeviceGetMigMode, board)
        if not mode or mode[0] != 1:  # (current, pending); 1 = enabled
            yield board, board
            continue
        for n in range(_ask(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, board) or 0):
            piece = _ask(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, board, n)
            if piece is not None:
                yield piece, board


def _read_device(nvml: Any, handle: Any, board: Any, driver: Any) -> Accelerator:
    name = _text(_ask(nvml, nvml.nvmlDeviceGetName, handle)) or "NVIDIA GPU"
    memory = _ask(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    whole = memory if handle is board else _ask(nvml, nvml.nvmlDeviceGetMemoryInfo, board)
    total = int(memory.total) if memory and memory.total else None
    capability = _ask(nvml, nvml.nvmlDeviceGetCudaComputeCapability, board)
    board_total = int(whole.total) if whole and whole.total else None
    bandwidth = choose_bandwidth(name, board_total, _clocked_bandwidth(nvml, board))
    if bandwidth and handle is not board and total and board_total:
        bandwidth = round(bandwidth * total / board_total)  # a slice gets its share of the memory
    return Accelerator(
        index=0,
        name=name.removeprefix("NVIDIA ").strip() or name,
        kind="cuda",
        memory_total=total,
        memory_free=int(memory.free) if memory and total else None,
        bandwidth_bytes_per_s=bandwidth,
        compute_capability=f"{capability[0]}.{capability[1]}" if capability else None,
        driver=_text(driver),
        # Grace and Jetson boards have no memory of their own, so NVML has no figure for it.
        unified=total is None,
    )


def choose_bandwidth(name: str, memory: int | None, clocked: int | None) -> int | None:
    """Return the peak bandwidth: the table's, unless the driver's own figure says otherwise."""
    row = find_gpu(name, memory)
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
