"""Says why each field of a runtime config has its value."""

from mlm.hardware.types import Hardware
from mlm.planning.types import ModelShape, Overrides, RuntimeConfig
from mlm.units import format_size

DEFAULT_SLOTS = 4


def describe_slots(config: RuntimeConfig) -> str:
    """Return how the context is shared, in words."""
    slots = "1 slot" if config.n_parallel == 1 else f"{config.n_parallel} slots"
    return f"{slots} of {config.n_ctx_slot} tokens"


def explain_config(
    shape: ModelShape,
    config: RuntimeConfig,
    hardware: Hardware,
    overrides: Overrides,
    why_ctx: str,
) -> dict[str, str]:
    """Return the reason of every field; ``why_ctx`` is that of the context."""
    asked = "as you asked"
    cores = f"the {hardware.cpu.usable_cores} cores that may be used"
    slot_reason = asked if overrides.n_ctx_slot else why_ctx
    return {
        "n_ctx": f"{describe_slots(config)}: {slot_reason}",
        "n_parallel": asked if overrides.n_parallel else _why_slots(config),
        "n_batch": asked if overrides.n_batch else _why_batch(shape),
        "n_ubatch": asked if overrides.n_ubatch else _why_batch(shape),
        "n_gpu_layers": asked
        if overrides.n_gpu_layers is not None
        else _why_layers(shape, config, hardware),
        "n_cpu_moe": "no experts have to stay in main memory",
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
