"""Nothing in a hostile file gets past the reader, and nothing but GGUFError comes out of it."""

import contextlib
import random
import struct
import time
import tracemalloc

import pytest
from fakes import gguf_files as g
from hypothesis import given
from hypothesis import strategies as st

from mlm.gguf.errors import GGUFError
from mlm.gguf.reader import read_metadata_from

HUGE = (2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1)


def refuse(data: bytes | g.GGUFFile) -> str:
    """Return why ``data`` is refused."""
    encoded = data if isinstance(data, bytes) else data.encode()
    with pytest.raises(GGUFError) as caught:
        read_metadata_from(g.BytesSource(encoded))
    return caught.value.message


def count(value: int) -> bytes:
    return struct.pack("<Q", value)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (g.GGUFFile(version=1), "version 1"),
        (g.GGUFFile(version=4), "version 4"),
        (g.GGUFFile(version=0x03000000), "big-endian"),
        (g.GGUFFile(version=0), "big-endian"),
        (g.GGUFFile(n_pairs=2**40), "more than any model"),
        (g.GGUFFile(n_tensors=2**40), "more than any model"),
        (g.GGUFFile(n_pairs=1), "cut off"),
        (g.GGUFFile(n_tensors=1), "cut off"),
        (g.GGUFFile(pairs=[("", g.U8, 1)]), "without a name"),
        (g.GGUFFile(pairs=[(b"\xff", g.U8, 1)]), "not valid text"),
        (g.GGUFFile(pairs=[("k" * 70_000, g.U8, 1)]), "at most 65535"),
        (g.GGUFFile(pairs=[("k", g.U8, 1), ("k", g.U8, 1)]), "the key k twice"),
        (g.GGUFFile(pairs=[("k", 13, b"")]), "unknown type 13"),
        (g.GGUFFile(pairs=[("k", g.ARRAY, struct.pack("<IQ", 9, 1))]), "unknown type 9"),
        (g.GGUFFile(pairs=[("k", g.ARRAY, struct.pack("<IQ", 4, 2**62))]), "room for"),
        (g.GGUFFile(pairs=[("k", g.ARRAY, struct.pack("<IQ", 8, 2**62))]), "strings"),
        (g.GGUFFile(pairs=[("k", g.ARRAY, struct.pack("<IQ", 8, 700))]), "perhaps it is cut off"),
        (g.model().set("general.alignment", g.U32, 0), "not a power of two"),
        (g.model().set("general.alignment", g.U32, 48), "not a power of two"),
        (g.model().set("general.alignment", g.U64, 32), "not a 32-bit number"),
        (g.model().set("general.alignment", g.STRING, "x" * 2_000_000), "not a 32-bit number"),
    ],
)
def test_each_lie_in_the_header_is_refused(made: g.GGUFFile, why: str):
    assert why in refuse(made)


@pytest.mark.parametrize("length", HUGE)
def test_a_string_longer_than_the_file_is_refused(length: int):
    lie = count(length) + b"short"
    assert refuse(g.GGUFFile(pairs=[("k", g.STRING, lie)]))
    assert refuse(g.GGUFFile(pairs=[("k", g.ARRAY, struct.pack("<IQ", 8, 1) + lie)]))
    tokens = struct.pack("<IQ", 8, 2) + lie
    assert refuse(g.GGUFFile(pairs=[("tokenizer.ggml.tokens", g.ARRAY, tokens)]))
    many = struct.pack("<IQ", 8, 600) + b"".join([count(1) + b"a"] * 599) + lie
    assert refuse(g.GGUFFile(pairs=[("k", g.ARRAY, many)]))


def tensor(**lies: object) -> g.GGUFFile:
    row: dict[str, object] = {"name": "t", "shape": (256, 2), **lies}
    made = g.model()
    made.tensors = [g.Tensor(**row)]  # type: ignore[arg-type]
    made.data = b"\0" * 4096
    return made


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (tensor(n_dims=5), "5 dimensions"),
        (tensor(name="n" * 64), "at most 63"),
        (tensor(type_number=4), "no longer reads"),
        (tensor(type_number=31), "no longer reads"),
        (tensor(type_number=99), "unknown type 99"),
        (tensor(shape=(0, 2)), "impossible shape"),
        (tensor(shape=(2**32, 2**32)), "impossible shape"),
        (tensor(shape=(2**63, 1)), "impossible shape"),
        (tensor(shape=(100, 2), type_name="Q4_K", type_number=12), "blocks of 256"),
        (tensor(offset=32), "the one before ends at 0"),
        (tensor(offset=2**63), "the one before ends at 0"),
        (tensor(shape=(2**40, 2**20)), "cut off"),
    ],
)
def test_each_lie_in_the_tensor_table_is_refused(made: g.GGUFFile, why: str):
    if "blocks of" in why:
        made.tensors[0] = g.Tensor("t", (100, 2), type_number=12)
    assert why in refuse(made)


def test_a_scalar_is_a_tensor_too():
    assert read_metadata_from(g.BytesSource(tensor(shape=()).encode())).params == 1


def test_two_tensors_of_one_name_are_refused():
    made = g.llama()
    made.tensors.append(made.tensors[0])
    assert "token_embd.weight twice" in refuse(made)


def test_tensors_must_follow_each_other():
    made = g.llama()
    made.tensors[2].offset = 32
    assert "the one before ends at" in refuse(made)


def test_a_truncated_file_says_so_at_every_length():
    data = g.llama().encode()
    for length in (10, 30, 300, 3600, len(data) // 2, len(data) - 100):
        assert "cut off" in refuse(data[:length])
    for length in range(4, 4000, 97):
        assert refuse(data[:length])


def test_a_file_that_shrinks_while_it_is_read_is_refused():
    source = g.BytesSource(g.llama().encode()[:900], size=96_352)
    with pytest.raises(GGUFError, match="cut off"):
        read_metadata_from(source)


@pytest.mark.parametrize(
    "tokens",
    [
        ["a", "b", "a"],
        ["", "b", "[EMPTY_0]"],
        ["a\0b", "a\0c"],
        ["\0b", "[EMPTY_0]"],
        [f"t{i}" for i in range(9999)] + ["t7"],
    ],
)
def test_a_token_that_is_there_twice_is_refused(tokens: list[str]):
    assert "same token twice" in refuse(g.vocabulary(g.model(), tokens))


def test_empty_tokens_are_told_apart_as_llama_cpp_does():
    made = g.vocabulary(g.model(), ["", "", "a"])
    assert read_metadata_from(g.BytesSource(made.encode())).n_vocab == 3


def test_duplicates_are_found_in_the_largest_vocabularies_too():
    tokens = b"".join(count(4) + i.to_bytes(4, "little") for i in range(310_000))
    twice = tokens + count(4) + (5).to_bytes(4, "little")
    array = struct.pack("<IQ", 8, 310_001) + twice
    made = g.model()
    made.pairs.append(("tokenizer.ggml.tokens", g.ARRAY, array))
    assert "same token twice" in refuse(made)


def bombs() -> list[g.GGUFFile]:
    """Return files that would take a lot of memory or time if one let them."""
    vocabulary = struct.pack("<IQ", 8, 1_000_001) + bytes(8 * 1_000_001)
    strings = struct.pack("<IQ", 8, 4_000_001) + bytes(8 * 4_000_001)
    text = [(f"k{i}", g.STRING, "é" * 500_000) for i in range(8)]
    lists = [(f"k{i}", g.ARRAY, (g.F64, [1.0] * 512)) for i in range(200)]
    keys = [(f"k{i}", g.U8, 1) for i in range(20_000)]
    return [
        g.GGUFFile(pairs=[("tokenizer.ggml.tokens", g.ARRAY, vocabulary)]),
        g.GGUFFile(pairs=[("k", g.ARRAY, strings)]),
        g.GGUFFile(pairs=text),
        g.GGUFFile(pairs=lists),
        g.GGUFFile(pairs=keys),
        g.GGUFFile(pairs=[("k", g.ARRAY, struct.pack("<IQ", 0, 70_000_000))], n_pairs=2),
    ]


@pytest.mark.parametrize("number", range(6))
def test_bombs_stay_small_and_short(number: int):
    source = g.BytesSource(bombs()[number].encode() + bytes(70_000_100 if number == 5 else 0))
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(GGUFError):
        read_metadata_from(source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 1024**2
    assert time.process_time() - started < 30  # a guard against hanging, not a measurement


def survives(data: bytes) -> None:
    with contextlib.suppress(GGUFError):
        read_metadata_from(g.BytesSource(data))


BASE = g.llama().encode()


@given(seed=st.integers(0, 2**32))
def test_mutants_raise_nothing_but_gguf_errors(seed: int):
    chance = random.Random(seed)
    for _ in range(20):
        survives(g.mutate(BASE, chance))


@given(st.binary(max_size=400))
def test_noise_after_the_magic_raises_nothing_but_gguf_errors(noise: bytes):
    survives(b"GGUF" + struct.pack("<I", 3) + noise)


@pytest.mark.slow
def test_fifty_thousand_mutants_raise_nothing_but_gguf_errors():
    chance = random.Random(20260101)
    for _ in range(50_000):
        survives(g.mutate(BASE, chance))
