"""Headers of models at the size of real ones; behind them is a hole of the right length."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fakes.gguf_files import F32, STRING, U32, GGUFFile, Tensor, model


def _add(made: GGUFFile, name: str, shape: tuple[int, ...], kind: str = "Q4_K") -> None:
    if kind not in ("F32", "F16") and shape[0] % 256:
        kind = "Q8_0" if shape[0] % 32 == 0 else "F16"
    made.tensors.append(Tensor(name, shape, kind))


def _start(architecture: str, n_vocab: int, n_embd: int, **settings: Any) -> GGUFFile:
    made = model(architecture, embedding_length=n_embd, vocab_size=n_vocab, **settings)
    made.set("tokenizer.ggml.model", STRING, "none")
    made.set(f"{architecture}.attention.layer_norm_rms_epsilon", F32, 1e-6)
    made.set(f"{architecture}.attention.layer_norm_epsilon", F32, 1e-6)
    _add(made, "token_embd.weight", (n_embd, n_vocab), "Q6_K")
    return made


def _attention(made: GGUFFile, at: str, n_embd: int, q: int, kv: int) -> None:
    for name, rows in (("q", q), ("k", kv), ("v", kv)):
        _add(made, f"{at}attn_{name}.weight", (n_embd, rows), "Q6_K" if name == "v" else "Q4_K")
    _add(made, f"{at}attn_output.weight", (q, n_embd))


def _vectors(made: GGUFFile, at: str, sizes: dict[str, int]) -> None:
    for name, size in sizes.items():
        _add(made, at + name, (size,), "F32")


def _feed_forward(made: GGUFFile, at: str, n_embd: int, n_ff: int, experts: int = 0) -> None:
    more, end = ((experts,), "_exps") if experts else ((), "")
    _add(made, f"{at}ffn_gate{end}.weight", (n_embd, n_ff, *more))
    _add(made, f"{at}ffn_up{end}.weight", (n_embd, n_ff, *more))
    _add(made, f"{at}ffn_down{end}.weight", (n_ff, n_embd, *more), "Q4_K" if experts else "Q6_K")
    if experts:
        _add(made, f"{at}ffn_gate_inp.weight", (n_embd, experts), "F32")


def qwen2_half_billion() -> GGUFFile:
    """Qwen2.5-0.5B: grouped queries, biases, tied embeddings."""
    made = _start("qwen2", 151_936, 896, block_count=24, feed_forward_length=4864,
                  attention__head_count=14, attention__head_count_kv=2)  # fmt: skip
    _vectors(made, "", {"output_norm.weight": 896})
    for i in range(24):
        at = f"blk.{i}."
        _attention(made, at, 896, 896, 128)
        _vectors(made, at, {"attn_norm.weight": 896, "ffn_norm.weight": 896, "attn_q.bias": 896,
                            "attn_k.bias": 128, "attn_v.bias": 128})  # fmt: skip
        _feed_forward(made, at, 896, 4864)
    return made


def gemma3_four_billion() -> GGUFFile:
    """Gemma-3-4B: five sliding layers to one full."""
    made = _start("gemma3", 262_144, 2560, block_count=34, feed_forward_length=10_240,
                  attention__head_count=8, attention__head_count_kv=4, attention__key_length=256,
                  attention__value_length=256, attention__sliding_window=1024,
                  context_length=131_072)  # fmt: skip
    _vectors(made, "", {"output_norm.weight": 2560})
    for i in range(34):
        at = f"blk.{i}."
        _attention(made, at, 2560, 2048, 1024)
        names = ("attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm")
        _vectors(made, at, {f"{name}.weight": 2560 for name in names})
        _vectors(made, at, {"attn_q_norm.weight": 256, "attn_k_norm.weight": 256})
        _feed_forward(made, at, 2560, 10_240)
    return made


def qwen3_thirty_billion() -> GGUFFile:
    """Qwen3-30B-A3B: 128 experts, 8 of them used."""
    made = _start("qwen3moe", 151_936, 2048, block_count=48, feed_forward_length=6144,
                  attention__head_count=32, attention__head_count_kv=4, attention__key_length=128,
                  attention__value_length=128, expert_count=128, expert_used_count=8,
                  expert_feed_forward_length=768)  # fmt: skip
    _vectors(made, "", {"output_norm.weight": 2048})
    _add(made, "output.weight", (2048, 151_936), "Q6_K")
    for i in range(48):
        at = f"blk.{i}."
        _attention(made, at, 2048, 4096, 512)
        _vectors(made, at, {"attn_norm.weight": 2048, "ffn_norm.weight": 2048,
                            "attn_q_norm.weight": 128, "attn_k_norm.weight": 128})  # fmt: skip
        _feed_forward(made, at, 2048, 768, experts=128)
    return made


def lfm2_one_billion() -> GGUFFile:
    """LFM2-1.2B: six attention layers among ten convolutions."""
    heads = [8 if i in (2, 5, 8, 10, 12, 14) else 0 for i in range(16)]
    made = _start("lfm2", 65_536, 2048, block_count=16, feed_forward_length=8192,
                  attention__head_count=32, attention__head_count_kv=heads,
                  shortconv__l_cache=3)  # fmt: skip
    _vectors(made, "", {"token_embd_norm.weight": 2048})
    for i in range(16):
        at = f"blk.{i}."
        _vectors(made, at, {"attn_norm.weight": 2048, "ffn_norm.weight": 2048})
        _feed_forward(made, at, 2048, 8192)
        if heads[i]:
            _attention(made, at, 2048, 2048, 512)
            _vectors(made, at, {"attn_q_norm.weight": 64, "attn_k_norm.weight": 64})
        else:
            _add(made, f"{at}shortconv.conv.weight", (3, 2048), "F32")
            _add(made, f"{at}shortconv.in_proj.weight", (2048, 3 * 2048))
            _add(made, f"{at}shortconv.out_proj.weight", (2048, 2048))
    return made


def mamba_three_billion() -> GGUFFile:
    """Mamba-2.8B: no attention at all."""
    inner = 5120
    made = _start("mamba", 50_280, 2560, block_count=64, feed_forward_length=0,
                  attention__head_count=0, attention__head_count_kv=None, ssm__conv_kernel=4,
                  ssm__inner_size=inner, ssm__state_size=16, ssm__time_step_rank=160)  # fmt: skip
    _vectors(made, "", {"output_norm.weight": 2560})
    for i in range(64):
        at = f"blk.{i}."
        _vectors(made, at, {"attn_norm.weight": 2560, "ssm_conv1d.bias": inner,
                            "ssm_dt.bias": inner, "ssm_d": inner})  # fmt: skip
        _add(made, f"{at}ssm_in.weight", (2560, 2 * inner))
        _add(made, f"{at}ssm_conv1d.weight", (4, inner), "F32")
        _add(made, f"{at}ssm_x.weight", (inner, 160 + 32))
        _add(made, f"{at}ssm_dt.weight", (160, inner), "F16")
        _add(made, f"{at}ssm_a", (16, inner), "F32")
        _add(made, f"{at}ssm_out.weight", (inner, 2560))
    return made


def bert_large() -> GGUFFile:
    """A BERT of 24 layers: no KV cache, no gate."""
    made = _start("bert", 30_522, 1024, block_count=24, feed_forward_length=4096,
                  attention__head_count=16, attention__head_count_kv=None,
                  attention__causal=False, pooling_type=1)  # fmt: skip
    made.set("tokenizer.ggml.token_type_count", U32, 2)
    _add(made, "token_types.weight", (1024, 2), "F32")
    _add(made, "position_embd.weight", (1024, 512), "F16")
    _vectors(made, "", {"token_embd_norm.weight": 1024, "token_embd_norm.bias": 1024})
    for i in range(24):
        at = f"blk.{i}."
        _attention(made, at, 1024, 1024, 1024)
        for name in ("attn_output_norm", "layer_output_norm"):
            _vectors(made, at, {f"{name}.weight": 1024, f"{name}.bias": 1024})
        _add(made, f"{at}ffn_up.weight", (1024, 4096))
        _add(made, f"{at}ffn_down.weight", (4096, 1024))
    return made


def llama3_one_billion() -> GGUFFile:
    """Llama-3.2-1B: tied embeddings, the plainest of all."""
    made = _start("llama", 128_256, 2048, block_count=16, feed_forward_length=8192,
                  attention__head_count=32, attention__head_count_kv=8,
                  context_length=131_072)  # fmt: skip
    _vectors(made, "", {"output_norm.weight": 2048, "rope_freqs.weight": 32})
    for i in range(16):
        at = f"blk.{i}."
        _attention(made, at, 2048, 2048, 512)
        _vectors(made, at, {"attn_norm.weight": 2048, "ffn_norm.weight": 2048})
        _feed_forward(made, at, 2048, 8192)
    return made


def qwen3_four_billion() -> GGUFFile:
    """Qwen3-4B: heads wider than the model."""
    made = _start("qwen3", 151_936, 2560, block_count=36, feed_forward_length=9728,
                  attention__head_count=32, attention__head_count_kv=8, attention__key_length=128,
                  attention__value_length=128, context_length=40_960)  # fmt: skip
    _vectors(made, "", {"output_norm.weight": 2560})
    for i in range(36):
        at = f"blk.{i}."
        _attention(made, at, 2560, 4096, 1024)
        _vectors(made, at, {"attn_norm.weight": 2560, "ffn_norm.weight": 2560,
                            "attn_q_norm.weight": 128, "attn_k_norm.weight": 128})  # fmt: skip
        _feed_forward(made, at, 2560, 9728)
    return made


def gemma2_two_billion() -> GGUFFile:
    """Gemma-2-2B: every other layer sliding, its window as long as many contexts."""
    made = _start("gemma2", 256_000, 2304, block_count=26, feed_forward_length=9216,
                  attention__head_count=8, attention__head_count_kv=4, attention__key_length=256,
                  attention__value_length=256, attention__sliding_window=4096,
                  context_length=8192)  # fmt: skip
    _vectors(made, "", {"output_norm.weight": 2304})
    for i in range(26):
        at = f"blk.{i}."
        _attention(made, at, 2304, 2048, 1024)
        names = ("attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm")
        _vectors(made, at, {f"{name}.weight": 2304 for name in names})
        _feed_forward(made, at, 2304, 9216)
    return made


def phi3_four_billion() -> GGUFFile:
    """Phi-3-mini: every head has its own K and V; fused matrices."""
    made = _start("phi3", 32_064, 3072, block_count=32, feed_forward_length=8192,
                  attention__head_count=32, attention__head_count_kv=32, context_length=4096,
                  rope__dimension_count=96)  # fmt: skip
    _vectors(made, "", {"output_norm.weight": 3072})
    _add(made, "output.weight", (3072, 32_064), "Q6_K")
    for i in range(32):
        at = f"blk.{i}."
        _add(made, f"{at}attn_qkv.weight", (3072, 3 * 3072))
        _add(made, f"{at}attn_output.weight", (3072, 3072))
        _vectors(made, at, {"attn_norm.weight": 3072, "ffn_norm.weight": 3072})
        _add(made, f"{at}ffn_up.weight", (3072, 2 * 8192))
        _add(made, f"{at}ffn_down.weight", (8192, 3072), "Q6_K")
    return made


def deepseek2_lite() -> GGUFFile:
    """Latent attention and shared experts, 8 layers: DeepSeek-V2-Lite with the queries of V2."""
    made = _start("deepseek2", 102_400, 2048, block_count=8, feed_forward_length=10_944,
                  attention__head_count=16, attention__head_count_kv=1, attention__key_length=576,
                  attention__value_length=512, attention__key_length_mla=192,
                  attention__value_length_mla=128, attention__kv_lora_rank=512,
                  attention__q_lora_rank=1536,
                  rope__dimension_count=64, leading_dense_block_count=1, expert_count=64,
                  expert_used_count=6, expert_shared_count=2, expert_feed_forward_length=1408,
                  context_length=163_840)  # fmt: skip
    _vectors(made, "", {"output_norm.weight": 2048})
    _add(made, "output.weight", (2048, 102_400), "Q6_K")
    for i in range(8):
        at = f"blk.{i}."
        _vectors(made, at, {"attn_norm.weight": 2048, "ffn_norm.weight": 2048,
                            "attn_kv_a_norm.weight": 512,
                            "attn_q_a_norm.weight": 1536})  # fmt: skip
        _add(made, f"{at}attn_q_a.weight", (2048, 1536))
        _add(made, f"{at}attn_q_b.weight", (1536, 16 * 192))
        _add(made, f"{at}attn_kv_a_mqa.weight", (2048, 576), "Q8_0")
        _add(made, f"{at}attn_k_b.weight", (128, 512, 16), "Q8_0")
        _add(made, f"{at}attn_v_b.weight", (512, 128, 16), "Q8_0")
        _add(made, f"{at}attn_output.weight", (16 * 128, 2048))
        if i == 0:
            _feed_forward(made, at, 2048, 10_944)
            continue
        _feed_forward(made, at, 2048, 1408, experts=64)
        _add(made, f"{at}ffn_gate_shexp.weight", (2048, 2816))
        _add(made, f"{at}ffn_up_shexp.weight", (2048, 2816))
        _add(made, f"{at}ffn_down_shexp.weight", (2816, 2048), "Q6_K")
    return made


def mixtral() -> GGUFFile:
    """Mixtral-8x7B: few wide experts; the first 4 of its 32 layers."""
    made = _start("llama", 32_000, 4096, block_count=4, feed_forward_length=14_336,
                  attention__head_count=32, attention__head_count_kv=8, expert_count=8,
                  expert_used_count=2, context_length=32_768)  # fmt: skip
    _vectors(made, "", {"output_norm.weight": 4096})
    _add(made, "output.weight", (4096, 32_000), "Q6_K")
    for i in range(4):
        at = f"blk.{i}."
        _attention(made, at, 4096, 4096, 1024)
        _vectors(made, at, {"attn_norm.weight": 4096, "ffn_norm.weight": 4096})
        _feed_forward(made, at, 4096, 14_336, experts=8)
    return made


def granite4_tiny() -> GGUFFile:
    """Granite-4.0-H-Tiny: Mamba 2 with experts, attention now and then; 12 of its 40 layers."""
    n_embd, inner, heads, state = 1536, 3072, 48, 128
    kv = [4 if i in (5, 11) else 0 for i in range(12)]
    made = _start("granitehybrid", 100_352, n_embd, block_count=12, feed_forward_length=512,
                  attention__head_count=12, attention__head_count_kv=kv, expert_count=64,
                  expert_used_count=6, expert_shared_feed_forward_length=1024,
                  ssm__conv_kernel=4, ssm__inner_size=inner, ssm__state_size=state,
                  ssm__group_count=1, ssm__time_step_rank=heads,
                  context_length=131_072)  # fmt: skip
    _vectors(made, "", {"output_norm.weight": n_embd})
    for i in range(12):
        at = f"blk.{i}."
        _vectors(made, at, {"attn_norm.weight": n_embd, "ffn_norm.weight": n_embd})
        if kv[i]:
            _attention(made, at, n_embd, 12 * 128, 4 * 128)
        else:
            _add(made, f"{at}ssm_in.weight", (n_embd, 2 * inner + 2 * state + heads), "Q8_0")
            _add(made, f"{at}ssm_conv1d.weight", (4, inner + 2 * state), "F32")
            _vectors(made, at, {"ssm_conv1d.bias": inner + 2 * state, "ssm_dt.bias": heads})
            _add(made, f"{at}ssm_a", (1, heads), "F32")
            _add(made, f"{at}ssm_d", (1, heads), "F32")
            _add(made, f"{at}ssm_norm.weight", (inner, 1), "F32")
            _add(made, f"{at}ssm_out.weight", (inner, n_embd))
        _feed_forward(made, at, n_embd, 512, experts=64)
        _add(made, f"{at}ffn_gate_shexp.weight", (n_embd, 1024))
        _add(made, f"{at}ffn_up_shexp.weight", (n_embd, 1024))
        _add(made, f"{at}ffn_down_shexp.weight", (1024, n_embd))
    return made


SHAPES: dict[str, Callable[[], GGUFFile]] = {
    "qwen2": qwen2_half_billion, "gemma3": gemma3_four_billion, "qwen3moe": qwen3_thirty_billion,
    "lfm2": lfm2_one_billion, "mamba": mamba_three_billion, "bert": bert_large,
    "llama": llama3_one_billion, "qwen3": qwen3_four_billion, "gemma2": gemma2_two_billion,
    "phi3": phi3_four_billion, "mixtral": mixtral,
}  # fmt: skip
# Those of which our own arithmetic misses the compute buffer by more than a tenth.
HARD_SHAPES: dict[str, Callable[[], GGUFFile]] = {
    "deepseek2": deepseek2_lite, "granitehybrid": granite4_tiny,
}  # fmt: skip


def write_hole(name: str, folder: Path) -> Path:
    """Write the header of a shape, and a hole as long as its weights; it takes no disk space."""
    return (SHAPES | HARD_SHAPES)[name]().write_hole(folder / f"{name}.gguf")
