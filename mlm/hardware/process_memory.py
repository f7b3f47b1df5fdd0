"""What one process takes: main memory at its peak, memory of NVIDIA GPUs."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlm.hardware.sysfs import read_text

_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE | re.ASCII)


def read_peak_rss(pid: int, root: Path = Path("/")) -> int | None:
    """Return the most main memory that a process had so far; elsewhere than on Linux, what it has.

    None when there is no such process, or it is not ours to look at.
    """
    if found := _PEAK.search(read_text(root / f"proc/{pid}/status") or ""):
        return int(found[1]) * 1024
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def read_gpu_memory(pid: int) -> int | None:
    """Return what a process has of the memory of all NVIDIA GPUs, None where NVML does not say.

    In a container NVML knows processes by their numbers outside, and so does not know this one.
    """
    try:
        import pynvml
    except ImportError:
        return None
    return ask_gpu_memory(pynvml, pid)


def ask_gpu_memory(nvml: Any, pid: int) -> int | None:
    """Return the same from the library ``nvml`` (the module pynvml, or one that acts like it)."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    sizes = []
    try:
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            processes = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
            sizes += [p.usedGpuMemory for p in processes if p.pid == pid and p.usedGpuMemory]
    except nvml.NVMLError:
        return None
    finally:
        with suppress(nvml.NVMLError):
            nvml.nvmlShutdown()
    return sum(sizes) or None
