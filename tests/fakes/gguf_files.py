"""Small GGUF files: valid ones of any architecture, and hostile ones with any field bent.

Written byte by byte from the format's description, so that a test can lie in every place.
"""

import random
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
_LETTERS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?",
            U64: "Q", I64: "q", F64: "d"}  # fmt: skip
# ggml type -> (elements, bytes) of a block
BLOCKS = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q8_0": (8, 32, 34),
          "Q4_K": (12, 256, 144), "Q6_K": (14, 256, 210)}  # fmt: skip


@dataclass
class Tensor:
    """One row of the table; what is None is worked out to be right."""

    name: str
    shape: tuple[int, ...]
    type_name: str = "F32"
    type_number: int | None = None
    offset: int | None = None
    n_dims: int | None = None

    @property
    def n_bytes(self) -> int:
        _, block, size = BLOCKS[self.type_name]
        elements = 1
        for dimension in self.shape:
            elements *= dimension
        return elements // block * size


@dataclass
class GGUFFile:
    """What to write. The fields with a default are there to be lied about."""

    pairs: list[tuple[str | bytes, int, Any]] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    magic: bytes = b"GGUF"
    version: int = 3
    n_tensors: int | None = None
    n_pairs: int | None = None
    alignment: int = 32
    data: bytes | None = None
    """The tensor data; None: zeros, exactly as many as needed."""

    def set(self, key: str, kind: int, value: Any) -> "GGUFFile":
        """Add a key, or replace it."""
        self.pairs = [pair for pair in self.pairs if pair[0] != key] + [(key, kind, value)]
        return self

    def drop(self, key: str) -> "GGUFFile":
        """Leave a key out."""
        self.pairs = [pair for pair in self.pairs if pair[0] != key]
        return self

    def encode(self) -> bytes:
        """Return the file."""
        n_tensors = len(self.tensors) if self.n_tensors is None else self.n_tensors
        n_pairs = len(self.pairs) if self.n_pairs is None else self.n_pairs
        out = self.magic + struct.pack("<IQQ", self.version, n_tensors, n_pairs)
        for key, kind, value in self.pairs:
            out += text(key) + struct.pack("<I", kind) + encode_value(kind, value)
        offset = 0
        for tensor in self.tensors:
            number = BLOCKS[tensor.type_name][0]
            out += text(tensor.name)
            out += struct.pack("<I", len(tensor.shape) if tensor.n_dims is None else tensor.n_dims)
            out += struct.pack(f"<{len(tensor.shape)}Q", *tensor.shape)
            out += struct.pack(
                "<IQ",
                number if tensor.type_number is None else tensor.type_number,
                offset if tensor.offset is None else tensor.offset,
            )
            offset += tensor.n_bytes + -tensor.n_bytes % self.alignment
        if not self.tensors:
            return out + (self.data or b"")
        out += b"\0" * (-len(out) % self.alignment)
        return out + (b"\0" * offset if self.data is None else self.data)

    def write(self, path: Path) -> Path:
        """Write the file and return its path."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.encode())
        return path

    def write_hole(self, path: Path) -> Path:
        """Write the header, and a hole as long as the weights; it takes no disk space."""
        size = sum(tensor.n_bytes + -tensor.n_bytes % self.alignment for tensor in self.tensors)
        self.data = b""
        self.write(path)
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size + size)
        return path


def text(value: str | bytes) -> bytes:
    """Return a GGUF string."""
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def encode_value(kind: int, value: Any) -> bytes:
    """Return a value; bytes are taken as they are, an array is (kind of items, items)."""
    if isinstance(value, bytes):
        return value
    if kind == STRING:
        return text(value)
    if kind == ARRAY:
        item_kind, items = value
        head = struct.pack("<IQ", item_kind, len(items))
        if item_kind == STRING:
            return head + b"".join(text(item) for item in items)
        return head + struct.pack(f"<{len(items)}{_LETTERS[item_kind]}", *items)
    return struct.pack("<" + _LETTERS[kind], value)


def model(architecture: str = "llama", **hyperparameters: Any) -> GGUFFile:
    """Return a small model without tensors; a keyword ``a__b=3`` sets ``{architecture}.a.b``.

    Numbers become U32, lists arrays of I32, None leaves a default out.
    """
    settings: dict[str, Any] = {
        "block_count": 2, "context_length": 512, "embedding_length": 64, "feed_forward_length": 128,
        "attention.head_count": 4, "attention.head_count_kv": 2,
    }  # fmt: skip
    settings |= {name.replace("__", "."): value for name, value in hyperparameters.items()}
    made = GGUFFile()
    made.set("general.architecture", STRING, architecture)
    made.set("general.name", STRING, "Small model")
    made.set("general.file_type", U32, 7)
    for name, value in settings.items():
        key = f"{architecture}.{name}"
        if isinstance(value, bool):
            made.set(key, BOOL, value)
        elif isinstance(value, list):
            made.set(key, ARRAY, (I32, value))
        elif isinstance(value, str):
            made.set(key, STRING, value)
        elif value is not None:
            made.set(key, U32, value)
    return made


def vocabulary(made: GGUFFile, tokens: list[str]) -> GGUFFile:
    """Give the model a tokenizer with these tokens."""
    made.set("tokenizer.ggml.model", STRING, "gpt2")
    made.set("tokenizer.ggml.tokens", ARRAY, (STRING, tokens))
    made.set("tokenizer.ggml.token_type", ARRAY, (I32, [1] * len(tokens)))
    made.set("tokenizer.ggml.eos_token_id", U32, len(tokens) - 1)
    return made


def llama(n_vocab: int = 96, n_layer: int = 2, n_embd: int = 64) -> GGUFFile:
    """Return a complete small llama: vocabulary, chat template, and all tensors."""
    made = model("llama", block_count=n_layer, embedding_length=n_embd)
    vocabulary(made, [f"token{i}" for i in range(n_vocab)])
    made.set("tokenizer.chat_template", STRING, "{{ messages[0].content }}")
    kv, ff = n_embd // 2, 128
    made.tensors = [Tensor("token_embd.weight", (n_embd, n_vocab), "Q8_0")]
    for i in range(n_layer):
        made.tensors += [
            Tensor(f"blk.{i}.attn_norm.weight", (n_embd,)),
            Tensor(f"blk.{i}.attn_q.weight", (n_embd, n_embd), "Q8_0"),
            Tensor(f"blk.{i}.attn_k.weight", (n_embd, kv), "Q8_0"),
            Tensor(f"blk.{i}.attn_v.weight", (n_embd, kv), "Q8_0"),
            Tensor(f"blk.{i}.attn_output.weight", (n_embd, n_embd), "Q8_0"),
            Tensor(f"blk.{i}.ffn_norm.weight", (n_embd,)),
            Tensor(f"blk.{i}.ffn_gate.weight", (n_embd, ff), "Q8_0"),
            Tensor(f"blk.{i}.ffn_up.weight", (n_embd, ff), "Q8_0"),
            Tensor(f"blk.{i}.ffn_down.weight", (ff, n_embd), "Q8_0"),
        ]
    made.tensors += [
        Tensor("output_norm.weight", (n_embd,)),
        Tensor("output.weight", (n_embd, n_vocab), "Q8_0"),
    ]
    return made


class BytesSource:
    """A `mlm.gguf.source.ByteSource` over bytes, which notes what was read."""

    def __init__(self, data: bytes, size: int | None = None) -> None:
        self.data = data
        self.size = len(data) if size is None else size
        self.reads: list[tuple[int, int]] = []

    def read(self, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        return self.data[offset : offset + length]


_EVIL_NUMBERS = (0, 1, 2, 31, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1)


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Return ``data`` with one to four faults of the kinds that break parsers."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        kind = chance.randrange(6)
        # Most faults go into the header, where they matter.
        place = chance.randrange(min(len(out), 6000)) if out else 0
        if kind == 0 and out:
            out[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            out[place : place + 8] = struct.pack("<Q", chance.choice(_EVIL_NUMBERS))
        elif kind == 2:
            out[place : place + 4] = struct.pack("<I", chance.choice(_EVIL_NUMBERS) % 2**32)
        elif kind == 3:
            del out[place : place + chance.randint(1, 64)]
        elif kind == 4:
            out[place:place] = chance.randbytes(chance.randint(1, 64))
        else:
            del out[chance.randrange(len(out) + 1) :]
    return bytes(out)
