"""Layers of RWKV 6 and 7, and of the Qwen models that were given such layers."""

from mlm.planning.graph.allocator import Tensor
from mlm.planning.graph.parts import Builder, LayerFacts
from mlm.planning.graph.recurrent import state, store


def rwkv_layer(build: Builder, layer: LayerFacts, before: Tensor, *, is_last: bool) -> Tensor:
    """Return a layer: a mix of the tokens, and one of the channels or a feed-forward part."""
    graph, shape = build.graph, before.ne
    shifted = state(build, layer.state_r)
    normed = build.norm(graph.view(before, *shape))
    previous = _shift(build, shifted, normed)
    mix = _mix_tokens7 if "time_mix_a1.weight" in layer else _mix_tokens6
    cur = mix(build, layer, normed, previous)
    between = graph.over(graph.view(cur, *shape), graph.view(before, *shape))
    if "ffn_norm.weight" in layer:
        store(build, normed)
        if is_last:
            between = build.pick_outputs(between)
        return graph.over(build.feed_forward(layer, build.norm(between)), between)
    normed2 = build.norm(between)
    previous = _shift(build, shifted, normed2)
    ends = [
        graph.view(each, shape[0], build.batch.n_seqs, strided=True) for each in (normed, normed2)
    ]
    store(build, graph.result((2 * shape[0], build.batch.n_seqs), *ends))
    between, normed2, previous = (graph.view(each, *shape) for each in (between, normed2, previous))
    if is_last:
        between, normed2, previous = (build.pick_outputs(e) for e in (between, normed2, previous))
    return graph.over(_mix_channels(build, layer, normed2, previous), between)


def _shift(build: Builder, shifted: Tensor, cur: Tensor) -> Tensor:
    """Return for each token what the one before it was."""
    graph = build.graph
    old = graph.view(shifted, cur.ne[0], build.batch.n_seqs, strided=True)
    return graph.result(cur.ne, old, graph.view(cur, *cur.ne, strided=True))


def _mix_channels(build: Builder, layer: LayerFacts, cur: Tensor, previous: Tensor) -> Tensor:
    graph = build.graph
    change = graph.over(previous, cur)
    key_input = graph.over(graph.over(change), cur)
    key = graph.over(build.linear(layer, "channel_mix_key", key_input))
    if "channel_mix_receptance.weight" not in layer:
        return build.linear(layer, "channel_mix_value", key)
    gate = graph.over(graph.over(change), cur)
    gate = graph.over(build.linear(layer, "channel_mix_receptance", gate))
    return graph.over(gate, build.linear(layer, "channel_mix_value", key))


def _normed_heads(build: Builder, layer: LayerFacts, cur: Tensor) -> Tensor:
    if "time_mix_ln.weight" not in layer:
        return cur
    graph = build.graph
    made = graph.result(cur.ne, cur)
    return graph.over(graph.over(graph.view(made, *cur.ne)))


def _mix_tokens6(build: Builder, layer: LayerFacts, cur: Tensor, previous: Tensor) -> Tensor:
    graph, shape = build.graph, cur.ne
    tokens = shape[1]
    change = graph.over(previous, cur)
    change, cur = graph.view(change, *shape), graph.view(cur, *shape)
    low = graph.over(graph.over(change), cur)
    rank = layer.rows("time_mix_w1.weight")
    low = graph.view(graph.over(build.matrix(rank, low)), rank, tokens, strided=True)
    five = graph.result((*shape, 5), graph.result((rank, tokens), low))
    five = graph.over(graph.over(graph.over(five), change), cur)
    parts = [graph.view(five, *shape) for _ in range(5)]
    kept = state(build, layer.state_s)
    key, value = (
        build.linear(layer, f"time_mix_{name}", part)
        for name, part in zip(("key", "value"), parts[1:], strict=False)
    )
    if key.ne[0] < shape[0]:
        key, value = (graph.result(shape, graph.view(each, *each.ne)) for each in (key, value))
    reception = build.linear(layer, "time_mix_receptance", parts[3])
    gate = graph.over(build.linear(layer, "time_mix_gate", parts[4]))
    decay = graph.over(build.linear(layer, "time_mix_decay_w1", parts[0]))
    decay = graph.over(build.linear(layer, "time_mix_decay_w2", decay))
    key, value, reception, decay = (
        graph.view(each, *shape) for each in (key, value, reception, decay)
    )
    if "time_mix_first.weight" not in layer:
        key = graph.over(key, graph.over(key, decay))
    made = graph.result(
        (shape[0] * tokens + layer.state_s * build.batch.n_seqs,),
        key,
        value,
        reception,
        decay,
        kept,
    )
    store(build, made)
    out = _normed_heads(build, layer, graph.view(made, *shape))
    return build.linear(layer, "time_mix_output", graph.over(out, gate))


def _mix_tokens7(build: Builder, layer: LayerFacts, cur: Tensor, previous: Tensor) -> Tensor:
    graph, shape = build.graph, cur.ne
    copies = layer.tensors["time_mix_lerp_fused.weight"][-1]
    many = graph.result((*shape, copies), graph.over(previous, cur))
    many = graph.over(graph.over(many), cur)
    parts = [graph.view(many, *shape) for _ in range(6)]
    linear = build.linear
    reception = linear(layer, "time_mix_receptance", parts[0])
    decay = graph.over(linear(layer, "time_mix_w1", parts[1]))
    decay = graph.over(linear(layer, "time_mix_w2", decay))
    key = linear(layer, "time_mix_key", parts[2])
    value = linear(layer, "time_mix_value", parts[3])
    if build.first_value is None:
        build.first_value = value
    elif "time_mix_v1.weight" in layer:
        low = linear(layer, "time_mix_v1", parts[3])
        share = graph.over(linear(layer, "time_mix_v2", low))
        value = graph.over(value, graph.over(graph.over(build.first_value, value), share))
    rate = graph.over(linear(layer, "time_mix_a2", linear(layer, "time_mix_a1", parts[4])))
    turned = graph.result(shape, graph.view(graph.over(key), *shape))
    scaled = graph.over(key)
    key = graph.over(key, graph.over(graph.over(rate, scaled), scaled))
    kept = state(build, layer.state_s)
    seen = [graph.view(each, *shape) for each in (reception, decay, key, value, rate)]
    made = graph.result(
        (shape[0] * shape[1] + layer.state_s * build.batch.n_seqs,),
        *seen[:4], graph.over(turned), graph.over(turned, seen[4]), kept,
    )  # fmt: skip
    store(build, made)
    out = _normed_heads(build, layer, graph.view(made, *shape))
    bonus = graph.result((1, shape[1]), graph.over(graph.over(seen[2], seen[0])))
    out = graph.over(out, graph.view(graph.over(seen[3], bonus), *shape))
    if "time_mix_g1.weight" in layer:
        gate = graph.over(linear(layer, "time_mix_g1", parts[5]))
        out = graph.over(out, linear(layer, "time_mix_g2", gate))
    return linear(layer, "time_mix_output", out)
