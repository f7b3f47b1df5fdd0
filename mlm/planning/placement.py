"""Which device holds which layer, by llama.cpp's own rule."""

import re
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import get_args

from mlm.hardware.types import Accelerator, Hardware
from mlm.planning.types import Block, ModelShape, RuntimeConfig, Weight, count_blocks
from mlm.stats.types import DeviceKind

# llama.cpp's names of places on an accelerator; CUDA_Host and its like are main memory, MTL0_Mapped
# is not.
_ON_ACCELERATOR = re.compile(r"(cuda|rocm|vulkan|sycl|mtl|metal)(?!_host)(\d*)", re.IGNORECASE)
_OUR_KINDS = {"mtl": "metal"}  # where they differ


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


def device_at(place: str) -> str:
    """Return our name of the device that llama.cpp means: "metal0" for ``MTL0_Mapped``, "cpu" for
    ``CPU_REPACK`` and ``CUDA_Host``."""
    found = _ON_ACCELERATOR.match(place)
    if found is None:
        return "cpu"
    kind = found[1].lower()
    return f"{_OUR_KINDS.get(kind, kind)}{found[2] or 0}"


def kind_of(device: str) -> DeviceKind:
    """Return what kind of device has this name: "cuda" for "cuda0"."""
    kinds: tuple[DeviceKind, ...] = get_args(DeviceKind)
    return next((kind for kind in kinds if device.rstrip("0123456789") == kind), "cpu")


def devices_of(hardware: Hardware) -> list[Device]:
    """Return the CPU and then each accelerator that llama.cpp uses and whose memory is known."""
    devices = [Device("cpu", hardware.memory.usable)]
    known = hardware.accelerators
    # llama.cpp leaves integrated GPUs alone where there are others.
    for found in [each for each in known if not each.unified] or known:
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
    shares = _cumulative_shares([device.available for device in accelerators])
    # llama.cpp gives layer i of those to the first device whose cumulative share is above i / n.
    owners = [bisect_right(shares, _float(i / on_gpu)) for i in range(on_gpu)]
    ends = [first + bisect_right(owners, number) for number in range(len(accelerators))]
    return [range(0, first), *(range(a, b) for a, b in pairwise([first, *ends]))]


def _cumulative_shares(free: Sequence[int]) -> list[float]:
    """Return the cumulative shares of memory, rounded as llama.cpp's 32-bit numbers are."""
    sums = list(accumulate(free, lambda total, size: _float(total + _float(size))))
    if not sums[-1]:
        return [1.0] * len(sums)
    return [_float(part / sums[-1]) for part in sums]


def _float(number: float) -> float:
    return float(struct.unpack("f", struct.pack("f", number))[0])


Groups = Sequence[tuple[Block, int]]  # layers on one device: equal ones once, with their number


@dataclass(frozen=True, slots=True)
class Part:
    """What one device holds of a model. Its layers keep their KV cache and state there too."""

    device: Device
    layers: Groups  # as far as they are here: experts may be missing
    output: Sequence[Weight] = ()
    experts: Groups = ()  # of layers that are otherwise on accelerators; blocks of experts alone

    @property
    def n_layer(self) -> int:
        """Layers that are computed here, at least in part."""
        return sum(count for _, count in (*self.layers, *self.experts))

    def weights(self) -> Iterator[tuple[Sequence[Weight], int]]:
        """Yield the weights in groups: some of which there are equal ones, and how many."""
        for block, count in (*self.layers, *self.experts):
            yield block.weights, count
        yield self.output, 1


def split_model(shape: ModelShape, config: RuntimeConfig, hardware: Hardware) -> list[Part]:
    """Return what each device holds, the CPU first; the input is always the CPU's, and not named.

    Everything of a layer is where ``n_gpu_layers`` puts it, but for the experts of the first
    ``n_cpu_moe`` layers.
    """
    devices = devices_of(hardware)
    placed = place_layers(shape.n_layer, config.n_gpu_layers, devices)
    parts = [
        _part_of(shape, device, layers) for device, layers in zip(devices, placed, strict=True)
    ]
    if not config.n_cpu_moe or not shape.n_expert:
        return parts
    away: list[tuple[Block, int]] = []
    for i, layers in enumerate(placed[1:], start=1):
        split = min(max(config.n_cpu_moe, layers.start), min(layers.stop, shape.n_layer))
        moved = count_blocks(shape.blocks[layers.start : split]).values()
        kept = count_blocks(shape.blocks[split : layers.stop]).values()
        stripped = [(_without_experts(block), count) for block, count in moved]
        away += [(_only_experts(block), count) for block, count in moved]
        parts[i] = replace(parts[i], layers=[*stripped, *kept])
    parts[0] = replace(parts[0], experts=away)
    return parts


def placement_of(parts: Iterable[Part]) -> DeviceKind:
    """Return where the layers are, under the name that the ledger has for it."""
    kinds: set[DeviceKind] = {
        part.device.accelerator.kind if part.device.accelerator else "cpu"
        for part in parts
        if part.n_layer or part.output
    }
    return kinds.pop() if len(kinds) == 1 else "mixed"


def _part_of(shape: ModelShape, device: Device, layers: range) -> Part:
    kinds = shape.kinds
    if len(layers) <= shape.n_layer:
        kinds = count_blocks(shape.blocks[layers.start : layers.stop])
    return Part(device, [*kinds.values()], shape.output if shape.n_layer in layers else ())


def _without_experts(block: Block) -> Block:
    return replace(block, weights=tuple(w for w in block.weights if w.role != "experts"))


def _only_experts(block: Block) -> Block:
    return Block(tuple(w for w in block.weights if w.role == "experts"), k=0, v=0)
