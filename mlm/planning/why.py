"""Why a model is as fast as it is: rules from evidence to findings.

A rule says nothing where its evidence is missing. What measured and predicted speeds say comes
first, then what costs speed now, then what one may want to know.
"""

import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace

from mlm.planning.evidence import MIN_MODEL_BYTES, Evidence, Finding, Measured
from mlm.planning.memory import plan_devices, verdict_of
from mlm.planning.speed import predict_speed
from mlm.planning.types import RuntimeConfig, SpeedInterval
from mlm.planning.why_machine import MACHINE_RULES
from mlm.units import format_age, format_size

Rule = Callable[[Evidence], Iterator[Finding]]

_COLD_SHARE = 0.9  # of the file in memory: with less, reading the rest takes seconds
_EMPTY_CTX = 64  # tokens
_LONG_CTX_COST = 0.75  # of the speed with an empty context
_MAX_SLOTS = 16


def explain(evidence: Evidence) -> tuple[Finding, ...]:
    """Return why the model is as fast as it is, what matters most first."""
    found = [finding for rule in (*_MODEL_RULES, *MACHINE_RULES) for finding in rule(evidence)]
    found.sort(key=lambda finding: finding.status != "slow")  # stable: else in the order of rules
    return (judge_speed(evidence), *found)


def judge_speed(evidence: Evidence) -> Finding:
    """Return how the measured speed compares with the predicted one."""
    measured, (decode, prefill) = evidence.measured, evidence.predicted
    expected = f"{_interval(decode)} tokens/s predicted"
    if evidence.live is not None and evidence.live.decode_tps is not None:
        expected += f"; {_tps(evidence.live.decode_tps)} in all answers of {evidence.live.url}"
    is_tiny = evidence.shape.disk_bytes < MIN_MODEL_BYTES
    if measured is None and is_tiny:
        return Finding("speed", "ok", "Too small for predictions: fixed costs rule", expected)
    if measured is None:
        verb = "bench" if evidence.path is not None else "download"
        fix = f"mlm {verb} {shlex.quote(evidence.ref)}"
        return Finding("speed", "note", "Nothing measured here yet", expected, fix)
    tps = measured.decode_tps
    figures = f"{_tps(tps)} tokens/s measured ({_times(measured)}), {expected}"
    if measured.prefill_tps is not None:
        figures += f"; prompts {_tps(measured.prefill_tps)}, {_interval(prefill)} predicted"
    if is_tiny:
        return Finding("speed", "ok", "Too small for predictions: fixed costs rule", figures)
    if tps < decode.low:
        return Finding("speed", "slow", "Slower than this machine should be", figures)
    if tps > decode.high:
        return Finding("speed", "ok", "Faster than predicted", figures)
    return Finding("speed", "ok", "As fast as this machine can", figures)


def _layers_on_cpu(evidence: Evidence) -> Iterator[Finding]:
    config, n_layer = evidence.config, evidence.shape.n_layer
    cards = evidence.hardware.accelerators
    if not cards or evidence.engine is None or not evidence.engine.can_offload:
        return  # without a GPU nothing can be there; without a build for it another rule speaks
    here = n_layer + 1 - min(config.n_gpu_layers, n_layer + 1)
    if not here and not config.n_cpu_moe:
        return
    whole = replace(config, n_gpu_layers=n_layer + 1, n_cpu_moe=0)
    plans = plan_devices(evidence.shape, whole, evidence.hardware)[1:]
    needed = format_size(sum(plan.total for plan in plans))
    free = format_size(sum(plan.available for plan in plans))
    what = f"{here} of {n_layer + 1} layers are on the CPU"
    if not here:
        what = f"The experts of {config.n_cpu_moe} layers are on the CPU"
    names = ", ".join(card.name for card in cards)
    figures = f"all would take {needed} of the {free} free on {names}"
    yield Finding("layers_on_cpu", "slow", what, figures, _fix_offload(evidence, whole))


def _fix_offload(evidence: Evidence, whole: RuntimeConfig) -> str | None:
    """Return the mildest change with which all layers fit on the GPUs."""
    candidates = [("--gpu-layers all", whole)]
    quantized = replace(whole, type_k="q8_0", type_v="q8_0")
    if whole.type_k == "f16":
        candidates.append(("--gpu-layers all --type-k q8_0 --type-v q8_0", quantized))
    if (half := whole.n_ctx_slot // 2) >= 2048:
        shorter = replace(whole, n_ctx=whole.n_ctx // 2)
        candidates.append((f"--gpu-layers all --ctx {half}", shorter))
    for options, config in candidates:
        if verdict_of(plan_devices(evidence.shape, config, evidence.hardware)) == "fits":
            return evidence.serve(options)
    return evidence.smaller


def _long_context(evidence: Evidence) -> Iterator[Finding]:
    measured, config = evidence.measured, evidence.config
    n_past = measured.n_past if measured is not None else config.n_ctx_slot
    empty, full = (_decode(evidence, n) for n in (_EMPTY_CTX, n_past))
    if full > _LONG_CTX_COST * empty:
        return
    figures = f"{_tps(full)} tokens/s with {n_past} tokens in the context, {_tps(empty)} without"
    fix = evidence.serve("--type-k q8_0 --type-v q8_0") if config.type_k == "f16" else None
    if measured is not None:
        yield Finding("long_context", "slow", "The context is long", figures, fix)
    else:
        yield Finding("long_context", "note", "A full context will slow it down", figures, fix)


def _decode(evidence: Evidence, n_past: int) -> float:
    decode, _ = predict_speed(evidence.shape, evidence.config, evidence.hardware, n_past=n_past)
    return decode.mid


def _kv_cache(evidence: Evidence) -> Iterator[Finding]:
    config = evidence.config
    if "f32" in (config.type_k, config.type_v):
        figures = f"type_k {config.type_k}, type_v {config.type_v}: twice the bytes of f16"
        fix = evidence.serve("--type-k f16 --type-v f16")
        yield Finding("kv_type", "slow", "The KV cache has 32 bits", figures, fix)
    if config.flash_attn == "off" and not evidence.shape.is_encoder:
        figures = "flash_attn off: attention goes through a matrix as large as the context"
        fix = evidence.serve("--flash-attn auto")
        yield Finding("flash_attn", "slow", "Flash attention is off", figures, fix)


def _slots(evidence: Evidence) -> Iterator[Finding]:
    live, config = evidence.live, evidence.config
    if live is None:
        return
    if live.waiting:
        n = config.n_parallel
        one = "One request is answered at a time" if n == 1 else f"All {n} slots are taken"
        figures = f"{live.waiting} more wait; answers that share a batch read the weights once"
        yield Finding("batch_of_one", "slow", one, figures, _more_slots(evidence))
    elif live.active > 1:
        figures = f"{live.active} at once: each is slower than alone, all together are faster"
        yield Finding("shared", "note", "Answers share the machine", figures)


def _more_slots(evidence: Evidence) -> str | None:
    config = evidence.config
    n = min(config.n_parallel * 2, _MAX_SLOTS)
    wider = replace(config, n_parallel=n, n_ctx=config.n_ctx_slot * (1 if config.embedding else n))
    fits = verdict_of(plan_devices(evidence.shape, wider, evidence.hardware)) == "fits"
    return evidence.serve(f"--parallel {n}") if fits and n > config.n_parallel else None


def _cold_file(evidence: Evidence) -> Iterator[Finding]:
    share, path = evidence.resident_share, evidence.path
    if share is None or path is None or share >= _COLD_SHARE or not evidence.config.use_mmap:
        return
    missing = format_size(round((1 - share) * evidence.shape.disk_bytes))
    figures = f"{share:.0%} of the file is in memory".replace("%", " %")
    if evidence.live is None:
        what = "The file is not in memory"
        figures += f": the next load reads {missing} from disk"
        fix = f"cat {shlex.quote(path)} > /dev/null"
        yield Finding("cold_cache", "note", what, figures, fix)
        return
    plans = plan_devices(evidence.shape, evidence.config, evidence.hardware)
    if any(plan.repack for plan in plans):
        return  # of repacked weights the file is not read again
    what = "Parts of the weights were pushed out of memory"
    figures += f": up to {missing} come from disk again"
    yield Finding("cold_cache", "slow", what, figures, evidence.smaller)


def _bandwidth(evidence: Evidence) -> Iterator[Finding]:
    if evidence.shape.embeds:
        return
    reads = format_size(evidence.active_bytes)
    main = evidence.hardware.memory_bandwidth_bytes_per_s
    cards = [card for card in evidence.hardware.accelerators if card.bandwidth_bytes_per_s]
    shared = [card for card in evidence.hardware.accelerators if card.unified]
    if evidence.uses_cpu and main:
        most = main / max(evidence.active_bytes, 1)
        figures = f"each token reads about {reads}; main memory gives {main / 1e9:.0f} GB/s, "
        figures += f"which is {_tps(most)} tokens/s at most; only fewer bytes are faster"
        yield Finding("bandwidth", "note", "Main memory sets the pace", figures)
    elif shared and main:
        figures = f"{shared[0].name} reads main memory, {main / 1e9:.0f} GB/s"
        yield Finding("bandwidth", "note", "The GPU has no memory of its own", figures)
    elif cards:
        slowest = min(cards, key=lambda card: card.bandwidth_bytes_per_s or 0)
        rate = (slowest.bandwidth_bytes_per_s or 0) / 1e9
        figures = f"each token reads about {reads}; {slowest.name} gives {rate:.0f} GB/s"
        yield Finding("bandwidth", "note", "The GPU's memory sets the pace", figures)


def _times(measured: Measured) -> str:
    times = "once" if measured.n == 1 else f"{measured.n} times"
    return f"{times}, last {format_age(max(measured.age_s, 0))} ago"


def _interval(speed: SpeedInterval) -> str:
    return f"{_tps(speed.low)} to {_tps(speed.high)}"


def _tps(speed: float) -> str:
    return f"{speed:.3g}" if speed < 1000 else f"{speed:,.0f}"


_MODEL_RULES: tuple[Rule, ...] = (
    _layers_on_cpu,
    _slots,
    _long_context,
    _kv_cache,
    _cold_file,
    _bandwidth,
)
