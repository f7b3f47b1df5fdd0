"""The order of the parts in the layers of a model, by family, and the graph of the whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mlm.planning.graph.allocator import Tensor, peak_bytes
from mlm.planning.graph.attention import attention
from mlm.planning.graph.parts import Batch, Builder, LayerFacts
from mlm.planning.graph.recurrent import recurrent


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
    n_stacked: int  # further inputs beside each embedding, added after the first layers
    picks_late: bool  # the outputs are picked after the last norm
    parallel: str  # the order of sums where attention and feed-forward share their input


@lru_cache(maxsize=512)
def graph_bytes(facts: GraphFacts, batch: Batch) -> int:
    """Return the compute buffer of a model whose layers are all on one device."""
    build = Builder(
        batch,
        facts.n_embd,
        layer_norm=facts.layer_norm,
        n_position=facts.n_position,
        v_width=max(layer.head_v * layer.n_head_kv for layer in facts.layers),
    )
    graph = build.graph
    cur = stacked = _embedded(build, facts)
    layers = shrink(facts.layers)
    for number, layer in enumerate(layers):
        is_last = number == len(layers) - 1 and not facts.picks_late
        cur = _layer(build, facts, layer, cur, is_last=is_last)
        if number < facts.n_stacked:
            cur = graph.over(cur, graph.view(stacked, *cur.ne, strided=True))
    _output(build, facts, cur)
    return peak_bytes(graph)


def shrink(layers: Sequence[LayerFacts]) -> list[LayerFacts]:
    """Return the layers that decide about the peak: each change between kinds twice, and the last.

    What a layer needs depends on the holes that the one before left.
    """
    seen: dict[tuple[int, int], int] = {}
    kept: list[LayerFacts] = []
    before = 0
    for layer in layers[:-1]:
        key = (before, id(layer))
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= 2:
            kept.append(layer)
        before = id(layer)
    return [*kept, layers[-1]]


def _embedded(build: Builder, facts: GraphFacts) -> Tensor:
    """Return the embeddings of the batch. Input by vectors is reserved, though not used."""
    graph, tokens = build.graph, build.batch.n_tokens
    width = facts.n_embd * (1 + facts.n_stacked)
    cur = graph.result((facts.n_embd, tokens), graph.leaf(tokens))
    if facts.n_stacked:
        cur = graph.result((width, tokens), cur)
    graph.expand(cur)
    graph.expand(graph.leaf(width, tokens))
    return graph.view(cur, facts.n_embd, tokens, strided=True) if facts.n_stacked else cur


def _output(build: Builder, facts: GraphFacts, cur: Tensor) -> None:
    graph = build.graph
    if facts.is_encoder and facts.architecture in _NORM_LAST:
        cur.is_output = True
        graph.expand(cur)
        return
    cur = build.norm(cur)
    cur.is_output = True
    if facts.picks_late:
        cur = build.pick_outputs(cur)
        cur.is_output = True
    if not facts.is_encoder or facts.architecture in _WITH_LOGITS:
        cur = build.matrix(facts.n_vocab, cur)
        cur.is_output = True
    graph.expand(cur)


_NORM_LAST = frozenset(("bert", "jina-bert-v2", "jina-bert-v3", "nomic-bert", "nomic-bert-moe"))
_WITH_LOGITS = frozenset(("dream", "llada", "llada-moe", "rnd1"))


def _layer(
    build: Builder, facts: GraphFacts, layer: LayerFacts, before: Tensor, *, is_last: bool
) -> Tensor:
    graph = build.graph
    if facts.architecture in _NORM_LAST:
        return _norm_last(build, layer, before, is_last=is_last)
    normed = build.norm(before) if _has_first_norm(facts, layer) else before
    cur = _mix_tokens(build, facts, layer, normed)
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
    between = graph.over(cur, before)
    cur = build.mixture(layer, build.norm(between) if second_norm else between)
    if last_norm:
        cur = build.norm(cur)
    return graph.over(cur, between)


def _has_first_norm(facts: GraphFacts, layer: LayerFacts) -> bool:
    return "attn_norm.weight" in layer or facts.architecture in ("olmo", "talkie")


def _mix_tokens(build: Builder, facts: GraphFacts, layer: LayerFacts, cur: Tensor) -> Tensor | None:
    if layer.recurrent and not layer.owns_kv:
        return recurrent(build, layer, cur)
    if not any(name in layer for name in ("attn_q.weight", "attn_qkv.weight", "attn_q_a.weight")):
        return None
    made = attention(build, layer, cur)
    return build.graph.over(made, recurrent(build, layer, cur)) if layer.recurrent else made


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


def _norm_last(build: Builder, layer: LayerFacts, before: Tensor, *, is_last: bool) -> Tensor:
    """Return a layer of BERT: each part is followed by a norm of the sum."""
    graph = build.graph
    cur = attention(build, layer, before)
    if is_last:
        cur, before = build.pick_outputs(cur), build.pick_outputs(before)
    between = build.norm(graph.over(cur, before))
    if "attn_norm_2.weight" in layer:
        between = build.norm(graph.over(between, before))
    return build.norm(graph.over(build.mixture(layer, between), between))
