"""What a quantization costs in quality, and what it is made of."""

import math

from mlm.gguf.ggml_types import TYPES_BY_NAME

# Share of the MMLU score that is lost at 8 billion parameters. Measured on Llama-3-8B-Instruct by
# matt-c1/llama-3-quant-comparison; the last rows, which it lacks, are placed between its figures
# by their KL divergence in llama.cpp's tools/perplexity/README.md (Llama-3-8B).
_LOSS_AT_8B = {
    "Q8_0": 0.000, "Q6_K": 0.002, "Q5_K_M": 0.005, "Q5_K_S": 0.006, "Q4_K_M": 0.009,
    "Q4_K_S": 0.011, "IQ4_XS": 0.012, "IQ4_NL": 0.013, "Q3_K_L": 0.036, "Q3_K_M": 0.037,
    "IQ3_M": 0.041, "IQ3_S": 0.047, "IQ3_XS": 0.062, "IQ3_XXS": 0.072, "Q3_K_S": 0.093,
    "IQ2_M": 0.117, "Q2_K": 0.143, "IQ2_S": 0.172, "IQ2_XS": 0.233, "IQ2_XXS": 0.333,
    "IQ1_M": 0.558, "IQ1_S": 0.594,
    "Q5_1": 0.006, "Q5_0": 0.008, "Q4_1": 0.025, "Q4_0": 0.025, "Q2_K_S": 0.170,
}  # fmt: skip
# Formats in which a model was trained lose nothing.
_NATIVE = frozenset(("F32", "F16", "BF16", "MXFP4", "MXFP4_MOE", "NVFP4"))
_UNKNOWN_LOSS = 0.05
_REFERENCE_PARAMS = 8e9
# The same comparison for 70 billion parameters loses about a third as much: the square root of
# the sizes. Small models lose more; what is beyond threefold has not been measured.
_MAX_FACTOR = 3.0
_BASE_TYPES = {
    "MXFP4_MOE": "MXFP4", "IQ2_M": "IQ2_S", "IQ3_M": "IQ3_S", "IQ3_XS": "IQ3_S",
}  # fmt: skip


def quality_loss(quant: str, params: int) -> float:
    """Return the share of quality, 0 to 1, that a model of that size loses by quantization."""
    name = _plain(quant)
    if name in _NATIVE:
        return 0.0
    factor = min(math.sqrt(_REFERENCE_PARAMS / max(params, 1)), _MAX_FACTOR)
    return min(_LOSS_AT_8B.get(name, _UNKNOWN_LOSS) * factor, 0.95)


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
    if name in _LOSS_AT_8B or name in _NATIVE:
        return name
    for ending, plain in (("_K_L", "_K_M"), ("_L", "")):
        nearest = name.removesuffix(ending) + plain
        if name.endswith(ending) and nearest in _LOSS_AT_8B:
            return nearest
    return name
