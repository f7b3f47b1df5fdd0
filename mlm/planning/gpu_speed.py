"""How long one token takes on an accelerator: what its memory brings, and what each layer costs.

The constants were fitted to the llama-bench results in ``tests/planning/data`` (llama.cpp's
discussions 4167, 10879, 15013, 15396 and 16578 and its ``benches``; the repositories
XiongjieDai/GPU-Benchmarks-on-LLM-Inference, kyuz0/amd-strix-halo-toolboxes and
lhl/strix-halo-testing on GitHub) against published bandwidths. ``scripts/check_speeds.py`` fits
them again, and without the device that is predicted.
"""

from dataclasses import dataclass

from mlm.hardware.types import Accelerator, AcceleratorKind
from mlm.planning.placement import Part
from mlm.planning.traffic import Seconds, cache_bytes, elements, seen_tokens, used_share
from mlm.planning.types import ModelShape, RuntimeConfig

_GB = 1_000_000_000
# The faster a memory, the less of it one layer's small matrices can use: half at this bandwidth.
_HALF_USED_BYTES_PER_S = 5e12
_ATTENTION_PREFILL = 0.4  # attention reaches so much of the rate of products with weights
_MOE_PREFILL = 0.45  # experts get few tokens each, so that their matrices fill no accelerator


@dataclass(frozen=True, slots=True)
class Engine:
    """What a kind of back end makes of its memory."""

    efficiency: float  # share of the usable bandwidth for weights that every token needs
    experts_efficiency: float  # for experts, gathered from all over
    cache_efficiency: float  # for the KV cache
    layer_s: float  # per token and layer: launches, synchronisation
    experts_s: float  # more of it in a layer with experts
    products_per_byte: float  # multiplications in prefill per byte/s of bandwidth
    typical_bandwidth: int  # where none is known


ENGINES: dict[AcceleratorKind, Engine] = {
    "cuda": Engine(0.89, 0.81, 0.66, 43e-6, 41e-6, 44, 400 * _GB),
    "rocm": Engine(0.86, 0.75, 0.64, 45e-6, 44e-6, 33, 400 * _GB),
    "vulkan": Engine(0.88, 0.78, 0.68, 38e-6, 41e-6, 24, 250 * _GB),
    "metal": Engine(0.85, 0.79, 0.64, 49e-6, 42e-6, 11, 150 * _GB),
    # No results of llama-bench with it are among those; few of its users report half of this.
    "sycl": Engine(0.55, 0.50, 0.40, 80e-6, 50e-6, 15, 250 * _GB),
}
# What a layer costs depends on the clock: some 1.4 GHz with HBM, 1.7 up to Ampere, 2.5 since Ada.
_LAYER_TIME = {
    **dict.fromkeys(("6.0", "7.0", "8.0", "9.0", "10.0", "10.3"), 1.36),
    **dict.fromkeys(("8.9", "12.0", "12.1"), 0.67),
}
# Arc cards reach half of what others do with Vulkan (discussion 10879: A770, 22 of 46 tokens/s).
_INTEL_VULKAN = 0.5


def time_on_accelerator(
    part: Part,
    shape: ModelShape,
    config: RuntimeConfig,
    n_past: int,
    engine: Engine | None = None,
) -> tuple[Seconds, Seconds]:
    """Return the time for one token of (decode, prefill), with ``n_past`` tokens before it."""
    accelerator = part.device.accelerator
    assert accelerator is not None
    engine = engine or ENGINES[accelerator.kind]
    peak = accelerator.bandwidth_bytes_per_s or engine.typical_bandwidth
    usable = _share(accelerator) * peak / (1 + peak / _HALF_USED_BYTES_PER_S)
    reading = _cache_bytes(part, shape, config, n_past) / engine.cache_efficiency / usable
    seconds = products = attending = 0.0
    for weights, count in part.weights():
        for weight in weights:
            used = count * used_share(weight, shape)
            is_expert = weight.role == "experts"
            efficiency = engine.experts_efficiency if is_expert else engine.efficiency
            seconds += weight.n_bytes * used / efficiency / usable
            if weights is not part.output:  # of a prompt only the last token needs it
                products += elements(weight) * used
    slow = _LAYER_TIME.get(accelerator.compute_capability or "", 1.0)
    for block, count in part.layers:
        has_experts = any(weight.role == "experts" for weight in block.weights)
        seconds += count * slow * (engine.layer_s + has_experts * engine.experts_s)
        seen = seen_tokens(block, shape, config, n_past) if block.k else 0
        attending += count * seen * 2 * shape.n_q
    rate = _share(accelerator) * peak * engine.products_per_byte
    products /= _MOE_PREFILL if shape.n_expert else 1.0
    filling = Seconds(products / rate, attending / _ATTENTION_PREFILL / rate)
    return Seconds(seconds, reading), filling


def _share(accelerator: Accelerator) -> float:
    is_intel = accelerator.kind == "vulkan" and "arc" in accelerator.name.lower().split()
    return _INTEL_VULKAN if is_intel else 1.0


def _cache_bytes(part: Part, shape: ModelShape, config: RuntimeConfig, n_past: int) -> float:
    """Return the bytes of KV cache and recurrent state that one token reads or writes."""
    total = 0.0
    for block, count in part.layers:
        cells = seen_tokens(block, shape, config, n_past)
        total += count * (cells * cache_bytes(block, config) + 2 * block.state)
    return total
