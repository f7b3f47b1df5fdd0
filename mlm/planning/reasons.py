"""Says why each field of a runtime config has its value, and what of a profile could not be had."""

import re
from collections.abc import Mapping, Sequence

from mlm.hardware.types import Hardware
from mlm.planning.ladder import LONGEST_INPUT
from mlm.planning.overrides import Overrides
from mlm.planning.profiles import PROFILES, Profile
from mlm.planning.types import DevicePlan, ModelShape, RuntimeConfig
from mlm.units import format_size

ASKED = "as you asked"
_USERS = re.compile(r"\b([0-9]{1,3}) users\b")
_AMPLE_SHARE = 0.5  # of the memory that is available: locked pages cannot be taken back by anybody
# Field -> the override that decides it. What such a field holds was asked for if its reason is so.
_DECIDED_BY = {
    "n_ctx": "n_ctx_slot", "n_parallel": "n_parallel", "n_batch": "n_batch",
    "n_ubatch": "n_ubatch", "n_gpu_layers": "n_gpu_layers", "n_threads": "n_threads",
    "n_threads_batch": "n_threads", "type_k": "type_k", "type_v": "type_v",
    "flash_attn": "flash_attn", "response_cache": "response_cache",
}  # fmt: skip


def describe_slots(config: RuntimeConfig) -> str:
    """Return how the context is shared, in words."""
    slots = "1 slot" if config.n_parallel == 1 else f"{config.n_parallel} slots"
    return f"{slots} of {config.n_ctx_slot} tokens"


def explain_config(
    shape: ModelShape,
    config: RuntimeConfig,
    hardware: Hardware,
    wishes: tuple[Overrides, Profile],
    plans: Sequence[DevicePlan],
) -> dict[str, str]:
    """Return the reason of every field; ``plans`` are what the config occupies."""
    overrides, profile = wishes
    obstacle = find_lock_obstacle(hardware, plans[0])
    on_gpu = config.n_gpu_layers == shape.n_layer + 1 and not config.n_cpu_moe
    reasons = {
        "n_ctx": _why_ctx(shape, config, profile),
        "n_parallel": _why_slots(config, profile),
        "n_batch": _why_batch(shape),
        "n_ubatch": _why_ubatch(shape, config),
        "n_gpu_layers": _why_layers(shape, config, hardware),
        "n_threads": _why_threads(config, hardware),
        "n_threads_batch": _why_threads(config, hardware),
        "n_cpu_moe": _why_experts(config),
        "type_k": _why_kv(shape, config.type_k, profile),
        "type_v": _why_kv(shape, config.type_v, profile),
        "flash_attn": "on wherever the device can do it",
        "kv_unified": _why_unified(shape),
        "swa_full": "layers with a sliding window keep only the window",
        "use_mmap": _why_mmap(config),
        "use_mlock": _why_lock(config, profile, _ON_GPU if on_gpu else obstacle),
        "embedding": "the model makes vectors" if shape.embeds else "the model generates text",
        "vision": _why_vision(shape, config),
        "pooling": _why_pooling(shape),
        "prefix_cache": _why_prefix_cache(config),
        "response_cache": "only requests that always get the same answer",
        "cache_ttl_s": f"{_duration(config.cache_ttl_s)}: the profile {profile.name}",
        "max_tokens": _why_max_tokens(config, profile),
        "profile": profile.purpose,
    }
    for field, override in _DECIDED_BY.items():
        if getattr(overrides, override) is not None:
            reasons[field] = ASKED
    reasons["n_ctx"] = f"{describe_slots(config)}: {reasons['n_ctx']}"
    return reasons


def _why_vision(shape: ModelShape, config: RuntimeConfig) -> str:
    if shape.projector is None or config.embedding:
        return "with a projector beside the file it would take pictures"
    size = format_size(shape.projector.weights)
    if config.vision:
        return f"with its projector of {size} it takes pictures"
    return f"beside it there is no room for its projector of {size}"


def read_wishes(config: RuntimeConfig) -> tuple[Overrides, int | None]:
    """Return what somebody asked for when ``config`` was made, by its reasons: also of users."""
    asked: dict[str, object] = {
        override: config.n_ctx_slot if field == "n_ctx" else getattr(config, field)
        for field, override in _DECIDED_BY.items()
        if config.reasons.get(field, "").endswith(ASKED) and field != "n_threads_batch"
    }
    users = _USERS.search(config.reasons.get("n_parallel", ""))
    return Overrides(**asked), int(users[1]) if users else None  # type: ignore[arg-type]


def find_unmet(config: RuntimeConfig, reasons: Mapping[str, str], profile: Profile) -> list[str]:
    """Return what ``profile`` fixes and ``config`` does not have, each with the reason."""
    wanted: dict[str, int | str] = {"n_ctx_slot": profile.n_ctx_slot}
    wanted["n_parallel"] = profile.n_parallel
    if config.embedding:
        wanted = {}
    else:
        wanted |= {"type_k": profile.type_kv, "type_v": profile.type_kv}
    fields = {"n_ctx_slot": "n_ctx"}
    unmet = []
    for name, wish in wanted.items():
        value, reason = getattr(config, name), reasons[fields.get(name, name)]
        is_less = value < wish if isinstance(wish, int) else value != wish
        if is_less and not reason.endswith(ASKED):
            unmet.append(f"{name} is {value}, not {wish}: {reason.split(': ')[-1]}")
    if profile.use_mlock and not config.use_mlock and reasons["use_mlock"] != _ON_GPU:
        unmet.append(f"use_mlock is false, not true: {reasons['use_mlock']}")
    return unmet


def find_lock_obstacle(hardware: Hardware, cpu: DevicePlan) -> str | None:
    """Return why the weights in main memory should not be locked there; None if they may be."""
    locked, limit = cpu.weights + cpu.repack, hardware.memory.lockable
    if limit is None or limit < locked:
        allowed = "is not known" if limit is None else f"is {format_size(limit)}"
        return f"the limit on locked memory (ulimit -l) {allowed}, {format_size(locked)} are needed"
    if cpu.total > _AMPLE_SHARE * cpu.available:
        return "it would take more than half of the memory from everybody else"
    return None


def _why_ctx(shape: ModelShape, config: RuntimeConfig, profile: Profile) -> str:
    if shape.embeds:
        longest = min(shape.n_ctx_train, LONGEST_INPUT)
        return "the longest input" if config.n_ctx_slot >= longest else "memory allows no more"
    if config.n_ctx_slot > profile.n_ctx_slot:
        return "long, as its cache is small beside the memory"
    if config.n_ctx_slot == profile.n_ctx_slot:
        return profile.enough_for
    if config.n_ctx_slot >= shape.n_ctx_train:
        return "the model was trained for no more"
    return "memory allows no more"


def _why_slots(config: RuntimeConfig, profile: Profile) -> str:
    if config.embedding:
        return "inputs that share a batch, of whatever requests"
    users = profile.n_parallel != PROFILES[profile.name].n_parallel
    if config.n_parallel == profile.n_parallel:
        one_each = f"one for each of {profile.n_parallel} users"
        return one_each if users else "that many requests at a time, more wait"
    wanted = f"{profile.n_parallel} users" if users else str(profile.n_parallel)
    return f"slots for {wanted} would not fit with a useful context; who finds none free waits"


def _why_batch(shape: ModelShape) -> str:
    if shape.embeds and not shape.reads_in_pieces:
        return "the model takes a whole input in one go"
    return "llama.cpp's own choice: more needs memory and gains little"


def _why_ubatch(shape: ModelShape, config: RuntimeConfig) -> str:
    if config.n_ubatch < 512 and not shape.embeds:
        return "a small compute buffer: memory allows no more"
    return _why_batch(shape)


def _why_unified(shape: ModelShape) -> str:
    if shape.embeds:
        return "inputs of any length share one part"
    return "each slot has its own part, so no request can crowd out another"


def _why_pooling(shape: ModelShape) -> str:
    if shape.pooling == "last":
        return "the file does not say; embedding models that are decoders give their last token"
    return "as the file says" if shape.embeds else "not used: the model makes no vectors"


def _why_kv(shape: ModelShape, type_name: str, profile: Profile) -> str:
    if shape.is_encoder:
        return "not used: an encoder has no KV cache"
    if type_name != "q8_0":
        quantized = profile.type_kv != "f16"
        return "a smaller V cache needs flash attention" if quantized else _NOTHING_LOST
    half = "half the size of f16 at almost no loss"
    return half if profile.type_kv == "q8_0" else f"{half}, and f16 would not fit"


_ON_GPU = "the weights are not in main memory"
_NOTHING_LOST = "what the model computes with, nothing is lost"


def _why_layers(shape: ModelShape, config: RuntimeConfig, hardware: Hardware) -> str:
    if not hardware.accelerators:
        return "there is no accelerator"
    names = " and ".join(dict.fromkeys(found.name for found in hardware.accelerators))
    free = format_size(sum(found.memory_free or 0 for found in hardware.accelerators))
    if config.n_cpu_moe:
        return f"all of them fit on {names} ({free} free), without some of the experts"
    if config.n_gpu_layers == shape.n_layer + 1:
        return f"all of them fit on {names}"
    return f"{config.n_gpu_layers} of {shape.n_layer + 1} fit on {names} ({free} free)"


def _why_experts(config: RuntimeConfig) -> str:
    if not config.n_cpu_moe:
        return "no experts have to stay in main memory"
    return "so many layers' experts do not fit; a token needs few of them, but all of the rest"


def _why_threads(config: RuntimeConfig, hardware: Hardware) -> str:
    if config.n_threads < hardware.cpu.usable_cores:
        return "the GPU does the work; more would only wait for it"
    cpu = hardware.cpu
    why = f"the {cpu.usable_cores} cores that may be used"
    if cpu.efficiency_cores:
        return f"{why}, without {cpu.efficiency_cores} slow ones that the others would wait for"
    if (cpu.threads_per_core or 1) > 1:
        return f"{why}; second threads on them would get in their way"
    return why


def _why_mmap(config: RuntimeConfig) -> str:
    if config.use_mmap:
        return "the file is shared with other programs and loads at once"
    return "without a mapped file, repacked weights are held only once: else it would not fit"


def _why_lock(config: RuntimeConfig, profile: Profile, obstacle: str | None) -> str:
    if config.use_mlock:
        return "no other program can push the model out of memory, and there is plenty"
    if profile.use_mlock and obstacle:
        return obstacle
    return "pages may be taken back when memory is short"


def _why_prefix_cache(config: RuntimeConfig) -> str:
    if config.embedding:
        return "for vectors nothing is kept of earlier requests"
    if not config.prefix_cache:
        return "the plan leaves no memory for it"
    return f"{format_size(config.prefix_cache)}: as much as the KV cache, or half of what is left"


def _why_max_tokens(config: RuntimeConfig, profile: Profile) -> str:
    if config.max_tokens is None:
        return "answers may fill the slot"
    return f"for requests that do not say: the profile {profile.name}"


def _duration(seconds: int) -> str:
    hours = seconds // 3600
    if hours % 24 == 0:
        return "a day" if hours == 24 else f"{hours // 24} days"
    return "an hour" if hours == 1 else f"{hours} hours"
