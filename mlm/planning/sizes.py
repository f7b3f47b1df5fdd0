"""The size of a model file before there is one to look at: from shape, parameters and quantization.

The tensors follow from the shape (`mlm.planning.tensors`), their types from llama-quantize's rules
(`mlm.planning.quantize`); header and vocabulary are added. `scripts/check_size_predictions.py`
compares with published files: half of them are within 0.1 %.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlm.planning.quantize import Recipe, choose_type, stored_bytes
from mlm.planning.tensors import FUSED_QKV, Part, is_told_by_shape, list_parts
from mlm.planning.uploaders import Habit, read_habit
from mlm.units import format_size

if TYPE_CHECKING:
    from mlm.catalog.types import Architecture, CatalogEntry, Quant

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
# Models of which files exist with one table of tokens and with two; who made them tells.
_DOUBLED = frozenset(("qwen2", "qwen3"))


@dataclass(frozen=True, slots=True)
class SizeInterval:
    """Bytes of a file: the likeliest, and between what it will be."""

    low: int
    mid: int
    high: int


def predict_file_size(
    facts: "Architecture",
    params: int,
    quant: str,
    repo_id: str = "",
    base_repo: str | None = None,
) -> SizeInterval | None:
    """Return the size of the model's file at ``quant``, all shards together.

    With the repository that it is in, and that of the original weights, what uploaders do in ways
    of their own is counted. None where the name of the quantization says nothing.
    """
    habit = read_habit(quant, facts, repo_id, base_repo)
    if habit is None:
        return None
    parts = list_parts(
        facts,
        params,
        has_draft_head=habit.has_draft_head,
        has_both_tables=habit.has_both_tables,
    )
    recipe = _recipe(facts, parts, habit)
    size = _header_bytes(facts) + round(habit.factor * _sum(parts, recipe))
    spread = habit.spread or (_TOLD_SPREAD if is_told_by_shape(facts) else _UNTOLD_SPREAD)
    high = round(size * (1 + spread))
    if facts.name in _DOUBLED and recipe.is_tied:
        table = Part("output", facts.n_embd, facts.n_vocab)
        high += stored_bytes(table, choose_type(table, recipe))
    return SizeInterval(round(size * (1 - spread)), size, high)


def doubt_size(entry: "CatalogEntry", quant: "Quant") -> str | None:
    """Return why the catalog's size of a file cannot be, or None: it may be right."""
    expected = predict_file_size(
        entry.architecture, entry.params, quant.quant, quant.repo_id, entry.base_repo
    )
    if expected is None or entry.params < _MIN_DOUBTED_PARAMS:
        return None
    low, high = round(expected.low / _DOUBTED), round(expected.high * _DOUBTED)
    if low <= quant.size_bytes <= high:
        return None
    told = f"{format_size(quant.size_bytes)} is not the size of {entry.model_id} at {quant.quant}"
    return f"{told}: about {format_size(expected.mid)}"


def _recipe(facts: "Architecture", parts: list[Part], habit: Habit) -> Recipe:
    return Recipe(
        quant=habit.quant,
        n_layer=facts.n_layer,
        n_gqa=facts.n_head // max(facts.n_head_kv, 1),
        n_expert=facts.n_expert or 0,
        is_tied=all(part.kind != "output" for part in parts),
        is_70b=facts.name == "llama" and facts.n_layer == 80 and facts.n_head != facts.n_head_kv,
        n_attn_v=sum(part.kind in ("attn_v", "attn_qkv") for part in parts),
        is_early=facts.name in FUSED_QKV,
        is_of_2023=habit.is_of_2023,
        table_type=habit.table_type,
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
