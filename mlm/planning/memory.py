"""What a loaded model will occupy, per device."""

from collections.abc import Sequence

from mlm.hardware.types import Hardware
from mlm.planning.buffers import compute_bytes, kv_bytes, mask_bytes, output_bytes
from mlm.planning.placement import Device, devices_of, place_layers
from mlm.planning.repack import split_repacked
from mlm.planning.types import (
    Block,
    DevicePlan,
    MemoryPlan,
    ModelShape,
    RuntimeConfig,
    Verdict,
    Weight,
)
from mlm.units import MIB, format_size

# A worker process without a model, and what llama.cpp keeps per token of the vocabulary.
PROCESS_BYTES = 90 * MIB
BYTES_PER_TOKEN = 250
# Contexts and libraries of a GPU runtime, as commonly seen in nvidia-smi and its kin.
_RUNTIME_BYTES = {
    "cuda": 450 * MIB, "rocm": 400 * MIB, "vulkan": 150 * MIB, "sycl": 300 * MIB, "metal": 64 * MIB,
}  # fmt: skip


def plan_memory(shape: ModelShape, config: RuntimeConfig, hardware: Hardware) -> MemoryPlan:
    """Return what the model will occupy with ``config`` on ``hardware``, and whether it fits.

    ``kv_cache`` is the worst case, every slot full; llama.cpp reserves it at load.
    """
    devices = devices_of(hardware)
    placed = place_layers(shape.n_layer, config.n_gpu_layers, devices)
    isa = frozenset(hardware.cpu.isa)
    plans: list[DevicePlan] = []
    for index, device in enumerate(devices):
        if index and index not in placed:
            continue
        mine = [block for block, at in zip(shape.blocks, placed, strict=False) if at == index]
        output = shape.output if placed[-1] == index else ()
        if index == 0:
            plan = _plan_cpu(shape, config, device, (mine, output), isa)
        else:
            plan = _plan_accelerator(shape, config, device, (mine, output))
        plans.append(plan)
    plans = _share_main_memory(plans, devices)
    verdict = _verdict(plans)
    return MemoryPlan(shape.grade, tuple(plans), verdict, (*_reasons(plans), *shape.notes))


_Part = tuple[Sequence[Block], Sequence[Weight]]  # layers and output on one device


def _plan_cpu(
    shape: ModelShape, config: RuntimeConfig, device: Device, part: _Part, isa: frozenset[str]
) -> DevicePlan:
    blocks, output = part
    plain = list(shape.input)
    repacked = 0
    seen: dict[int, tuple[list[Weight], int]] = {}  # layers of an estimate are one object
    for weights in (*(block.weights for block in blocks), output):
        if id(weights) not in seen:
            seen[id(weights)] = split_repacked(weights, isa)
        kept, copied = seen[id(weights)]
        plain += kept
        repacked += copied
    everything = [*shape.input, *output, *(w for block in blocks for w in block.weights)]
    mapped = min(_mapped_bytes(plain, everything), shape.disk_bytes)
    busy = bool(blocks) or not config.n_gpu_layers
    tokens = min(config.n_ubatch, config.n_batch)
    staging = tokens * shape.n_embd * 4 + mask_bytes(shape, config)
    return DevicePlan(
        device=device.name,
        weights=mapped if config.use_mmap else _bytes(plain),
        kv_cache=_kv(blocks, shape, config),
        compute=compute_bytes(shape, config) if busy else staging,
        output=output_bytes(shape, config),
        repack=repacked,
        overhead=PROCESS_BYTES + BYTES_PER_TOKEN * shape.n_vocab,
        available=device.available,
    )


def _plan_accelerator(
    shape: ModelShape, config: RuntimeConfig, device: Device, part: _Part
) -> DevicePlan:
    blocks, output = part
    assert device.accelerator is not None
    return DevicePlan(
        device=device.name,
        weights=_bytes(output) + sum(_bytes(block.weights) for block in blocks),
        kv_cache=_kv(blocks, shape, config),
        compute=compute_bytes(shape, config),
        output=0,
        repack=0,
        overhead=_RUNTIME_BYTES[device.accelerator.kind],
        available=device.available,
    )


def _kv(blocks: Sequence[Block], shape: ModelShape, config: RuntimeConfig) -> int:
    sizes: dict[tuple[int, int, bool, int], int] = {}
    total = 0
    for block in blocks:
        key = (block.k, block.v, block.sliding, block.state)
        if key not in sizes:
            sizes[key] = kv_bytes(block, shape, config)
        total += sizes[key]
    return total


def _bytes(weights: Sequence[Weight]) -> int:
    return sum(weight.n_bytes for weight in weights)


def _mapped_bytes(plain: Sequence[Weight], everything: Sequence[Weight]) -> int:
    """Return the part of the file that stays mapped: from the first to the last weight in use.

    Where places are not known, all weights of the device: embeddings stand at one end and norms
    in every layer, so that little is left out.
    """
    starts = [weight.start for weight in plain if weight.start is not None]
    if len(starts) < len(plain):
        return _bytes(everything)
    ends = [weight.start + weight.n_bytes for weight in plain if weight.start is not None]
    return max(ends, default=0) - min(starts, default=0)


def _share_main_memory(plans: list[DevicePlan], devices: Sequence[Device]) -> list[DevicePlan]:
    """Take from accelerators without memory of their own what the CPU needs."""
    unified = {device.name for device in devices if device.unified}
    used = plans[0].total
    return [
        DevicePlan(
            plan.device,
            plan.weights,
            plan.kv_cache,
            plan.compute,
            plan.output,
            plan.repack,
            plan.overhead,
            min(plan.available, plans[0].available - used),
        )
        if plan.device in unified
        else plan
        for plan in plans
    ]


def _verdict(plans: Sequence[DevicePlan]) -> Verdict:
    if any(plan.headroom < 0 for plan in plans):
        return "does_not_fit"
    return "tight" if any(plan.is_tight for plan in plans) else "fits"


def _reasons(plans: Sequence[DevicePlan]) -> list[str]:
    reasons = []
    for plan in plans:
        need, have = format_size(plan.total), format_size(max(plan.available, 0))
        if plan.headroom < 0:
            reasons.append(f"{plan.device} needs {need}, but {have} can be had")
        elif plan.is_tight:
            reasons.append(
                f"{plan.device} needs {need} of {have}: other programs may get in the way"
            )
        else:
            reasons.append(f"{plan.device} needs {need} of {have}")
        if plan.repack:
            reasons.append(
                f"{format_size(plan.repack)} of weights are held twice, once in the layout of "
                "this CPU's kernels"
            )
    return reasons
