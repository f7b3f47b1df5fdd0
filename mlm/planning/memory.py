"""What a loaded model will occupy, per device."""

from collections.abc import Sequence
from dataclasses import replace

from mlm.hardware.types import Hardware
from mlm.planning.buffers import compute_bytes, kv_bytes, mask_bytes, output_bytes
from mlm.planning.copies import copied_bytes
from mlm.planning.overhead import process_bytes, runtime_bytes
from mlm.planning.placement import Device, Groups, Part, device_at, split_model
from mlm.planning.repack import split_repacked
from mlm.planning.types import (
    ContextBuffers,
    DevicePlan,
    MemoryPlan,
    ModelShape,
    Projector,
    RuntimeConfig,
    Verdict,
    Weight,
)
from mlm.units import format_size

# For these a real load makes the compute buffer once more, for a single request, which can need
# more than several: sched_reserve in src/llama-context.cpp. A dry run tells of the first time.
_RESERVED_AGAIN = frozenset({"kimi-linear", "minimax-01"})


def plan_memory(
    shape: ModelShape,
    config: RuntimeConfig,
    hardware: Hardware,
    buffers: ContextBuffers | None = None,
) -> MemoryPlan:
    """Return what the model will occupy with ``config`` on ``hardware``, and whether it fits.

    ``kv_cache`` is the worst case, every slot full; llama.cpp reserves it at load. With llama.cpp's
    own ``buffers`` for this config, figures are its figures and the plan is exact, unless it
    plans for a device on which llama.cpp was not asked.
    """
    plans = plan_devices(shape, config, hardware, buffers)
    if buffers is None:
        return judge_plans(shape, config, plans)
    if doubt := _doubt(shape, config, plans, buffers):
        return judge_plans(replace(shape, notes=(*shape.notes, doubt)), config, plans)
    return judge_plans(replace(shape, grade="exact", notes=()), config, plans)


def plan_devices(
    shape: ModelShape,
    config: RuntimeConfig,
    hardware: Hardware,
    buffers: ContextBuffers | None = None,
) -> list[DevicePlan]:
    """Return the figures alone: the CPU first, then each accelerator that holds a layer."""
    cpu, *others = split_model(shape, config, hardware)
    accelerators = [part for part in others if part.layers or part.output]
    plans = [_plan_cpu(shape, config, cpu, _repacking_isa(hardware, accelerators))]
    copies = copied_bytes(shape, config, [cpu, *accelerators])
    for part, copied in zip(accelerators, copies, strict=True):
        plans.append(_plan_accelerator(shape, config, part, copied))
    if buffers is not None:
        plans = _with_buffers(plans, buffers, grows=config.embedding)
    if shape.projector is not None and config.sees:
        plans = _with_projector(plans, shape.projector, _place_of_projector(config, cpu, others))
    return _share_main_memory(plans, [part.device for part in others])


def judge_plans(
    shape: ModelShape, config: RuntimeConfig, plans: Sequence[DevicePlan]
) -> MemoryPlan:
    """Return the figures of ``plan_devices`` with verdict and reasons."""
    reasons = (*_reasons(config, plans), *_explain_projector(shape, config), *shape.notes)
    guesses = shape.projector is not None and config.sees and not shape.projector.is_known
    grade = "estimated" if guesses else shape.grade
    return MemoryPlan(grade, tuple(plans), verdict_of(plans), reasons)


def verdict_of(plans: Sequence[DevicePlan]) -> Verdict:
    """Return whether these plans fit their devices; tight is when little is left on one."""
    if any(plan.headroom < 0 for plan in plans):
        return "does_not_fit"
    return "tight" if any(plan.is_tight for plan in plans) else "fits"


def _repacking_isa(hardware: Hardware, accelerators: Sequence[Part]) -> frozenset[str]:
    """Return the instruction sets for which the CPU's weights are copied into another layout.

    None beside an accelerator with pinned memory: that is what llama.cpp would rather have, and
    for a mapped file the mapping (make_cpu_buft_list in src/llama-model.cpp). Metal has none.
    """
    kinds = {part.device.accelerator.kind for part in accelerators if part.device.accelerator}
    return frozenset() if kinds - {"metal"} else frozenset(hardware.cpu.isa)


def _plan_cpu(
    shape: ModelShape, config: RuntimeConfig, part: Part, isa: frozenset[str]
) -> DevicePlan:
    plain: list[Weight] = []
    plain_bytes, repacked = _bytes(shape.input), 0
    tied = {weight.start for weight in shape.input} - {None}  # the same tensor is in use twice
    for weights, count in part.weights():
        kept, copied = split_repacked(weights, isa)
        plain += kept
        plain_bytes += count * _bytes([each for each in kept if each.start not in tied])
        repacked += count * copied
    busy = bool(part.layers) or not config.n_gpu_layers
    tokens = min(config.n_ubatch, config.n_batch)
    staging = tokens * shape.n_embd * 4 + mask_bytes(shape, config)
    return DevicePlan(
        device=part.device.name,
        weights=_mapped_bytes(shape, part, plain) if config.use_mmap else plain_bytes,
        kv_cache=_kv(part.layers, shape, config),
        compute=compute_bytes(shape, config) if busy else staging,
        output=output_bytes(shape, config),
        repack=repacked,
        overhead=process_bytes(shape, config),
        available=part.device.available,
    )


def _plan_accelerator(
    shape: ModelShape, config: RuntimeConfig, part: Part, copied: int
) -> DevicePlan:
    assert part.device.accelerator is not None
    return DevicePlan(
        device=part.device.name,
        weights=sum(count * _bytes(weights) for weights, count in part.weights()),
        kv_cache=_kv(part.layers, shape, config),
        compute=compute_bytes(shape, config) + copied,
        output=0,
        repack=0,
        overhead=runtime_bytes(part.device.accelerator.kind),
        available=part.device.available,
    )


def _kv(groups: Groups, shape: ModelShape, config: RuntimeConfig) -> int:
    return sum(count * kv_bytes(block, shape, config) for block, count in groups)


def _bytes(weights: Sequence[Weight]) -> int:
    return sum(weight.n_bytes for weight in weights)


def _mapped_bytes(shape: ModelShape, part: Part, plain: Sequence[Weight]) -> int:
    """Return the part of the file that stays mapped: from the first to the last weight in use.

    Where places are not known, all weights of the device: embeddings stand at one end and norms
    in every layer, so that little is left out.
    """
    groups = [(shape.input, 1), *part.weights()]
    if all(weight.start is not None for weights, _ in groups for weight in weights):
        spans = [(weight.start or 0, weight.n_bytes) for weight in (*shape.input, *plain)]
        end = max((start + size for start, size in spans), default=0)
        return end - min((start for start, _ in spans), default=0)
    held = sum(count * _bytes(weights) for weights, count in groups[1:])
    return min(_bytes(shape.input) + held, shape.disk_bytes)


def _with_buffers(
    plans: Sequence[DevicePlan], buffers: ContextBuffers, *, grows: bool
) -> list[DevicePlan]:
    """Return ``plans`` with llama.cpp's own figures in place of ours, where it has any.

    It tells the size of all caches together; which device has how much of it remains ours. And
    of results the size at first; where that ``grows``, ours is what it comes to.
    """
    cached = sum(plan.kv_cache for plan in plans)
    shares = [plan.kv_cache / cached if cached else 0.0 for plan in plans]
    if not cached:
        shares[-1] = 1.0
    compute = {} if _not_asked(plans, buffers) else _compute_by_device(buffers)
    return [
        replace(
            plan,
            kv_cache=round(buffers.kv_cache * share),
            compute=compute.get(plan.device, plan.compute),
            output=plan.output if grows else buffers.output if plan is plans[0] else 0,
        )
        for plan, share in zip(plans, shares, strict=True)
    ]


def _doubt(
    shape: ModelShape, config: RuntimeConfig, plans: Sequence[DevicePlan], buffers: ContextBuffers
) -> str | None:
    """Return why llama.cpp's figures are not all that there is to know."""
    if unknown := _not_asked(plans, buffers):
        return f"llama.cpp was not asked about {', '.join(unknown)}, which it does not see here"
    if shape.projector is not None and config.sees:
        return "llama.cpp was asked about the model alone: what its projector takes is computed"
    if shape.architecture in _RESERVED_AGAIN and config.n_parallel > 1:
        return f"for {shape.architecture} with several slots llama.cpp takes more than it tells"
    return None


def _not_asked(plans: Sequence[DevicePlan], buffers: ContextBuffers) -> list[str]:
    known = _compute_by_device(buffers)
    return [plan.device for plan in plans if plan.device not in known]


def _compute_by_device(buffers: ContextBuffers) -> dict[str, int]:
    """Return the compute buffers by our names of devices."""
    found: dict[str, int] = {}
    for place, size in buffers.compute.items():
        found[device_at(place)] = found.get(device_at(place), 0) + size
    return found


def _place_of_projector(config: RuntimeConfig, cpu: Part, accelerators: Sequence[Part]) -> Device:
    """Return the first accelerator, even one without a layer; the CPU if none is used."""
    return accelerators[0].device if config.n_gpu_layers and accelerators else cpu.device


def _with_projector(
    plans: Sequence[DevicePlan], projector: Projector, place: Device
) -> list[DevicePlan]:
    added = [
        replace(
            plan,
            weights=plan.weights + projector.weights,
            compute=plan.compute + projector.compute,
        )
        if plan.device == place.name
        else plan
        for plan in plans
    ]
    if all(plan.device != place.name for plan in plans):
        assert place.accelerator is not None
        overhead = runtime_bytes(place.accelerator.kind)
        sizes = (projector.weights, 0, projector.compute, 0, 0, overhead, place.available)
        added.insert(1, DevicePlan(place.name, *sizes))
    return added


def _share_main_memory(plans: list[DevicePlan], devices: Sequence[Device]) -> list[DevicePlan]:
    """Take from accelerators without memory of their own what the CPU needs."""
    unified = {device.name for device in devices if device.unified}
    left = plans[0].available - plans[0].total
    return [
        replace(plan, available=min(plan.available, left)) if plan.device in unified else plan
        for plan in plans
    ]


def _reasons(config: RuntimeConfig, plans: Sequence[DevicePlan]) -> list[str]:
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
        if plan is plans[0] and config.prefix_cache:
            reasons.append(_explain_prefix_cache(config.prefix_cache, plan.headroom))
        if plan.repack and config.use_mmap:
            reasons.append(
                f"{format_size(plan.repack)} of weights are held twice, once in the layout of "
                "this CPU's kernels"
            )
    return reasons


def _explain_projector(shape: ModelShape, config: RuntimeConfig) -> list[str]:
    if shape.projector is None or config.embedding:
        return []
    size = format_size(shape.projector.weights)
    if not config.vision:
        return [f"it takes no pictures: its projector of {size} is left out"]
    about = "" if shape.projector.is_known else "about "
    return [
        f"to see, it holds its projector of {size}, counted in with {about}"
        f"{format_size(shape.projector.compute)} to encode a large picture in"
    ]


def _explain_prefix_cache(size: int, headroom: int) -> str:
    kept = f"up to {format_size(size)} more keep what was computed for earlier requests"
    if size <= headroom:
        return kept
    return f"{kept}, which is more than the {format_size(max(headroom, 0))} that are left"
