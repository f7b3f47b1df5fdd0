"""How long one token takes on a CPU: what its cores compute, and what memory brings them.

With the engine installed its own kernels have been measured (`mlm.hardware.types.Arithmetic`);
else a CPU of the same instruction set is assumed. Weights are multiplied by all cores at once;
attention over the cache is bound by arithmetic, not by bandwidth, and by how far away the cache is.
"""

from collections.abc import Mapping

from mlm.hardware.types import Arithmetic, Hardware
from mlm.planning.placement import Part
from mlm.planning.traffic import Seconds, elements, seen_tokens, used_share
from mlm.planning.types import ModelShape, RuntimeConfig

_GB = 1_000_000_000
_BANDWIDTH = 30 * _GB  # two channels of DDR4-2400 have 38, single ones 19
_EFFICIENCY = 0.8  # Ollama's rates for DDR4 and LPDDR5 machines reach 0.7 to 0.9
# Bytes of quantized weights that one core can multiply per second in decode, and multiplications in
# prefill. Measured with llama-cpp-python 0.3.36 (AVX-512) and public rates of Raspberry Pis.
_CORE_BYTES_PER_S = {"amx_int8": 8 * _GB, "avx512f": 7 * _GB, "avx2": 6 * _GB, "neon": 4 * _GB}
_CORE_PRODUCTS = {"amx_int8": 60e9, "avx512_vnni": 50e9, "avx2": 15e9, "i8mm": 20e9, "neon": 7.5e9}
_SLOW_BYTES_PER_S, _SLOW_PRODUCTS = 2 * _GB, 4e9
# Per head of queries and token in the cache: one element of it takes as long as 0.3 bytes of
# weights with the kernels of AVX-512, in either type of a cache that is common.
_BYTES_PER_ELEMENT = 1.5
# Without flash attention, rows of the cache are multiplied like weights, and between K and V is a
# softmax: 60 to 80 ns per head and token on a core with AVX-512 for heads of 64 and 128.
_F16_BYTES, _SOFTMAX_BYTES = 2, 250
# Of a prompt, attention multiplies a quarter as fast as matrices of F32 are multiplied: so much of
# the time of 2048 tokens is left for it with each of the models of scripts/bench_models.py.
_ATTENTION_PREFILL = 0.25
_STEP_S = 1e-6
_STEPS_PER_LAYER = 30  # operations between which threads wait for each other (graphs of llama.cpp)
_MEASURED_SHARE = 2  # heads of queries for one of the cache, where attention was measured
# Types that were not measured run about as fast as these; all others as Q4_K.
_KIN = {
    "Q4_1": "Q4_0", "IQ4_NL": "Q4_0", "Q5_1": "Q5_0", "Q8_1": "Q8_0", "NVFP4": "MXFP4",
    "IQ1_S": "IQ2_XXS", "IQ1_M": "IQ2_XXS", "IQ2_XS": "IQ2_XXS", "IQ2_S": "IQ2_XXS",
    "IQ3_S": "IQ3_XXS", "F64": "F32",
}  # fmt: skip
_USUAL = "Q4_K"


def time_on_cpu(
    part: Part, shape: ModelShape, config: RuntimeConfig, hardware: Hardware, n_past: int
) -> tuple[Seconds, Seconds]:
    """Return the time for one token of (decode, prefill), with ``n_past`` tokens before it."""
    known = hardware.arithmetic or _assume(hardware)
    layers = [
        (weight, count * used_share(weight, shape))
        for block, count in (*part.layers, *part.experts)
        for weight in block.weights
    ]
    weights = [*layers, *((weight, used_share(weight, shape)) for weight in part.output)]
    computing = sum(w.n_bytes * n / _rate(known.reading, w.type_name) for w, n in weights)
    fetching = sum(w.n_bytes * n for w, n in weights) / known.peak_bytes_per_s
    attending = _attention_s(part, shape, config, known, n_past)
    cores = _cores(config.n_threads, known)
    waiting = part.n_layer * _STEPS_PER_LAYER * known.step_s
    decode = Seconds(max(computing / cores, fetching) + waiting, attending / cores)
    # Of a prompt only the last token needs the output.
    products = sum(elements(w) * n / _rate(known.multiplying, w.type_name) for w, n in layers)
    rate = _ATTENTION_PREFILL * _rate(known.multiplying, "F32")
    scores = sum(
        count * seen_tokens(block, shape, config, n_past) * 2 * shape.n_q / rate
        for block, count in part.layers
        if block.k
    )
    cores = _cores(config.n_threads_batch, known)
    return decode, Seconds(products / cores, scores / cores)


def _cores(n_threads: int, known: Arithmetic) -> float:
    """Return how many times the work of one core alone so many threads get done."""
    if known.n_threads == 1:
        return float(n_threads)
    each_more = (known.n_threads * known.scaling - 1) / (known.n_threads - 1)
    return 1 + (n_threads - 1) * max(each_more, 0.0)


def _attention_s(
    part: Part, shape: ModelShape, config: RuntimeConfig, known: Arithmetic, n_past: int
) -> float:
    """Return the seconds of one core for attention over the cache, in decode."""
    total = 0.0
    for block, count in part.layers:
        if not block.k:
            continue
        head = max(shape.n_q // max(shape.n_head, 1), 1)
        cells = seen_tokens(block, shape, config, n_past)
        if config.flash_attn == "off":
            n_bytes = 2 * head * _F16_BYTES + _SOFTMAX_BYTES
            total += count * cells * shape.n_head * n_bytes / _rate(known.reading, "F16")
            continue
        n_head_kv = max(block.k // head, 1)
        near, far = _attending(known, config.type_k.upper(), head)
        # What is read of the cache serves all heads of queries that belong to it.
        fetching = (far - near) * _MEASURED_SHARE * n_head_kv / max(shape.n_head, 1)
        total += count * cells * shape.n_head * (near + max(fetching, 0.0))
    return total


def _attending(known: Arithmetic, type_name: str, head: int) -> tuple[float, float]:
    """Return the figures for a cache: of the nearest type and size that were measured."""
    names = {name.split()[0] for name in known.attending}
    kin = "F16" if type_name in ("F32", "BF16") or "Q8_0" not in names else "Q8_0"
    type_name = type_name if type_name in names else kin
    sizes = [int(name.split()[1]) for name in known.attending if name.startswith(f"{type_name} ")]
    size = min(sizes, key=lambda each: (abs(each - head), head % each))
    near, far = known.attending[f"{type_name} {size}"]
    return near * head / size, far * head / size


def _rate(rates: Mapping[str, float], type_name: str) -> float:
    return rates.get(type_name) or rates.get(_KIN.get(type_name, _USUAL)) or rates[_USUAL]


def _assume(hardware: Hardware) -> Arithmetic:
    """Return what is usual with the instruction set of a CPU."""
    reading = _best(_CORE_BYTES_PER_S, hardware, _SLOW_BYTES_PER_S)
    element_s = _BYTES_PER_ELEMENT / reading
    bandwidth = hardware.memory_bandwidth_bytes_per_s or _BANDWIDTH
    return Arithmetic(
        reading={_USUAL: reading, "F16": 1.5 * reading, "IQ2_XXS": reading / 3,
                 "IQ3_XXS": reading / 3},
        multiplying={_USUAL: _best(_CORE_PRODUCTS, hardware, _SLOW_PRODUCTS)},
        attending={f"F16 {head}": (head * element_s, head * element_s) for head in (64, 128)},
        n_threads=hardware.cpu.usable_cores,
        scaling=1.0,
        peak_bytes_per_s=_EFFICIENCY * bandwidth,
        step_s=_STEP_S,
    )  # fmt: skip


def _best(rates: Mapping[str, float], hardware: Hardware, slow: float) -> float:
    """Return the rate of the best instruction set that the CPU has; tables are best first."""
    return next((rate for name, rate in rates.items() if name in hardware.cpu.isa), slow)
