"""What a context needs besides weights: KV cache, recurrent state, compute and output buffers.

The KV cache and the states follow llama.cpp's own allocation exactly. The compute buffer is what
ggml's graph allocator finds to be the peak. Of a model whose header is known, its graph is built
and placed as ggml does (``mlm.planning.graph``). Of one that is known from the catalog only, or
whose layers are not understood, it is estimated. In 32-bit elements per token of the batch:

- flash attention on, gated feed-forward: 3 n_embd + n_q + 3 n_ff, as gate, up and their product
  live at the same time beside residual, norm and attention output;
- experts: the outputs of the used experts (n_used x n_embd) come on top when they do not fit into
  the hole that gate and up leave; n_ff of no more than n_embd fits into holes altogether;
- a feed-forward part without a gate: 3 n_embd + n_ff (BERT);
- recurrent layers: 6 n_inner + n_embd (Mamba);
- flash attention off: the attention weights, n_kv x n_head, beside 3 n_embd + 3 n_q + 2 n_kv_dim;
- the mask: n_kv cells of 16 bits (32 without flash attention), once more for sliding layers;
- or the logits of n_outputs tokens, if that is more.
"""

from typing import TYPE_CHECKING

from mlm.gguf.ggml_types import TYPES_BY_NAME
from mlm.planning.types import Block, ModelShape, RuntimeConfig

if TYPE_CHECKING:
    from mlm.planning.graph.parts import Batch

_F32 = 4
_CELLS_PAD = 256  # llama.cpp pads contexts and the cache of sliding layers to it
_INPUT_BYTES_PER_TOKEN = 32  # token, position, output id and the two cache indices


def context_cells(config: RuntimeConfig) -> int:
    """Return the cells of the KV cache that one sequence can use: n_ctx_seq in llama.cpp."""
    each = config.n_ctx if config.kv_unified else config.n_ctx // config.n_parallel
    return _pad(each)


def sliding_cells(shape: ModelShape, config: RuntimeConfig) -> int:
    """Return the same for layers that attend to a sliding window only."""
    cells = context_cells(config)
    if shape.sliding_window is None or config.swa_full:
        return cells
    windows = config.n_parallel if config.kv_unified else 1
    return _pad(min(cells, shape.sliding_window * windows + config.n_ubatch))


def kv_bytes(block: Block, shape: ModelShape, config: RuntimeConfig) -> int:
    """Return what one layer keeps for all slots: KV cache and recurrent state."""
    cells = sliding_cells(shape, config) if block.sliding else context_cells(config)
    streams = 1 if config.kv_unified else config.n_parallel
    v = block.v
    if v and not _uses_flash_attention(config):  # turned, for which all layers are equally wide
        v = max(other.v for other, _ in shape.kinds.values())
    cached = _row_bytes(config.type_k, block.k) + _row_bytes(config.type_v, v)
    return cells * streams * cached + block.state * config.n_parallel


def output_bytes(shape: ModelShape, config: RuntimeConfig) -> int:
    """Return the buffer for results: a row of logits per slot.

    Models that make vectors get room for logits all the same, and for the vectors beside them. It
    grows with the inputs; this is its size after the longest one.
    """
    width = shape.n_vocab + (shape.n_embd if config.embedding else 0)
    return config.n_outputs_max * width * _F32


def compute_bytes(shape: ModelShape, config: RuntimeConfig) -> int:
    """Return the compute buffer of the device that holds the model."""
    if shape.graph is not None:
        # Loaded here: advice from the catalog needs none of it and has to start fast.
        from mlm.planning.graph.whole import graph_bytes

        return graph_bytes(shape.graph, batch_of(shape, config))
    tokens = min(config.n_ubatch, config.n_batch, config.n_ctx)
    inputs = tokens * _INPUT_BYTES_PER_TOKEN + mask_bytes(shape, config)
    layer = tokens * _F32 * max(_feed_forward(shape), _attention(shape, config), _recurrent(shape))
    outputs = tokens if shape.is_encoder else config.n_outputs_max
    width = shape.n_embd if shape.is_encoder else shape.n_vocab
    logits = _F32 * (outputs * (width + shape.n_embd) + 2 * tokens * shape.n_embd)
    return inputs + max(layer, logits)


def batch_of(shape: ModelShape, config: RuntimeConfig) -> "Batch":
    """Return the batch for which llama.cpp reserves its compute buffer."""
    from mlm.planning.graph.parts import Batch

    tokens = min(config.n_ubatch, config.n_batch, config.n_ctx)
    slots = config.n_parallel
    tokens = -(-tokens // slots) * slots
    return Batch(
        n_tokens=tokens,
        n_seqs=slots,
        n_outputs=min(tokens, config.n_outputs_max),
        cells=tokens if shape.is_encoder else context_cells(config),
        sliding_cells=tokens if shape.is_encoder else sliding_cells(shape, config),
        n_streams=1 if config.kv_unified or shape.is_encoder else slots,
        flash=_uses_flash_attention(config),
        quantized_k=_is_quantized(config.type_k),
        quantized_v=_is_quantized(config.type_v),
        cached=not shape.is_encoder,
    )


def mask_bytes(shape: ModelShape, config: RuntimeConfig) -> int:
    """Return the attention masks of one batch."""
    tokens = min(config.n_ubatch, config.n_batch, config.n_ctx)
    item = 2 if _uses_flash_attention(config) else 4
    if shape.is_encoder:
        return tokens * tokens * item
    cells = 0
    if any(block.k and not block.sliding for block, _ in shape.kinds.values()):
        cells += context_cells(config)
    if any(block.k and block.sliding for block, _ in shape.kinds.values()):
        cells += sliding_cells(shape, config)
    return cells * tokens * item


def _recurrent(shape: ModelShape) -> int:
    return 6 * shape.n_inner + shape.n_embd if shape.n_inner else 0


def _feed_forward(shape: ModelShape) -> int:
    if not shape.is_gated:
        return 3 * shape.n_embd + shape.n_ff
    base = 3 * shape.n_embd + shape.n_q
    gate = shape.n_ff
    if gate > shape.n_embd:
        base += 3 * gate
    experts = shape.n_embd * shape.n_expert_used
    if experts > 2 * gate or (experts and gate <= shape.n_embd):
        base += experts
    return base


def _attention(shape: ModelShape, config: RuntimeConfig) -> int:
    kv = max((block.k + block.v for block, _ in shape.kinds.values()), default=0)
    base = 3 * shape.n_embd + 3 * shape.n_q + kv
    if _uses_flash_attention(config):
        return base
    cells = min(config.n_ubatch, config.n_ctx) if shape.is_encoder else context_cells(config)
    return base + cells * shape.n_head


def _uses_flash_attention(config: RuntimeConfig) -> bool:
    return config.flash_attn != "off"  # "auto" is on wherever the device can do it


def _is_quantized(type_name: str) -> bool:
    return TYPES_BY_NAME[type_name.upper()].block > 1


def _row_bytes(type_name: str, elements: int) -> int:
    """Return the bytes of one row of the cache; ggml stores whole blocks."""
    kind = TYPES_BY_NAME[type_name.upper()]
    return -(-elements // kind.block) * kind.n_bytes


def _pad(cells: int) -> int:
    return -(-cells // _CELLS_PAD) * _CELLS_PAD
