"""Tiny random-weight models of several architectures, real enough for llama.cpp to run.

What they say is noise, but the same noise every time: greedy answers can be compared between
two ways of computing them. The vocabulary spells any text: bytes, letters, a few words.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import gguf
import numpy as np

N_EMBD, N_HEAD, N_HEAD_KV, N_FF, N_LAYER, N_CTX_TRAIN = 64, 4, 2, 96, 2, 8192
HEAD_DIM = N_EMBD // N_HEAD
SLIDING_WINDOW = 32  # of the gemma2 model
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)

_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6  # llama_token_type
_WORDS = ("the", "and", "you", "is", "of", "to", "system", "user", "assistant", "hello", "world")


def write_tiny_model(
    path: Path,
    architecture: str = "llama",
    *,
    chat_template: str | None = CHAT_TEMPLATE,
    control_tokens: Sequence[str] = (),
) -> Path:
    """Write a model of about 300 kB and return its path.

    ``control_tokens`` come behind all others, from `FIRST_CONTROL_TOKEN` on.
    """
    weights = _Weights(gguf.GGUFWriter(path, architecture), seed=7)
    writer = weights.writer
    writer.add_name(f"tiny {architecture}")
    writer.add_context_length(N_CTX_TRAIN)
    writer.add_embedding_length(N_EMBD)
    writer.add_block_count(N_LAYER)
    n_vocab = _add_vocabulary(writer, control_tokens)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    weights.matrix("token_embd.weight", n_vocab, N_EMBD, scale=1.0)
    weights.ones("output_norm.weight", N_EMBD)
    if architecture not in _TIED:
        weights.matrix("output.weight", n_vocab, N_EMBD)
    _ARCHITECTURES[architecture](weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


class _Weights:
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

    def add(self, name: str, values: np.ndarray) -> None:
        self.writer.add_tensor(name, values.astype(np.float32))


def _add_attention(weights: _Weights, layer: str) -> None:
    weights.ones(f"{layer}.attn_norm.weight", N_EMBD)
    weights.matrix(f"{layer}.attn_q.weight", N_HEAD * HEAD_DIM, N_EMBD)
    weights.matrix(f"{layer}.attn_k.weight", N_HEAD_KV * HEAD_DIM, N_EMBD)
    weights.matrix(f"{layer}.attn_v.weight", N_HEAD_KV * HEAD_DIM, N_EMBD)
    weights.matrix(f"{layer}.attn_output.weight", N_EMBD, N_HEAD * HEAD_DIM)


def _add_feed_forward(weights: _Weights, layer: str) -> None:
    weights.ones(f"{layer}.ffn_norm.weight", N_EMBD)
    weights.matrix(f"{layer}.ffn_gate.weight", N_FF, N_EMBD)
    weights.matrix(f"{layer}.ffn_up.weight", N_FF, N_EMBD)
    weights.matrix(f"{layer}.ffn_down.weight", N_EMBD, N_FF)


def _describe_attention(writer: gguf.GGUFWriter) -> None:
    writer.add_head_count(N_HEAD)
    writer.add_head_count_kv(N_HEAD_KV)
    writer.add_feed_forward_length(N_FF)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_layer_norm_rms_eps(1e-5)


def _layers() -> list[str]:
    return [f"blk.{number}" for number in range(N_LAYER)]


def _add_llama(weights: _Weights) -> None:
    _describe_attention(weights.writer)
    for layer in _layers():
        _add_attention(weights, layer)
        _add_feed_forward(weights, layer)


def _add_qwen2(weights: _Weights) -> None:
    """Like llama, with biases on queries, keys and values."""
    _add_llama(weights)
    for layer in _layers():
        weights.matrix(f"{layer}.attn_q.bias", N_HEAD * HEAD_DIM)
        weights.matrix(f"{layer}.attn_k.bias", N_HEAD_KV * HEAD_DIM)
        weights.matrix(f"{layer}.attn_v.bias", N_HEAD_KV * HEAD_DIM)


def _add_gemma2(weights: _Weights) -> None:
    """Every other layer sees only a sliding window."""
    _add_llama(weights)
    weights.writer.add_sliding_window(SLIDING_WINDOW)
    weights.writer.add_key_length(HEAD_DIM)
    weights.writer.add_value_length(HEAD_DIM)
    for layer in _layers():
        # Large, or the embedding outweighs the layers and every token repeats itself.
        weights.add(f"{layer}.post_attention_norm.weight", np.full(N_EMBD, 20))
        weights.add(f"{layer}.post_ffw_norm.weight", np.full(N_EMBD, 20))


def _add_qwen3moe(weights: _Weights) -> None:
    """Of eight experts two are used."""
    _describe_attention(weights.writer)
    weights.writer.add_expert_count(8)
    weights.writer.add_expert_used_count(2)
    weights.writer.add_expert_feed_forward_length(N_FF)
    for layer in _layers():
        _add_attention(weights, layer)
        weights.ones(f"{layer}.attn_q_norm.weight", HEAD_DIM)
        weights.ones(f"{layer}.attn_k_norm.weight", HEAD_DIM)
        weights.ones(f"{layer}.ffn_norm.weight", N_EMBD)
        weights.matrix(f"{layer}.ffn_gate_inp.weight", 8, N_EMBD)
        weights.matrix(f"{layer}.ffn_gate_exps.weight", 8, N_FF, N_EMBD)
        weights.matrix(f"{layer}.ffn_up_exps.weight", 8, N_FF, N_EMBD)
        weights.matrix(f"{layer}.ffn_down_exps.weight", 8, N_EMBD, N_FF)


def _add_mamba(weights: _Weights) -> None:
    """A recurrent model: its memory of a text is one state that cannot be rolled back."""
    n_inner, n_conv, n_state, n_rank = 2 * N_EMBD, 4, 8, 4
    writer = weights.writer
    writer.add_head_count(0)
    writer.add_feed_forward_length(0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_ssm_conv_kernel(n_conv)
    writer.add_ssm_inner_size(n_inner)
    writer.add_ssm_state_size(n_state)
    writer.add_ssm_time_step_rank(n_rank)
    for layer in _layers():
        weights.ones(f"{layer}.attn_norm.weight", N_EMBD)
        weights.matrix(f"{layer}.ssm_in.weight", 2 * n_inner, N_EMBD)
        weights.matrix(f"{layer}.ssm_conv1d.weight", n_inner, n_conv)
        weights.matrix(f"{layer}.ssm_conv1d.bias", n_inner)
        weights.matrix(f"{layer}.ssm_x.weight", n_rank + 2 * n_state, n_inner)
        weights.matrix(f"{layer}.ssm_dt.weight", n_inner, n_rank)
        weights.matrix(f"{layer}.ssm_dt.bias", n_inner)
        decay = np.tile(np.arange(1, n_state + 1), (n_inner, 1))
        weights.add(f"{layer}.ssm_a", -decay)
        weights.ones(f"{layer}.ssm_d", n_inner)
        weights.matrix(f"{layer}.ssm_out.weight", N_EMBD, n_inner)


_TIED = ("gemma2",)  # the output layer is the embedding
_ARCHITECTURES: dict[str, Callable[[_Weights], None]] = {
    "llama": _add_llama,
    "qwen2": _add_qwen2,
    "gemma2": _add_gemma2,
    "qwen3moe": _add_qwen3moe,
    "mamba": _add_mamba,
}


def _ordinary_tokens() -> list[tuple[str, int]]:
    tokens = [("<unk>", _UNKNOWN), ("<s>", _CONTROL), ("</s>", _CONTROL)]
    tokens += [("<|im_start|>", _CONTROL), ("<|im_end|>", _CONTROL)]
    tokens += [(f"<0x{byte:02X}>", _BYTE) for byte in range(256)]
    letters = [chr(code) for code in range(33, 127)] + ["\u2581", "é", "\u4f60", "\u597d"]
    tokens += [(letter, _NORMAL) for letter in letters]
    tokens += [("\u2581" + word, _NORMAL) for word in _WORDS]
    for word in _WORDS:  # SentencePiece joins pairs, so every step on the way must be a token
        tokens += [(f"\u2581{word[:n]}", _NORMAL) for n in range(1, len(word))]
    return list(dict.fromkeys(tokens))


FIRST_CONTROL_TOKEN = len(_ordinary_tokens())


def _add_vocabulary(writer: gguf.GGUFWriter, control_tokens: Sequence[str]) -> int:
    """Add a SentencePiece vocabulary and return its size."""
    tokens = [*_ordinary_tokens(), *((text, _CONTROL) for text in control_tokens)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text for text, _ in tokens])
    writer.add_token_types([kind for _, kind in tokens])
    ranks = enumerate(kind for _, kind in tokens)
    writer.add_token_scores([float(-rank) if kind == _NORMAL else 0.0 for rank, kind in ranks])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    return len(tokens)
