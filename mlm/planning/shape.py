"""From what is known of a model to the shape that planning works with."""

import re
from functools import cache
from typing import TYPE_CHECKING

from mlm.gguf.architectures import ARCHITECTURES
from mlm.gguf.ggml_types import TYPES_BY_NAME
from mlm.gguf.keys import Keys
from mlm.gguf.layers import ENCODERS, describe_layers
from mlm.planning.projector import projector_of_size
from mlm.planning.quants import base_type
from mlm.planning.types import Block, ModelShape, Role, Weight

if TYPE_CHECKING:
    from mlm.catalog.types import Architecture, CatalogEntry, Quant
    from mlm.gguf.types import GGUFMetadata, TensorInfo, Value

# Tensors that are looked up row by row, never multiplied with.
_LOOKUPS = ("token_embd.weight", "position_embd.weight", "token_types.weight")
_LOOKUP_SUFFIX = "per_layer_token_embd.weight"
_EXPERTS = re.compile(r"\.ffn_(up|down|gate|gate_up)_(ch|)exps")  # llama.cpp, common/common.h
_INPUT_PREFIXES = ("token_", "position_embd", "per_layer_token_embd", "token_types")
# Memory layouts of their own, for which the arithmetic here is only a guess.
_UNUSUAL = frozenset((
    "deepseek32", "deepseek4", "dflash", "dots3note", "eagle3", "glm-dsa", "glm5-next", "hrm_text",
    "hy_v4", "minimax-m3", "nanbeige", "qwen4exp", "t5", "t5encoder", "wavtokenizer-dec",
))  # fmt: skip
# Feed-forward parts of two matrices instead of three.
_UNGATED = frozenset(("bert", "bloom", "falcon", "gpt2", "gptneox", "mpt", "phi2", "starcoder2"))
# Totals beside those computed from headers, for 32 models of the catalog at three contexts each:
# 3 % off in the median, within 5 % in 77 of 96; 17 % and more where the catalog lacks a fact (the
# window of OLMo 3, how old files of DeepSeek V2 keep keys).
_TRUST = "estimated from the catalog's facts: mostly within 5 %, at times 15 %"
_ROUGH_SIZE = "the size of the file is known only roughly"
_STATE_PER_EMBD = 2 * 128 * 4  # bytes; Mamba 2: inner size 2 x n_embd, state size 128, 32-bit


def shape_from_metadata(
    metadata: "GGUFMetadata", entry: "CatalogEntry | None" = None
) -> ModelShape:
    """Return the shape of the model that ``metadata`` describes; plans from it are `computed`.

    What the catalog says in ``entry`` makes up for a header that does not tell what it is for.
    """
    from mlm.planning.graph.facts import graph_facts  # not needed for advice from the catalog

    n_layer = metadata.n_layer
    layers: list[list[Weight]] = [[] for _ in range(n_layer)]
    first: list[Weight] = []
    last: list[Weight] = []
    for tensor in metadata.tensors:
        index = _layer_of(tensor.name)
        if index is not None and index < n_layer:
            layers[index].append(_weight(tensor))
        elif tensor.name.startswith(_INPUT_PREFIXES):
            first.append(_weight(tensor))
        else:
            last.append(_weight(tensor))
    _tie_output(metadata, last)
    experts = sum(weight_elements(w) for layer in layers for w in layer if w.role == "experts")
    used = metadata.n_expert_used / metadata.n_expert if metadata.n_expert else 1
    # A decoder for embeddings, of which the file does not say so: they give their last token.
    is_unmarked = entry is not None and entry.embeds and not metadata.embeds and metadata.causal
    graph = graph_facts(metadata) if metadata.architecture in ARCHITECTURES else None
    notes = _notes(metadata, is_understood=graph is not None)
    return ModelShape(
        grade="estimated" if notes else "computed",
        architecture=metadata.architecture,
        quant=metadata.quant,
        n_embd=metadata.n_embd,
        n_head=max(metadata.n_head),
        n_q=max(metadata.n_head) * metadata.head_dim_k,
        n_ff=_active_ff(metadata, layers),
        is_gated=_is_gated(metadata),
        n_inner=_n_inner(metadata),
        n_vocab=metadata.n_vocab,
        n_ctx_train=metadata.n_ctx_train,
        n_expert=metadata.n_expert,
        n_expert_used=metadata.n_expert_used,
        sliding_window=metadata.sliding_window,
        is_encoder=metadata.is_encoder,
        embeds=metadata.embeds or is_unmarked,
        reads_in_pieces=metadata.reads_in_pieces or is_unmarked,
        pooling="last" if is_unmarked else "auto",
        input=tuple(first),
        blocks=tuple(_block(metadata, i, tuple(layers[i])) for i in range(n_layer)),
        output=tuple(last),
        disk_bytes=metadata.file_size,
        params=metadata.params,
        params_active=round(metadata.params - experts * (1 - used)),
        notes=notes,
        is_known=metadata.architecture in ARCHITECTURES,
        graph=graph,
    )


def weight_elements(weight: Weight) -> int:
    """Return the numbers in a tensor."""
    return weight.row * weight.rows


def _notes(metadata: "GGUFMetadata", *, is_understood: bool) -> tuple[str, ...]:
    name = metadata.architecture
    if name in _UNUSUAL:
        return (f"{name} lays out its memory in its own way: figures are rough",)
    if name not in ARCHITECTURES:
        return (
            f"nothing is known of the architecture '{name[:40]}': figures are those of a plain "
            "transformer of this size, and the engine may not run it",
        )
    if not is_understood:
        return (f"not all that layers of {name} are made of is understood: figures are rough",)
    return ()


def _layer_of(name: str) -> int | None:
    """Return the layer of ``blk.7.attn_q.weight``."""
    parts = name.split(".", 2)
    if len(parts) == 3 and parts[0] == "blk" and parts[1].isascii() and parts[1].isdigit():
        return int(parts[1][:6])
    return None


def _weight(tensor: "TensorInfo") -> Weight:
    row = tensor.shape[0] if tensor.shape else 1
    return Weight(
        role=_role(tensor),
        type_name=tensor.type_name,
        row=row,
        rows=tensor.n_elements // row,
        n_bytes=tensor.n_bytes,
        start=tensor.offset,
    )


def _role(tensor: "TensorInfo") -> Role:
    if tensor.name in _LOOKUPS or tensor.name.endswith(_LOOKUP_SUFFIX):
        return "lookup"
    if _EXPERTS.search(tensor.name):
        return "experts"
    if not tensor.name.endswith(".weight") or "norm" in tensor.name:
        return "other"
    return "matrix" if len(tensor.shape) == 2 else "other"


def _tie_output(metadata: "GGUFMetadata", last: list[Weight]) -> None:
    """Add the token embeddings as output matrix where the model has no other: they do both."""
    if metadata.is_encoder or any(t.name == "output.weight" for t in metadata.tensors):
        return
    for tensor in metadata.tensors:
        if tensor.name == "token_embd.weight":
            row = tensor.shape[0]
            shape = (row, tensor.n_elements // row)
            last.append(Weight("matrix", tensor.type_name, *shape, tensor.n_bytes, tensor.offset))


def _active_ff(metadata: "GGUFMetadata", layers: list[list[Weight]]) -> int:
    """Return the elements inside the feed-forward part: of the experts a token uses, if any."""
    expert = metadata.values.get(f"{metadata.architecture}.expert_feed_forward_length")
    if metadata.n_expert and isinstance(expert, int):
        return expert * metadata.n_expert_used
    return (metadata.n_ff or 0) * max(metadata.n_expert_used, 1)


def _is_gated(metadata: "GGUFMetadata") -> bool:
    """Return whether there is a gate, as a tensor of its own or as half of ``ffn_up``."""
    names = {t.name.split(".", 2)[-1]: t for t in metadata.tensors if t.name.startswith("blk.")}
    up = names.get("ffn_up.weight")
    is_fused = up is not None and len(up.shape) > 1 and up.shape[1] == 2 * (metadata.n_ff or 0)
    return is_fused or any(name.startswith("ffn_gate") for name in names)


def _n_inner(metadata: "GGUFMetadata") -> int:
    if not any(metadata.is_recurrent):
        return 0
    inner = metadata.values.get(f"{metadata.architecture}.ssm.inner_size")
    return inner if isinstance(inner, int) else metadata.n_embd


def _block(metadata: "GGUFMetadata", index: int, weights: tuple[Weight, ...]) -> Block:
    sliding = metadata.is_sliding[index]
    heads = metadata.n_head_kv[index] if metadata.has_kv[index] else 0
    head_k = metadata.head_dim_k_swa if sliding else metadata.head_dim_k
    head_v = metadata.head_dim_v_swa if sliding else metadata.head_dim_v
    state = 4 * (metadata.state_r + metadata.state_s) if metadata.is_recurrent[index] else 0
    k, v = heads * head_k, 0 if metadata.is_mla else heads * head_v
    return Block(weights, k, v, sliding, state)


def shape_from_catalog(entry: "CatalogEntry", quant: "Quant") -> ModelShape:
    """Return the shape of a model as far as the catalog tells it; plans from it are `estimated`."""
    facts = entry.architecture
    is_encoder = facts.name in ENCODERS
    embedding, output, layer = _weights(entry, quant, is_encoder)
    eyes = entry.projector(quant)  # a download brings it along
    return ModelShape(
        grade="estimated",
        architecture=facts.name,
        quant=quant.quant,
        n_embd=facts.n_embd,
        n_head=facts.n_head,
        n_q=facts.n_head * facts.head_dim,
        n_ff=(facts.n_ff or 4 * facts.n_embd) * (facts.n_expert_used or 1),
        is_gated=facts.name not in _UNGATED,
        n_inner=2 * facts.n_embd if _has_states(facts) else 0,
        n_vocab=facts.n_vocab,
        n_ctx_train=facts.n_ctx_train,
        n_expert=facts.n_expert or 0,
        n_expert_used=facts.n_expert_used or 0,
        sliding_window=facts.sliding_window,
        is_encoder=is_encoder,
        embeds=is_encoder or entry.embeds,
        reads_in_pieces=not is_encoder,  # decoders give their last token; few do not
        pooling="auto",
        input=(embedding,),
        blocks=_catalog_blocks(facts, layer, is_encoder),
        output=output,
        disk_bytes=quant.size_bytes,
        params=entry.params,
        params_active=entry.params_active,
        notes=(_TRUST, *(() if quant.size_exact else (_ROUGH_SIZE,))),
        projector=projector_of_size(eyes.size_bytes) if eyes else None,
    )


def _weights(
    entry: "CatalogEntry", quant: "Quant", is_encoder: bool
) -> tuple[Weight, tuple[Weight, ...], tuple[Weight, ...]]:
    """Return embedding, output and one layer of a model of which only the total is known."""
    facts = entry.architecture
    vocabulary = facts.n_embd * facts.n_vocab
    # A model that is larger than its layers and one such table has a second one as output.
    tied = entry.params - _layer_params(facts) * facts.n_layer < 1.5 * vocabulary
    base = base_type(quant.quant)
    # llama-quantize gives the tables six bits or more.
    table = base if TYPES_BY_NAME[base].n_bytes * 8 / TYPES_BY_NAME[base].block > 6.6 else "Q6_K"
    table_bytes = min(_stored(table, vocabulary), quant.size_bytes // 3)
    place = 0 if tied else None
    embedding = Weight("lookup", table, facts.n_embd, facts.n_vocab, table_bytes, place)
    output = Weight("matrix", table, facts.n_embd, facts.n_vocab, table_bytes, place)
    tables = table_bytes if tied or is_encoder else 2 * table_bytes
    each = max(quant.size_bytes - tables, 0) // facts.n_layer
    return embedding, () if is_encoder else (output,), _layer_weights(entry, base, each)


def _layer_weights(entry: "CatalogEntry", base: str, n_bytes: int) -> tuple[Weight, ...]:
    """Split the bytes of a layer: what every token uses and experts, base type and Q6_K."""
    facts = entry.architecture
    experts = 1 - entry.params_active / entry.params
    if facts.n_expert and facts.n_expert_used:
        experts = min(experts / (1 - facts.n_expert_used / facts.n_expert), 0.98)
    # Mixed quantizations keep some tensors at Q6_K; as many as explain the size.
    params = max(_layer_params(facts), 1)
    block, mixed = TYPES_BY_NAME[base], TYPES_BY_NAME["Q6_K"]
    low, high = block.n_bytes / block.block, mixed.n_bytes / mixed.block
    share = (n_bytes / params - low) / (high - low) if high > low else 0.0
    high_bytes = round(n_bytes * min(max(share, 0.0), 0.5))
    weights = []
    for role, part in (("matrix", 1 - experts), ("experts", experts)):
        for name, size in ((base, n_bytes - high_bytes), ("Q6_K", high_bytes)):
            if part > 0 and size > 0:
                row = facts.n_embd
                rows = round(params * part * size / n_bytes / row) // 32 * 32 or 32
                weights.append(Weight(role, name, row, rows, round(size * part)))  # type: ignore[arg-type]
    return tuple(weights)


def _layer_params(facts: "Architecture") -> int:
    """Return the parameters of one layer of a gated transformer of this shape."""
    q, kv = facts.n_head * facts.head_dim, facts.n_head_kv * facts.head_dim
    if _is_compressed(facts):
        q = kv = facts.n_embd  # about: all its matrices are narrow at one end
    feed_forward = 3 * facts.n_embd * (facts.n_ff or 4 * facts.n_embd)
    return facts.n_embd * (2 * q + 2 * kv) + feed_forward * (facts.n_expert or 1)


def _is_compressed(facts: "Architecture") -> bool:
    """Whether all heads share one of keys (MLA); files from before April 2025 keep every head."""
    return facts.name == "deepseek2" and facts.n_head_kv == 1


def _stored(type_name: str, elements: int) -> int:
    kind = TYPES_BY_NAME[type_name]
    return elements // kind.block * kind.n_bytes


def _catalog_blocks(
    facts: "Architecture", weights: tuple[Weight, ...], is_encoder: bool
) -> tuple[Block, ...]:
    heads = 0 if is_encoder else facts.n_head_kv
    k, v = heads * facts.head_dim, heads * facts.head_dim
    if _is_compressed(facts):
        v = 0  # it is part of the keys
    kinds = {
        "full": Block(weights, k, v),
        "sliding": Block(weights, k, v, sliding=True),
        "recurrent": Block(weights, 0, 0, state=facts.n_embd * _STATE_PER_EMBD),
    }
    return tuple(map(kinds.__getitem__, _layer_kinds(facts)))


def _has_states(facts: "Architecture") -> bool:
    """Whether layers without full attention keep a state; else they attend to a window."""
    return facts.n_layer_attention is not None and facts.sliding_window is None


@cache
def _layer_kinds(facts: "Architecture") -> tuple[str, ...]:
    """Return what each layer is; the same for every quantization of a model."""
    n_layer, n_full = facts.n_layer, facts.n_layer_attention
    if n_full is not None:
        other = "recurrent" if _has_states(facts) else "sliding"
        every = max(n_layer // max(n_full, 1), 1)
        return tuple(
            "full" if i % every == every - 1 and i // every < n_full else other
            for i in range(n_layer)
        )
    values: dict[str, Value] = {}
    if facts.sliding_window:
        values[f"{facts.name}.attention.sliding_window"] = facts.sliding_window
    heads, n_ff = (facts.n_head_kv,) * n_layer, (facts.n_ff or 0,) * n_layer
    layers = describe_layers(Keys(facts.name, values), n_layer, 0, heads, n_ff)
    return tuple("sliding" if sliding else "full" for sliding in layers.is_sliding)
