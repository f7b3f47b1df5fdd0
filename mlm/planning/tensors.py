"""The tensors that a model of a known shape is made of, as far as a size needs them.

From the catalog's facts alone: no header is read. The number of parameters says what the shape
leaves open: a second vocabulary table, shared experts, gates, recurrent parts.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mlm.catalog.types import Architecture

# What llama-quantize tells apart (tensor_category in llama.cpp src/llama-quant.cpp); "plain" is
# what it leaves alone: routers, norms, biases.
Kind = Literal[
    "token_embd", "output", "attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output",
    "ffn_up", "ffn_gate", "ffn_down", "other", "plain",
]  # fmt: skip

# Which tensors each architecture has: llama.cpp src/models/ in llama-cpp-python 0.3.36.
FUSED_QKV = frozenset(
    ("bloom", "chatglm", "falcon", "gptneox", "mpt", "nomic-bert", "phi2", "phi3")
)
_UNGATED = frozenset(
    ("bert", "bloom", "falcon", "gpt2", "gptneox", "jais2", "mpt", "nemotron", "nemotron_h",
     "nemotron_h_moe", "phi2", "starcoder", "starcoder2")
)  # fmt: skip
# Layers that are not in `n_layer_attention` have no attention of the usual kind at all.
_RECURRENT = frozenset((
    "granitehybrid", "jamba", "kimi-linear", "lfm2", "lfm2moe", "nemotron_h", "nemotron_h_moe",
    "plamo2", "qwen35", "qwen35moe", "qwen3next",
))  # fmt: skip
# Queries come with a gate of their size.
_GATED_QUERIES = frozenset(("qwen35", "qwen35moe", "qwen3next"))
# Compressed attention: its sizes are not among the facts.
_COMPRESSED = frozenset(("deepseek2", "deepseek32", "glm-dsa", "minicpm3", "plm"))
_LOOKS_UP_LAYERS = frozenset(("gemma3n", "gemma4"))  # a table per layer beside the vocabulary
# Never with a table of their own for the output.
_TIED = _LOOKS_UP_LAYERS | {
    "bert", "gemma", "gemma-embedding", "gemma2", "gemma3", "lfm2", "lfm2moe", "nomic-bert",
}  # fmt: skip
_BIASED = frozenset(("bert", "gpt2", "phi2", "starcoder2"))
# The facts tell all their tensors.
_PLAIN = frozenset((
    "arcee", "baichuan", "bert", "command-r", "exaone", "gemma", "gemma-embedding", "gemma2",
    "gemma3", "glm4", "gpt-oss", "granite", "granitemoe", "hunyuan-dense", "internlm2", "llama",
    "mistral3", "nomic-bert", "olmo", "olmo2", "olmoe", "phi2", "phi3", "phimoe", "qwen2",
    "qwen2vl", "qwen3", "qwen3moe", "qwen3vl", "qwen3vlmoe", "seed_oss", "smollm3", "stablelm",
    "starcoder2", "xverse",
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """Tensors of one kind in one layer; ``row`` numbers are stored together."""

    kind: Kind
    row: int
    rows: int
    layer: int = 0
    is_expert: bool = False

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return self.row * self.rows


def is_told_by_shape(facts: "Architecture") -> bool:
    """Whether the facts tell all tensors of the architecture."""
    return facts.name in _PLAIN and facts.n_ff is not None


def list_parts(
    facts: "Architecture",
    params: int,
    *,
    has_draft_head: bool = False,
    has_both_tables: bool = False,
) -> list[Part]:
    """Return what a model of this shape and so many parameters consists of.

    With a draft head there is one more layer than the shape has, which guesses the next token but
    one; with both tables the output is one of its own even where it is equal to the vocabulary.
    """
    parts = _list_parts(facts, params)
    if has_draft_head:
        layer = facts.n_layer
        parts += [
            *_feed_forward(facts, layer),
            *_attention(facts, layer),
            Part("other", 2 * facts.n_embd, facts.n_embd, layer),
        ]
    if has_both_tables and all(part.kind != "output" for part in parts):
        parts.append(Part("output", facts.n_embd, facts.n_vocab))
    return parts


def _list_parts(facts: "Architecture", params: int) -> list[Part]:
    vocabulary = facts.n_embd * facts.n_vocab
    body = [part for layer in range(facts.n_layer) for part in _layer(facts, layer)]
    left = params - sum(part.count for part in body) - vocabulary
    parts = [Part("token_embd", facts.n_embd, facts.n_vocab), *body]
    # What is there in place of attention is about as large.
    without = sum(not _has_attention(facts, layer) for layer in range(facts.n_layer))
    unknown = without * sum(part.count for part in _attention(facts, 0))
    # More than half of a second table left over: the output is one of its own.
    if left - unknown > 0.5 * vocabulary and facts.name not in _TIED:
        parts.append(Part("output", facts.n_embd, facts.n_vocab))
        left -= vocabulary
    if is_told_by_shape(facts):
        return parts  # the shape says it all; counts are often rounded, or count a vision tower
    return [*parts, *_spread(facts, left)] if left >= 0 else _shrink(parts, left)


def _layer(facts: "Architecture", layer: int) -> Iterator[Part]:
    yield from _feed_forward(facts, layer)
    if facts.name not in _COMPRESSED and _has_attention(facts, layer):
        yield from _attention(facts, layer)
    yield Part("plain", 1, 2 * facts.n_embd + _biases(facts), layer)


def _biases(facts: "Architecture") -> int:
    kv = 2 * facts.n_head_kv * facts.head_dim
    if facts.name in ("qwen2", "qwen2vl"):
        return facts.n_head * facts.head_dim + kv
    if facts.name in _BIASED:
        return 3 * facts.n_embd + kv + (facts.n_ff or 0)
    if facts.name == "gpt-oss":
        return (2 * (facts.n_ff or 0) + facts.n_embd) * (facts.n_expert or 1)
    return 0


def _has_attention(facts: "Architecture", layer: int) -> bool:
    n_full = facts.n_layer_attention
    if facts.name not in _RECURRENT or n_full is None:
        return True
    every = max(facts.n_layer // max(n_full, 1), 1)
    return layer % every == every - 1 and layer // every < n_full


def _attention(facts: "Architecture", layer: int) -> Iterator[Part]:
    n_embd, q, kv = facts.n_embd, facts.n_head * facts.head_dim, facts.n_head_kv * facts.head_dim
    if facts.name in FUSED_QKV:
        yield Part("attn_qkv", n_embd, q + 2 * kv, layer)
    else:
        yield Part("attn_q", n_embd, 2 * q if facts.name in _GATED_QUERIES else q, layer)
        yield Part("attn_k", n_embd, kv, layer)
        yield Part("attn_v", n_embd, kv, layer)
    yield Part("attn_output", q, n_embd, layer)


def _feed_forward(facts: "Architecture", layer: int) -> Iterator[Part]:
    n_embd, n_ff, n_expert = facts.n_embd, facts.n_ff, facts.n_expert or 1
    if n_ff is None:
        return
    is_expert = n_expert > 1
    if facts.name == "phi3":  # gate and up are one tensor
        yield Part("ffn_up", n_embd, 2 * n_ff, layer)
    else:
        yield Part("ffn_up", n_embd, n_ff * n_expert, layer, is_expert)
        if facts.name not in _UNGATED:
            yield Part("ffn_gate", n_embd, n_ff * n_expert, layer, is_expert)
    yield Part("ffn_down", n_ff, n_embd * n_expert, layer, is_expert)
    if is_expert:
        yield Part("plain", n_embd, n_expert, layer)


def _spread(facts: "Architecture", left: int) -> list[Part]:
    """Return what the parameters that the shape does not tell of are likely to be."""
    row = facts.n_embd
    is_table = facts.n_ff is not None and left > facts.n_embd * facts.n_vocab
    if facts.name in _LOOKS_UP_LAYERS and is_table:
        return [Part("token_embd", 256, left // 256)]
    if left < facts.n_layer * row * 32:  # biases and norms
        return [Part("plain", 1, left)]
    if facts.name in _GATED_QUERIES:  # a fused projection, its gate, and the way back
        kinds: tuple[Kind, ...] = ("attn_qkv", "other")
    elif facts.n_expert or facts.n_ff is None:  # shared experts, dense layers
        kinds = ("ffn_up", "ffn_gate", "ffn_down")
    else:
        kinds = ("other",)
    rows = left // (len(kinds) * facts.n_layer * row)
    return [Part(kind, row, rows, layer) for layer in range(facts.n_layer) for kind in kinds]


def _shrink(parts: list[Part], left: int) -> list[Part]:
    """Return ``parts`` with less in the layers: fewer parameters than the shape would have."""
    body = sum(part.count for part in parts[1:])
    share = max(body + left, 0) / max(body, 1)
    return [parts[0], *(replace(part, rows=round(part.rows * share)) for part in parts[1:])]
