"""Headers of 125 published models of 118 architectures, with a hole in place of the weights.

``published_shapes.txt`` has a paragraph for each: its name, architecture and keys (those that begin
with ``/`` stand outside the architecture), then the tensors with their layers (``*`` is all) and
dimensions. The configurations are those of the config.json of the original repositories; which
tensors there are is what llama.cpp asks for. Types are mixed as llama-quantize does for Q4_K_M.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from fakes.gguf_files import ARRAY, BOOL, F32, I32, STRING, U32, GGUFFile, Tensor

_TABLE = Path(__file__).with_suffix(".txt")
# llama-quantize leaves these as they are: small, or never multiplied with.
_UNTOUCHED = (
    "norm", "ffn_gate_inp", "conv1d", "shortconv.conv", "_conv.weight", "ssm_a", "ssm_d.",
    "altup", "token_types", "position_embd",
    "time_mix_lerp", "time_mix_first", "time_mix_decay_w", "time_mix_w", "time_mix_a", "time_mix_v",
    "time_mix_g",
)  # fmt: skip
_MULTIPLIED = ("time_mix_gate", "time_mix_value")


@cache
def _paragraphs() -> dict[str, list[str]]:
    texts = _TABLE.read_text(encoding="utf-8").split("\n\n")
    return {lines[0].split(" ", 1)[0]: lines for lines in (text.splitlines() for text in texts)}


def published_names() -> list[str]:
    """Return the names of the models."""
    return list(_paragraphs())


def architecture_of(name: str) -> str:
    """Return the architecture of a model."""
    return _paragraphs()[name][0].split(" ", 2)[1]


def write_published(name: str, folder: Path) -> Path:
    """Write the header of a model, and a hole as long as its weights; it takes no disk space."""
    return published_header(name).write_hole(folder / f"{name}.gguf")


def published_header(name: str) -> GGUFFile:
    """Return the header of a model."""
    first, *rest = _paragraphs()[name]
    _, architecture, keys = first.split(" ", 2)
    made = GGUFFile()
    for key, value in {"architecture": architecture, "name": name}.items():
        made.set(f"general.{key}", STRING, value)
    made.set("general.file_type", U32, 15)  # Q4_K_M
    made.set("tokenizer.ggml.model", STRING, "none")
    settings = json.loads(keys)
    for key, value in settings.items():
        made.set(key[1:] if key[0] == "/" else f"{architecture}.{key}", *_typed(value))
    is_tied = not any(line.startswith("output.weight ") for line in rest)
    for line in rest:
        made.tensors += _tensors(line, settings["block_count"], is_tied=is_tied)
    made.tensors.sort(key=_layer_of)  # as in real files; what stands outside comes first
    return made


def _layer_of(tensor: Tensor) -> int:
    parts = tensor.name.split(".")
    return int(parts[1]) if parts[0] == "blk" else -1


def _typed(value: Any) -> tuple[int, Any]:
    if isinstance(value, list):
        item = BOOL if isinstance(value[0], bool) else F32 if isinstance(value[0], float) else I32
        return ARRAY, (item, value)
    if isinstance(value, bool):
        return BOOL, value
    return (F32 if isinstance(value, float) else U32), value


def _tensors(line: str, n_layer: int, *, is_tied: bool) -> Iterator[Tensor]:
    label, dimensions = line.split(" ")
    shape = tuple(map(int, dimensions.split("x")))
    layers, colon, name = label.rpartition(":")
    if not colon:
        yield Tensor(name, shape, _type(name, shape, is_tied and name == "token_embd.weight"))
        return
    for i in _numbers(layers, n_layer):
        is_boosted = i < n_layer // 8 or i >= 7 * n_layer // 8 or (i - n_layer // 8) % 3 == 2
        more = is_boosted and name.startswith(("attn_v.", "ffn_down"))
        yield Tensor(f"blk.{i}.{name}", shape, _type(name, shape, more))


def _numbers(layers: str, n_layer: int) -> Iterator[int]:
    for part in (f"0-{n_layer - 1}" if layers == "*" else layers).split(","):
        start, _, end = part.partition("-")
        yield from range(int(start), int(end or start) + 1)


def _type(name: str, shape: tuple[int, ...], more: bool) -> str:
    is_untouched = any(word in name for word in _UNTOUCHED) and not name.startswith(_MULTIPLIED)
    if len(shape) == 1 or is_untouched or not name.endswith(".weight"):
        return "F32"
    if shape[0] % 32:
        return "F16"
    more = more or name in ("output.weight", "per_layer_token_embd.weight")
    if shape[0] % 256:
        return "Q8_0"
    return "Q6_K" if more else "Q4_K"
