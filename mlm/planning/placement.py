"""Which device holds which layer, by llama.cpp's own rule."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

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


def place_layers(n_layer: int, n_gpu_layers: int, devices: Sequence[Device]) -> list[range]:
    """Return the layers of each device; the output counts as layer ``n_layer``.

    The first layers stay on the CPU; the last ``n_gpu_layers``, the output being one of them, go
    to the accelerators in proportion to their free memory.
    """
    accelerators = devices[1:]
    if not accelerators or not n_gpu_layers:
        return [range(0, n_layer + 1), *(range(0) for _ in accelerators)]
    on_gpu = min(n_gpu_layers, n_layer + 1)
    first = n_layer + 1 - on_gpu
    total = sum(device.available for device in accelerators) or 1
    shares = [part / total for part in accumulate(device.available for device in accelerators)]
    # llama.cpp gives layer i of those to the first device whose cumulative share is above i / n.
    ends = [first + math.ceil(share * on_gpu) for share in shares]
    ends[-1] = n_layer + 1
    return [range(0, first), *(range(a, b) for a, b in pairwise([first, *ends]))]
