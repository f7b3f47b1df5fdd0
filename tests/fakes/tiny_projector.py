"""Tiny random projectors: what llama.cpp lets a model see with, for the tiny models.

``gemma3``: its tokens see each other, and one picture is always as many. ``idefics3`` (SmolVLM):
a large picture is cut into pieces. ``qwen2vl``: as many tokens as the picture is large, with
positions in rows and columns.
"""

from pathlib import Path

import gguf
from fakes.tiny_layers import N_EMBD, Weights

TYPE_OF = {"gemma3": "gemma3", "idefics3": "idefics3", "qwen2vl": "qwen2vl_merger"}
_WIDTH, _HEADS, _FF, _LAYERS, _PATCH, _SIDE = 32, 2, 48, 2, 14, 56
_MERGED = 2  # patches of a row, and of a column, that become one token


def write_tiny_projector(path: Path, kind: str) -> Path:
    """Write a projector for a tiny model of that kind and return its path."""
    weights = Weights(gguf.GGUFWriter(path, "clip"), seed=11)
    writer = weights.writer
    writer.add_type(gguf.GGUFType.MMPROJ)
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type(TYPE_OF[kind])
    writer.add_vision_projection_dim(N_EMBD)
    writer.add_vision_embedding_length(_WIDTH)
    writer.add_vision_feed_forward_length(_FF)
    writer.add_vision_block_count(_LAYERS)
    writer.add_vision_head_count(_HEADS)
    writer.add_vision_attention_layernorm_eps(1e-6)
    writer.add_vision_image_size(_SIDE)
    writer.add_vision_patch_size(_PATCH)
    writer.add_vision_image_mean([0.5, 0.5, 0.5])
    writer.add_vision_image_std([0.5, 0.5, 0.5])
    writer.add_vision_use_gelu(True)
    weights.matrix("v.patch_embd.weight", _WIDTH, 3, _PATCH, _PATCH, scale=0.05)
    for number in range(_LAYERS):
        _add_layer(weights, f"v.blk.{number}")
    for name in ("weight", "bias"):
        (weights.ones if name == "weight" else weights.zeros)(f"v.post_ln.{name}", _WIDTH)
    _ADDERS[kind](weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_layer(weights: Weights, layer: str) -> None:
    for norm in ("ln1", "ln2"):
        weights.ones(f"{layer}.{norm}.weight", _WIDTH)
        weights.zeros(f"{layer}.{norm}.bias", _WIDTH)
    for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
        weights.matrix(f"{layer}.{name}.weight", _WIDTH, _WIDTH)
        weights.zeros(f"{layer}.{name}.bias", _WIDTH)
    weights.matrix(f"{layer}.ffn_up.weight", _FF, _WIDTH)
    weights.zeros(f"{layer}.ffn_up.bias", _FF)
    weights.matrix(f"{layer}.ffn_down.weight", _WIDTH, _FF)
    weights.zeros(f"{layer}.ffn_down.bias", _WIDTH)


def _add_places(weights: Weights) -> None:
    weights.matrix("v.patch_embd.bias", _WIDTH)
    weights.matrix("v.position_embd.weight", (_SIDE // _PATCH) ** 2, _WIDTH, scale=0.1)


def _add_gemma3(weights: Weights) -> None:
    _add_places(weights)
    weights.writer.add_vision_projector_scale_factor(_MERGED)
    weights.matrix("mm.input_projection.weight", _WIDTH, N_EMBD, scale=1.0)
    weights.ones("mm.soft_emb_norm.weight", _WIDTH)


def _add_idefics3(weights: Weights) -> None:
    _add_places(weights)
    weights.writer.add_vision_projector_scale_factor(_MERGED)
    weights.writer.add_vision_preproc_image_size(4 * _SIDE)
    weights.matrix("mm.model.fc.weight", N_EMBD, _MERGED**2 * _WIDTH, scale=0.3)


def _add_qwen2vl(weights: Weights) -> None:
    weights.matrix("v.patch_embd.weight.1", _WIDTH, 3, _PATCH, _PATCH, scale=0.05)
    inner = _MERGED**2 * _WIDTH
    weights.matrix("mm.0.weight", inner, inner)
    weights.zeros("mm.0.bias", inner)
    weights.matrix("mm.2.weight", N_EMBD, inner, scale=0.3)
    weights.zeros("mm.2.bias", N_EMBD)


_ADDERS = {"gemma3": _add_gemma3, "idefics3": _add_idefics3, "qwen2vl": _add_qwen2vl}
