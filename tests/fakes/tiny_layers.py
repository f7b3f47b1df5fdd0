"""The layers of tiny models: what each kind of model consists of, in random numbers."""

from collections.abc import Callable, Sequence

import gguf
import numpy as np

N_EMBD, N_HEAD, N_HEAD_KV, N_FF, N_LAYER, N_CTX_TRAIN = 64, 4, 2, 96, 2, 8192
HEAD_DIM = N_EMBD // N_HEAD
SLIDING_WINDOW = 32  # of the gemma models
N_EXPERT = 8
N_INNER, N_CONV, N_STATE = 2 * N_EMBD, 4, 16  # of recurrent layers


RERANK_TEMPLATE = "hello {query} is {document} world"
_CLS, _LAST = gguf.PoolingType.CLS, gguf.PoolingType.LAST


class Weights:
    """Adds random tensors to a file."""

    def __init__(self, writer: gguf.GGUFWriter, seed: int) -> None:
        self.writer = writer
        self._random = np.random.default_rng(seed)

    def matrix(self, name: str, *shape: int, scale: float | None = None) -> None:
        """Random numbers that keep the size of what they are multiplied with."""
        scale = scale if scale is not None else 2 / np.sqrt(shape[-1])
        self.add(name, self._random.normal(0, scale, shape))

    def ones(self, name: str, size: int) -> None:
        self.add(name, np.ones(size))

    def zeros(self, name: str, size: int) -> None:
        self.add(name, np.zeros(size))

    def add(self, name: str, values: np.ndarray) -> None:
        self.writer.add_tensor(name, values.astype(np.float32))


def _layers() -> list[str]:
    return [f"blk.{number}" for number in range(N_LAYER)]


def _describe_attention(
    writer: gguf.GGUFWriter,
    n_head_kv: int | Sequence[int] = N_HEAD_KV,
    n_rotated: int = HEAD_DIM,
) -> None:
    writer.add_head_count(N_HEAD)
    writer.add_head_count_kv(n_head_kv)
    writer.add_feed_forward_length(N_FF)
    writer.add_rope_dimension_count(n_rotated)
    writer.add_layer_norm_rms_eps(1e-5)


def _add_attention(weights: Weights, layer: str) -> None:
    weights.ones(f"{layer}.attn_norm.weight", N_EMBD)
    weights.matrix(f"{layer}.attn_q.weight", N_HEAD * HEAD_DIM, N_EMBD)
    weights.matrix(f"{layer}.attn_k.weight", N_HEAD_KV * HEAD_DIM, N_EMBD)
    weights.matrix(f"{layer}.attn_v.weight", N_HEAD_KV * HEAD_DIM, N_EMBD)
    weights.matrix(f"{layer}.attn_output.weight", N_EMBD, N_HEAD * HEAD_DIM)


def _add_head_norms(weights: Weights, layer: str) -> None:
    # Large, or every head looks at everything and all long texts look the same.
    weights.add(f"{layer}.attn_q_norm.weight", np.full(HEAD_DIM, 3))
    weights.ones(f"{layer}.attn_k_norm.weight", HEAD_DIM)


def _add_feed_forward(weights: Weights, layer: str) -> None:
    weights.ones(f"{layer}.ffn_norm.weight", N_EMBD)
    _add_gated(weights, layer, "")


def _add_gated(weights: Weights, layer: str, end: str) -> None:
    weights.matrix(f"{layer}.ffn_gate{end}.weight", N_FF, N_EMBD)
    weights.matrix(f"{layer}.ffn_up{end}.weight", N_FF, N_EMBD)
    weights.matrix(f"{layer}.ffn_down{end}.weight", N_EMBD, N_FF)


def _describe_experts(writer: gguf.GGUFWriter) -> None:
    """Of eight experts two are used."""
    writer.add_expert_count(N_EXPERT)
    writer.add_expert_used_count(2)
    writer.add_expert_feed_forward_length(N_FF)


def _add_experts(weights: Weights, layer: str) -> None:
    weights.ones(f"{layer}.ffn_norm.weight", N_EMBD)
    weights.matrix(f"{layer}.ffn_gate_inp.weight", N_EXPERT, N_EMBD)
    weights.matrix(f"{layer}.ffn_gate_exps.weight", N_EXPERT, N_FF, N_EMBD)
    weights.matrix(f"{layer}.ffn_up_exps.weight", N_EXPERT, N_FF, N_EMBD)
    weights.matrix(f"{layer}.ffn_down_exps.weight", N_EXPERT, N_EMBD, N_FF)


def _add_llama(weights: Weights) -> None:
    _describe_attention(weights.writer)
    for layer in _layers():
        _add_attention(weights, layer)
        _add_feed_forward(weights, layer)


def _add_mixtral(weights: Weights) -> None:
    _describe_attention(weights.writer)
    _describe_experts(weights.writer)
    for layer in _layers():
        _add_attention(weights, layer)
        _add_experts(weights, layer)


def _add_qwen2(weights: Weights) -> None:
    """Like llama, with biases on queries, keys and values."""
    _add_llama(weights)
    for layer in _layers():
        weights.matrix(f"{layer}.attn_q.bias", N_HEAD * HEAD_DIM)
        weights.matrix(f"{layer}.attn_k.bias", N_HEAD_KV * HEAD_DIM)
        weights.matrix(f"{layer}.attn_v.bias", N_HEAD_KV * HEAD_DIM)


def _add_qwen2vl(weights: Weights) -> None:
    """Like qwen2; positions of pictures have rows and columns."""
    _add_qwen2(weights)
    weights.writer.add_rope_dimension_sections([2, 3, 3, 0])


def _add_qwen3(weights: Weights) -> None:
    """Like llama, with norms over the heads of queries and keys."""
    _add_llama(weights)
    for layer in _layers():
        _add_head_norms(weights, layer)


def _add_qwen3moe(weights: Weights) -> None:
    _add_mixtral(weights)
    for layer in _layers():
        _add_head_norms(weights, layer)


def _add_gemma2(weights: Weights) -> None:
    """Every other layer sees only a sliding window."""
    _add_llama(weights)
    weights.writer.add_sliding_window(SLIDING_WINDOW)
    weights.writer.add_key_length(HEAD_DIM)
    weights.writer.add_value_length(HEAD_DIM)
    for layer in _layers():
        # Large, or the embedding outweighs the layers and every token repeats itself.
        weights.add(f"{layer}.post_attention_norm.weight", np.full(N_EMBD, 20))
        weights.add(f"{layer}.post_ffw_norm.weight", np.full(N_EMBD, 20))


def _add_gemma3(weights: Weights) -> None:
    """Like gemma2, with norms over heads. The first layer has the window, the second sees all."""
    _add_gemma2(weights)
    weights.writer.add_sliding_window_pattern([True, False])
    for layer in _layers():
        _add_head_norms(weights, layer)


def _add_deepseek2(weights: Weights) -> None:
    """Latent attention: keys and values of all heads are one small vector. And a shared expert."""
    n_nope, n_rope, rank = HEAD_DIM, 8, 24
    writer = weights.writer
    _describe_attention(writer, 1, n_rope)
    _describe_experts(writer)
    writer.add_expert_shared_count(1)
    writer.add_leading_dense_block_count(1)
    writer.add_q_lora_rank(rank)
    writer.add_kv_lora_rank(rank)
    writer.add_key_length(rank + n_rope)
    writer.add_value_length(rank)
    writer.add_key_length_mla(n_nope + n_rope)
    writer.add_value_length_mla(HEAD_DIM)
    for layer in _layers():
        weights.ones(f"{layer}.attn_norm.weight", N_EMBD)
        weights.ones(f"{layer}.attn_q_a_norm.weight", rank)
        weights.ones(f"{layer}.attn_kv_a_norm.weight", rank)
        weights.matrix(f"{layer}.attn_q_a.weight", rank, N_EMBD)
        weights.matrix(f"{layer}.attn_q_b.weight", N_HEAD * (n_nope + n_rope), rank)
        weights.matrix(f"{layer}.attn_kv_a_mqa.weight", rank + n_rope, N_EMBD)
        weights.matrix(f"{layer}.attn_k_b.weight", N_HEAD, rank, n_nope)
        weights.matrix(f"{layer}.attn_v_b.weight", N_HEAD, HEAD_DIM, rank)
        weights.matrix(f"{layer}.attn_output.weight", N_EMBD, N_HEAD * HEAD_DIM)
    _add_feed_forward(weights, "blk.0")
    _add_experts(weights, "blk.1")
    _add_gated(weights, "blk.1", "_shexp")


def _describe_recurrence(writer: gguf.GGUFWriter, rank: int) -> None:
    writer.add_ssm_conv_kernel(N_CONV)
    writer.add_ssm_inner_size(N_INNER)
    writer.add_ssm_state_size(N_STATE)
    writer.add_ssm_time_step_rank(rank)


def _add_mamba(weights: Weights) -> None:
    """A recurrent model: its memory of a text is one state that cannot be rolled back."""
    rank = 4
    weights.writer.add_head_count(0)
    weights.writer.add_feed_forward_length(0)
    weights.writer.add_layer_norm_rms_eps(1e-5)
    _describe_recurrence(weights.writer, rank)
    for layer in _layers():
        weights.ones(f"{layer}.attn_norm.weight", N_EMBD)
        weights.matrix(f"{layer}.ssm_in.weight", 2 * N_INNER, N_EMBD)
        weights.matrix(f"{layer}.ssm_conv1d.weight", N_INNER, N_CONV)
        weights.matrix(f"{layer}.ssm_conv1d.bias", N_INNER)
        weights.matrix(f"{layer}.ssm_x.weight", rank + 2 * N_STATE, N_INNER)
        weights.matrix(f"{layer}.ssm_dt.weight", N_INNER, rank)
        weights.matrix(f"{layer}.ssm_dt.bias", N_INNER)
        # Slow, or the beginning of a text is soon forgotten and no fault there can show.
        decay = np.tile(np.linspace(0.001, 0.1, N_STATE), (N_INNER, 1))
        weights.add(f"{layer}.ssm_a", -decay)
        weights.ones(f"{layer}.ssm_d", N_INNER)
        weights.matrix(f"{layer}.ssm_out.weight", N_EMBD, N_INNER)


def _add_granitehybrid(weights: Weights) -> None:
    """A recurrent layer (of mamba2), then one of attention."""
    n_heads, n_groups = 4, 1
    n_conv = N_INNER + 2 * n_groups * N_STATE
    _describe_attention(weights.writer, [0, N_HEAD_KV])
    _describe_recurrence(weights.writer, n_heads)
    weights.writer.add_ssm_group_count(n_groups)
    weights.ones("blk.0.attn_norm.weight", N_EMBD)
    weights.matrix("blk.0.ssm_in.weight", N_INNER + n_conv + n_heads, N_EMBD)
    weights.matrix("blk.0.ssm_conv1d.weight", n_conv, N_CONV)
    weights.matrix("blk.0.ssm_conv1d.bias", n_conv)
    weights.matrix("blk.0.ssm_dt.bias", n_heads)
    weights.add("blk.0.ssm_a", -np.linspace(0.002, 0.1, n_heads).reshape(n_heads, 1))
    weights.add("blk.0.ssm_d", np.ones((n_heads, 1)))
    weights.add("blk.0.ssm_norm.weight", np.ones((n_groups, N_INNER // n_groups)))
    weights.matrix("blk.0.ssm_out.weight", N_EMBD, N_INNER)
    _add_attention(weights, "blk.1")
    for layer in _layers():
        _add_feed_forward(weights, layer)


def _add_lfm2(weights: Weights) -> None:
    """A short convolution, then attention: what the first remembers is three tokens long."""
    length = 3
    _describe_attention(weights.writer, [0, N_HEAD_KV])
    weights.writer.add_shortconv_l_cache(length)
    weights.ones("blk.0.attn_norm.weight", N_EMBD)
    weights.matrix("blk.0.shortconv.conv.weight", N_EMBD, length)
    weights.matrix("blk.0.shortconv.in_proj.weight", 3 * N_EMBD, N_EMBD)
    weights.matrix("blk.0.shortconv.out_proj.weight", N_EMBD, N_EMBD)
    _add_attention(weights, "blk.1")
    _add_head_norms(weights, "blk.1")
    for layer in _layers():
        _add_feed_forward(weights, layer)


def _add_encoder(weights: Weights) -> None:
    writer = weights.writer
    writer.add_head_count(N_HEAD)
    writer.add_feed_forward_length(N_FF)
    writer.add_layer_norm_eps(1e-5)
    writer.add_causal_attention(False)
    weights.matrix("token_types.weight", 2, N_EMBD, scale=0.1)
    _add_norm(weights, "token_embd_norm")
    for layer in _layers():
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            weights.matrix(f"{layer}.{name}.weight", N_EMBD, N_EMBD)
        _add_norm(weights, f"{layer}.attn_output_norm")
        _add_norm(weights, f"{layer}.layer_output_norm")
        weights.matrix(f"{layer}.ffn_up.weight", N_FF, N_EMBD)
        weights.matrix(f"{layer}.ffn_down.weight", N_EMBD, N_FF)


def _add_norm(weights: Weights, name: str) -> None:
    weights.ones(f"{name}.weight", N_EMBD)
    weights.zeros(f"{name}.bias", N_EMBD)


def _add_bert(weights: Weights, pooling: gguf.PoolingType | None = _CLS) -> None:
    """An encoder with learned positions."""
    _add_encoder(weights)
    if pooling is not None:
        weights.writer.add_pooling_type(pooling)
    weights.matrix("position_embd.weight", N_CTX_TRAIN, N_EMBD, scale=0.5)
    for layer in _layers():
        for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_down"):
            weights.matrix(f"{layer}.{name}.bias", N_EMBD)
        weights.matrix(f"{layer}.ffn_up.bias", N_FF)


def _add_reranker(weights: Weights) -> None:
    """A bert with a head that says how well a text answers a question."""
    _add_bert(weights, gguf.PoolingType.RANK)
    weights.matrix("cls.weight", N_EMBD, N_EMBD)
    weights.matrix("cls.bias", N_EMBD)
    weights.matrix("cls.output.weight", 1, N_EMBD)
    weights.matrix("cls.output.bias", 1)


def _add_qwen3_embedding(weights: Weights, pooling: gguf.PoolingType = _LAST) -> None:
    """A decoder whose vectors come from the last token; or from all, which then see each other."""
    _add_qwen3(weights)
    weights.writer.add_pooling_type(pooling)
    weights.writer.add_causal_attention(pooling != gguf.PoolingType.MEAN)


def _add_qwen3_reranker(weights: Weights) -> None:
    """A decoder that says yes or no to a query and a document."""
    _add_qwen3_embedding(weights, gguf.PoolingType.RANK)
    weights.writer.add_chat_template([{"name": "rerank", "template": RERANK_TEMPLATE}])
    weights.writer.add_classifier_output_labels(["yes", "no"])
    weights.matrix("cls.output.weight", 2, N_EMBD)


def _add_nomic_bert(weights: Weights) -> None:
    """An encoder with rotated positions and gated layers."""
    _add_encoder(weights)
    weights.writer.add_pooling_type(gguf.PoolingType.MEAN)
    weights.writer.add_rope_freq_base(1000.0)
    for layer in _layers():
        weights.matrix(f"{layer}.ffn_gate.weight", N_FF, N_EMBD)


ENCODERS = ("bert", "nomic-bert", "reranker", "unpooled")
ARCHITECTURE_OF = {  # of the kinds named otherwise
    "mixtral": "llama", "reranker": "bert", "unpooled": "bert", "qwen3-embedding": "qwen3",
    "qwen3-mean": "qwen3", "qwen3-reranker": "qwen3",
}  # fmt: skip
TIED = ("gemma2",)  # the output layer is the embedding
OUTPUT_NORM_OF = {"lfm2": "token_embd_norm"}  # where the last norm has another name
LAYERS_OF: dict[str, Callable[[Weights], None]] = {
    "llama": _add_llama,
    "mixtral": _add_mixtral,
    "qwen2": _add_qwen2,
    "qwen2vl": _add_qwen2vl,
    "qwen3": _add_qwen3,
    "qwen3moe": _add_qwen3moe,
    "gemma2": _add_gemma2,
    "gemma3": _add_gemma3,
    "deepseek2": _add_deepseek2,
    "mamba": _add_mamba,
    "granitehybrid": _add_granitehybrid,
    "lfm2": _add_lfm2,
    "bert": _add_bert,
    "nomic-bert": _add_nomic_bert,
    "reranker": _add_reranker,
    "unpooled": lambda weights: _add_bert(weights, None),
    "qwen3-embedding": _add_qwen3_embedding,
    "qwen3-mean": lambda weights: _add_qwen3_embedding(weights, gguf.PoolingType.MEAN),
    "qwen3-reranker": _add_qwen3_reranker,
}
