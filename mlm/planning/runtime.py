"""Chooses the parameters with which a worker loads a model, each with its reason."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mlm.errors import UsageError
from mlm.hardware.types import Hardware
from mlm.planning.memory import plan_devices, verdict_of
from mlm.planning.reasons import DEFAULT_SLOTS, explain_config
from mlm.planning.types import TIGHT_SHARE, DevicePlan, ModelShape, Overrides, RuntimeConfig

MAX_SLOTS = 256  # llama.cpp's LLAMA_MAX_SEQ
MAX_THREADS = 512  # GGML_MAX_N_THREADS
# Contexts of a slot, preferred first. Longer ones are taken only while they stay cheap.
_USEFUL_CTX = (8192, 4096)
_LONG_CTX = (32768, 16384)
_SHORT_CTX = (2048, 1024, 512)
_CHEAP_SHARE = 0.25  # of the memory that is available, for the KV cache of a long context
_N_BATCH, _N_UBATCH = 2048, 512  # llama.cpp's own defaults
_MAX_ENCODER_BATCH = 8192


@dataclass(frozen=True, slots=True)
class _Choice:
    """What memory decides about; the rest of a config follows from the machine."""

    n_ctx_slot: int
    n_parallel: int
    type_kv: str = "f16"
    use_mmap: bool = True
    why_ctx: str = ""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A config, still without reasons, and what it occupies."""

    config: RuntimeConfig
    plans: tuple[DevicePlan, ...]
    why_ctx: str

    @property
    def fits(self) -> bool:
        """Whether every device has room for it, with some to spare."""
        return verdict_of(self.plans) == "fits"


def plan_runtime(shape: ModelShape, hardware: Hardware, overrides: Overrides) -> RuntimeConfig:
    """Return the config for ``shape`` on ``hardware``; what ``overrides`` names stays as it is.

    If nothing fits, the smallest config is returned, and `plan_memory` will say so.

    Raises:
        UsageError: the overrides contradict each other, or cannot be served by this model.
    """
    fitted = fit_runtime(shape, hardware, overrides)
    why = explain_config(shape, fitted.config, hardware, overrides, fitted.why_ctx)
    return replace(fitted.config, reasons=why)


def fit_runtime(shape: ModelShape, hardware: Hardware, overrides: Overrides) -> Fitted:
    """Do the same without the reasons, for those who compare thousands of models."""
    _check(shape, overrides)
    first = None
    for choice in _choices(shape, overrides):
        if first is not None and _differs_in_mapping_only(choice, first.config):
            continue  # how the file is read decides nothing on an accelerator
        fitted = _fit(shape, hardware, overrides, choice)
        is_offloaded = fitted.config.n_gpu_layers == shape.n_layer + 1
        could_offload_more = bool(hardware.accelerators) and not is_offloaded
        if not fitted.fits or _is_extravagant(fitted, overrides, could_offload_more):
            continue
        first = first or fitted
        if not hardware.accelerators or overrides.n_gpu_layers is not None:
            return first
        # A model that is wholly on accelerators is several times as fast as one half there.
        if is_offloaded and choice.n_ctx_slot >= _USEFUL_CTX[-1]:
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


def _choices(shape: ModelShape, overrides: Overrides) -> Iterator[_Choice]:
    """Yield what to try, best first."""
    slots = overrides.n_parallel
    if shape.is_encoder:
        ctx = overrides.n_ctx_slot or min(shape.n_ctx_train, _MAX_ENCODER_BATCH)
        yield _Choice(ctx, slots or DEFAULT_SLOTS, why_ctx="the longest input of the model")
        return
    if overrides.n_ctx_slot:
        contexts, long, short = [overrides.n_ctx_slot], [], []
    else:
        contexts, long, short = (
            _within(shape.n_ctx_train, sizes) for sizes in (_USEFUL_CTX, _LONG_CTX, _SHORT_CTX)
        )
        contexts = contexts or [shape.n_ctx_train]
    ladder = [slots] if slots else [DEFAULT_SLOTS, 2, 1]
    for ctx in long:
        yield _Choice(ctx, ladder[0], why_ctx="long, as its cache is small beside the memory")
    for n_parallel in ladder:
        for ctx in contexts:
            why = "enough for long chats" if ctx == _USEFUL_CTX[0] else "the most that fits"
            yield _Choice(ctx, n_parallel, why_ctx=why)
            yield _Choice(ctx, n_parallel, use_mmap=False, why_ctx=why)
    last = ladder[-1]
    if overrides.type_k is None and overrides.type_v is None and overrides.flash_attn != "off":
        yield _Choice(contexts[-1], last, "q8_0", use_mmap=False, why_ctx="the most that fits")
    for ctx in short:
        yield _Choice(ctx, last, use_mmap=False, why_ctx="memory allows no more")


def _within(n_ctx_train: int, sizes: tuple[int, ...]) -> list[int]:
    """Return the sizes that the model was trained for; its own limit replaces a larger one."""
    fitting = [size for size in sizes if size <= n_ctx_train]
    if n_ctx_train < sizes[0] and n_ctx_train > sizes[-1]:
        return [n_ctx_train, *fitting]
    return fitting


def _differs_in_mapping_only(choice: _Choice, config: RuntimeConfig) -> bool:
    sizes = (choice.n_ctx_slot, choice.n_parallel, choice.type_kv)
    return sizes == (config.n_ctx_slot, config.n_parallel, config.type_k)


def _is_extravagant(fitted: Fitted, overrides: Overrides, could_offload_more: bool) -> bool:
    """Return whether a long context that nobody asked for takes much of the memory."""
    if overrides.n_ctx_slot or fitted.config.n_ctx_slot <= _USEFUL_CTX[0]:
        return False
    if could_offload_more and overrides.n_gpu_layers is None:
        return True  # layers gain more from that memory
    kept = sum(plan.kv_cache for plan in fitted.plans)
    return kept > _CHEAP_SHARE * max(plan.available for plan in fitted.plans)


def _fit(shape: ModelShape, hardware: Hardware, overrides: Overrides, choice: _Choice) -> Fitted:
    n_batch, n_ubatch = _batches(shape, overrides, choice)
    threads = overrides.n_threads or hardware.cpu.usable_cores
    config = RuntimeConfig(
        n_ctx=choice.n_ctx_slot * choice.n_parallel,
        n_parallel=choice.n_parallel,
        n_batch=n_batch,
        n_ubatch=n_ubatch,
        n_gpu_layers=0,
        n_threads=threads,
        n_threads_batch=threads,
        type_k=overrides.type_k or choice.type_kv,
        type_v=overrides.type_v or choice.type_kv,
        flash_attn=overrides.flash_attn or "auto",
        use_mmap=choice.use_mmap,
        embedding=shape.is_encoder,
        response_cache=overrides.response_cache or "deterministic",
    )
    config, plans = _offload(shape, config, hardware, overrides)
    if not config.use_mmap and not plans[0].repack:
        config = replace(config, use_mmap=True)  # without repacking, mapping costs nothing
        plans = plan_devices(shape, config, hardware)
    return Fitted(config, tuple(plans), choice.why_ctx)


def _batches(shape: ModelShape, overrides: Overrides, choice: _Choice) -> tuple[int, int]:
    """Return n_batch and n_ubatch. An encoder sees a whole input at once, so both are its size."""
    if shape.is_encoder:
        size = max(overrides.n_batch or 0, overrides.n_ubatch or 0, choice.n_ctx_slot)
        return size, size
    n_batch = overrides.n_batch or max(_N_BATCH, overrides.n_ubatch or 0)
    return n_batch, overrides.n_ubatch or min(_N_UBATCH, n_batch)


def _offload(
    shape: ModelShape, config: RuntimeConfig, hardware: Hardware, overrides: Overrides
) -> tuple[RuntimeConfig, list[DevicePlan]]:
    """Put as many layers as fit on accelerators, the output being one of them."""
    everything = shape.n_layer + 1
    wanted = overrides.n_gpu_layers
    if wanted is not None or not hardware.accelerators:
        count = everything if wanted == "all" else min(wanted or 0, everything)
        config = replace(config, n_gpu_layers=count)
        return config, plan_devices(shape, config, hardware)
    best: list[DevicePlan] | None = None
    fits, too_many = 0, everything + 1
    trial = everything  # mostly all of them fit
    while fits < too_many - 1:
        plans = plan_devices(shape, replace(config, n_gpu_layers=trial), hardware)
        if any(plan.is_tight for plan in plans[1:]):
            too_many = trial
            trial = _guess(plans[1:], trial, fits)
        else:
            best, fits = plans, trial
            trial += 1
    config = replace(config, n_gpu_layers=fits)
    return config, best or plan_devices(shape, config, hardware)


def _guess(plans: Sequence[DevicePlan], trial: int, fits: int) -> int:
    """Return how many layers would probably fit where ``trial`` did not."""
    free = sum(plan.available - plan.compute - plan.overhead for plan in plans)
    per_layer = sum(plan.weights + plan.kv_cache for plan in plans) / trial
    guess = int(TIGHT_SHARE * free / per_layer) if per_layer else 0
    return max(min(guess, trial - 1), fits + 1)
