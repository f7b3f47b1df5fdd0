"""The processor: its name, its cores, and the instruction sets that llama.cpp has kernels for."""

import math
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from mlm.hardware.sysfs import parse_cpu_list, read_int, read_text
from mlm.hardware.types import Cpu

# Kernel flag -> mlm's name, in the order in which they are shown: what ggml-cpu's kernels ask for
# (ggml/src/ggml-cpu/arch), x86 first, then Arm, RISC-V and LoongArch.
ISA_FLAGS = {
    "sse4_2": "sse4_2", "avx": "avx", "f16c": "f16c", "fma": "fma", "bmi2": "bmi2",
    "avx2": "avx2", "avx_vnni": "avx_vnni", "avx512f": "avx512f", "avx512bw": "avx512bw",
    "avx512_vbmi": "avx512_vbmi", "avx512vbmi": "avx512_vbmi", "avx512_vnni": "avx512_vnni",
    "avx512_bf16": "avx512_bf16", "amx_tile": "amx_tile", "amx_int8": "amx_int8",
    "amx_bf16": "amx_bf16",
    "neon": "neon", "asimd": "neon", "asimdhp": "fp16", "asimddp": "dotprod", "i8mm": "i8mm",
    "bf16": "bf16", "sve": "sve", "sve2": "sve2", "sme": "sme",
    "lsx": "lsx", "lasx": "lasx",
}  # fmt: skip

# Arm says numbers where x86 says a name: (implementer, part) of /proc/cpuinfo, from the kernel's
# arch/arm64/include/asm/cputype.h.
_ARM_PARTS = {
    ("0x41", "0xd03"): "Cortex-A53", ("0x41", "0xd04"): "Cortex-A35",
    ("0x41", "0xd05"): "Cortex-A55", ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72", ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse N1", ("0x41", "0xd40"): "Neoverse V1",
    ("0x41", "0xd41"): "Cortex-A78", ("0x41", "0xd49"): "Neoverse N2",
    ("0x41", "0xd4f"): "Neoverse V2", ("0xc0", "0xac3"): "Ampere-1",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CpuInfo:
    """What /proc/cpuinfo tells."""

    name: str | None
    physical_cores: int | None
    logical_cores: int
    isa: tuple[str, ...]


def read_cpu(quota: float | None, root: Path = Path("/")) -> Cpu:
    """Return the processor of this Linux machine under a cgroup quota (in CPUs)."""
    info = parse_cpuinfo(read_text(root / "proc/cpuinfo") or "")
    system = root / "sys/devices/system/cpu"
    logical = info.logical_cores or os.cpu_count() or 1
    physical = count_cores(system) or info.physical_cores
    performance = count_cores(system, performance_cpus(root))
    return Cpu(
        name=info.name or platform.processor() or None,
        physical_cores=physical,
        logical_cores=logical,
        usable_cores=count_usable(_affinity(logical), quota, performance or physical),
        isa=info.isa,
    )


def count_usable(affinity: int, quota: float | None, cores: int | None) -> int:
    """Return how many threads can compute at full speed, at least 1.

    A quota of 1.5 CPUs counts as 2: two threads finish sooner than one, even when throttled.
    ``cores`` are physical performance cores: a second thread on a core, or an efficiency core that
    the others wait for, makes llama.cpp slower.
    """
    limits = [affinity, cores or affinity]
    if quota is not None:
        limits.append(math.ceil(quota))
    return max(1, min(limits))


def _affinity(logical: int) -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return logical


def parse_cpuinfo(text: str) -> CpuInfo:
    """Return what a /proc/cpuinfo says; whatever it does not say is None or empty."""
    processors = [_fields(block) for block in re.split(r"\n\s*\n", text)]
    whole = {key: value for block in processors for key, value in block.items()}
    processors = [block for block in processors if block.get("processor", "").isdigit()]
    cores = {
        (block["physical id"], block["core id"])
        for block in processors
        if "physical id" in block and "core id" in block
    }
    flags = (whole.get("flags") or whole.get("Features") or "").split()
    return CpuInfo(
        name=_name(whole),
        physical_cores=len(cores) or None,
        logical_cores=len(processors),
        isa=tuple(dict.fromkeys(name for flag, name in ISA_FLAGS.items() if flag in flags)),
    )


def _fields(block: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in block.splitlines())
    return {key.strip(): value.strip() for key, colon, value in pairs if colon}


def _name(fields: dict[str, str]) -> str | None:
    part = _ARM_PARTS.get((fields.get("CPU implementer", ""), fields.get("CPU part", "")))
    board = fields.get("Model")  # Raspberry Pi and other boards
    if board:
        return f"{board} ({part})" if part else board
    name = fields.get("model name") or part or fields.get("Hardware")
    return re.sub(r"\s+", " ", re.sub(r"\((R|TM|r|tm)\)", "", name)).strip() if name else None


def performance_cpus(root: Path) -> set[int] | None:
    """Return the CPUs on performance cores, None where all cores are alike.

    Intel's hybrids name them in ``cpu_core``; Arm gives every CPU a capacity.
    """
    if (listed := read_text(root / "sys/devices/cpu_core/cpus")) is not None:
        return parse_cpu_list(listed) or None
    system = root / "sys/devices/system/cpu"
    capacity = {
        cpu: value
        for cpu in _online(system)
        if (value := read_int(system / f"cpu{cpu}/cpu_capacity")) is not None
    }
    if len(set(capacity.values())) < 2:
        return None
    # Three-tier phones and boards: the middle tier still keeps up, the small one does not.
    return {cpu for cpu, value in capacity.items() if value * 2 >= max(capacity.values())}


def count_cores(system: Path, among: set[int] | None = None) -> int | None:
    """Return the physical cores that the CPUs in ``among`` (all, when None) sit on."""
    cores = set()
    for cpu in among if among is not None else _online(system):
        folder = system / f"cpu{cpu}/topology"
        siblings = read_text(folder / "core_cpus_list") or read_text(
            folder / "thread_siblings_list"
        )
        if siblings is not None:
            cores.add(siblings)
    return len(cores) or None


def _online(system: Path) -> set[int]:
    return parse_cpu_list(read_text(system / "online") or "")
