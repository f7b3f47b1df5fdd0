"""What the machine itself does to a model's speed: limits, other programs, power, the engine."""

import math
import shlex
from collections.abc import Iterator

from mlm.planning.evidence import Evidence, Finding
from mlm.units import MIB, format_size

# Below these nobody notices: shares of time, of frequency, bytes.
_THROTTLED, _PRESSURE, _HEAT = 0.05, 0.10, 0.01
_WAITING_FOR_CPU = 0.20
_CLOCK_SHARE = 0.9
_SWAPPED = 64 * MIB
_SAVING = ("power", "balance_power")
# Drivers whose governor "powersave" only means that the CPU chooses by itself (kernel
# documentation, admin-guide/pm/intel_pstate and amd-pstate).
_CHOOSES_ITSELF = ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")
# Instruction set -> what ggml calls it, the ones that decide about speed.
_FEATURES = {
    "avx2": "avx2", "avx512f": "avx512", "avx512_vnni": "avx512_vnni", "amx_int8": "amx_int8",
    "dotprod": "dotprod", "i8mm": "matmul_int8", "sve": "sve",
}  # fmt: skip
_WHO = "ps -eo pcpu,pid,args --sort=-pcpu | head -5"


def _quota(evidence: Evidence) -> Iterator[Finding]:
    strain, cpu = evidence.strain, evidence.hardware.cpu
    cores = cpu.performance_cores or cpu.physical_cores or cpu.logical_cores
    quota = strain.cpu_quota
    if quota is None or quota >= cores or not evidence.uses_cpu:
        return
    figures = f"the control group allows {quota:g} of {cores} cores"
    if strain.quota_throttled is not None and strain.quota_throttled > _THROTTLED:
        figures += f", and cut {strain.quota_throttled:.0%} of its periods short".replace("%", " %")
    fix = f"docker update --cpus {cores} CONTAINER, or the CPU limit of the pod or unit"
    yield Finding("cpu_quota", "slow", "A CPU quota holds it back", figures, fix)


def _threads(evidence: Evidence) -> Iterator[Finding]:
    cpu, n = evidence.hardware.cpu, evidence.config.n_threads
    usable = cpu.usable_cores
    if not evidence.uses_cpu or n == usable:
        return
    fix = evidence.serve(f"--threads {usable}")
    if n > usable:
        why = f"{cpu.logical_cores} hardware threads on {cpu.physical_cores or '?'} cores"
        figures = f"{n} threads for {usable} usable cores ({why}): they wait for each other"
        yield Finding("threads", "slow", "It has more threads than cores", figures, fix)
    else:
        figures = f"{n} threads, {usable} usable cores"
        yield Finding("threads", "note", "It does not use all cores", figures, fix)


def _affinity(evidence: Evidence) -> Iterator[Finding]:
    cpu, quota = evidence.hardware.cpu, evidence.strain.cpu_quota
    cores = cpu.performance_cores or cpu.physical_cores
    limited = quota is not None and math.ceil(quota) <= cpu.usable_cores
    if cores is None or cpu.usable_cores >= cores or limited or not evidence.uses_cpu:
        return
    figures = f"its affinity allows {cpu.usable_cores} of {cores} cores"
    fix = f"taskset -c 0-{cpu.logical_cores - 1} mlm serve {shlex.quote(evidence.ref)}"
    yield Finding("affinity", "slow", "It is tied to a part of the cores", figures, fix)


def _other_programs(evidence: Evidence) -> Iterator[Finding]:
    strain, cores = evidence.strain, evidence.hardware.cpu.usable_cores
    if not evidence.uses_cpu:
        return
    own = evidence.config.n_threads if evidence.live is not None and evidence.live.active else 0
    others = None if strain.load is None else strain.load - own
    parts = []
    if strain.cpu_pressure is not None and strain.cpu_pressure > _WAITING_FOR_CPU:
        share = f"{strain.cpu_pressure:.0%}".replace("%", " %")
        parts.append(f"programs waited for a CPU in {share} of the last minute")
    if others is not None and others > cores:
        parts.append(f"a load of {strain.load:.1f} on {cores} usable cores")
    if parts:
        what = "Other programs take the CPU"
        yield Finding("busy", "slow", what, "; ".join(parts), _WHO)


def _memory(evidence: Evidence) -> Iterator[Finding]:
    strain = evidence.strain
    slot = evidence.config.n_ctx_slot // 2
    less = evidence.serve(f"--ctx {slot}") if slot >= 512 else evidence.smaller
    if strain.swapped is not None and strain.swapped > _SWAPPED:
        figures = f"{format_size(strain.swapped)} of the worker are in swap"
        yield Finding("swap", "slow", "Parts of the model are on disk", figures, less)
    if strain.memory_pressure is not None and strain.memory_pressure > _PRESSURE:
        share = f"{strain.memory_pressure:.0%}".replace("%", " %")
        figures = f"programs waited for memory in {share} of the last minute"
        yield Finding("memory_pressure", "slow", "Memory is short", figures, less)


def _heat(evidence: Evidence) -> Iterator[Finding]:
    share = evidence.strain.heat_throttled
    if share is not None and share > _HEAT and evidence.uses_cpu:
        figures = f"the CPU was slowed down for {share:.0%} of the time since boot"
        yield Finding("heat", "slow", "The CPU gets too hot", figures.replace("%", " %"))


def _clock(evidence: Evidence) -> Iterator[Finding]:
    clock = evidence.strain.clock
    if clock is None or not evidence.uses_cpu:
        return
    fix = "sudo cpupower frequency-set -g performance"
    chooses_itself = clock.driver in _CHOOSES_ITSELF
    if clock.governor == "powersave" and not chooses_itself:
        figures = f"the governor is powersave ({clock.driver or 'driver unknown'})"
        yield Finding("governor", "slow", "The CPU saves power", figures, fix)
    elif clock.preference in _SAVING and clock.governor != "performance":
        figures = f"its energy preference is {clock.preference}"
        fix = "powerprofilesctl set performance"
        yield Finding("governor", "slow", "The CPU saves power", figures, fix)
    if clock.allowed and clock.possible and clock.allowed < _CLOCK_SHARE * clock.possible:
        figures = f"{clock.allowed / 1e6:.1f} of {clock.possible / 1e6:.1f} GHz are allowed"
        fix = f"sudo cpupower frequency-set -u {clock.possible}"
        yield Finding("clock", "slow", "The CPU may not run at full speed", figures, fix)


def _battery(evidence: Evidence) -> Iterator[Finding]:
    if evidence.strain.on_battery:
        yield Finding("battery", "slow", "It runs on battery", "mains power is not connected")


def _gpus(evidence: Evidence) -> Iterator[Finding]:
    if evidence.placement == "cpu":
        return
    for index, gpu in enumerate(evidence.strain.gpus):
        limit, usual = gpu.power_limit_w, gpu.default_power_limit_w
        if limit is not None and usual is not None and limit < usual:
            figures = f"{gpu.name} may take {limit:.0f} of {usual:.0f} W"
            fix = f"sudo nvidia-smi -i {index} -pl {usual:.0f}"
            yield Finding("gpu_power", "slow", "The GPU's power is limited", figures, fix)
        elif gpu.complaints:
            figures = f"{gpu.name}: {', '.join(gpu.complaints)}"
            yield Finding("gpu_throttled", "slow", "The GPU slows itself down", figures)


def _engine(evidence: Evidence) -> Iterator[Finding]:
    engine, hardware = evidence.engine, evidence.hardware
    if engine is None:
        return
    if hardware.accelerators and not engine.can_offload:
        names = ", ".join(card.name for card in hardware.accelerators)
        figures = f"llama.cpp was built without GPU support; there is {names}"
        fix = "mlm engine install"
        yield Finding("engine_gpu", "slow", "The GPU is not used", figures, fix)
    if not evidence.uses_cpu:
        return
    if engine.has_unusable_amx:
        figures = "llama.cpp was built by a compiler that breaks AMX, so it is not used"
        fix = "install GCC 12.4, 13.3 or newer, then mlm engine install"
        yield Finding("engine_amx", "slow", "The CPU's AMX is not used", figures, fix)
    missing = [
        isa
        for isa, feature in _FEATURES.items()
        if isa in hardware.cpu.isa and feature not in engine.cpu_features
    ]
    if missing and engine.cpu_features:
        figures = f"the CPU has {', '.join(missing)}; this build of llama.cpp does not use it"
        fix = "mlm engine install"
        yield Finding("engine_cpu", "slow", "The engine was built for less", figures, fix)


MACHINE_RULES = (
    _engine,
    _quota,
    _threads,
    _affinity,
    _other_programs,
    _memory,
    _heat,
    _clock,
    _battery,
    _gpus,
)
