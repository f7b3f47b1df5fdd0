"""How busy, full, hot and hungry NVIDIA GPUs are right now.

NVML may take its time: ask in a thread.
"""

from dataclasses import dataclass
from typing import Any


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

    def ask(question: str, *arguments: Any) -> Any:
        try:
            return getattr(nvml, question)(*arguments)
        except (nvml.NVMLError, AttributeError):  # this GPU, driver or binding does not know
            return None

    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return ()
    found = []
    for index in range(ask("nvmlDeviceGetCount") or 0):
        handle = ask("nvmlDeviceGetHandleByIndex", index)
        if handle is None:  # lost from the bus, or not ours to ask
            continue
        name = ask("nvmlDeviceGetName", handle) or "NVIDIA GPU"
        rates = ask("nvmlDeviceGetUtilizationRates", handle)
        memory = ask("nvmlDeviceGetMemoryInfo", handle)
        milliwatts = ask("nvmlDeviceGetPowerUsage", handle)
        degrees = ask("nvmlDeviceGetTemperature", handle, nvml.NVML_TEMPERATURE_GPU)
        found.append(
            GpuLoad(
                name=name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name),
                utilisation_percent=None if rates is None else float(rates.gpu),
                memory_used=None if memory is None else int(memory.used),
                memory_total=None if memory is None else int(memory.total),
                power_w=None if milliwatts is None else milliwatts / 1000,
                temperature_c=None if degrees is None else float(degrees),
            )
        )
    ask("nvmlShutdown")
    return tuple(found)
