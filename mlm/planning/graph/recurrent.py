"""Layers that keep a state instead of a KV cache: Mamba, delta nets, convolutions, RWKV."""

from mlm.planning.graph.allocator import Tensor
from mlm.planning.graph.parts import Builder, LayerFacts


def recurrent(build: Builder, layer: LayerFacts, cur: Tensor) -> Tensor:
    """Return the recurrent part that the tensors of the layer tell of."""
    if "shortconv.in_proj.weight" in layer:
        return _short_convolution(build, layer, cur)
    if "ssm_q_conv.weight" in layer or "ssm_conv1d_q.weight" in layer:
        return _kimi_delta(build, layer, cur)
    if any(name in layer for name in ("ssm_beta.weight", "ssm_ba.weight")):
        return _delta_net(build, layer, cur)
    if "ssm_x.weight" in layer:
        return _mamba(build, layer, cur)
    return _mamba2(build, layer, cur)


def state(build: Builder, size: int) -> Tensor:
    """Return the states of all sequences, read from their memory."""
    made = build.graph.result((size, build.batch.n_seqs), build.state_places)
    build.graph.expand(made)
    return made


def store(build: Builder, cur: Tensor) -> None:
    """Write a part of ``cur`` back into the memory of the states."""
    build.graph.expand(build.graph.result((0,), build.graph.view(cur, 0, strided=True)))


def _convolution(build: Builder, layer: LayerFacts, cur: Tensor, channels: int) -> Tensor:
    """Return ``cur`` joined with what earlier tokens left in the state, and keep its end."""
    graph, batch = build.graph, build.batch
    before = state(build, layer.state_r)
    kept = layer.state_r // max(channels, 1)
    length = kept + batch.n_tokens // batch.n_seqs
    joined = graph.result(
        (length, channels, batch.n_seqs),
        graph.view(before, kept, channels, batch.n_seqs),
        graph.view(cur, channels, batch.n_tokens, strided=True),
    )
    store(build, joined)
    return joined


def _mamba(build: Builder, layer: LayerFacts, cur: Tensor) -> Tensor:
    graph, tokens = build.graph, build.batch.n_tokens
    inner = layer.columns("ssm_out.weight")
    both = build.linear(layer, "ssm_in", cur)
    x = graph.view(both, inner, tokens, strided=True)
    z = graph.view(both, inner, tokens, strided=True)
    joined = _convolution(build, layer, x, inner)
    x = graph.over(graph.over(graph.result((inner, tokens), joined)))
    mixed = build.linear(layer, "ssm_x", x)
    rank = layer.columns("ssm_dt.weight")
    n_state = (mixed.ne[0] - rank) // 2
    dt, b, c = (graph.view(mixed, n, tokens, strided=True) for n in (rank, n_state, n_state))
    if "ssm_dt_norm.weight" in layer:
        dt, b, c = build.norm(dt), build.norm(b), build.norm(c)
    else:
        dt = graph.result(dt.ne, dt)
    dt = build.linear(layer, "ssm_dt", dt)
    return _scan(build, layer, (x, dt, b, c), x, z)


def _mamba2(build: Builder, layer: LayerFacts, cur: Tensor) -> Tensor:
    graph, tokens = build.graph, build.batch.n_tokens
    inner = layer.columns("ssm_out.weight")
    channels = layer.rows("ssm_conv1d.weight")
    heads = layer.columns("ssm_dt.bias")
    all_ = build.linear(layer, "ssm_in", cur)
    z = graph.view(all_, inner, tokens, strided=True)
    joined = _convolution(build, layer, graph.view(all_, channels, tokens, strided=True), channels)
    mixed = graph.over(graph.over(graph.result((channels, tokens), joined)))
    x = graph.view(mixed, inner, tokens, strided=True)
    group = (channels - inner) // 2
    b, c = (graph.view(mixed, group, tokens, strided=True) for _ in range(2))
    dt = graph.over(graph.result((heads, tokens), graph.view(all_, heads, tokens, strided=True)))
    return _scan(build, layer, (x, dt, b, c), x, z)


def _scan(
    build: Builder, layer: LayerFacts, inputs: tuple[Tensor, ...], x: Tensor, z: Tensor
) -> Tensor:
    """Return the rest of a Mamba layer: scan, skip connection, gate, output matrix."""
    graph, batch = build.graph, build.batch
    inner, tokens = x.ne
    seen = (graph.view(inputs[0], *inputs[0].ne, strided=True), *inputs[1:])
    scanned = graph.result(
        (inner * tokens + layer.state_s * batch.n_seqs,), *seen, build.state_places
    )
    graph.expand(scanned)
    store(build, scanned)
    y = graph.over(graph.view(scanned, inner, tokens), graph.over(x))
    y = graph.result((inner, tokens), graph.result((inner, tokens), z), y)
    if "ssm_norm.weight" in layer:
        y = build.norm(graph.view(y, inner, tokens))
    return build.linear(layer, "ssm_out", y)


def _delta_net(build: Builder, layer: LayerFacts, cur: Tensor) -> Tensor:
    """Return a gated delta net (Qwen3-Next and 3.5)."""
    graph, batch = build.graph, build.batch
    tokens = batch.n_tokens
    inner = layer.columns("ssm_out.weight")
    channels = layer.rows("ssm_conv1d.weight")
    keys = (channels - inner) // 2
    heads = layer.columns("ssm_dt.bias")
    mixed = build.matrix(channels, cur)
    gate = build.matrix(inner, cur)
    joined = _convolution(build, layer, mixed, channels)
    before = state(build, layer.state_s)
    mixed = graph.over(graph.result((channels, tokens), joined))
    q, k, v = (graph.view(mixed, n, tokens, strided=True) for n in (keys, keys, inner))
    q, k = (graph.over(graph.over(each)) for each in (q, k))
    if "ssm_ba.weight" in layer and keys != inner:  # Qwen3-Next repeats them for each value
        q, k = (graph.result((inner, tokens), each) for each in (q, k))
    decay, beta = (
        graph.over(graph.view(build.matrix(heads, cur), heads, tokens)) for _ in range(2)
    )
    made = graph.result(
        (inner, tokens + inner // heads * batch.n_seqs), q, k, v, decay, beta, before
    )
    store(build, made)
    normed = build.norm(graph.view(made, inner, tokens, strided=True))
    gated = graph.over(normed, graph.over(graph.view(gate, inner, tokens)))
    return build.linear(layer, "ssm_out", graph.view(gated, inner, tokens))


def _kimi_delta(build: Builder, layer: LayerFacts, cur: Tensor) -> Tensor:
    """Return a Kimi delta attention: three convolutions before a delta net."""
    graph, batch = build.graph, build.batch
    tokens, inner = batch.n_tokens, layer.columns("attn_output.weight")
    before = state(build, layer.state_r)
    parts = []
    kept = layer.state_r // (3 * inner)
    shape = (kept + tokens // batch.n_seqs, inner, batch.n_seqs)
    for name in ("attn_q", "attn_k", "attn_v"):
        made = build.linear(layer, name, cur)
        old = graph.view(before, kept, inner, batch.n_seqs, strided=True)
        joined = graph.result(shape, old, graph.view(made, *made.ne, strided=True))
        store(build, joined)
        parts.append(graph.over(graph.result((inner, tokens), joined)))
    decay = graph.over(build.matrix(inner, build.linear(layer, "ssm_f_a", cur)))
    decay = graph.over(graph.view(decay, inner, tokens))
    heads = layer.rows("ssm_beta.weight")
    beta = graph.over(graph.view(build.matrix(heads, cur), heads, tokens))
    kept_state = state(build, layer.state_s)
    q, k = (graph.over(graph.over(graph.view(each, inner, tokens))) for each in parts[:2])
    made = graph.result(
        (inner, tokens + inner // heads * batch.n_seqs), q, k, parts[2], decay, beta, kept_state
    )
    out = graph.result((inner, tokens), graph.view(made, inner, tokens, strided=True))
    store(build, made)
    gate = build.matrix(inner, build.linear(layer, "ssm_g_a", cur))
    gated = graph.over(
        build.norm(graph.view(out, inner, tokens)), graph.over(graph.view(gate, inner, tokens))
    )
    return build.linear(layer, "attn_output", graph.result((inner, tokens), gated))


def _short_convolution(build: Builder, layer: LayerFacts, cur: Tensor) -> Tensor:
    graph, tokens, width = build.graph, build.batch.n_tokens, build.n_embd
    all_ = build.linear(layer, "shortconv.in_proj", cur)
    b, c, x = (graph.view(all_, width, tokens, strided=True) for _ in range(3))
    joined = _convolution(build, layer, graph.over(b, x), width)
    mixed = graph.result((width, tokens), joined)
    return build.linear(layer, "shortconv.out_proj", graph.over(c, mixed))
