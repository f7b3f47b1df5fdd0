"""Which type each tensor gets from llama-quantize, by its own rules.

After ``llama_tensor_get_type_impl`` and ``tensor_type_fallback`` in ``src/llama-quant.cpp`` of the
llama.cpp inside llama-cpp-python 0.3.36; the names are those of its file types.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mlm.gguf.ggml_types import TYPES_BY_NAME
from mlm.planning.tensors import Part

# llama_ftype_get_default_type
_DEFAULT_TYPES: Mapping[str, str] = {
    "Q2_K": "Q2_K", "Q2_K_S": "Q2_K", "Q3_K_S": "Q3_K", "Q3_K_M": "Q3_K", "Q3_K_L": "Q3_K",
    "Q4_K_S": "Q4_K", "Q4_K_M": "Q4_K", "Q5_K_S": "Q5_K", "Q5_K_M": "Q5_K", "Q6_K": "Q6_K",
    "IQ1_S": "IQ1_S", "IQ1_M": "IQ1_M", "IQ2_XXS": "IQ2_XXS", "IQ2_XS": "IQ2_XS",
    "IQ2_S": "IQ2_XS", "IQ2_M": "IQ2_S", "IQ3_XXS": "IQ3_XXS", "IQ3_XS": "IQ3_S",
    "IQ3_S": "IQ3_S", "IQ3_M": "IQ3_S", "IQ4_NL": "IQ4_NL", "IQ4_XS": "IQ4_XS",
    "TQ1_0": "TQ1_0", "TQ2_0": "TQ2_0", "MXFP4_MOE": "MXFP4", "Q4_0": "Q4_0", "Q4_1": "Q4_1",
    "Q5_0": "Q5_0", "Q5_1": "Q5_1", "Q8_0": "Q8_0", "F16": "F16", "BF16": "BF16", "F32": "F32",
}  # fmt: skip
_FALLBACKS: Mapping[str, str] = {
    "IQ1_S": "IQ4_NL", "IQ1_M": "IQ4_NL", "IQ2_XXS": "IQ4_NL", "IQ2_XS": "IQ4_NL",
    "IQ2_S": "IQ4_NL", "IQ3_XXS": "IQ4_NL", "IQ3_S": "IQ4_NL", "IQ4_XS": "IQ4_NL",
    "Q2_K": "Q4_0", "Q3_K": "Q4_0", "TQ1_0": "Q4_0", "TQ2_0": "Q4_0",
    "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0",
}  # fmt: skip
_TINY = frozenset(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M"))
_EXPERT_OUTPUTS = frozenset((
    "Q2_K", "IQ3_XS", "IQ3_XXS", "Q3_K_S", "Q3_K_M", "IQ4_NL", "Q4_K_S", "Q4_K_M", "IQ3_S",
    "IQ3_M", "IQ4_XS",
))  # fmt: skip
_OUTPUTS: Mapping[str, str] = {
    "Q2_K": "Q3_K",
    "IQ3_XXS": "IQ3_S",
    "Q3_K_M": "Q4_K",
    "Q3_K_L": "Q5_K",
    "IQ3_M": "Q4_K",
}

# Until 2026 fused attention had rules of its own; files of models of before are made by them.
_FUSED: Mapping[str, str] = {
    "Q3_K_M": "Q4_K", "Q3_K_L": "Q4_K", "IQ3_M": "Q4_K", "Q4_K_M": "Q5_K", "Q5_K_M": "Q6_K",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a file is quantized: its file type, and what of the model the rules look at."""

    quant: str  # Q4_K_M
    n_layer: int
    n_gqa: int  # query heads per KV head
    n_expert: int
    is_tied: bool  # the output is the table of tokens
    is_70b: bool  # 80 layers of a llama with shared KV heads
    n_attn_v: int  # tensors that count as values of the attention
    is_early: bool = False  # a model whose files are from before 2026
    has_imatrix: bool = True
    is_of_2023: bool = False
    table_type: str | None = None  # of token_embd and output, where the uploader chose it
    experts_type: str | None = None  # in which they were trained, and stay

    @property
    def default_type(self) -> str:
        """The type of most tensors."""
        return _DEFAULT_TYPES[self.quant]


def is_known_quant(quant: str) -> bool:
    """Whether llama-quantize has a file type of that name."""
    return quant in _DEFAULT_TYPES


def stored_bytes(part: Part, type_name: str) -> int:
    """Return what a part takes in a file."""
    kind = TYPES_BY_NAME[type_name]
    return -(-part.count // kind.block) * kind.n_bytes


def choose_type(part: Part, recipe: Recipe, i_attn_v: int = 0) -> str:
    """Return the type of a tensor; ``i_attn_v`` counts the values of the attention before it."""
    if part.kind == "plain":
        return "F32"
    if part.is_expert and recipe.experts_type:
        return recipe.experts_type
    wanted = recipe.default_type
    if wanted in ("F32", "F16", "BF16"):
        return wanted
    return _fall_back(part, _choose(part, recipe, i_attn_v))


def _fall_back(part: Part, type_name: str) -> str:
    """Return a type with blocks that the rows of the tensor can be cut into."""
    if part.row % TYPES_BY_NAME[type_name].block == 0:
        return type_name
    other = _FALLBACKS.get(type_name, "F16")
    return other if part.row % TYPES_BY_NAME[other].block == 0 else "F16"


def _choose(part: Part, recipe: Recipe, i_attn_v: int) -> str:
    is_table = part.kind == "token_embd"
    if part.kind == "output" or (is_table and recipe.is_tied):
        return recipe.table_type or _output_type(part, recipe)
    if recipe.quant == "MXFP4_MOE":
        return "MXFP4" if part.is_expert else "Q8_0"
    if is_table:
        return recipe.table_type or _table_type(recipe)
    if recipe.is_of_2023 and (early := _type_of_2023(part, recipe)):
        return early
    if recipe.quant in _TINY:
        return _tiny_type(part, recipe)
    if part.kind == "attn_qkv" and recipe.is_early:
        return _FUSED.get(recipe.quant, recipe.default_type)
    if part.kind in ("attn_v", "attn_qkv"):
        return _values_type(recipe, i_attn_v)
    if part.kind == "attn_output":
        return _attn_output_type(recipe)
    if part.kind == "ffn_down":
        return _down_type(part.layer, recipe)
    return _other_type(part, recipe)


def _type_of_2023(part: Part, recipe: Recipe) -> str | None:
    """Return what the rules of 2023 had that others have not; None where they are the same."""
    if part.is_expert:  # each was a tensor of its own then, of a name that no rule knew
        return recipe.default_type
    if recipe.quant == "Q2_K" and part.kind in ("ffn_up", "ffn_gate"):
        return "Q3_K"  # Q2_K had little of two bits
    return None


def _output_type(part: Part, recipe: Recipe) -> str:
    wanted = recipe.default_type
    if recipe.quant == "MXFP4_MOE" or part.row % TYPES_BY_NAME[wanted].block:
        return "Q8_0"
    if recipe.quant in _TINY or recipe.quant == "IQ3_XXS":
        return "Q5_K"
    return wanted if wanted == "Q8_0" else "Q6_K"


def _table_type(recipe: Recipe) -> str:
    if recipe.quant in ("IQ2_XXS", "IQ2_XS", "IQ1_S", "IQ1_M"):
        return "Q2_K"
    if recipe.quant in ("IQ2_S", "IQ2_M", "IQ3_XXS"):
        return "IQ3_S"
    return "Q4_K" if recipe.quant in ("TQ1_0", "TQ2_0") else recipe.default_type


def _tiny_type(part: Part, recipe: Recipe) -> str:
    better = "IQ3_S" if recipe.quant in ("IQ2_S", "IQ2_M") else "Q2_K"
    if part.kind in ("attn_v", "attn_qkv"):
        return "Q4_K" if recipe.n_gqa >= 4 or recipe.n_expert >= 4 else better
    if part.kind == "attn_k" and recipe.n_expert == 8:
        return "Q4_K"
    if part.kind == "ffn_down" and part.layer < recipe.n_layer // 8:
        return better
    if part.kind == "attn_output":
        if recipe.n_expert == 8:
            return "Q5_K"
        if recipe.quant in ("IQ1_S", "IQ1_M"):
            return "IQ2_XXS"
        return "IQ3_S" if recipe.quant in ("IQ2_S", "IQ2_M") else recipe.default_type
    return recipe.default_type


def _values_type(recipe: Recipe, index: int) -> str:
    if recipe.n_expert == 8:
        return "Q8_0"
    chosen = _values_by_quant(recipe, index)
    return "Q5_K" if recipe.is_70b and chosen in ("Q3_K", "Q4_K") else chosen


def _values_by_quant(recipe: Recipe, index: int) -> str:
    quant, is_shared = recipe.quant, recipe.n_gqa >= 4
    if quant in ("Q4_K_M", "Q5_K_M"):
        return "Q6_K" if _gets_more_bits(index, recipe.n_attn_v) else recipe.default_type
    simple: Mapping[str, tuple[str, str]] = {  # with four or more queries per value, and with fewer
        "Q2_K": ("Q4_K", "Q3_K"),
        "Q2_K_S": ("Q4_K", "Q2_K"),
        "IQ3_XXS": ("Q4_K", "IQ3_XXS" if recipe.has_imatrix else "IQ3_S"),
        "IQ3_XS": ("Q4_K", "IQ3_S"),
        "IQ3_S": ("Q4_K", "IQ3_S"),
        "IQ3_M": ("Q4_K", "Q4_K"),
        "Q3_K_M": ("Q5_K", "Q5_K") if index < 2 else ("Q4_K", "Q4_K"),
        "Q3_K_L": ("Q5_K", "Q5_K"),
        "IQ4_NL": ("Q5_K", "IQ4_NL"),
        "IQ4_XS": ("Q5_K", "IQ4_XS"),
        "Q4_K_S": ("Q5_K", "Q5_K") if index < 4 else ("Q4_K", "Q4_K"),
    }
    shared, own = simple.get(quant, (recipe.default_type, recipe.default_type))
    return shared if is_shared else own


def _attn_output_type(recipe: Recipe) -> str:
    if recipe.n_expert == 8:
        return "Q5_K" if recipe.quant in _EXPERT_OUTPUTS else recipe.default_type
    return _OUTPUTS.get(recipe.quant, recipe.default_type)


def _down_type(layer: int, recipe: Recipe) -> str:
    quant, n_layer = recipe.quant, recipe.n_layer
    is_early, has_more = layer < n_layer // 8, _gets_more_bits(layer, n_layer)
    if quant in ("Q4_K_M", "Q5_K_M"):
        return "Q6_K" if has_more else recipe.default_type
    early: Mapping[str, str] = {"Q2_K_S": "Q4_K", "IQ3_M": "Q4_K", "Q4_K_S": "Q5_K"}
    if not recipe.has_imatrix:
        early = {**early, "IQ4_NL": "Q5_K", "IQ4_XS": "Q5_K"}
    else:
        early = {**early, "Q4_0": "Q4_1", "Q5_0": "Q5_1"}
    if quant in early and (is_early or (quant == "IQ3_M" and recipe.n_expert == 8 and has_more)):
        return early[quant]
    if quant == "Q3_K_M":
        return "Q5_K" if layer < n_layer // 16 else "Q4_K"
    if quant == "IQ3_XXS" and not recipe.has_imatrix:
        return "Q4_K" if is_early else "Q3_K"
    return {"Q2_K": "Q3_K", "Q3_K_L": "Q5_K"}.get(quant, recipe.default_type)


def _other_type(part: Part, recipe: Recipe) -> str:
    quant, n_layer = recipe.quant, recipe.n_layer
    if part.kind == "attn_k" and recipe.n_expert == 8:
        return "Q8_0"
    if part.kind in ("attn_q", "attn_k"):
        return {"IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S"}.get(quant, recipe.default_type)
    is_middle = n_layer // 8 <= part.layer < 7 * n_layer // 8
    if part.kind in ("ffn_gate", "ffn_up") and quant == "IQ3_XS" and is_middle:
        return "IQ3_XXS"
    return recipe.default_type


def _gets_more_bits(index: int, count: int) -> bool:
    early = count // 8
    return index < early or index >= 7 * count // 8 or (index - early) % 3 == 2
