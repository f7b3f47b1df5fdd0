"""This machine, put together from the probes."""

import hashlib
import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from mlm.hardware.amd import probe_amd
from mlm.hardware.apple import describe_cpu, describe_gpu, read_gpu_cores, read_sysctl
from mlm.hardware.bandwidth import measure_memory_bandwidth
from mlm.hardware.cgroup import CgroupLimits, read_cgroup
from mlm.hardware.cpu import read_cpu
from mlm.hardware.intel import probe_intel
from mlm.hardware.memory import read_lock_limit, read_memory
from mlm.hardware.nvidia import probe_nvidia
from mlm.hardware.probe import Probe
from mlm.hardware.types import Accelerator, Cpu, Disk, Hardware, Memory
from mlm.units import GIB

# Without one of these there is no NVIDIA driver to ask; the last is Windows' GPU seen from WSL.
_NVIDIA_TRACES = ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/dxg")
BANDWIDTH = "memory_bandwidth_bytes_per_s"


def detect_hardware(disk_paths: Iterable[Path] = ()) -> Hardware:
    """Return this machine as a program started now would find it, measured where need be (0.2 s).

    ``disk_paths`` are folders, existing or not, whose file systems are of interest.
    """
    return measure_bandwidth(survey_hardware(disk_paths))


def measure_bandwidth(hardware: Hardware) -> Hardware:
    """Return ``hardware`` with its memory bandwidth, measured unless it is known already."""
    if hardware.memory_bandwidth_bytes_per_s is not None:
        return hardware
    threads, available = hardware.cpu.usable_cores, hardware.memory.usable
    measured = measure_memory_bandwidth(threads, available)
    return with_bandwidth(hardware, measured, f"measured, {threads} threads reading")


def with_bandwidth(hardware: Hardware, bandwidth: int | None, source: str) -> Hardware:
    """Return ``hardware`` with the bandwidth of main memory, GPUs inside processors included."""
    return replace(
        hardware,
        memory_bandwidth_bytes_per_s=bandwidth,
        accelerators=tuple(
            replace(a, bandwidth_bytes_per_s=a.bandwidth_bytes_per_s or bandwidth)
            if a.unified
            else a
            for a in hardware.accelerators
        ),
        sources={**hardware.sources, BANDWIDTH: source},
    )


def survey_hardware(disk_paths: Iterable[Path] = ()) -> Hardware:
    """Return what can be told in milliseconds: everything but a measured memory bandwidth."""
    cgroup = read_cgroup()
    memory = read_memory(cgroup)
    memory = replace(memory, lockable=read_lock_limit(memory.total))
    sysctl = read_sysctl()
    cpu = _detect_cpu(cgroup, sysctl)
    probes = [
        _probe_nvidia(memory),
        probe_amd(),
        probe_intel(),
        describe_gpu(sysctl, memory, read_gpu_cores()),
    ]
    accelerators = merge_probes(probes, memory)
    apple = next((a.bandwidth_bytes_per_s for a in accelerators if a.kind == "metal"), None)
    return Hardware(
        cpu=cpu,
        memory=memory,
        accelerators=accelerators,
        memory_bandwidth_bytes_per_s=apple,
        fingerprint=fingerprint(cpu, memory, accelerators),
        disks=tuple(disk for path in disk_paths if (disk := find_disk(path)) is not None),
        sources=_sources(cpu, memory, cgroup, probes),
    )


def merge_probes(probes: Iterable[Probe], memory: Memory) -> tuple[Accelerator, ...]:
    """Return all accelerators under dense indexes; unified ones without figures get ``memory``."""
    merged = []
    for index, found in enumerate(a for probe in probes for a in probe.accelerators):
        if found.unified and found.memory_total is None:
            found = replace(found, memory_total=memory.total, memory_free=memory.usable)
        merged.append(replace(found, index=index))
    return tuple(merged)


def fingerprint(cpu: Cpu, memory: Memory, accelerators: tuple[Accelerator, ...]) -> str:
    """Return a name for this machine that stays the same until its parts change."""
    gib = round(memory.total / GIB)  # a kernel update changes what it reserves by a little
    parts = [cpu.name, cpu.physical_cores, cpu.logical_cores, gib]
    parts += [f"{a.kind} {a.name} {a.memory_total}" for a in accelerators]
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:16]


def find_disk(path: Path) -> Disk | None:
    """Return the file system that holds ``path``, or would hold it once it is made."""
    for folder in (path, *path.absolute().parents):
        try:
            usage = shutil.disk_usage(folder)
        except OSError:
            continue
        return Disk(path=path, total=usage.total, free=usage.free)
    return None


def _detect_cpu(cgroup: CgroupLimits, sysctl: dict[str, str]) -> Cpu:
    if sys.platform == "linux":
        return read_cpu(cgroup.cpu_quota)
    if sysctl:
        return describe_cpu(sysctl)
    import platform  # Windows and others; nothing on Linux or macOS needs them here

    import psutil

    logical = os.cpu_count() or 1
    physical = psutil.cpu_count(logical=False)
    return Cpu(platform.processor() or None, physical, logical, physical or logical, ())


def _probe_nvidia(memory: Memory) -> Probe:
    if sys.platform == "darwin":
        return Probe()
    if sys.platform == "linux" and not any(Path(trace).exists() for trace in _NVIDIA_TRACES):
        return Probe()  # importing the library to learn the same takes 20 ms
    return probe_nvidia(memory.total)


def _sources(cpu: Cpu, memory: Memory, cgroup: CgroupLimits, probes: list[Probe]) -> dict[str, str]:
    linux, mac = sys.platform == "linux", sys.platform == "darwin"
    quota = f"{cgroup.cpu_quota:g}" if cgroup.cpu_quota is not None else "none"
    sources = {
        "cpu": "/proc/cpuinfo"
        if Path("/proc/cpuinfo").exists()
        else "sysctl"
        if mac
        else "the operating system",
        "cpu.usable_cores": f"least of fast cores in the affinity, cgroup quota ({quota})",
        "memory": _origin("/proc/meminfo"),
        "disks": "the file system",
    }
    if cpu.performance_cores is not None:
        sources["cpu.cores"] = "/sys/devices/system/cpu" if linux else sources["cpu"]
    if memory.limit is not None:
        sources["memory.limit"] = "cgroup"
    if found := ", ".join(probe.source for probe in probes if probe.accelerators):
        sources["accelerators"] = found
    if problems := "; ".join(probe.problem for probe in probes if probe.problem):
        sources["accelerators.problem"] = problems
    if any(a.kind == "metal" and a.bandwidth_bytes_per_s for p in probes for a in p.accelerators):
        sources[BANDWIDTH] = "GPU table"
    return sources


def _origin(path: str) -> str:
    return path if Path(path).exists() else "the operating system"
