"""Layers of Gemma 3n and 4, which get a further input of their own for each token."""

from mlm.planning.graph.allocator import Tensor
from mlm.planning.graph.attention import attention
from mlm.planning.graph.parts import Builder, LayerFacts

_MAX_COPIES = 16  # of the embeddings; the published models have 4


def per_layer_inputs(build: Builder, width: int, cur: Tensor) -> Tensor:
    """Return the inputs of all layers together, ``width`` elements per token."""
    graph, tokens = build.graph, build.batch.n_tokens
    looked_up = graph.result((width, tokens), graph.leaf(tokens))
    looked_up = graph.over(graph.view(looked_up, width, tokens))
    graph.expand(looked_up)
    projected = graph.over(build.matrix(width, cur))
    projected = build.norm(graph.view(projected, width, tokens))
    both = graph.over(projected, looked_up)
    return graph.result((width, tokens), graph.view(both, width, tokens, strided=True))


def gemma4_layer(
    build: Builder, layer: LayerFacts, before: Tensor, inputs: Tensor | None
) -> Tensor:
    """Return a layer of Gemma 4: dense, or dense beside experts."""
    graph = build.graph
    cur = build.norm(attention(build, layer, build.norm(before)))
    between = graph.over(cur, before)
    if "ffn_gate_inp.weight" in layer:
        dense = build.norm(build.feed_forward(layer, build.norm(between)))
        logits = build.matrix(layer.rows("ffn_gate_inp.weight"), build.norm(between))
        routed = build.norm(build.experts(layer, build.norm(between), logits))
        cur = graph.over(dense, routed)
    else:
        cur = build.feed_forward(layer, build.norm(between))
    cur = graph.over(build.norm(cur), between)
    if inputs is None:
        return cur
    return graph.over(cur, _own_input(build, layer, cur, inputs))


def _own_input(build: Builder, layer: LayerFacts, cur: Tensor, inputs: Tensor) -> Tensor:
    """Return what the input of this layer adds."""
    graph, width = build.graph, layer.rows("inp_gate.weight")
    gated = graph.over(build.matrix(width, cur))
    gated = graph.over(gated, graph.view(inputs, width, build.batch.n_tokens))
    return build.norm(build.matrix(build.n_embd, gated))


def gemma3n_start(build: Builder, cur: Tensor, copies: int) -> Tensor:
    """Return the parallel streams of Gemma 3n, made of the embeddings."""
    if copies > _MAX_COPIES:
        raise ValueError("too many streams")
    graph, shape = build.graph, (build.n_embd, build.batch.n_tokens)
    size = graph.result((1, shape[1]), graph.result(shape, cur))
    repeated = graph.result((*shape, copies - 1), cur)
    others = graph.result((*shape, copies - 1), repeated)
    new_size = graph.result((1, shape[1], copies - 1), graph.over(others))
    others = graph.over(graph.over(others, size), new_size)
    return graph.result((*shape, copies), cur, others)


def gemma3n_end(build: Builder, cur: Tensor) -> Tensor:
    """Return the streams brought together, for the tokens whose logits are asked for."""
    graph, shape = build.graph, (build.n_embd, build.batch.n_tokens)
    copies = cur.ne[2]
    size = graph.result((1, shape[1]), graph.result(shape, graph.view(cur, *shape)))
    others = graph.result((*shape, copies - 1), graph.view(cur, *shape, copies - 1))
    new_size = graph.result((1, shape[1], copies - 1), graph.over(others))
    others = graph.over(graph.over(others, size), new_size)
    total = graph.view(cur, *shape)
    for _ in range(copies - 1):
        total = graph.over(total, graph.view(others, *shape))
    return build.pick_outputs(graph.over(total))


def gemma3n_layer(
    build: Builder, layer: LayerFacts, before: Tensor, inputs: Tensor, *, sparse: bool
) -> Tensor:
    """Return a layer of Gemma 3n: one stream computes, the others are predicted."""
    graph, shape = build.graph, (build.n_embd, build.batch.n_tokens)
    predicted = _predict(build, before)
    active = graph.view(predicted, *shape)
    normed = build.norm(active)
    low = build.linear(layer, "laurel_l", normed)
    laurel = graph.over(build.norm(build.linear(layer, "laurel_r", low)), normed)
    cur = graph.over(build.norm(attention(build, layer, normed)), active)
    between = graph.over(graph.over(cur, laurel))
    cur = build.norm(_sparse_feed_forward(build, layer, build.norm(between), sparse=sparse))
    corrected = _correct(build, predicted, graph.over(cur, between))
    first = graph.over(graph.view(corrected, *shape))
    added = _own_input(build, layer, first, inputs)
    rest = graph.over(graph.view(corrected, *shape, before.ne[2] - 1), added)
    return graph.result(before.ne, graph.view(corrected, *shape), rest)


def _route(build: Builder, cur: Tensor, rows: int) -> Tensor:
    return build.graph.over(build.matrix(rows, build.norm(cur)))


def _predict(build: Builder, cur: Tensor) -> Tensor:
    graph, copies = build.graph, cur.ne[2]
    coefficients = build.matrix(copies**2, _route(build, graph.view(cur, *cur.ne[:2]), copies))
    turned = graph.result(cur.ne, graph.view(cur, *cur.ne, strided=True))
    made = graph.result((copies, *cur.ne[:2]), turned, coefficients)
    made = graph.result(cur.ne, graph.view(made, *cur.ne, strided=True))
    return graph.over(made, cur)


def _correct(build: Builder, predicted: Tensor, cur: Tensor) -> Tensor:
    graph, copies = build.graph, predicted.ne[2]
    news = graph.over(cur, graph.view(predicted, *cur.ne))
    coefficients = build.matrix(copies, _route(build, cur, copies))
    repeated = graph.result(predicted.ne, news)
    return graph.over(graph.over(repeated, coefficients), predicted)


def _sparse_feed_forward(build: Builder, layer: LayerFacts, cur: Tensor, *, sparse: bool) -> Tensor:
    graph = build.graph
    up, gate = build.linear(layer, "ffn_up", cur), build.linear(layer, "ffn_gate", cur)
    if sparse:
        mean = graph.result((1, gate.ne[1]), gate)
        spread = graph.result((1, gate.ne[1]), graph.over(graph.over(gate, mean)))
        gate = graph.over(graph.over(gate, graph.over(mean, spread)))
    return build.linear(layer, "ffn_down", graph.over(up, graph.over(gate)))
