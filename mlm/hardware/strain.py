"""What holds a machine back right now: throttling, pressure, power saving.

Linux tells most of it in small files; what it does not tell, or what other systems do not, is None.
``root`` is the top of the file system; tests pass a tree of their own.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlm.hardware.cgroup import cgroup_folders, parse_stat, read_cgroup
from mlm.hardware.nvml import each_gpu
from mlm.hardware.sysfs import parse_cpu_list, read_int, read_text

_AVERAGES = re.compile(r"^some avg10=(\d+\.\d+) avg60=(\d+\.\d+)", re.MULTILINE | re.ASCII)
_SWAP = re.compile(r"^VmSwap:\s+(\d+) kB$", re.MULTILINE | re.ASCII)
# Bits of nvmlDeviceGetCurrentClocksThrottleReasons (nvml.h); idle clocks and wishes of programs
# are no complaint.
_GPU_COMPLAINTS = {
    0x04: "power limit", 0x08: "slowed down by the hardware", 0x20: "heat", 0x40: "heat",
    0x80: "power brake",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Clock:
    """How the kernel sets the frequency of the CPUs. Frequencies are kHz."""

    governor: str  # performance, powersave, schedutil …
    driver: str | None  # intel_pstate, amd-pstate-epp, acpi-cpufreq …
    preference: str | None  # power, balance_power, balance_performance, performance
    allowed: int | None  # the highest that somebody allows …
    possible: int | None  # … of what the CPU can do


@dataclass(frozen=True, slots=True)
class GpuStrain:
    """What holds one NVIDIA GPU back."""

    name: str
    complaints: tuple[str, ...]  # heat, power limit …
    power_limit_w: float | None
    default_power_limit_w: float | None


@dataclass(frozen=True, slots=True)
class Strain:
    """What holds the machine back. Shares are 0 to 1."""

    cpu_quota: float | None = None  # CPUs
    quota_throttled: float | None = None  # share of the quota's periods that it cut short
    cpu_pressure: float | None = None  # share of the last minute in which somebody waited for a CPU
    memory_pressure: float | None = None  # … for memory
    load: float | None = None  # processes that want to run, the average of a minute
    swapped: int | None = None  # bytes of the process that are in swap
    heat_throttled: float | None = None  # share of the time since boot
    clock: Clock | None = None
    on_battery: bool | None = None
    gpus: tuple[GpuStrain, ...] = ()


def read_strain(pid: int | None = None, root: Path = Path("/")) -> Strain:
    """Return what holds this machine back, and of the process ``pid`` what is its own."""
    return Strain(
        cpu_quota=read_cgroup(root).cpu_quota,
        quota_throttled=_read_throttled(root, pid),
        cpu_pressure=_read_pressure(root, "cpu", 60),
        memory_pressure=_read_pressure(root, "memory", 60),
        load=_read_load(root),
        swapped=_read_swapped(root, pid) if pid is not None else None,
        heat_throttled=_read_heat(root),
        clock=_read_clock(root),
        on_battery=_read_battery(root),
    )


def read_cpu_pressure(root: Path = Path("/")) -> float | None:
    """Return the share of the last ten seconds in which somebody waited for a CPU."""
    return _read_pressure(root, "cpu", 10)


def read_gpu_strain() -> tuple[GpuStrain, ...]:
    """Return what holds the NVIDIA GPUs back; none where NVML does not say."""
    try:
        import pynvml
    except ImportError:
        return ()
    return ask_gpu_strain(pynvml)


def ask_gpu_strain(nvml: Any) -> tuple[GpuStrain, ...]:
    """Return the same from the library ``nvml`` (the module pynvml, or one that acts like it)."""
    found = []
    for name, ask in each_gpu(nvml):
        limit, usual = (
            ask(f"nvmlDeviceGetPowerManagement{which}Limit") for which in ("", "Default")
        )
        found.append(
            GpuStrain(
                name,
                _complaints(ask("nvmlDeviceGetCurrentClocksThrottleReasons") or 0),
                limit / 1000 if limit else None,  # milliwatts
                usual / 1000 if usual else None,
            )
        )
    return tuple(found)


def _complaints(reasons: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for bit, word in _GPU_COMPLAINTS.items() if reasons & bit))


def _read_throttled(root: Path, pid: int | None) -> float | None:
    """Return the worst share of periods that a quota around the process cut short."""
    shares = []
    for folder, _ in cgroup_folders(root, pid):
        counters = parse_stat(read_text(folder / "cpu.stat") or "")
        if periods := counters.get("nr_periods"):
            shares.append(min(counters.get("nr_throttled", 0) / periods, 1.0))
    return max(shares, default=None)


def _read_pressure(root: Path, what: str, seconds: Literal[10, 60]) -> float | None:
    found = _AVERAGES.search(read_text(root / f"proc/pressure/{what}") or "")
    return float(found[1 if seconds == 10 else 2]) / 100 if found else None


def _read_load(root: Path) -> float | None:
    words = (read_text(root / "proc/loadavg") or "").split()
    try:
        return float(words[0])
    except (IndexError, ValueError):
        return None


def _read_swapped(root: Path, pid: int) -> int | None:
    found = _SWAP.search(read_text(root / f"proc/{pid}/status") or "")
    return int(found[1]) * 1024 if found else None


def _read_heat(root: Path) -> float | None:
    """Return for how much of the time since boot the hottest core was slowed down."""
    system = root / "sys/devices/system/cpu"
    times = [
        time_ms
        for cpu in _cpus(system)
        if (time_ms := read_int(system / f"cpu{cpu}/thermal_throttle/core_throttle_total_time_ms"))
        is not None
    ]
    uptime = (read_text(root / "proc/uptime") or "").split()
    if not times or not uptime:
        return None
    try:
        up_s = float(uptime[0])
    except ValueError:
        return None
    return min(max(times) / 1000 / up_s, 1.0) if up_s > 0 else None


def _read_clock(root: Path) -> Clock | None:
    system = root / "sys/devices/system/cpu"
    for cpu in _cpus(system):
        folder = system / f"cpu{cpu}/cpufreq"
        if governor := read_text(folder / "scaling_governor"):
            return Clock(
                governor,
                read_text(folder / "scaling_driver"),
                read_text(folder / "energy_performance_preference"),
                read_int(folder / "scaling_max_freq"),
                read_int(folder / "cpuinfo_max_freq"),
            )
    return None


def _cpus(system: Path) -> Sequence[int]:
    return sorted(parse_cpu_list(read_text(system / "online") or ""))


def _read_battery(root: Path) -> bool | None:
    """Return whether a battery feeds the machine; None where it has none."""
    try:
        supplies = sorted((root / "sys/class/power_supply").iterdir())
    except OSError:
        return None
    states = [
        read_text(supply / "status")
        for supply in supplies
        if read_text(supply / "type") == "Battery" and read_text(supply / "scope") != "Device"
    ]
    return "Discharging" in states if states else None
