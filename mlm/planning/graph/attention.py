"""Attention: with and without flash attention, over a KV cache or over the batch itself."""

from mlm.planning.graph.allocator import Tensor
from mlm.planning.graph.parts import Builder, Cache, LayerFacts

_HADAMARD = 64  # least size of the matrix with which values are turned before quantizing

_HALF = 2  # bytes; keys are f16 where flash attention is off


def attention(build: Builder, layer: LayerFacts, cur: Tensor) -> Tensor:
    """Return a whole attention part, from queries to the output matrix."""
    if "attn_kv_a_mqa.weight" in layer:
        return _latent(build, layer, cur)
    gate = _gate(build, layer, cur)
    if "attn_q.weight" in layer and layer.rows("attn_q.weight") == 2 * layer.n_head * layer.head_k:
        return _with_gate_in_queries(build, layer, cur)
    q, k, v = _queries_keys_values(build, layer, cur)
    mixed = attend(build, layer, q, k, v)
    if gate is not None:
        mixed = build.graph.over(mixed, build.graph.over(gate))
    return project(build, layer, mixed)


def project(build: Builder, layer: LayerFacts, cur: Tensor) -> Tensor:
    """Return the product with the output matrix."""
    if "attn_sub_norm.weight" in layer:
        cur = build.norm(cur)
    return build.linear(layer, "attn_output", cur) if "attn_output.weight" in layer else cur


def attend(
    build: Builder,
    layer: LayerFacts,
    q: Tensor,
    k: Tensor | None,
    v: Tensor | None,
) -> Tensor:
    """Return the values mixed by attention, as [head size x heads, tokens]."""
    graph, batch = build.graph, build.batch
    cache = build.caches[layer.sliding]
    if not batch.cached:
        assert k is not None and v is not None
        for each in (q, k, v):
            graph.expand(each)
        return _expanded(build, _over_batch(build, layer, q, k, v))
    if batch.quantized_k and q.ne[0] and q.ne[0] % _HADAMARD == 0:
        size = q.ne[0] & -q.ne[0]  # the largest power of two that divides it
        q = _hadamard(build, cache, size, q)
        k = k and _hadamard(build, cache, size, k)
    turns_v = batch.quantized_v and layer.head_v % _HADAMARD == 0
    if turns_v:
        v = v and _hadamard(build, cache, _HADAMARD, v)
    for part in (q, v, k):
        if part is not None:
            graph.expand(part)
    if k is not None:
        graph.expand(graph.result((0,), k, cache.k_places))
    if v is not None:
        _store_values(build, cache, v)
    heads = (layer.head_v, layer.n_head)
    mixed = _flash(build, heads, q, cache) if batch.flash else _plain(build, heads, q, cache)
    graph.expand(mixed)
    return _hadamard(build, cache, _HADAMARD, mixed) if turns_v else mixed


def _expanded(build: Builder, cur: Tensor) -> Tensor:
    build.graph.expand(cur)
    return cur


def _gate(build: Builder, layer: LayerFacts, cur: Tensor) -> Tensor | None:
    """Return the gate for the output of attention that some models have as a matrix."""
    if "attn_gate.weight" not in layer:
        return None
    return build.matrix(layer.rows("attn_gate.weight"), cur)


def _queries_keys_values(
    build: Builder, layer: LayerFacts, cur: Tensor
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return Q, K and V, each as [head size, heads, tokens]; no K and V where they are shared."""
    tokens, view = build.batch.n_tokens, build.graph.view
    kv = layer.n_head_kv
    if "attn_qkv.weight" in layer:
        fused = build.linear(layer, "attn_qkv", cur)
        q = view(fused, layer.head_k, layer.n_head, tokens, strided=True)
        k = view(fused, layer.head_k, kv, tokens, strided=True)
        v = view(fused, layer.head_v, kv, tokens, strided=True)
        return _turned(build, layer, "q", q), _turned(build, layer, "k", k), v
    q = view(build.linear(layer, "attn_q", cur), layer.head_k, layer.n_head, tokens)
    q = _turned(build, layer, "q", q)
    if not layer.owns_kv:
        return q, None, None
    key = build.linear(layer, "attn_k", cur)
    value = build.linear(layer, "attn_v", cur) if "attn_v.weight" in layer else key
    k, v = view(key, layer.head_k, kv, tokens), view(value, layer.head_v, kv, tokens)
    if layer.norms_values:
        v = build.norm(v, scaled=False)
    return q, _turned(build, layer, "k", k), v


def _turned(build: Builder, layer: LayerFacts, which: str, cur: Tensor) -> Tensor:
    """Return queries or keys with norm and position."""
    if f"attn_{which}_norm.weight" in layer:
        cur = build.norm(cur)
    return build.graph.over(cur, build.positions) if layer.is_turned else cur


def _with_gate_in_queries(build: Builder, layer: LayerFacts, cur: Tensor) -> Tensor:
    """Return attention whose query matrix holds a gate as well (Qwen3-Next and 3.5)."""
    graph, tokens = build.graph, build.batch.n_tokens
    full = build.linear(layer, "attn_q", cur)
    q = graph.view(full, layer.head_k, layer.n_head, tokens, strided=True)
    half = graph.view(full, layer.head_k, layer.n_head, tokens, strided=True)
    key, value = build.linear(layer, "attn_k", cur), build.linear(layer, "attn_v", cur)
    k = graph.view(key, layer.head_k, layer.n_head_kv, tokens)
    v = graph.view(value, layer.head_v, layer.n_head_kv, tokens)
    q, k = _turned(build, layer, "q", q), _turned(build, layer, "k", k)
    mixed = attend(build, layer, q, k, v)
    gate = graph.over(graph.result((layer.head_k * layer.n_head, tokens), half))
    return project(build, layer, graph.over(mixed, gate))


def _store_values(build: Builder, cache: Cache, v: Tensor) -> None:
    graph, batch = build.graph, build.batch
    if cache.v_places is None:
        per_token = 1 if batch.flash else build.v_width
        cache.v_places = graph.leaf(batch.n_tokens * per_token, item=8)
    width = v.ne[0] * v.ne[1]
    if not batch.flash:
        if v.layout is v:  # a part of something wider is copied first
            v = graph.result((width, batch.n_tokens), v)
        if width < build.v_width:
            v = graph.result((build.v_width, batch.n_tokens), v)
    graph.expand(graph.result((0,), v, cache.v_places))


def _hadamard(build: Builder, cache: Cache, size: int, cur: Tensor) -> Tensor:
    """Return ``cur`` turned by a matrix of ``size``, which makes quantizing less lossy."""
    graph = build.graph
    if size not in cache.rotations:
        cache.rotations[size] = graph.leaf(size, size)
    count = 1
    for ne in cur.ne:
        count *= ne
    flat = (size, count // size)
    inner = graph.result(flat, cur) if cur.layout is cur else graph.view(cur, *flat)
    return graph.view(graph.result(flat, cache.rotations[size], inner), *cur.ne)


def _flash(build: Builder, heads: tuple[int, int], q: Tensor, cache: Cache) -> Tensor:
    graph, tokens = build.graph, build.batch.n_tokens
    each = graph.view(q, *q.ne, strided=True)
    mixed = graph.result((*heads, tokens), each, cache.mask)
    return graph.view(mixed, heads[0] * heads[1], tokens)


def _plain(build: Builder, heads: tuple[int, int], q: Tensor, cache: Cache) -> Tensor:
    graph, tokens = build.graph, build.batch.n_tokens
    each = graph.view(q, *q.ne, strided=True)
    weights = graph.over(graph.result((cache.cells, tokens, heads[1]), each), cache.mask)
    mixed = graph.result((heads[0], tokens, heads[1]), weights)
    return graph.result((heads[0] * heads[1], tokens), graph.view(mixed, *mixed.ne, strided=True))


def _over_batch(build: Builder, layer: LayerFacts, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return attention of an encoder: over the batch itself, without a cache."""
    graph, tokens = build.graph, build.batch.n_tokens
    cache = build.caches[layer.sliding]
    heads = (layer.head_v, layer.n_head)
    q, k, v = (graph.view(each, *each.ne, strided=True) for each in (q, k, v))
    if build.batch.flash:
        half_k, half_v = (graph.result(each.ne, each, item=2) for each in (k, v))
        mixed = graph.result((*heads, tokens), q, half_k, half_v, cache.mask)
        return graph.view(mixed, heads[0] * heads[1], tokens)
    weights = graph.over(graph.result((tokens, tokens, heads[1]), k, q), cache.mask)
    turned = graph.result((tokens, layer.head_v, layer.n_head_kv), v)
    mixed = graph.result((heads[0], tokens, heads[1]), turned, weights)
    return graph.result((heads[0] * heads[1], tokens), graph.view(mixed, *mixed.ne, strided=True))


def _latent(build: Builder, layer: LayerFacts, cur: Tensor) -> Tensor:
    """Return attention over compressed keys and values (MLA: DeepSeek 2 and its kin)."""
    graph, tokens = build.graph, build.batch.n_tokens
    if "attn_q_a.weight" in layer:
        queries = build.norm(build.linear(layer, "attn_q_a", cur))
        queries = build.linear(layer, "attn_q_b", queries)
    else:
        queries = build.linear(layer, "attn_q", cur)
    both = build.linear(layer, "attn_kv_a_mqa", cur)
    rank = layer.columns("attn_kv_a_norm.weight")
    turned = both.ne[0] - rank
    k_turned = graph.view(both, turned, 1, tokens, strided=True)
    if layer.is_turned:
        k_turned = graph.over(k_turned, build.positions)
    compressed = build.norm(graph.view(both, rank, tokens, strided=True))
    if "attn_k_b.weight" in layer:
        return _absorbed(build, layer, queries, compressed, k_turned)
    n_head = layer.n_head
    pairs = build.linear(layer, "attn_kv_b", compressed)
    plain = layer.head_k - turned
    k_plain = graph.view(pairs, plain, n_head, tokens, strided=True)
    shape = (layer.head_v, n_head, tokens)
    v = graph.result(shape, graph.view(pairs, *shape, strided=True))
    q = graph.view(queries, layer.head_k, n_head, tokens)
    if layer.is_turned:
        q = graph.over(q, build.positions)
    repeated = graph.result((turned, n_head, tokens), k_turned)
    k = graph.result((layer.head_k, n_head, tokens), k_plain, repeated)
    return project(build, layer, attend(build, layer, q, k, v))


def _absorbed(
    build: Builder, layer: LayerFacts, queries: Tensor, compressed: Tensor, k_turned: Tensor
) -> Tensor:
    """Return attention by heads that all read the compressed keys themselves."""
    graph, tokens, n_head = build.graph, build.batch.n_tokens, layer.n_head
    rank, turned = compressed.ne[0], k_turned.ne[0]
    plain = layer.columns("attn_k_b.weight")
    head_v = layer.rows("attn_v_b.weight")
    q_turned = graph.view(queries, turned, n_head, tokens, strided=True)
    if layer.is_turned:
        q_turned = graph.over(q_turned, build.positions)
    q_plain = graph.view(queries, plain, tokens, n_head, strided=True)
    absorbed = graph.result((rank, tokens, n_head), q_plain)
    absorbed = graph.view(absorbed, rank, n_head, tokens, strided=True)
    q = graph.result((rank + turned, n_head, tokens), absorbed, q_turned)
    v = graph.view(compressed, rank, 1, tokens)
    k = graph.result((rank + turned, 1, tokens), v, k_turned)
    for each in (q, v, k):
        graph.expand(each)
    cache = build.caches[layer.sliding]
    graph.expand(graph.result((0,), k, cache.k_places))
    each = graph.view(q, *q.ne, strided=True)
    if build.batch.flash:
        mixed = graph.result((rank, n_head, tokens), each, cache.mask)
        mixed = graph.view(mixed, rank, tokens, n_head, strided=True)
    else:
        cells = cache.cells * build.batch.n_streams
        turned_keys = graph.result((cells, rank), cache.k_places, item=_HALF)
        weights = graph.over(graph.result((cache.cells, tokens, n_head), each), cache.mask)
        mixed = graph.result((rank, tokens, n_head), turned_keys, weights)
    mixed = graph.result((head_v, tokens, n_head), mixed)
    mixed = graph.view(mixed, head_v, n_head, tokens, strided=True)
    mixed = graph.result((head_v, n_head, tokens), mixed)
    mixed = graph.view(mixed, head_v * n_head, tokens)
    graph.expand(mixed)
    return project(build, layer, mixed)
