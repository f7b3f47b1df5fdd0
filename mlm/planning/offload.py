"""What of a model goes to the accelerators, where not all of it fits."""

from collections.abc import Sequence
from dataclasses import replace

from mlm.hardware.types import Hardware
from mlm.planning.memory import plan_devices, verdict_of
from mlm.planning.overrides import Overrides
from mlm.planning.speed import predict_speed
from mlm.planning.types import TIGHT_SHARE, DevicePlan, ModelShape, RuntimeConfig

_Offloaded = tuple[RuntimeConfig, list[DevicePlan]]


def offload(
    shape: ModelShape, config: RuntimeConfig, hardware: Hardware, overrides: Overrides
) -> _Offloaded:
    """Put as much as fits on the accelerators, in the way that decodes fastest.

    Of a mixture of experts too large for them, either the last layers go there, or all layers but
    for the experts of the first ones: attention and what every token needs is then read there.
    """
    everything = shape.n_layer + 1
    wanted = overrides.n_gpu_layers
    count = everything if wanted == "all" else min(wanted or 0, everything)
    if not hardware.accelerators or (wanted is not None and count < everything):
        config = replace(config, n_gpu_layers=count)
        return config, plan_devices(shape, config, hardware)
    whole = replace(config, n_gpu_layers=everything)
    plans = plan_devices(shape, whole, hardware)
    if not _is_tight(plans):
        return whole, plans
    kept = _keep_experts(shape, whole, hardware)
    if wanted is not None:
        return kept or (whole, plans)
    layered = _offload_layers(shape, config, hardware, plans)
    if kept is None:
        return layered
    return max(layered, kept, key=lambda found: _merit(shape, found, hardware))


def is_all_offloaded(shape: ModelShape, config: RuntimeConfig) -> bool:
    """Whether no weight that takes part in arithmetic stays in main memory."""
    return config.n_gpu_layers == shape.n_layer + 1 and not config.n_cpu_moe


def _is_tight(plans: Sequence[DevicePlan]) -> bool:
    """Whether an accelerator has too little room."""
    return any(plan.is_tight for plan in plans[1:])


def _merit(shape: ModelShape, found: _Offloaded, hardware: Hardware) -> tuple[bool, float]:
    """Return what makes one way better than another: that main memory has room, then speed."""
    config, plans = found
    decode, _ = predict_speed(shape, config, hardware)
    return verdict_of(plans) == "fits", decode.mid


def _keep_experts(shape: ModelShape, whole: RuntimeConfig, hardware: Hardware) -> _Offloaded | None:
    """Keep the experts of as few layers as need be in main memory; None if that is not enough."""
    if not shape.n_expert:
        return None
    best: _Offloaded | None = None
    too_few, enough = 0, shape.n_layer + 1
    while too_few < enough - 1:
        config = replace(whole, n_cpu_moe=(too_few + enough) // 2)
        plans = plan_devices(shape, config, hardware)
        if _is_tight(plans):
            too_few = config.n_cpu_moe
        else:
            best, enough = (config, plans), config.n_cpu_moe
    return best


def _offload_layers(
    shape: ModelShape,
    config: RuntimeConfig,
    hardware: Hardware,
    plans: Sequence[DevicePlan],
) -> _Offloaded:
    """Offload as many layers as fit, the output being one; ``plans`` are for all, too many."""
    best: list[DevicePlan] | None = None
    fits, too_many = 0, shape.n_layer + 1
    trial = _guess(plans[1:], too_many, fits)
    while fits < too_many - 1:
        plans = plan_devices(shape, replace(config, n_gpu_layers=trial), hardware)
        if _is_tight(plans):
            too_many = trial
            trial = _guess(plans[1:], trial, fits)
        else:
            best, fits = [*plans], trial
            trial += 1
    config = replace(config, n_gpu_layers=fits)
    return config, best or plan_devices(shape, config, hardware)


def _guess(plans: Sequence[DevicePlan], trial: int, fits: int) -> int:
    """Return how many layers would probably fit where ``trial`` did not."""
    free = sum(plan.available - plan.compute - plan.overhead for plan in plans)
    per_layer = sum(plan.weights + plan.kv_cache for plan in plans) / trial
    guess = int(TIGHT_SHARE * free / per_layer) if per_layer else 0
    return max(min(guess, trial - 1), fits + 1)
