"""Makes the models that speed is measured with: real shapes, random weights, nothing downloaded.

    python scripts/bench_models.py FOLDER [NAME …]

Each has the tensors, vocabulary size and tokenizer kind of the model that it is named after, from
its ``config.json`` on the hub, and is quantized to Q4_K_M by llama.cpp itself. What they say is
noise; how fast they say it is not. The same file comes out every time; one that is there is kept.
"""

import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import gguf
import numpy as np

QUANT = "Q4_K_M"
_Q4_K_M = 15  # enum llama_ftype
_TILE = 1 << 22  # random numbers that are used over and over: quantizing does not care
_SEED = 7
_NORMAL, _CONTROL = 1, 3  # llama_token_type
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """A transformer with tied embeddings."""

    architecture: str
    pre_tokenizer: str
    n_vocab: int
    n_layer: int
    n_embd: int
    n_head: int
    n_head_kv: int
    head_dim: int
    n_ff: int
    n_ctx_train: int
    rope_base: float
    has_biases: bool = False  # on queries, keys and values
    has_qk_norm: bool = False
    rope_factors: int = 0  # how many, where there are some


SHAPES = {
    "qwen2.5-0.5b": Shape(
        "qwen2", "qwen2", 151_936, 24, 896, 14, 2, 64, 4864, 32_768, 1e6, has_biases=True
    ),
    "qwen3-0.6b": Shape(
        "qwen3", "qwen2", 151_936, 28, 1024, 16, 8, 128, 3072, 40_960, 1e6, has_qk_norm=True
    ),
    "llama-3.2-1b": Shape(
        "llama", "llama-bpe", 128_256, 16, 2048, 32, 8, 64, 8192, 131_072, 5e5, rope_factors=32
    ),
}


def main() -> None:
    """Make the models that were asked for, all of them by default."""
    folder, *names = sys.argv[1:] or [""]
    unknown = [name for name in names if name not in SHAPES]
    if not folder or unknown:
        raise SystemExit(f"usage: bench_models.py FOLDER [{' | '.join(SHAPES)}]")
    for name in names or SHAPES:
        print(make_model(name, Path(folder)))


def make_model(name: str, folder: Path) -> Path:
    """Return the file of the model ``name`` in ``folder``; make it if it is not there."""
    path = folder / f"{name}-{QUANT}.gguf"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        whole, quantized = Path(temporary) / "f16.gguf", Path(temporary) / "quantized.gguf"
        _write_f16(SHAPES[name], name, whole)
        # llama.cpp aborts the whole process when it is unhappy.
        command = [sys.executable, __file__, "--quantize", str(whole), str(quantized)]
        subprocess.run(command, check=True, capture_output=True)
        quantized.replace(path)
    return path


def _quantize(source: str, target: str) -> None:
    from llama_cpp import llama_cpp as C

    C.llama_backend_init()
    params = C.llama_model_quantize_default_params()
    params.ftype = _Q4_K_M
    if C.llama_model_quantize(source.encode(), target.encode(), params):
        raise SystemExit(f"llama.cpp cannot quantize {source}")


def _write_f16(shape: Shape, name: str, path: Path) -> None:
    writer = gguf.GGUFWriter(path, shape.architecture)
    _describe(writer, shape, name)
    _add_vocabulary(writer, shape)
    tensors = [*_tensors(shape)]
    for tensor, dimensions, is_matrix in tensors:
        dtype = np.dtype(np.float16 if is_matrix else np.float32)
        n_bytes = math.prod(dimensions) * dtype.itemsize
        writer.add_tensor_info(tensor, dimensions, dtype, n_bytes)  # type: ignore[arg-type]
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    tile = np.random.default_rng(_SEED).standard_normal(_TILE, dtype=np.float32)
    for _, dimensions, is_matrix in tensors:  # one after the other: together they are gigabytes
        writer.write_tensor_data(_values(tile, dimensions, is_matrix))
    writer.close()


def _describe(writer: gguf.GGUFWriter, shape: Shape, name: str) -> None:
    writer.add_name(f"{name} (random weights)")
    writer.add_context_length(shape.n_ctx_train)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_head_kv)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(shape.n_vocab)
    writer.add_chat_template(CHAT_TEMPLATE)


def _tensors(shape: Shape) -> Iterator[tuple[str, tuple[int, ...], bool]]:
    """Yield name, shape (rows first) and whether it is a matrix of each tensor."""
    q, kv = shape.n_head * shape.head_dim, shape.n_head_kv * shape.head_dim
    yield "token_embd.weight", (shape.n_vocab, shape.n_embd), True
    yield "output_norm.weight", (shape.n_embd,), False
    if shape.rope_factors:
        yield "rope_freqs.weight", (shape.rope_factors,), False
    for index in range(shape.n_layer):
        at = f"blk.{index}"
        for norm in ("attn_norm", "ffn_norm"):
            yield f"{at}.{norm}.weight", (shape.n_embd,), False
        for part, rows in (("q", q), ("k", kv), ("v", kv)):
            yield f"{at}.attn_{part}.weight", (rows, shape.n_embd), True
            if shape.has_biases:
                yield f"{at}.attn_{part}.bias", (rows,), False
            if shape.has_qk_norm and part != "v":
                yield f"{at}.attn_{part}_norm.weight", (shape.head_dim,), False
        yield f"{at}.attn_output.weight", (shape.n_embd, q), True
        yield f"{at}.ffn_gate.weight", (shape.n_ff, shape.n_embd), True
        yield f"{at}.ffn_up.weight", (shape.n_ff, shape.n_embd), True
        yield f"{at}.ffn_down.weight", (shape.n_embd, shape.n_ff), True


def _values(tile: "np.ndarray", dimensions: tuple[int, ...], is_matrix: bool) -> "np.ndarray":
    """Return random numbers that keep the size of what they are multiplied with; vectors: ones."""
    if not is_matrix:
        return np.ones(dimensions, np.float32)
    scaled = (tile / math.sqrt(dimensions[-1])).astype(np.float16)
    return np.resize(scaled, dimensions)


def _add_vocabulary(writer: gguf.GGUFWriter, shape: Shape) -> None:
    """Add a byte-level vocabulary: all bytes, then words made of ever more letters."""
    n_words = shape.n_vocab - len(_SPECIAL)
    tokens = [*_byte_spellings()]
    merges = [*islice(_merges(), n_words - len(tokens))]
    tokens += [left + right for left, right in merges] + list(_SPECIAL)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(shape.pre_tokenizer)
    writer.add_token_list(tokens)
    writer.add_token_types([_NORMAL] * n_words + [_CONTROL] * len(_SPECIAL))
    writer.add_token_merges([f"{left} {right}" for left, right in merges])
    writer.add_bos_token_id(n_words)
    writer.add_eos_token_id(n_words + len(_SPECIAL) - 1)
    writer.add_add_bos_token(False)


def _byte_spellings() -> Iterator[str]:
    """Yield how GPT-2's tokenizer writes each byte: printable ones as they are."""
    plain = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = 0
    for byte in range(256):
        if byte in plain:
            yield chr(byte)
        else:
            yield chr(256 + others)
            others += 1


def _merges() -> Iterator[tuple[str, str]]:
    """Yield pairs of tokens that make a longer one, shorter ones first."""
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = ["\u0120", *letters]  # a blank, in GPT-2's spelling
    while True:
        longer = [(word, letter) for word in words for letter in letters]
        yield from longer
        words = [word + letter for word, letter in longer]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--quantize"]:
        _quantize(*sys.argv[2:])
    else:
        main()
