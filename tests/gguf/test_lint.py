"""A close look at model files: every check finds its damage, and finds nothing in sound files."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import gguf_files as g
from fakes.gguf_files import BytesSource, GGUFFile
from fakes.real_shapes import SHAPES

from mlm.demo.hub import DEMO_FILE
from mlm.gguf.finding import Finding, name_some
from mlm.gguf.ggml_types import TENSOR_TYPES, TYPES_BY_NAME
from mlm.gguf.header import read_header
from mlm.gguf.lint import lint_header, lint_projector, lint_shards
from mlm.gguf.lint_data import SAMPLE_BYTES, has_nonsense, lint_data
from mlm.gguf.metadata import describe_model
from mlm.gguf.source import FileSource
from mlm.gguf.vocabulary import KEPT, find_vocabulary

N_VOCAB = 96


def sound() -> GGUFFile:
    """A small llama with nothing to complain about."""
    made = g.llama(N_VOCAB)
    types = [3 if i == N_VOCAB - 1 else 1 for i in range(N_VOCAB)]
    made.set("tokenizer.ggml.token_type", g.ARRAY, (g.I32, types))
    made.set("tokenizer.ggml.pre", g.STRING, "qwen2")
    made.set("llama.rope.freq_base", g.F32, 10_000.0)
    return made


def header_of(made: GGUFFile):
    return read_header(BytesSource(made.encode()), KEPT)


def look(made: GGUFFile) -> list[Finding]:
    return lint_header(header_of(made))


def codes(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.severity, finding.code) for finding in findings]


def set_types(made: GGUFFile, types: list[int]) -> GGUFFile:
    return made.set("tokenizer.ggml.token_type", g.ARRAY, (g.I32, types))


def without_layer(made: GGUFFile, n: int) -> GGUFFile:
    made.tensors = [t for t in made.tensors if not t.name.startswith(f"blk.{n}.")]
    return made


def with_rows(made: GGUFFile, rows: int) -> GGUFFile:
    made.tensors[0].shape = (64, rows)
    return made


DAMAGE: dict[str, tuple[Callable[[GGUFFile], Any], tuple[str, str]]] = {
    "an unknown tokenizer": (
        lambda m: m.set("tokenizer.ggml.model", g.STRING, "morse"), ("error", "tokenizer")),
    "an unknown pre-tokenizer": (
        lambda m: m.set("tokenizer.ggml.pre", g.STRING, "qwen9"), ("error", "pre-tokenizer")),
    "no pre-tokenizer": (lambda m: m.drop("tokenizer.ggml.pre"), ("warn", "pre-tokenizer")),
    "more rows than tokens": (lambda m: with_rows(m, 128), ("error", "vocab-size")),
    "a special token out of range": (
        lambda m: m.set("tokenizer.ggml.eot_token_id", g.U32, 96), ("error", "special-token")),
    "another special token out of range": (
        lambda m: m.set("tokenizer.ggml.padding_token_id", g.U32, 2**32 - 1),
        ("warn", "special-token")),
    "no end": (lambda m: m.drop("tokenizer.ggml.eos_token_id"), ("warn", "end-of-text")),
    "an end that is ordinary text": (
        lambda m: set_types(m, [3] + [1] * (N_VOCAB - 1)), ("warn", "token-type")),
    "types out of range": (
        lambda m: set_types(m, [9] + [1] * (N_VOCAB - 2) + [3]), ("error", "token-type")),
    "no tokens": (lambda m: m.drop("tokenizer.ggml.tokens").drop("tokenizer.ggml.token_type"),
                  ("error", "vocab-missing")),
    "a layer that is missing": (lambda m: without_layer(m, 1), ("error", "tensor-missing")),
    "a layer too many": (
        lambda m: m.set("llama.block_count", g.U32, 1), ("warn", "layer-count")),
    "another quantization": (
        lambda m: m.set("general.file_type", g.U32, 0), ("warn", "file-type")),
    "a quantization from the future": (
        lambda m: m.set("general.file_type", g.U32, 999), ("info", "file-type")),
    "hardly any context": (
        lambda m: m.set("llama.context_length", g.U32, 8), ("warn", "context-length")),
    "no RoPE base": (
        lambda m: m.set("llama.context_length", g.U32, 32_768).drop("llama.rope.freq_base"),
        ("warn", "rope-base")),
    "an unknown RoPE scaling": (
        lambda m: m.set("llama.rope.scaling.type", g.STRING, "elastic"), ("error", "rope-scaling")),
    "a RoPE scaling factor of NaN": (
        lambda m: m.set("llama.rope.scaling.factor", g.F32, float("nan")),
        ("error", "rope-scaling")),
    "no context length": (lambda m: m.drop("llama.context_length"), ("error", "metadata")),
    "a file grown longer": (
        lambda m: setattr(m, "data", b"\0" * 200_000), ("warn", "trailing-bytes")),
}  # fmt: skip


def test_a_sound_model_has_no_findings():
    assert look(sound()) == []


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_and_nothing_else(damage: str):
    spoil, expected = DAMAGE[damage]
    made = sound()
    spoil(made)
    findings = look(made)
    assert codes(findings) == [expected]
    assert all(finding.what and finding.why for finding in findings)


def test_the_demo_model_is_sound():
    with FileSource(DEMO_FILE) as source:
        header = read_header(source, KEPT)
        assert lint_header(header) == []
        assert lint_data(source, header, whole=True) == []


@pytest.mark.parametrize("name", SHAPES)
def test_real_shapes_have_no_errors(name: str):
    made = SHAPES[name]()
    made.data = b""
    size = len(made.encode()) + sum(t.n_bytes + -t.n_bytes % 32 for t in made.tensors)
    header = read_header(BytesSource(made.encode(), size), KEPT)
    assert [f for f in lint_header(header) if f.severity == "error"] == []


def test_other_files_than_models_are_told_apart():
    clip = GGUFFile().set("general.architecture", g.STRING, "clip")
    clip.tensors = [g.Tensor("v.patch_embd.weight", (32, 4))]
    assert codes(look(clip)) == [("info", "not-a-model")]
    bare = g.vocabulary(g.model("llama"), ["a", "b"])
    assert ("info", "no-tensors") in codes(look(bare))


def test_the_vocabulary_is_read_whole_only_when_asked_for():
    made = g.llama(2000)
    source = BytesSource(made.encode())
    assert find_vocabulary(read_header(source)) is None
    vocabulary = find_vocabulary(read_header(source, KEPT))
    assert vocabulary is not None
    assert len(vocabulary.tokens) == len(vocabulary.types) == 2000
    assert vocabulary.text("eos") == "token1999" and vocabulary.text("bos") == ""


# Split models


def split(count: int = 2) -> list[GGUFFile]:
    made = sound()
    first, later = made, GGUFFile()
    later.tensors, first.tensors = made.tensors[10:], made.tensors[:10]
    for number, part in enumerate((first, later)):
        part.set("split.no", g.U16, number).set("split.count", g.U16, count)
        part.set("split.tensors.count", g.I32, 21)
    return [first, later]


def look_at_parts(parts: list[GGUFFile]) -> list[tuple[str, str]]:
    headers = [header_of(part) for part in parts]
    return codes(lint_header(headers[0], headers[1:]) + lint_shards(headers, ["a", "b"]))


def test_a_split_model_is_looked_at_as_a_whole():
    assert look_at_parts(split()) == []


def test_parts_that_do_not_belong_together_are_found():
    first, later = split()
    assert look_at_parts([first, later.set("split.no", g.U16, 0)]) == [("error", "shard-number")]
    first, later = split()
    later.tensors.append(first.tensors[0])
    assert look_at_parts([first.set("split.tensors.count", g.I32, 22), later]) == [
        ("error", "tensor-twice")
    ]
    first, later = split()
    assert look_at_parts([first.set("split.tensors.count", g.I32, 30), later]) == [
        ("error", "shard-tensors")
    ]


def test_a_projector_of_another_model_is_doubtful():
    model = describe_model(header_of(sound()))
    clip = GGUFFile().set("general.architecture", g.STRING, "clip")
    clip.set("clip.vision.projection_dim", g.U32, 64)
    assert lint_projector(model, header_of(clip), "mmproj.gguf") == []
    clip.set("clip.vision.projection_dim", g.U32, 128)
    assert codes(lint_projector(model, header_of(clip), "mmproj.gguf")) == [("warn", "mmproj")]


# The numbers

NAN, INF = float("nan"), float("inf")


def halves(value: float) -> bytes:
    """A 16-bit float; struct packs NaN and infinity too."""
    return struct.pack("<e", value)


BLOCK_WITH: dict[str, Callable[[float], bytes]] = {
    "F32": lambda x: struct.pack("<f", x),
    "F16": halves,
    "BF16": lambda x: struct.pack("<f", x)[2:],
    "Q8_K": lambda x: struct.pack("<f", x) + b"\xff" * 288,
    "Q2_K": lambda x: b"\xff" * 80 + halves(1) + halves(x),
    "Q3_K": lambda x: b"\xff" * 108 + halves(x),
    "Q6_K": lambda x: b"\xff" * 208 + halves(x),
    "Q4_K": lambda x: halves(1) + halves(x) + b"\xff" * 140,
    "Q5_1": lambda x: halves(x) + halves(1) + b"\xff" * 20,
    "TQ1_0": lambda x: b"\xff" * 52 + halves(x),
    "TQ2_0": lambda x: b"\xff" * 64 + halves(x),
}
for _name in ("Q4_0", "Q5_0", "Q8_0", "IQ2_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS", "IQ1_S", "Q1_0"):
    _size = TYPES_BY_NAME[_name].n_bytes
    BLOCK_WITH[_name] = lambda x, size=_size: halves(x) + b"\xff" * (size - 2)


@pytest.mark.parametrize("kind", BLOCK_WITH)
def test_nan_and_infinity_are_seen_in_every_kind_of_block(kind: str):
    good, block = BLOCK_WITH[kind](-1.5), BLOCK_WITH[kind]
    assert len(good) == TYPES_BY_NAME[kind].n_bytes
    assert not has_nonsense(kind, good * 40)
    for bad in (NAN, INF, -INF):
        assert has_nonsense(kind, good * 20 + block(bad) + good * 19)
    assert not has_nonsense(kind, block(65_504.0) * 3), "the largest number there is"


def test_an_exponent_of_ones_is_nan_in_mxfp4():
    assert not has_nonsense("MXFP4", b"\xfe" + b"\xff" * 16)
    assert has_nonsense("MXFP4", b"\xff" * 17)


@pytest.mark.parametrize("kind", [kind.name for kind in TENSOR_TYPES.values()])
def test_no_kind_of_block_is_a_surprise(kind: str):
    assert has_nonsense(kind, b"\0" * 4 * TYPES_BY_NAME[kind].n_bytes) is False


def filled(made: GGUFFile, spoil: Callable[[bytearray, int], None] = lambda data, start: None):
    """Return a source of a file whose data is 1.0 everywhere, or nearly."""
    size = sum(tensor.n_bytes + -tensor.n_bytes % 32 for tensor in made.tensors)
    data = bytearray(halves(1.0) * (size // 2))
    spoil(data, 0)
    made.data = bytes(data)
    return BytesSource(made.encode())


def test_a_tensor_with_nan_is_named():
    def spoil(data: bytearray, start: int) -> None:
        data[0:2] = halves(NAN)

    source = filled(sound(), spoil)
    (finding,) = lint_data(source, read_header(source))
    assert (finding.severity, finding.code) == ("error", "tensor-nan")
    assert "token_embd.weight" in finding.what


def test_a_matrix_of_zeros_is_doubtful_and_a_file_of_zeros_is_wrong():
    def spoil(data: bytearray, start: int) -> None:
        data[: 64 * N_VOCAB // 32 * 34] = bytes(64 * N_VOCAB // 32 * 34)

    source = filled(sound(), spoil)
    (finding,) = lint_data(source, read_header(source))
    assert (finding.severity, finding.code) == ("warn", "tensor-zero")
    empty = BytesSource(sound().encode())
    assert codes(lint_data(empty, read_header(empty))) == [("error", "tensor-zero")]


def test_of_a_large_tensor_pieces_are_read_and_that_is_said():
    made = GGUFFile().set("general.architecture", g.STRING, "llama")
    made.tensors = [g.Tensor("token_embd.weight", (4096, 4096), "Q8_0")]
    place = 34 * (SAMPLE_BYTES // 34 + 10)  # just behind the first piece

    def spoil(data: bytearray, start: int) -> None:
        data[place : place + 2] = halves(INF)

    source = filled(made, spoil)
    header, before = read_header(source), len(source.reads)
    assert codes(lint_data(source, header)) == [("info", "sampled")]
    assert sum(length for _, length in source.reads[before:]) <= 3 * SAMPLE_BYTES
    heard: list[int] = []
    whole = lint_data(source, header, whole=True, on_bytes=heard.append)
    assert codes(whole) == [("error", "tensor-nan")]
    assert heard == [header.file_size]


def test_long_lists_of_names_are_cut():
    assert name_some(["a", "b"]) == "a, b"
    assert name_some(list("abcdefg")) == "a, b, c, d and 3 more"


def test_a_damaged_copy_of_the_demo_model_is_found_out(tmp_path: Path):
    path = tmp_path / "copy.gguf"
    data = bytearray(DEMO_FILE.read_bytes())
    with FileSource(DEMO_FILE) as source:
        header = read_header(source)
    quantized = next(tensor for tensor in header.tensors if tensor.type_name == "Q8_0")
    start = header.header_bytes + quantized.offset
    data[start : start + 2] = halves(NAN)
    path.write_bytes(data)
    with FileSource(path) as source:
        assert codes(lint_data(source, header)) == [("error", "tensor-nan")]
