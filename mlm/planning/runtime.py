"""Chooses the parameters with which a worker loads a model, each with its reason."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mlm.errors import UsageError
from mlm.hardware.types import Hardware
from mlm.planning.ladder import Choice, choices, embedding_choices
from mlm.planning.memory import plan_devices, verdict_of
from mlm.planning.offload import is_all_offloaded, offload
from mlm.planning.overrides import Overrides
from mlm.planning.profiles import BALANCED, Profile
from mlm.planning.reasons import explain_config, find_lock_obstacle
from mlm.planning.types import TIGHT_SHARE, DevicePlan, ModelShape, RuntimeConfig
from mlm.units import MIB

MAX_SLOTS = 256  # llama.cpp's LLAMA_MAX_SEQ
MAX_THREADS = 512  # GGML_MAX_N_THREADS
_CHEAP_SHARE = 0.25  # of the memory that is available, for the KV cache of a long context
_LEAST_PREFIX_CACHE = 256 * MIB  # recurrent state is small, and kept in many copies
_PREFIX_CACHE_STEP = 64 * MIB  # so that it does not differ with every byte of free memory
_N_BATCH = 2048  # llama.cpp's own default
# With everything on a GPU, the CPU looks up tokens and waits. llama.cpp's own table has 4 threads
# ahead of 7, and both of 1 (docs/development/token_generation_performance_tips.md).
_GPU_THREADS = 4


@dataclass(frozen=True, slots=True)
class Fitted:
    """A config, still without reasons, and what it occupies."""

    config: RuntimeConfig
    plans: tuple[DevicePlan, ...]

    @property
    def fits(self) -> bool:
        """Whether every device has room for it, with some to spare."""
        return verdict_of(self.plans) == "fits"


def plan_runtime(
    shape: ModelShape, hardware: Hardware, overrides: Overrides, profile: Profile = BALANCED
) -> RuntimeConfig:
    """Return the config for ``shape`` on ``hardware``; what ``overrides`` names stays as it is.

    What ``profile`` wishes and memory does not allow is given up, and the reasons say so. If
    nothing fits, the smallest config is returned, and `plan_memory` will say so.

    Raises:
        UsageError: the overrides contradict each other, or cannot be served by this model.
    """
    fitted = fit_runtime(shape, hardware, overrides, profile)
    wishes = (overrides, profile)
    kept = 0 if shape.embeds else choose_prefix_cache(fitted.plans)
    config = replace(fitted.config, prefix_cache=kept)
    why = explain_config(shape, config, hardware, wishes, fitted.plans)
    return replace(config, reasons=why)


def choose_prefix_cache(plans: Sequence[DevicePlan]) -> int:
    """Return how much main memory may hold what was computed for earlier requests, in bytes.

    As much as the KV cache itself, but never more than half of what the plan leaves.
    """
    kv_cache, cpu = sum(plan.kv_cache for plan in plans), plans[0]
    if kv_cache == 0:
        return 0
    spare = (int(TIGHT_SHARE * cpu.available) - cpu.total) // 2
    wanted = max(kv_cache, _LEAST_PREFIX_CACHE)
    return max(0, min(wanted, spare) // _PREFIX_CACHE_STEP * _PREFIX_CACHE_STEP)


def fit_runtime(
    shape: ModelShape, hardware: Hardware, overrides: Overrides, profile: Profile = BALANCED
) -> Fitted:
    """Do the same without the reasons, for those who compare thousands of models.

    A projector for which there is no room is left out.
    """
    _check(shape, overrides)
    fitted = _fit_best(shape, hardware, overrides, profile)
    if fitted.fits or shape.projector is None:
        return fitted
    blind = _fit_best(replace(shape, projector=None), hardware, overrides, profile)
    if not blind.fits:
        return fitted
    return Fitted(replace(blind.config, vision=False), blind.plans)


def _fit_best(
    shape: ModelShape, hardware: Hardware, overrides: Overrides, profile: Profile
) -> Fitted:
    first: Fitted | None = None
    for choice in _choices(shape, overrides, profile):
        if first is not None and choice.differs_in_mapping_only(first.config):
            continue  # how the file is read decides nothing on an accelerator
        fitted = _fit(shape, hardware, (overrides, profile), choice)
        all_offloaded = is_all_offloaded(shape, fitted.config)
        could_offload_more = bool(hardware.accelerators) and not all_offloaded
        is_extravagant = choice.n_ctx_slot > profile.n_ctx_slot and _is_extravagant(
            fitted, overrides, could_offload_more
        )
        if not fitted.fits or is_extravagant:
            continue
        first = first or fitted
        if not hardware.accelerators or overrides.n_gpu_layers is not None:
            return first
        # A model that is wholly on accelerators is several times as fast as one half there.
        if all_offloaded and choice.is_useful:
            return fitted
    return first or fitted


def check_overrides(overrides: Overrides) -> None:
    """Make sure that overrides do not contradict each other, whatever the model.

    Raises:
        UsageError: they do.
    """
    if overrides.n_batch and overrides.n_ubatch and overrides.n_ubatch > overrides.n_batch:
        raise UsageError(
            f"--ubatch {overrides.n_ubatch} is more than --batch {overrides.n_batch}",
            remedy=f"--batch {overrides.n_ubatch}",
        )
    if overrides.flash_attn == "off" and overrides.type_v not in (None, "f16", "f32", "bf16"):
        raise UsageError(
            f"a V cache of type {overrides.type_v} needs flash attention",
            remedy="leave out --flash-attn off, or use --type-v f16",
        )
    if (overrides.n_parallel or 0) > MAX_SLOTS:
        raise UsageError(f"at most {MAX_SLOTS} requests can run at a time", remedy="--parallel 16")
    if (overrides.n_threads or 0) > MAX_THREADS:
        raise UsageError(f"at most {MAX_THREADS} threads are possible", remedy="leave it out")


def _check(shape: ModelShape, overrides: Overrides) -> None:
    check_overrides(overrides)
    if shape.is_encoder and overrides.n_ctx_slot and overrides.n_ctx_slot > shape.n_ctx_train:
        raise UsageError(
            f"the model takes at most {shape.n_ctx_train} tokens, --ctx asks for "
            f"{overrides.n_ctx_slot}",
            remedy=f"--ctx {shape.n_ctx_train}",
        )


def _choices(shape: ModelShape, overrides: Overrides, profile: Profile) -> Iterator[Choice]:
    if shape.embeds:
        yield from embedding_choices(shape, overrides)
    else:
        yield from choices(shape, overrides, profile)


def _is_extravagant(fitted: Fitted, overrides: Overrides, could_offload_more: bool) -> bool:
    """Return whether a long context that nobody asked for takes much of the memory."""
    if overrides.n_ctx_slot:
        return False
    if could_offload_more and overrides.n_gpu_layers is None:
        return True  # layers gain more from that memory
    kept = sum(plan.kv_cache for plan in fitted.plans)
    return kept > _CHEAP_SHARE * max(plan.available for plan in fitted.plans)


def _fit(
    shape: ModelShape, hardware: Hardware, asked: tuple[Overrides, Profile], choice: Choice
) -> Fitted:
    overrides, profile = asked
    n_batch, n_ubatch = _batches(shape, overrides, choice)
    can_quantize_v = overrides.flash_attn != "off"
    threads = overrides.n_threads or min(hardware.cpu.usable_cores, MAX_THREADS)
    config = RuntimeConfig(
        n_ctx=choice.n_ctx_slot * (1 if shape.embeds else choice.n_parallel),
        n_parallel=choice.n_parallel,
        n_batch=n_batch,
        n_ubatch=n_ubatch,
        n_gpu_layers=0,
        n_threads=threads,
        n_threads_batch=threads,
        type_k=overrides.type_k or choice.type_kv,
        type_v=overrides.type_v or (choice.type_kv if can_quantize_v else "f16"),
        flash_attn=overrides.flash_attn or "auto",
        use_mmap=choice.use_mmap,
        kv_unified=shape.embeds,
        embedding=shape.embeds,
        pooling=shape.pooling,
        response_cache=overrides.response_cache or "deterministic",
        cache_ttl_s=profile.cache_ttl_s,
        max_tokens=profile.max_tokens,
        profile=profile.name,
    )
    config, plans = offload(shape, config, hardware, overrides)
    if not config.use_mmap and not plans[0].repack:
        config = replace(config, use_mmap=True)  # without repacking, mapping costs nothing
        plans = plan_devices(shape, config, hardware)
    if is_all_offloaded(shape, config) and not overrides.n_threads:
        threads = min(hardware.cpu.usable_cores, _GPU_THREADS)
        config = replace(config, n_threads=threads, n_threads_batch=threads)
    if profile.use_mlock and find_lock_obstacle(hardware, plans[0]) is None:
        config = replace(config, use_mlock=not is_all_offloaded(shape, config))
    return Fitted(config, tuple(plans))


def _batches(shape: ModelShape, overrides: Overrides, choice: Choice) -> tuple[int, int]:
    """Return n_batch and n_ubatch. What has to be seen whole is one batch, so both are its size."""
    if shape.embeds and not shape.reads_in_pieces:
        asked = (overrides.n_batch or 0, overrides.n_ubatch or 0)
        size = max(*asked, choice.n_ctx_slot, choice.n_parallel)
        return size, size
    n_batch = overrides.n_batch or max(_N_BATCH, overrides.n_ubatch or 0)
    return n_batch, overrides.n_ubatch or min(choice.n_ubatch, n_batch)
