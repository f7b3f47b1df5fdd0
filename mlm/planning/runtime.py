"""Chooses the parameters with which a worker loads a model, each with its reason."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mlm.errors import UsageError
from mlm.hardware.types import Hardware
from mlm.planning.memory import plan_memory
from mlm.planning.types import ModelShape, Overrides, RuntimeConfig
from mlm.units import format_size

DEFAULT_SLOTS = 4
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


def plan_runtime(shape: ModelShape, hardware: Hardware, overrides: Overrides) -> RuntimeConfig:
    """Return the config for ``shape`` on ``hardware``; what ``overrides`` names stays as it is.

    If nothing fits, the smallest config is returned, and `plan_memory` will say so.

    Raises:
        UsageError: the overrides contradict each other, or cannot be served by this model.
    """
    _check(shape, overrides)
    choices = list(_choices(shape, overrides))
    configs = [_config(shape, hardware, overrides, choice) for choice in choices]
    asked = overrides.n_ctx_slot is not None
    usable = [c for c in configs if _acceptable(shape, c, hardware, any_ctx=asked)]
    # A model that is wholly on accelerators is several times as fast as one that is half there.
    offloaded = [config for config in usable if config.n_gpu_layers == shape.n_layer + 1]
    useful = [config for config in offloaded if config.n_ctx_slot >= _USEFUL_CTX[-1]]
    return next(iter((*useful, *usable)), configs[-1])


def _check(shape: ModelShape, overrides: Overrides) -> None:
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
    for ctx in contexts:
        yield _Choice(ctx, ladder[0], why_ctx="enough for long chats, and it fits")
    for n_parallel in ladder:
        for ctx in contexts:
            yield _Choice(ctx, n_parallel, use_mmap=False, why_ctx="the most that fits")
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


def _acceptable(
    shape: ModelShape, config: RuntimeConfig, hardware: Hardware, *, any_ctx: bool
) -> bool:
    """Return whether the config fits, and a long context that nobody asked for is cheap."""
    plan = plan_memory(shape, config, hardware)
    if plan.verdict != "fits":
        return False
    if any_ctx or config.n_ctx_slot <= _USEFUL_CTX[0]:
        return True
    kept = sum(device.kv_cache for device in plan.devices)
    return kept <= _CHEAP_SHARE * max(device.available for device in plan.devices)


def _config(
    shape: ModelShape, hardware: Hardware, overrides: Overrides, choice: _Choice
) -> RuntimeConfig:
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
    config = replace(config, n_gpu_layers=_gpu_layers(shape, config, hardware, overrides))
    if not plan_memory(shape, config, hardware).devices[0].repack:
        config = replace(config, use_mmap=True)  # without repacking, mapping costs nothing
    return replace(config, reasons=_reasons(shape, config, hardware, (overrides, choice)))


def _batches(shape: ModelShape, overrides: Overrides, choice: _Choice) -> tuple[int, int]:
    """Return n_batch and n_ubatch. An encoder sees a whole input at once, so both are its size."""
    if shape.is_encoder:
        size = max(overrides.n_batch or 0, overrides.n_ubatch or 0, choice.n_ctx_slot)
        return size, size
    n_batch = overrides.n_batch or max(_N_BATCH, overrides.n_ubatch or 0)
    return n_batch, overrides.n_ubatch or min(_N_UBATCH, n_batch)


def _gpu_layers(
    shape: ModelShape, config: RuntimeConfig, hardware: Hardware, overrides: Overrides
) -> int:
    """Return how many layers go to accelerators: as many as fit, the output being one of them."""
    everything = shape.n_layer + 1
    if overrides.n_gpu_layers == "all":
        return everything
    if overrides.n_gpu_layers is not None:
        return min(overrides.n_gpu_layers, everything)
    if not hardware.accelerators:
        return 0
    fits, too_many = 0, everything + 1
    trial = everything  # mostly all of them fit, or none do
    while fits < too_many - 1:
        plan = plan_memory(shape, replace(config, n_gpu_layers=trial), hardware)
        if any(device.is_tight for device in plan.devices[1:]):
            too_many = trial
        else:
            fits = trial
        trial = (fits + too_many) // 2
    return fits


def _reasons(
    shape: ModelShape,
    config: RuntimeConfig,
    hardware: Hardware,
    origin: tuple[Overrides, _Choice],
) -> dict[str, str]:
    overrides, choice = origin
    asked = "as you asked"
    cores = f"the {hardware.cpu.usable_cores} cores that may be used"
    slot_reason = asked if overrides.n_ctx_slot else choice.why_ctx
    return {
        "n_ctx": f"{config.n_parallel} slots of {choice.n_ctx_slot} tokens: {slot_reason}",
        "n_parallel": asked if overrides.n_parallel else _why_slots(config),
        "n_batch": asked if overrides.n_batch else _why_batch(shape),
        "n_ubatch": asked if overrides.n_ubatch else _why_batch(shape),
        "n_gpu_layers": asked
        if overrides.n_gpu_layers is not None
        else _why_layers(shape, config, hardware),
        "n_threads": asked if overrides.n_threads else cores,
        "n_threads_batch": asked if overrides.n_threads else cores,
        "type_k": asked if overrides.type_k else _why_kv(shape, config.type_k),
        "type_v": asked if overrides.type_v else _why_kv(shape, config.type_v),
        "flash_attn": asked if overrides.flash_attn else "on wherever the device can do it",
        "kv_unified": "each slot has its own part, so no request can crowd out another",
        "swa_full": "layers with a sliding window keep only the window",
        "use_mmap": "the file is shared with other programs and loads at once"
        if config.use_mmap
        else "without a mapped file, repacked weights are held only once: else it would not fit",
        "use_mlock": "pages may be taken back when memory is short",
        "embedding": "the model is an encoder" if shape.is_encoder else "the model generates text",
        "response_cache": asked
        if overrides.response_cache
        else "only requests that always get the same answer",
        "max_tokens": "answers may fill the slot",
    }


def _why_slots(config: RuntimeConfig) -> str:
    if config.n_parallel == DEFAULT_SLOTS:
        return "that many requests at a time, more wait"
    return "more slots would not fit with a useful context"


def _why_batch(shape: ModelShape) -> str:
    if shape.is_encoder:
        return "an encoder takes a whole input in one go"
    return "llama.cpp's own choice: more needs memory and gains little"


def _why_kv(shape: ModelShape, type_name: str) -> str:
    if shape.is_encoder:
        return "not used: an encoder has no KV cache"
    if type_name == "q8_0":
        return "half the size of f16 at almost no loss: f16 would not fit"
    return "what the model computes with, nothing is lost"


def _why_layers(shape: ModelShape, config: RuntimeConfig, hardware: Hardware) -> str:
    if not hardware.accelerators:
        return "there is no accelerator"
    names = " and ".join(dict.fromkeys(found.name for found in hardware.accelerators))
    free = format_size(sum(found.memory_free or 0 for found in hardware.accelerators))
    if config.n_gpu_layers == shape.n_layer + 1:
        return f"all of them fit on {names}"
    return f"{config.n_gpu_layers} of {shape.n_layer + 1} fit on {names} ({free} free)"
