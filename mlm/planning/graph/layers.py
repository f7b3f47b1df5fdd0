"""The order of the parts in one layer, by family of models."""

from dataclasses import dataclass

from mlm.planning.graph.allocator import Graph, Tensor
from mlm.planning.graph.attention import attention
from mlm.planning.graph.parts import Builder, LayerFacts
from mlm.planning.graph.recurrent import recurrent

# A norm follows each sum, instead of standing before each part.
NORM_LAST = frozenset(("bert", "jina-bert-v2", "jina-bert-v3", "nomic-bert", "nomic-bert-moe"))
_RESIDUAL_FIRST = frozenset(("jamba", "lfm2", "lfm2moe", "openelm"))
_NORM_AT_ONCE = frozenset(("kimi-linear", "qwen35", "qwen35moe", "qwen3next"))


@dataclass(frozen=True, slots=True, eq=False)
class GraphFacts:
    """What the graph of a model depends on. Equal layers are the same object."""

    architecture: str
    n_embd: int
    n_vocab: int
    layers: tuple[LayerFacts, ...]
    is_encoder: bool
    layer_norm: bool  # instead of RMS norms
    n_position: int  # numbers that say where a token stands
    n_per_layer: int  # elements of a further input per token, of which each layer has a part
    n_stacked: int  # further inputs beside each embedding, added after the first layers
    picks_late: bool  # the outputs are picked after the last norm
    parallel: str  # the order of sums where attention and feed-forward share their input
    averages: bool = False  # gives the mean of the tokens of each input


def plain_layer(
    build: Builder, facts: GraphFacts, layer: LayerFacts, before: Tensor, *, is_last: bool
) -> Tensor:
    """Return a layer of attention or a recurrent part, and a feed-forward part or experts."""
    graph = build.graph
    normed = build.norm(before) if _has_first_norm(facts, layer) else before
    if facts.architecture in _NORM_AT_ONCE:
        graph.expand(normed)
    own_norm = "attn_norm_2.weight" in layer  # Falcon 40B: attention has one of its own
    cur = _mix_tokens(build, layer, build.norm(before) if own_norm else normed, before)
    if cur is None:  # a layer without attention (Nemotron H)
        cur = build.mixture(layer, normed)
        if is_last:
            cur, before = build.pick_outputs(cur), build.pick_outputs(before)
        return graph.over(cur, before)
    first_norm, second_norm, last_norm = _norms(layer)
    if first_norm:
        cur = build.norm(cur)
    if is_last:
        cur, before, normed = (build.pick_outputs(each) for each in (cur, before, normed))
    if facts.parallel:
        return _parallel(build, facts, layer, (before, normed, cur))
    if "ffn_down.weight" not in layer and "ffn_down_exps.weight" not in layer:
        return graph.over(cur, before)
    between = _sum(facts, cur, before, graph)
    cur = build.norm(between) if second_norm else between
    if "ffn_norm_exps.weight" in layer:  # Arctic: a dense part beside experts
        dense = graph.over(build.feed_forward(layer, cur), between)
        return graph.over(build.experts(layer, build.norm(before)), dense)
    cur = build.mixture(layer, cur, _early_router(build, facts, layer, before))
    if last_norm:
        cur = build.norm(cur)
    return _sum(facts, cur, between, graph)


def _early_router(
    build: Builder, facts: GraphFacts, layer: LayerFacts, before: Tensor
) -> Tensor | None:
    """Return what the router says where it sees the input of the layer (SmallThinker)."""
    if facts.architecture != "smallthinker":
        return None
    return build.matrix(layer.rows("ffn_gate_inp.weight"), before)


def _sum(facts: GraphFacts, cur: Tensor, before: Tensor, graph: Graph) -> Tensor:
    """Return ``cur`` added to what was before; which is named first decides what is overwritten."""
    if facts.architecture in _RESIDUAL_FIRST:
        return graph.over(before, cur)
    return graph.over(cur, before)


def _has_first_norm(facts: GraphFacts, layer: LayerFacts) -> bool:
    return "attn_norm.weight" in layer or facts.architecture in ("olmo", "talkie")


def _mix_tokens(build: Builder, layer: LayerFacts, cur: Tensor, before: Tensor) -> Tensor | None:
    """Return attention, a recurrent part or both (Falcon H1); None if the layer has neither."""
    if layer.recurrent and not layer.owns_kv:
        return recurrent(build, layer, cur)
    if not any(name in layer for name in ("attn_q.weight", "attn_qkv.weight", "attn_q_a.weight")):
        return None
    made = attention(build, layer, cur)
    if not layer.recurrent:
        return made
    return build.graph.over(made, recurrent(build, layer, build.norm(before)))


def _norms(layer: LayerFacts) -> tuple[bool, bool, bool]:
    """Return whether there are norms after attention, before and after the feed-forward part.

    ``post_attention_norm`` stands before the feed-forward part where no other norm does.
    """
    last = "post_ffw_norm.weight" in layer or "layer_output_norm.weight" in layer
    before = "ffn_norm.weight" in layer
    post = "post_attention_norm.weight" in layer
    outer = "attn_output_norm.weight" in layer
    if not before and not last:
        return False, True, False
    return post or outer, before, last


def _parallel(
    build: Builder, facts: GraphFacts, layer: LayerFacts, tensors: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """Return a layer whose feed-forward part sees the same input as attention."""
    before, normed, cur = tensors
    graph = build.graph
    if "ffn_norm.weight" in layer:
        normed = build.norm(before)
    high = build.mixture(layer, normed)
    if facts.parallel == "attention first":
        return graph.over(graph.over(cur, high), before)
    if facts.parallel == "attention second":
        return graph.over(graph.over(high, cur), before)
    return graph.over(graph.over(high, before), cur)


def norm_last_layer(build: Builder, layer: LayerFacts, before: Tensor, *, is_last: bool) -> Tensor:
    """Return a layer of BERT: each part is followed by a norm of the sum."""
    graph = build.graph
    cur = attention(build, layer, before)
    if is_last:
        cur, before = build.pick_outputs(cur), build.pick_outputs(before)
    between = build.norm(graph.over(cur, before))
    if "attn_norm_2.weight" in layer:
        between = build.norm(graph.over(between, before))
    return build.norm(graph.over(build.mixture(layer, between), between))
