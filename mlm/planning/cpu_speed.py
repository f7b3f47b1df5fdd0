"""How long one token takes on a CPU: what its cores compute, and what memory brings them.

With the engine installed its own kernels have been measured on all cores at once, memory and all
(`mlm.hardware.types.Arithmetic`); else a CPU of the same instruction set is assumed. Attention over
the cache is bound by arithmetic, not by bandwidth.
"""

import math
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
_MATRICES_PER_LAYER = 7
_STEPS_PER_LAYER = 30  # operations between which threads wait for each other (graphs of llama.cpp)
# llama.cpp looks at a cache in portions of so many tokens, the new one included: at 1024 at five of
# them. From two portions on each thread takes a part of them, if they are of a plain type, and the
# last ones may have less to do than the first.
_PORTION, _PLAIN = 256, ("f16", "f32")
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
    n_bytes = sum(w.n_bytes * n for w, n in weights)
    share = _share(config.n_threads, known)
    reading = sum(w.n_bytes * n / _rate(known.reading, w.type_name) for w, n in weights)
    if hardware.arithmetic is None:
        reading = max(reading, share * n_bytes / _bandwidth(hardware))
    # Catalogs do not tell one matrix of a layer from another of the same type.
    starting = part.n_layer * _MATRICES_PER_LAYER * sum(
        w.n_bytes * n * _rate(known.starting, w.type_name) for w, n in weights
    ) / max(n_bytes, 1)  # fmt: skip
    attending = _attention_s(part, shape, config, known, n_past)
    waiting = part.n_layer * _STEPS_PER_LAYER * known.step_s
    decode = Seconds((reading + starting) / share + waiting, attending / share)
    # Of a prompt only the last token needs the output.
    products = sum(elements(w) * n / _rate(known.multiplying, w.type_name) for w, n in layers)
    rate = _ATTENTION_PREFILL * _rate(known.multiplying, "F32")
    scores = sum(
        count * seen_tokens(block, shape, config, n_past) * 2 * shape.n_q / rate
        for block, count in part.layers
        if block.k
    )
    share = _share(config.n_threads_batch, known)
    return decode, Seconds(products / share, scores / share)


def _share(n_threads: int, known: Arithmetic) -> float:
    """Return how much so many threads get done, of what was measured."""
    if known.n_threads == 1:
        return float(n_threads)
    all_cores = max(known.n_threads * known.scaling, 1.0)  # times the work of one alone
    each_more = (all_cores - 1) / (known.n_threads - 1)
    return (1 + (n_threads - 1) * each_more) / all_cores


def _attention_s(
    part: Part, shape: ModelShape, config: RuntimeConfig, known: Arithmetic, n_past: int
) -> float:
    """Return the seconds of attention over the cache, in decode."""
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
        busy = _cells_of_busiest(cells, config) * config.n_threads
        total += count * busy * shape.n_head * _attending_s(known, config, head)
    return total


def _cells_of_busiest(cells: int, config: RuntimeConfig) -> float:
    """Return how many tokens of the cache the thread that has most to do looks at."""
    n_portions = min(cells // _PORTION + 1, -(-config.n_ctx_slot // _PORTION))
    if n_portions < 2 or config.type_k not in _PLAIN or config.type_v != config.type_k:
        return cells / config.n_threads  # they share the heads
    return min(cells, math.ceil(n_portions * _PORTION / config.n_threads))


def _attending_s(known: Arithmetic, config: RuntimeConfig, head: int) -> float:
    """Return the seconds for a head of queries and a token, of the nearest that was measured."""
    type_name = config.type_k.upper()
    names = {name.split()[0] for name in known.attending}
    kin = "F16" if type_name in ("F32", "BF16") or "Q8_0" not in names else "Q8_0"
    type_name = type_name if type_name in names else kin
    sizes = [int(name.split()[1]) for name in known.attending if name.startswith(f"{type_name} ")]
    size = min(sizes, key=lambda each: (abs(each - head), head % each))
    return known.attending[f"{type_name} {size}"] * head / size


def _rate(rates: Mapping[str, float], type_name: str) -> float:
    return rates.get(type_name) or rates.get(_KIN.get(type_name, _USUAL)) or rates[_USUAL]


def _assume(hardware: Hardware) -> Arithmetic:
    """Return what is usual with the instruction set of a CPU, memory put aside."""
    cores = hardware.cpu.usable_cores
    reading = cores * _best(_CORE_BYTES_PER_S, hardware, _SLOW_BYTES_PER_S)
    element_s = _BYTES_PER_ELEMENT / reading
    return Arithmetic(
        reading={_USUAL: reading, "F16": 1.5 * reading, "IQ2_XXS": reading / 3,
                 "IQ3_XXS": reading / 3},
        starting={_USUAL: 0.0},
        multiplying={_USUAL: cores * _best(_CORE_PRODUCTS, hardware, _SLOW_PRODUCTS)},
        attending={f"F16 {head}": head * element_s for head in (64, 128)},
        step_s=_STEP_S,
        n_threads=cores,
        scaling=1.0,
        n_cpus=cores,
    )  # fmt: skip


def _bandwidth(hardware: Hardware) -> float:
    """Return the bytes per second that memory brings to all cores."""
    return _EFFICIENCY * (hardware.memory_bandwidth_bytes_per_s or _BANDWIDTH)


def _best(rates: Mapping[str, float], hardware: Hardware, slow: float) -> float:
    """Return the rate of the best instruction set that the CPU has; tables are best first."""
    return next((rate for name, rate in rates.items() if name in hardware.cpu.isa), slow)
