"""The size of a model file before there is one to look at: from shape, parameters and quantization.

The tensors follow from the shape (`mlm.planning.tensors`), their types from llama-quantize's rules
(`mlm.planning.quantize`); header and vocabulary are added. `scripts/check_size_predictions.py`
compares with published files: half of them are within 0.1 %.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlm.planning.quantize import Recipe, choose_type, is_known_quant, stored_bytes
from mlm.planning.tensors import FUSED_QKV, Part, is_told_by_shape, list_parts
from mlm.units import format_size

if TYPE_CHECKING:
    from mlm.catalog.types import Architecture, CatalogEntry, Quant

# What the names of uploaders stand for: bartowski keeps the tables of tokens at Q8_0.
_LARGE = {
    "Q2_K_L": "Q2_K", "Q3_K_XL": "Q3_K_L", "Q4_K_L": "Q4_K_M", "Q5_K_L": "Q5_K_M",
    "Q6_K_L": "Q6_K",
}  # fmt: skip
# unsloth chooses types tensor by tensor (UD-); over 1,700 such files the plain quantization of the
# name is right by the median within 4 % (Q6_K and Q8_0: 10 % too small), four in five within 15 %.
_DYNAMIC = {"Q2_K_XL": "Q2_K", "Q3_K_XL": "Q3_K_M", "Q4_K_XL": "Q4_K_M", "Q5_K_XL": "Q5_K_M",
            "Q6_K_XL": "Q6_K", "Q8_K_XL": "Q8_0", "MXFP4": "MXFP4_MOE"}  # fmt: skip
_DYNAMIC_SPREAD = 0.15
# Shares by which files differ that were quantized by the rules: headers and small tensors, where
# the shape tells all tensors; layers that each uploader treats in a way of his own, where not.
_TOLD_SPREAD, _UNTOLD_SPREAD = 0.01, 0.08
# Beyond this factor no recipe of an uploader explains it. Of fewer parameters the header is most.
_DOUBTED, _MIN_DOUBTED_PARAMS = 1.25, 1_000_000
# Bytes in a header per token, from the sizes of published F16 and Q8_0 files: a piece of text with
# score and type (SentencePiece), or text, type and about one merge (BPE); Llama 3 and Mistral's
# Tekken have more merges than tokens.
_SENTENCE_PIECE_BYTES, _BPE_BYTES, _MANY_MERGES_BYTES = 24, 40, 61
_SENTENCE_PIECE_VOCABULARY = 33_000
_MANY_MERGES = frozenset((128_256, 131_072))
# Models whose original weights hold the shared table of tokens twice: some uploaders keep both.
_DOUBLED = frozenset(("qwen2", "qwen3"))


@dataclass(frozen=True, slots=True)
class SizeInterval:
    """Bytes of a file: the likeliest, and between what it will be."""

    low: int
    mid: int
    high: int


def predict_file_size(facts: "Architecture", params: int, quant: str) -> SizeInterval | None:
    """Return the size of the model's file at ``quant``, all shards together.

    None where the name of the quantization says nothing.
    """
    name, table_type, is_dynamic = _read_name(quant)
    if name is None:
        return None
    parts = list_parts(facts, params)
    recipe = _recipe(facts, parts, name, table_type)
    size = _header_bytes(facts) + _sum(parts, recipe)
    spread = _TOLD_SPREAD if is_told_by_shape(facts) else _UNTOLD_SPREAD
    if is_dynamic:
        spread = _DYNAMIC_SPREAD
    high = round(size * (1 + spread))
    if facts.name in _DOUBLED and recipe.is_tied:
        table = Part("output", facts.n_embd, facts.n_vocab)
        high += stored_bytes(table, choose_type(table, recipe))
    return SizeInterval(round(size * (1 - spread)), size, high)


def doubt_size(entry: "CatalogEntry", quant: "Quant") -> str | None:
    """Return why the catalog's size of a file cannot be, or None: it may be right."""
    expected = predict_file_size(entry.architecture, entry.params, quant.quant)
    if expected is None or entry.params < _MIN_DOUBTED_PARAMS:
        return None
    low, high = round(expected.low / _DOUBTED), round(expected.high * _DOUBTED)
    if low <= quant.size_bytes <= high:
        return None
    told = f"{format_size(quant.size_bytes)} is not the size of {entry.model_id} at {quant.quant}"
    return f"{told}: about {format_size(expected.mid)}"


def _read_name(quant: str) -> tuple[str | None, str | None, bool]:
    """Return the file type that a name stands for, the type of its tables where the uploader
    chose it, and whether the other types are the uploader's choice as well."""
    name = quant.upper()
    if name.startswith("UD-"):
        plain = name.removeprefix("UD-")
        plain = _DYNAMIC.get(plain, plain)
        return (plain if is_known_quant(plain) else None), None, True
    name = name.removeprefix("I1-")
    if name in _LARGE:
        return _LARGE[name], "Q8_0", False
    name = {"FP16": "F16", "FP32": "F32", "MXFP4": "MXFP4_MOE"}.get(name, name)
    return (name if is_known_quant(name) else None), None, False


def _recipe(facts: "Architecture", parts: list[Part], quant: str, table_type: str | None) -> Recipe:
    return Recipe(
        quant=quant,
        n_layer=facts.n_layer,
        n_gqa=facts.n_head // max(facts.n_head_kv, 1),
        n_expert=facts.n_expert or 0,
        is_tied=all(part.kind != "output" for part in parts),
        is_70b=facts.name == "llama" and facts.n_layer == 80 and facts.n_head != facts.n_head_kv,
        n_attn_v=sum(part.kind in ("attn_v", "attn_qkv") for part in parts),
        is_early=facts.name in FUSED_QKV,
        table_type=table_type,
        experts_type="MXFP4" if facts.name == "gpt-oss" else None,
    )


def _sum(parts: list[Part], recipe: Recipe) -> int:
    total = i_attn_v = 0
    for part in parts:
        total += stored_bytes(part, choose_type(part, recipe, i_attn_v))
        i_attn_v += part.kind in ("attn_v", "attn_qkv")
    return total


def _header_bytes(facts: "Architecture") -> int:
    if facts.n_vocab < _SENTENCE_PIECE_VOCABULARY or facts.name in ("gemma", "gemma2", "gemma3"):
        return _SENTENCE_PIECE_BYTES * facts.n_vocab
    each = _MANY_MERGES_BYTES if facts.n_vocab in _MANY_MERGES else _BPE_BYTES
    return each * facts.n_vocab
