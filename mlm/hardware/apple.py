"""Apple chips: one memory for CPU and GPU. Everything comes from ``sysctl``."""

import re
import sys
from pathlib import Path

from mlm.hardware.cpu import count_usable
from mlm.hardware.gpu_table import find_gpu
from mlm.hardware.probe import Probe
from mlm.hardware.types import Accelerator, Cpu, Memory
from mlm.units import GIB, MIB

_SYSCTL, _IOREG = Path("/usr/sbin/sysctl"), Path("/usr/sbin/ioreg")
# Without a setting of the owner, Metal lets a program wire two thirds of the memory on small
# machines and three quarters from 36 GiB up: recommendedMaxWorkingSetSize as llama.cpp logs it,
# 11453 MB of 16 GiB, 28991 MB of 36 GiB, 51540 MB of 64 GiB (macOS 14 and 15).
_SMALL_SHARE, _LARGE_SHARE, _LARGE = (2, 3), (3, 4), 36 * GIB
# sysctl's hw.optional.arm.FEAT_x -> mlm's name.
_FEATURES = {
    "AdvSIMD": "neon", "FEAT_FP16": "fp16", "FEAT_DotProd": "dotprod", "FEAT_I8MM": "i8mm",
    "FEAT_BF16": "bf16", "FEAT_SME": "sme",
}  # fmt: skip


def read_sysctl() -> dict[str, str]:
    """Return this Mac's sysctl values; empty elsewhere."""
    if sys.platform != "darwin":
        return {}
    command = [str(_SYSCTL), "hw", "machdep.cpu", "iogpu.wired_limit_mb"]
    return parse_sysctl(_run(command))


def read_gpu_cores() -> int | None:
    """Return how many cores this Mac's GPU has: chips of one name differ, and sysctl is silent."""
    if sys.platform != "darwin":
        return None
    command = [str(_IOREG), "-r", "-d", "1", "-w", "0", "-c", "AGXAccelerator"]
    return parse_gpu_cores(_run(command))


def parse_gpu_cores(text: str) -> int | None:
    """Return the ``"gpu-core-count" = 40`` of an I/O registry entry."""
    found = re.search(r'"gpu-core-count"\s*=\s*(\d{1,4})\b', text, re.ASCII)
    return int(found[1]) if found else None


def _run(command: list[str]) -> str:
    import subprocess  # 6 ms that other systems need not pay

    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    return done.stdout


def parse_sysctl(text: str) -> dict[str, str]:
    """Return ``name: value`` lines as a dictionary."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def describe_cpu(values: dict[str, str]) -> Cpu:
    """Return the processor that ``values`` describe, Apple's or Intel's."""
    logical = _number(values, "hw.logicalcpu") or _number(values, "hw.ncpu") or 1
    physical = _number(values, "hw.physicalcpu")
    efficiency = _efficiency_cores(values)
    performance = physical - efficiency if physical and efficiency is not None else physical
    flags = values.get("machdep.cpu.features", "") + values.get("machdep.cpu.leaf7_features", "")
    intel = {"AVX1.0": "avx", "F16C": "f16c", "FMA": "fma", "BMI2": "bmi2", "AVX2": "avx2"}
    isa = [name for flag, name in intel.items() if flag in flags]
    isa += [n for f, n in _FEATURES.items() if values.get(f"hw.optional.arm.{f}") == "1"]
    if not isa and "Apple" in _chip(values):
        isa = ["neon"]
    return Cpu(
        name=_chip(values) or None,
        physical_cores=physical,
        logical_cores=logical,
        usable_cores=count_usable(logical, None, performance),
        isa=tuple(isa),
        performance_cores=performance,
        efficiency_cores=0 if efficiency is None and physical else efficiency,
        threads_per_core=logical // physical if physical and not logical % physical else None,
    )


def _efficiency_cores(values: dict[str, str]) -> int | None:
    """Return the cores of the levels called so: an M5 Max has "Super" and "Performance" ones."""
    slow, level = 0, 0
    while count := _number(values, f"hw.perflevel{level}.physicalcpu"):
        name = values.get(f"hw.perflevel{level}.name")
        slow += count if name == "Efficiency" or (level and not name) else 0
        level += 1
    return slow if level else None  # an Intel Mac has no levels


def describe_gpu(values: dict[str, str], memory: Memory, gpu_cores: int | None = None) -> Probe:
    """Return the GPU inside an Apple chip; none on an Intel Mac."""
    chip = _chip(values)
    if not chip.startswith("Apple "):
        return Probe()
    budget = metal_budget(memory.total, _number(values, "iogpu.wired_limit_mb"))
    row = find_gpu(chip, memory.total, gpu_cores)
    gpu = Accelerator(
        index=0,
        name=chip.removeprefix("Apple "),
        kind="metal",
        memory_total=budget,
        memory_free=min(budget, memory.usable),
        bandwidth_bytes_per_s=row.bandwidth_bytes_per_s if row else None,
        unified=True,
        source="sysctl and Metal's share of memory; bandwidth: GPU table",
    )
    return Probe((gpu,), source="sysctl, bandwidth from the GPU table")


def metal_budget(total: int, wired_limit_mib: int | None = None) -> int:
    """Return how many bytes of ``total`` Metal lets a program use."""
    if wired_limit_mib:
        return min(total, wired_limit_mib * MIB)
    part, whole = _LARGE_SHARE if total >= _LARGE else _SMALL_SHARE
    return total * part // whole


def _chip(values: dict[str, str]) -> str:
    return values.get("machdep.cpu.brand_string", "")


def _number(values: dict[str, str], name: str) -> int | None:
    text = values.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
