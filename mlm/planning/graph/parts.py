"""The parts of a layer that nearly all models share: norms, products, feed-forward, experts.

A model of ``src/llama-graph.cpp`` in the llama.cpp inside llama-cpp-python 0.3.36, as far as sizes,
order and reuse of memory go. Which parts a layer has follows from its tensors.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mlm.planning.graph.allocator import Dims, Graph, Tensor


@dataclass(frozen=True, slots=True, eq=False)
class LayerFacts:
    """One layer: the shapes of its tensors by name without ``blk.7.``, and what it keeps."""

    tensors: Mapping[str, Dims]
    n_head: int
    n_head_kv: int
    head_k: int
    head_v: int
    sliding: bool
    recurrent: bool
    owns_kv: bool  # it writes a KV cache; others attend to that of an earlier layer
    norms_values: bool
    is_turned: bool  # queries and keys are turned by their position
    n_expert_used: int
    state_r: int  # elements of convolution state per sequence
    state_s: int  # elements of recurrent state per sequence

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def rows(self, name: str) -> int:
        """Return the elements that multiplying with a tensor gives."""
        return self.tensors[name][1]

    def columns(self, name: str) -> int:
        """Return the elements that multiplying with a tensor takes."""
        return self.tensors[name][0]


@dataclass(frozen=True, slots=True)
class Batch:
    """The batch for which llama.cpp reserves its buffer, and the caches that it sees."""

    n_tokens: int
    n_seqs: int
    n_outputs: int
    cells: int  # of one stream of the KV cache
    sliding_cells: int
    n_streams: int
    flash: bool
    quantized_k: bool
    quantized_v: bool
    cached: bool  # there is a KV cache; encoders have none


class Cache:
    """The inputs that belong to one KV cache."""

    def __init__(self, graph: Graph, batch: Batch, cells: int) -> None:
        self.cells = cells
        self.k_places = graph.leaf(batch.n_tokens, item=8)
        self.v_places: Tensor | None = None  # as wide as the first values that are stored
        rows = batch.n_tokens // batch.n_streams
        self.mask = graph.leaf(cells, rows, 1, batch.n_streams, item=2 if batch.flash else 4)
        self.rotations: dict[int, Tensor] = {}


class Builder:
    """Appends parts of layers to a graph."""

    def __init__(
        self, batch: Batch, n_embd: int, *, layer_norm: bool, n_position: int, v_width: int
    ) -> None:
        self.graph = graph = Graph()
        self.batch = batch
        self.n_embd = n_embd
        self.layer_norm = layer_norm
        self.v_width = v_width  # of the widest layer
        self.first_value: Tensor | None = None  # RWKV 7 mixes the values of its first layer in
        self.positions = graph.leaf(batch.n_tokens * n_position)
        self.output_places = graph.leaf(batch.n_outputs)
        self.state_places = graph.leaf(batch.n_seqs)
        self.caches = {
            sliding: Cache(graph, batch, batch.sliding_cells if sliding else batch.cells)
            for sliding in (False, True)
        }

    def matrix(self, rows: int, cur: Tensor) -> Tensor:
        """Return the product with a weight of ``rows`` rows."""
        return self.graph.result((rows, *cur.ne[1:]), cur)

    def linear(self, layer: LayerFacts, name: str, cur: Tensor) -> Tensor:
        """Return the product with a weight, its bias added."""
        made = self.matrix(layer.rows(f"{name}.weight"), cur)
        return self.graph.over(made) if f"{name}.bias" in layer else made

    def norm(self, cur: Tensor, *, scaled: bool = True) -> Tensor:
        """Return a normalized ``cur``; only an RMS norm can overwrite it."""
        made = self.graph.result(cur.ne, cur) if self.layer_norm else self.graph.over(cur)
        return self.graph.over(made) if scaled else made

    def pick_outputs(self, cur: Tensor) -> Tensor:
        """Return the rows of the tokens whose logits are asked for."""
        return self.graph.result((cur.ne[0], self.batch.n_outputs), cur, self.output_places)

    def feed_forward(self, layer: LayerFacts, cur: Tensor, end: str = "") -> Tensor:
        """Return a feed-forward part; ``end`` names shared experts."""
        graph = self.graph
        up, gate, down = (f"ffn_{name}{end}" for name in ("up", "gate", "down"))
        high = self.linear(layer, up, cur)
        if f"{gate}.weight" in layer:
            high = graph.result(high.ne, self.linear(layer, gate, cur), high)
        elif high.ne[0] == 2 * layer.columns(f"{down}.weight"):
            high = graph.result((high.ne[0] // 2, *high.ne[1:]), high)
        else:
            high = graph.over(high)
        if "ffn_sub_norm.weight" in layer:
            high = self.norm(high)
        return self.linear(layer, down, high)

    def experts(self, layer: LayerFacts, cur: Tensor, logits: Tensor | None = None) -> Tensor:
        """Return the sum of the experts that a router picks for each token."""
        graph, tokens, used = self.graph, cur.ne[1], layer.n_expert_used
        n_expert = layer.rows("ffn_gate_inp.weight")
        probs = graph.over(logits or self.matrix(n_expert, cur))
        chosen = graph.over(probs) if "exp_probs_b.bias" in layer else probs
        picks = graph.view(graph.result((n_expert, tokens), chosen), used, tokens, strided=True)
        weights = graph.result((1, used, tokens), graph.view(probs, 1, n_expert, tokens), picks)
        weights = graph.result((1, used, tokens), weights)
        graph.expand(weights)
        each = self._expert_outputs(layer, graph.view(cur, cur.ne[0], 1, tokens), picks)
        each = graph.over(each, weights)
        graph.expand(each)
        views = [graph.view(each, each.ne[0], tokens, strided=True) for _ in range(used)]
        for view in views:
            graph.expand(view)
        total = views[0]
        for view in views[1:]:
            total = graph.over(total, view)
            graph.expand(total)
        return total if used > 1 else graph.result(total.ne, total)

    def _expert_outputs(self, layer: LayerFacts, cur: Tensor, picks: Tensor) -> Tensor:
        graph = self.graph
        shape = (layer.n_expert_used, picks.ne[1])
        n_ff, n_out = layer.tensors["ffn_down_exps.weight"][:2]
        if "ffn_gate_up_exps.weight" in layer:
            both = graph.result((2 * n_ff, *shape), cur, picks)
            halves = [graph.view(both, n_ff, *shape, strided=True) for _ in range(2)]
            high = graph.result((n_ff, *shape), *halves)
        else:
            high = self._biased(layer, "ffn_up_exps", graph.result((n_ff, *shape), cur, picks))
            if "ffn_gate_exps.weight" in layer:
                gate = graph.result((n_ff, *shape), cur, picks)
                gate = self._biased(layer, "ffn_gate_exps", gate)
                high = graph.result((n_ff, *shape), gate, high)
            else:
                high = graph.over(high)
        return self._biased(layer, "ffn_down_exps", graph.result((n_out, *shape), high, picks))

    def _biased(self, layer: LayerFacts, name: str, cur: Tensor) -> Tensor:
        return self.graph.over(cur) if f"{name}.bias" in layer else cur

    def mixture(self, layer: LayerFacts, cur: Tensor, logits: Tensor | None = None) -> Tensor:
        """Return the whole feed-forward part: dense, or experts and shared ones."""
        graph = self.graph
        if "ffn_down_exps.weight" not in layer:
            return self.feed_forward(layer, cur)
        inner = cur
        if "ffn_latent_down.weight" in layer:
            inner = self.matrix(layer.rows("ffn_latent_down.weight"), cur)
            logits = self.matrix(layer.rows("ffn_gate_inp.weight"), cur)
        routed = self.experts(layer, inner, logits)
        if "ffn_latent_up.weight" in layer:
            routed = self.matrix(layer.rows("ffn_latent_up.weight"), routed)
        if "ffn_up_shexp.weight" not in layer:
            return routed
        shared = self.feed_forward(layer, cur, "_shexp")
        if "ffn_gate_inp_shexp.weight" in layer:
            shared = graph.over(shared, graph.over(self.matrix(1, cur)))
        return graph.over(routed, shared)
