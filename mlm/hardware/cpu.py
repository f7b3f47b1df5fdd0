"""The processor: its name, its cores, and the instruction sets that llama.cpp has kernels for."""

import math
import os
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
    "rvv": "rvv", "lsx": "lsx", "lasx": "lasx",
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

    @property
    def threads_per_core(self) -> int | None:
        """Logical cores on each physical one, where that comes out even."""
        if self.physical_cores is None or self.logical_cores % self.physical_cores:
            return None
        return self.logical_cores // self.physical_cores


def read_cpu(quota: float | None, root: Path = Path("/")) -> Cpu:
    """Return the processor of this Linux machine under a cgroup quota (in CPUs)."""
    info = parse_cpuinfo(read_text(root / "proc/cpuinfo") or "")
    system = root / "sys/devices/system/cpu"
    logical = info.logical_cores or os.cpu_count() or 1
    physical = count_cores(system) or info.physical_cores
    fast = performance_cpus(root)
    performance = physical if fast is None else count_cores(system, fast)
    allowed = _affinity(logical)
    within = count_cores(system, allowed & (allowed if fast is None else fast))
    within = within or count_cores(system, allowed)  # held on efficiency cores only
    return Cpu(
        name=info.name,
        physical_cores=physical,
        logical_cores=logical,
        usable_cores=count_usable(len(allowed), quota, within or performance),
        isa=info.isa,
        performance_cores=performance,
        efficiency_cores=physical - performance if physical and performance else None,
        threads_per_core=count_threads(system, fast) or info.threads_per_core,
        quota=quota,
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


def _affinity(logical: int) -> set[int]:
    """Return the CPUs this process may run on: taskset, and the cpuset of every control group."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return os.sched_getaffinity(0)
    return set(range(logical))


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
    if re.match(r"rv\d+[a-z]*v", whole.get("isa", "")):  # RISC-V spells extensions in one word
        flags.append("rvv")
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
    return len(_cores(system, among)) or None


def count_threads(system: Path, among: set[int] | None = None) -> int | None:
    """Return the threads of the physical core with the most of them."""
    return max((len(parse_cpu_list(core)) for core in _cores(system, among)), default=0) or None


def _cores(system: Path, among: set[int] | None) -> set[str]:
    """Return the CPUs of each physical core, as the kernel lists them."""
    online = _online(system)
    folders = [system / f"cpu{cpu}/topology" for cpu in (online if among is None else among)]
    names = ("core_cpus_list", "thread_siblings_list")
    found = (next(filter(None, (read_text(f / name) for name in names)), None) for f in folders)
    return {core for core in found if core is not None}


def _online(system: Path) -> set[int]:
    return parse_cpu_list(read_text(system / "online") or "")
