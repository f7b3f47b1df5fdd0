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


SHAPES: dict[str, Callable[[], GGUFFile]] = {
    "qwen2": qwen2_half_billion, "gemma3": gemma3_four_billion, "qwen3moe": qwen3_thirty_billion,
    "lfm2": lfm2_one_billion, "mamba": mamba_three_billion, "bert": bert_large,
}  # fmt: skip


def write_hole(name: str, folder: Path) -> Path:
    """Write the header of a shape, and a hole as long as its weights; it takes no disk space."""
    made = SHAPES[name]()
    size = sum(tensor.n_bytes + -tensor.n_bytes % made.alignment for tensor in made.tensors)
    made.data = b""
    path = made.write(folder / f"{name}.gguf")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + size)
    return path
