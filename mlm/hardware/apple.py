"""Apple chips: one memory for CPU and GPU. Everything comes from ``sysctl``."""

import platform
import subprocess
import sys
from pathlib import Path

from mlm.hardware.cpu import count_usable
from mlm.hardware.gpu_table import find_gpu
from mlm.hardware.probe import Probe
from mlm.hardware.types import Accelerator, Cpu, Memory
from mlm.units import GIB, MIB

_SYSCTL = Path("/usr/sbin/sysctl")
# Without a setting of the owner, Metal lets a program wire two thirds of the memory on small
# machines and three quarters from 36 GiB up (recommendedMaxWorkingSetSize, macOS 14 and 15).
_SMALL_SHARE, _LARGE_SHARE, _LARGE = 0.66, 0.75, 36 * GIB
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
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return {}
    return parse_sysctl(done.stdout)


def parse_sysctl(text: str) -> dict[str, str]:
    """Return ``name: value`` lines as a dictionary."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def describe_cpu(values: dict[str, str]) -> Cpu:
    """Return the processor that ``values`` describe, Apple's or Intel's."""
    logical = _number(values, "hw.logicalcpu") or _number(values, "hw.ncpu") or 1
    physical = _number(values, "hw.physicalcpu")
    performance = _number(values, "hw.perflevel0.physicalcpu") or physical
    flags = values.get("machdep.cpu.features", "") + values.get("machdep.cpu.leaf7_features", "")
    intel = {"AVX1.0": "avx", "F16C": "f16c", "FMA": "fma", "BMI2": "bmi2", "AVX2": "avx2"}
    isa = [name for flag, name in intel.items() if flag in flags]
    isa += [n for f, n in _FEATURES.items() if values.get(f"hw.optional.arm.{f}") == "1"]
    if not isa and (platform.machine() == "arm64" or "Apple" in _chip(values)):
        isa = ["neon"]
    return Cpu(
        name=_chip(values) or None,
        physical_cores=physical,
        logical_cores=logical,
        usable_cores=count_usable(logical, None, performance),
        isa=tuple(isa),
    )


def describe_gpu(values: dict[str, str], memory: Memory) -> Probe:
    """Return the GPU inside an Apple chip; none on an Intel Mac."""
    chip = _chip(values)
    if not chip.startswith("Apple "):
        return Probe()
    budget = metal_budget(memory.total, _number(values, "iogpu.wired_limit_mb"))
    row = find_gpu(chip, memory.total)
    gpu = Accelerator(
        index=0,
        name=chip.removeprefix("Apple "),
        kind="metal",
        memory_total=budget,
        memory_free=min(budget, memory.usable),
        bandwidth_bytes_per_s=row.bandwidth_bytes_per_s if row else None,
        unified=True,
    )
    return Probe((gpu,), source="sysctl, bandwidth from the GPU table")


def metal_budget(total: int, wired_limit_mib: int | None = None) -> int:
    """Return how many bytes of ``total`` Metal lets a program use."""
    if wired_limit_mib:
        return min(total, wired_limit_mib * MIB)
    return int(total * (_LARGE_SHARE if total >= _LARGE else _SMALL_SHARE))


def _chip(values: dict[str, str]) -> str:
    return values.get("machdep.cpu.brand_string", "")


def _number(values: dict[str, str], name: str) -> int | None:
    text = values.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
