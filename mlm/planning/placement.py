"""Which device holds which layer, by llama.cpp's own rule."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from mlm.hardware.types import Accelerator, Hardware


@dataclass(frozen=True, slots=True)
class Device:
    """A place for layers: the CPU, or an accelerator."""

    name: str  # "cpu", "cuda0" …
    available: int
    accelerator: Accelerator | None = None

    @property
    def unified(self) -> bool:
        """Whether it is an accelerator that shares main memory."""
        return self.accelerator is not None and self.accelerator.unified


def devices_of(hardware: Hardware) -> list[Device]:
    """Return the CPU and then each accelerator whose memory is known."""
    devices = [Device("cpu", hardware.memory.usable)]
    for found in hardware.accelerators:
        free = found.memory_free if found.memory_free is not None else found.memory_total
        if free is None:
            continue
        if found.unified:
            free = min(free, hardware.memory.usable)
        devices.append(Device(f"{found.kind}{found.index}", free, found))
    return devices


def place_layers(n_layer: int, n_gpu_layers: int, devices: Sequence[Device]) -> list[int]:
    """Return the device, as an index into ``devices``, of each layer and last of the output.

    The first layers stay on the CPU (0); the last ``n_gpu_layers``, the output being one of them,
    go to the accelerators in proportion to their free memory.
    """
    accelerators = devices[1:]
    on_gpu = min(n_gpu_layers, n_layer + 1) if accelerators else 0
    first = n_layer + 1 - on_gpu
    total = sum(device.available for device in accelerators) or 1
    shares = [part / total for part in accumulate(device.available for device in accelerators)]
    placed = [0] * first
    for i in range(on_gpu):
        placed.append(1 + min(bisect_right(shares, i / on_gpu), len(accelerators) - 1))
    return placed
