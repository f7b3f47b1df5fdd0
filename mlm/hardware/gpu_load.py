"""How busy, full, hot and hungry NVIDIA GPUs are right now.

NVML may take its time: ask in a thread.
"""

from dataclasses import dataclass
from typing import Any

from mlm.hardware.nvml import each_gpu


@dataclass(frozen=True, slots=True)
class GpuLoad:
    """One GPU at one moment. What its driver does not tell is None. Sizes are bytes."""

    name: str
    utilisation_percent: float | None  # of the last moments in which something ran on it, 0 to 100
    memory_used: int | None
    memory_total: int | None
    power_w: float | None
    temperature_c: float | None


def read_gpu_loads() -> tuple[GpuLoad, ...]:
    """Return the load of each NVIDIA GPU; none where NVML does not say."""
    try:
        import pynvml
    except ImportError:
        return ()
    return ask_gpu_loads(pynvml)


def ask_gpu_loads(nvml: Any) -> tuple[GpuLoad, ...]:
    """Return the same from the library ``nvml`` (the module pynvml, or one that acts like it)."""
    found = []
    for name, ask in each_gpu(nvml):
        rates, memory = ask("nvmlDeviceGetUtilizationRates"), ask("nvmlDeviceGetMemoryInfo")
        milliwatts = ask("nvmlDeviceGetPowerUsage")
        degrees = ask("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU)
        found.append(
            GpuLoad(
                name=name,
                utilisation_percent=None if rates is None else float(rates.gpu),
                memory_used=None if memory is None else int(memory.used),
                memory_total=None if memory is None else int(memory.total),
                power_w=None if milliwatts is None else milliwatts / 1000,
                temperature_c=None if degrees is None else float(degrees),
            )
        )
    return tuple(found)
