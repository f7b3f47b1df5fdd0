"""How fast a model will run: always an interval, as machines differ from their data sheets.

Decoding reads every active weight and the KV cache once per token, so it is bound by memory
bandwidth; prefill multiplies, so it is bound by arithmetic. The constants fit about 150 public
results for Llama-2-7B, Llama-3-8B and 70B and Llama-3.2-3B on one device (llama.cpp discussions
4167, 10879, 15013 and github.com/XiongjieDai/GPU-Benchmarks-on-LLM-Inference) against published
bandwidths: half of the decode figures come out within 8 %, five sixths within 35 %; CUDA leans
to newer builds, which are faster.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mlm.hardware.types import Hardware
from mlm.planning.buffers import kv_bytes
from mlm.planning.calibration import NOTHING_KNOWN, Calibration, Correction
from mlm.planning.placement import Device, Groups, devices_of, place_layers, split_model
from mlm.planning.types import ModelShape, RuntimeConfig, SpeedInterval, Weight
from mlm.stats.types import DeviceKind

_GB = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Engine:
    """What a kind of device makes of its bandwidth."""

    efficiency: float  # share of the bandwidth that decoding reaches on large models
    overhead_s: float  # per token and layer: launches, synchronisation
    flops_per_byte: float  # prefill arithmetic per byte/s of bandwidth
    typical_bandwidth: int  # where none is known


_ENGINES = {
    "cuda": _Engine(0.80, 50e-6, 68.0, 400 * _GB),
    "rocm": _Engine(0.85, 60e-6, 35.0, 400 * _GB),
    "vulkan": _Engine(0.85, 40e-6, 48.0, 250 * _GB),
    "sycl": _Engine(0.55, 80e-6, 30.0, 250 * _GB),
    "metal": _Engine(0.88, 90e-6, 21.0, 150 * _GB),
}
_CPU_EFFICIENCY = 0.8  # Ollama's rates for DDR4 and LPDDR5 machines reach 0.7 to 0.9
_CPU_OVERHEAD_S = 20e-6
_CPU_BANDWIDTH = 30 * _GB  # two channels of DDR4-2400 have 38, single ones 19
# Bytes of quantized weights that one core can multiply per second while decoding, and arithmetic
# in prefill. Measured with llama-cpp-python 0.3.36 (AVX-512, AMX) and public Raspberry Pi 5 rates.
_CORE_BYTES_PER_S = {"amx_int8": 8 * _GB, "avx512f": 7 * _GB, "avx2": 6 * _GB, "neon": 4 * _GB}
_CORE_FLOPS = {"amx_int8": 120e9, "avx512_vnni": 60e9, "avx2": 30e9, "i8mm": 40e9, "neon": 15e9}
_SLOW_CORE_BYTES_PER_S, _SLOW_CORE_FLOPS = 2 * _GB, 8e9
TYPICAL_TOKENS = 1024  # in the context, where nobody says how many
# Spread of public results around these medians; wider where figures had to be assumed.
_LOW, _HIGH = 0.65, 1.3
_LOW_ASSUMED, _HIGH_ASSUMED = 0.4, 2.0
_PREFILL_LOW, _PREFILL_HIGH = 0.45, 1.9


def predict_speed(
    shape: ModelShape,
    config: RuntimeConfig,
    hardware: Hardware,
    *,
    n_past: int = TYPICAL_TOKENS,
    calibration: Calibration = NOTHING_KNOWN,
    model: str | None = None,
) -> tuple[SpeedInterval, SpeedInterval]:
    """Return tokens per second of (decode, prefill) for one request alone.

    Decoding is counted with ``n_past`` tokens in the context, or as many as fit a slot. With a
    ``calibration`` from the machine's own runs, of this ``model`` or others, the figures are
    corrected and the intervals narrower. For an encoder only prefill means something; its decode
    figure is the same.
    """
    devices = devices_of(hardware)
    placed = place_layers(shape.n_layer, config.n_gpu_layers, devices)
    parts = split_model(shape, config, hardware)
    decode_s = prefill_s = 0.0
    active = _active_share(shape)
    for part in parts:
        device, groups, output = part.device, [*part.layers, *part.experts], part.output
        if not groups and not output:
            continue
        n_layer = sum(count for _, count in part.layers)
        touched = _touched(groups, output, active) + _cached(groups, shape, config, n_past)
        share = (n_layer + bool(output)) / (shape.n_layer + bool(shape.output))
        flops = 2.0 * shape.params_active * share
        if device.accelerator is None:
            decode_s += _cpu_decode_s(touched, n_layer, config, hardware)
            prefill_s += flops / _cpu_flops(config, hardware)
        else:
            engine = _ENGINES[device.accelerator.kind]
            bandwidth = device.accelerator.bandwidth_bytes_per_s or engine.typical_bandwidth
            decode_s += touched / (bandwidth * engine.efficiency) + n_layer * engine.overhead_s
            prefill_s += flops / (bandwidth * engine.flops_per_byte)
    known = _is_known(hardware, placed)
    low, high = (_LOW, _HIGH) if known else (_LOW_ASSUMED, _HIGH_ASSUMED)
    kind = device_kind(devices, placed)
    prefill = _interval(1 / prefill_s, _PREFILL_LOW, _PREFILL_HIGH)
    prefill = _correct(prefill, calibration.find(kind, "prefill_tps", model))
    if shape.is_encoder:
        return prefill, prefill
    decode = _interval(1 / decode_s, low, high)
    return _correct(decode, calibration.find(kind, "decode_tps", model)), prefill


def device_kind(devices: Sequence[Device], placed: Sequence[range]) -> DeviceKind:
    """Return where the layers are, as the ledger puts it; "mixed" is partly on the CPU."""
    kinds: set[DeviceKind] = {
        device.accelerator.kind if device.accelerator else "cpu"
        for device, layers in zip(devices, placed, strict=True)
        if layers
    }
    return kinds.pop() if len(kinds) == 1 else "mixed"


def _correct(speed: SpeedInterval, correction: Correction | None) -> SpeedInterval:
    """Return ``speed`` as earlier runs have it; never wider than it was."""
    if correction is None:
        return speed
    low = max(speed.low / speed.mid, correction.low)
    high = min(speed.high / speed.mid, correction.high)
    return _interval(speed.mid * correction.factor, low, high)


def _active_share(shape: ModelShape) -> float:
    return shape.n_expert_used / shape.n_expert if shape.n_expert else 1.0


def _touched(groups: Groups, output: Sequence[Weight], active: float) -> float:
    """Return the bytes of weights that one token reads."""
    total = sum(float(weight.n_bytes) for weight in output)
    for block, count in groups:
        total += count * sum(
            weight.n_bytes * (active if weight.role == "experts" else 1) for weight in block.weights
        )
    return total


def _cached(groups: Groups, shape: ModelShape, config: RuntimeConfig, n_past: int) -> float:
    """Return the bytes of KV cache that one token reads with ``n_past`` tokens before it."""
    filled = min(n_past / config.n_ctx_slot, 1.0) / config.n_parallel
    return filled * sum(count * kv_bytes(block, shape, config) for block, count in groups)


def _cpu_decode_s(touched: float, n_layer: int, config: RuntimeConfig, hardware: Hardware) -> float:
    bandwidth = hardware.memory_bandwidth_bytes_per_s or _CPU_BANDWIDTH
    core = _best(_CORE_BYTES_PER_S, hardware, _SLOW_CORE_BYTES_PER_S)
    reading = touched / (bandwidth * _CPU_EFFICIENCY)
    multiplying = touched / (core * config.n_threads)
    return max(reading, multiplying) + n_layer * _CPU_OVERHEAD_S


def _cpu_flops(config: RuntimeConfig, hardware: Hardware) -> float:
    return _best(_CORE_FLOPS, hardware, _SLOW_CORE_FLOPS) * config.n_threads_batch


def _best(rates: dict[str, float] | dict[str, int], hardware: Hardware, slow: float) -> float:
    """Return the rate of the best instruction set that the CPU has; tables are best first."""
    return next((rate for name, rate in rates.items() if name in hardware.cpu.isa), slow)


def _is_known(hardware: Hardware, placed: Sequence[range]) -> bool:
    """Return whether the bandwidths that matter were given rather than assumed."""
    return all(
        found.accelerator.bandwidth_bytes_per_s
        if found.accelerator
        else hardware.memory_bandwidth_bytes_per_s
        for found, layers in zip(devices_of(hardware), placed, strict=True)
        if layers
    )


def _interval(mid: float, low: float, high: float) -> SpeedInterval:
    return SpeedInterval(low=mid * low, mid=mid, high=mid * high)
