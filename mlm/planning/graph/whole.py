"""The graph of a whole model: embeddings, layers, logits; and the buffer that it needs."""

from collections.abc import Sequence
from functools import lru_cache

from mlm.planning.graph.allocator import Tensor, peak_bytes
from mlm.planning.graph.gemma import (
    gemma3n_end,
    gemma3n_layer,
    gemma3n_start,
    gemma4_layer,
    per_layer_inputs,
)
from mlm.planning.graph.layers import NORM_LAST, GraphFacts, norm_last_layer, plain_layer
from mlm.planning.graph.parts import Batch, Builder, LayerFacts
from mlm.planning.graph.rwkv import rwkv_layer

# Encoders that give logits as well.
_WITH_LOGITS = frozenset(("dream", "llada", "llada-moe", "rnd1"))
_SPARSE_LAYERS = 10  # of Gemma 3n


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
    if facts.averages:
        graph.expand(graph.leaf(batch.n_tokens, batch.n_seqs))
    inputs = per_layer_inputs(build, facts.n_per_layer, cur) if facts.n_per_layer else None
    if facts.architecture == "gemma3n":
        cur = gemma3n_start(build, cur, facts.layers[0].rows("altup_router.weight"))
    layers = shrink(facts.layers)
    for number, layer in enumerate(layers):
        if inputs is not None and facts.architecture == "gemma3n":
            cur = gemma3n_layer(build, layer, cur, inputs, sparse=number < _SPARSE_LAYERS)
            continue
        is_last = number == len(layers) - 1 and not facts.picks_late
        cur = _layer(build, facts, layer, (cur, inputs), is_last=is_last)
        if number < facts.n_stacked:
            cur = graph.over(cur, graph.view(stacked, *cur.ne, strided=True))
        if facts.architecture == "talkie":  # adds the embeddings once more after each layer
            cur = graph.over(cur, graph.over(build.pick_outputs(stacked) if is_last else stacked))
    if facts.architecture == "gemma3n":
        cur = gemma3n_end(build, cur)
    _output(build, facts, cur)
    return peak_bytes(graph)


def _layer(
    build: Builder,
    facts: GraphFacts,
    layer: LayerFacts,
    given: tuple[Tensor, Tensor | None],
    *,
    is_last: bool,
) -> Tensor:
    """Return a layer, from the one before and the inputs that all layers have a part of."""
    before, inputs = given
    if facts.architecture == "gemma4":
        return gemma4_layer(build, layer, before, inputs)
    if facts.architecture in NORM_LAST:
        return norm_last_layer(build, layer, before, is_last=is_last)
    if "time_mix_key.weight" in layer:
        return rwkv_layer(build, layer, before, is_last=is_last)
    return plain_layer(build, facts, layer, before, is_last=is_last)


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
    if facts.architecture in NORM_LAST:
        cur = graph.over(cur)  # what kind of text it is
        if facts.architecture == "bert":
            cur = graph.over(graph.result(cur.ne, build.positions), cur)
        return build.norm(cur)
    if facts.architecture == "talkie":
        return build.norm(cur, scaled=False)
    return graph.view(cur, facts.n_embd, tokens, strided=True) if facts.n_stacked else cur


def _output(build: Builder, facts: GraphFacts, cur: Tensor) -> None:
    graph = build.graph
    if facts.is_encoder and facts.architecture in NORM_LAST:
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
