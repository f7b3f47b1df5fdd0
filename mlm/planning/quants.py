"""What a quantization costs in quality, and what it is made of."""

import math

from mlm.gguf.ggml_types import TYPES_BY_NAME

# KL divergence from the full model, Llama-3-8B on WikiText-2: llama.cpp tools/perplexity/README.md,
# with an importance matrix where one was measured, as uploaders use one.
_DIVERGENCE_AT_8B = {
    "Q8_0": 0.0014, "Q6_K": 0.0055, "Q5_K_M": 0.0108, "Q5_K_S": 0.0166, "Q5_1": 0.0180,
    "Q5_0": 0.0222, "Q4_K_M": 0.0282, "Q4_K_S": 0.0320, "IQ4_NL": 0.0357, "IQ4_XS": 0.0363,
    "Q4_1": 0.0717, "Q4_0": 0.0719, "Q3_K_L": 0.0731, "Q3_K_M": 0.0844, "IQ3_M": 0.1025,
    "IQ3_S": 0.1113, "IQ3_XS": 0.1387, "IQ3_XXS": 0.1836, "Q3_K_S": 0.1998, "IQ2_M": 0.3260,
    "Q2_K": 0.3322, "Q2_K_S": 0.4034, "IQ2_S": 0.4392, "IQ2_XS": 0.5463, "IQ2_XXS": 0.8120,
    "IQ1_M": 1.3931, "IQ1_S": 2.2546,
}  # fmt: skip
# Formats in which a model was trained lose nothing.
_NATIVE = frozenset(("F32", "F16", "BF16", "MXFP4", "MXFP4_MOE", "NVFP4"))
_UNKNOWN_DIVERGENCE = 0.1
_REFERENCE_PARAMS = 8e9
# Large models lose less: in MMLU a third at 70 billion parameters, about the square root of the
# sizes (matt-c1/llama-3-quant-comparison). Beyond threefold nothing has been measured.
MOST_LOSS_FACTOR = 3.0
_BASE_TYPES = {
    "MXFP4_MOE": "MXFP4", "IQ2_M": "IQ2_S", "IQ3_M": "IQ3_S", "IQ3_XS": "IQ3_S",
}  # fmt: skip


def quality_loss(quant: str, params: int) -> float:
    """Return the share of quality, 0 to 1, that a model of that size loses by quantization."""
    factor = min(math.sqrt(_REFERENCE_PARAMS / max(params, 1)), MOST_LOSS_FACTOR)
    return 1 - math.exp(-factor * divergence_at_8b(quant))


def divergence_at_8b(quant: str) -> float:
    """Return the KL divergence that the quantization brings to a model of 8 billion parameters."""
    name = _plain(quant)
    return 0.0 if name in _NATIVE else _DIVERGENCE_AT_8B.get(name, _UNKNOWN_DIVERGENCE)


def base_type(quant: str) -> str:
    """Return the type of most tensors of a file: ``Q4_K`` for ``Q4_K_M``; Q4_K if unknown."""
    name = _plain(quant)
    name = _BASE_TYPES.get(name, name)
    for candidate in (name, name.rsplit("_", 1)[0]):
        if candidate in TYPES_BY_NAME:
            return candidate
    return "Q4_K"


def _plain(quant: str) -> str:
    """Return the quantization that an uploader's own name is nearest to: Q4_K_M for UD-Q4_K_XL."""
    name = quant.upper().removeprefix("UD-").removeprefix("I1-")
    if name.endswith("_XL"):
        name = name.removesuffix("_XL") + "_L"
    if name in _DIVERGENCE_AT_8B or name in _NATIVE:
        return name
    for ending, plain in (("_K_L", "_K_M"), ("_L", "")):
        nearest = name.removesuffix(ending) + plain
        if name.endswith(ending) and nearest in _DIVERGENCE_AT_8B:
            return nearest
    return name
