"""Real headers are understood; what is not a model says what it is."""

import os
from pathlib import Path

import gguf
import numpy as np
import pytest
from fakes import gguf_files as g

from mlm.errors import NotFoundError
from mlm.gguf.errors import GGUFError
from mlm.gguf.reader import add_shards, read_file_header, read_metadata, read_metadata_from
from mlm.gguf.source import FileSource
from mlm.gguf.types import GGUFMetadata


def read(made: g.GGUFFile) -> GGUFMetadata:
    return read_metadata_from(g.BytesSource(made.encode()))


def test_a_llama_is_understood(tmp_path: Path):
    path = g.llama().write(tmp_path / "small.gguf")
    model = read_metadata(path)
    assert model.architecture == "llama"
    assert model.name == "Small model"
    assert (model.n_layer, model.n_embd, model.n_vocab, model.n_ctx_train) == (2, 64, 96, 512)
    assert (model.n_head, model.n_head_kv, model.n_ff) == ((4, 4), (2, 2), 128)
    assert (model.head_dim_k, model.head_dim_v) == (16, 16)
    assert model.quant == "Q8_0"
    assert model.chat_template == "{{ messages[0].content }}"
    assert (model.bos_token_id, model.eos_token_id) == (None, 95)
    assert model.has_kv == (True, True)
    assert model.params == 2 * 96 * 64 + 2 * (64 * 64 * 3 + 64 * 128 * 3 + 2 * 64) + 64
    assert model.file_size == path.stat().st_size
    assert model.tensors[0].n_bytes == 96 * 64 // 32 * 34


def test_what_the_gguf_package_writes_is_read(tmp_path: Path):
    writer = gguf.GGUFWriter(tmp_path / "other.gguf", "qwen2")
    writer.add_block_count(3)
    writer.add_context_length(2048)
    writer.add_embedding_length(128)
    writer.add_head_count(4)
    writer.add_token_list(["a", "b", "c"])
    writer.add_key_length(64)
    writer.add_tensor("token_embd.weight", np.zeros((3, 128), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model = read_metadata(tmp_path / "other.gguf")
    assert (model.architecture, model.n_layer, model.n_vocab) == ("qwen2", 3, 3)
    assert (model.head_dim_k, model.head_dim_v) == (64, 32)
    assert model.tensors[0].shape == (128, 3)


def test_tensor_data_may_be_aligned_otherwise():
    made = g.llama().set("general.alignment", g.U32, 128)
    made.alignment = 128
    model = read(made)
    assert model.header_bytes % 128 == 0
    assert model.tensors[2].offset % 128 == 0


def test_a_long_vocabulary_is_counted_and_not_kept():
    made = g.vocabulary(g.model(), [f"t{i}" for i in range(5000)])
    model = read(made)
    assert model.n_vocab == 5000
    assert "tokenizer.ggml.tokens" not in model.values
    assert model.array_lengths["tokenizer.ggml.token_type"] == 5000


def test_a_remote_header_is_read_in_few_growing_ranges():
    made = g.vocabulary(g.model(), [f"token number {i}" for i in range(150_000)])
    data = made.encode()
    source = g.BytesSource(data)
    assert read_metadata_from(source).n_vocab == 150_000
    assert len(source.reads) <= 3
    assert sum(length for _, length in source.reads) <= len(data)


def test_strings_cross_the_edges_of_ranges(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mlm.gguf.source._FIRST_STEP", 7)
    monkeypatch.setattr("mlm.gguf.source._LAST_STEP", 11)
    made = g.llama()
    made.set("tokenizer.ggml.merges", g.ARRAY, (g.STRING, [f"a b{i}" for i in range(900)]))
    assert read(made) == read_metadata_from(g.BytesSource(made.encode()))
    assert read(made).array_lengths["tokenizer.ggml.merges"] == 900


def test_a_model_without_vocabulary_may_say_its_size():
    assert read(g.model(vocab_size=32000)).n_vocab == 32000
    assert read(g.model()).n_vocab == 0


def test_a_long_string_is_left_out():
    made = g.model().set("tokenizer.huggingface.json", g.STRING, "x" * 1_100_000)
    model = read(made)
    assert "tokenizer.huggingface.json" not in model.values
    assert model.architecture == "llama"


def test_text_that_is_not_utf8_does_not_stop_the_reader():
    made = g.model().set("general.description", g.STRING, g.text(b"\xff\xfe!"))
    assert read(made).values["general.description"] == "��!"


@pytest.mark.parametrize(
    ("made", "window", "sliding"),
    [
        (g.model("gemma2", block_count=4, attention__sliding_window=128), 128, "10 10"),
        (g.model("gemma2", block_count=4), 4096, "10 10"),
        (g.model("gemma3", block_count=7, attention__sliding_window=128), 128, "111110 1"),
        (g.model("gemma3", block_count=7), None, "000000 0"),
        (
            g.model("gemma3", block_count=4, attention__sliding_window=9).set(
                "gemma3.attention.sliding_window_pattern", g.U32, 2
            ),
            9,
            "1010",
        ),
        (
            g.model(
                "gemma4",
                block_count=4,
                attention__sliding_window=9,
                attention__sliding_window_pattern=[1, 0, 0, 1],
            ),
            9,
            "1001",
        ),
        (g.model("llama4", block_count=4, attention__sliding_window=99), 8192, "1110"),
        (g.model("llama4", block_count=4, attention__sliding_window=0), None, "0000"),
        (g.model("phi3", block_count=2, attention__sliding_window=99), None, "00"),
        (g.model("smallthinker", block_count=4, attention__sliding_window=9), 4096, "0111"),
        (g.model("exaone4", block_count=2), None, "00"),
        (
            g.model("gpt-oss", attention__sliding_window=9).set(
                "gpt-oss.attention.sliding_window_pattern", g.U32, 0
            ),
            9,
            "11",
        ),
    ],
)
def test_layers_with_a_sliding_window_are_known(made: g.GGUFFile, window: int, sliding: str):
    model = read(made)
    assert model.sliding_window == window
    assert "".join(str(int(s)) for s in model.is_sliding) == sliding.replace(" ", "")


@pytest.mark.parametrize(
    ("made", "recurrent", "has_kv"),
    [
        (g.model("mamba", attention__head_count=0, attention__head_count_kv=None), "11", "00"),
        (g.model("falcon-h1"), "11", "11"),
        (g.model("jamba", attention__head_count_kv=[0, 2]), "10", "01"),
        (g.model("qwen3next", block_count=5), "11101", "00010"),
        (g.model("qwen3next", block_count=4, full_attention_interval=2), "1010", "0101"),
        (g.model("qwen35", attention__recurrent_layers=[0, 1]), "01", "10"),
        (
            g.model(
                "nemotron_h",
                block_count=3,
                attention__head_count_kv=[0, 0, 2],
                feed_forward_length=[0, 64, 0],
            ),
            "100",
            "001",
        ),
        (g.model("bert"), "00", "00"),
        (g.model("gemma3n", block_count=22), "0" * 22, "1" * 20 + "00"),
        (g.model("gemma4", block_count=4, attention__shared_kv_layers=1), "0000", "1110"),
        (g.model("glm4moe", block_count=3, nextn_predict_layers=1), "000", "110"),
        (
            g.model(
                "lfm2",
                attention__head_count_kv=[0, 2],
                shortconv__l_cache=3,
                attention__sliding_window=8,
            ),
            "10",
            "01",
        ),
    ],
)
def test_layers_keep_what_llama_cpp_lets_them_keep(made: g.GGUFFile, recurrent: str, has_kv: str):
    model = read(made)
    assert "".join(str(int(layer)) for layer in model.is_recurrent) == recurrent
    assert "".join(str(int(layer)) for layer in model.has_kv) == has_kv


@pytest.mark.parametrize(
    ("made", "state"),
    [
        (g.model("rwkv6", wkv__head_size=8), (128, 512)),
        (g.model("lfm2", shortconv__l_cache=3), (128, 0)),
        (g.model("kimi-linear", kda__head_dim=8, ssm__conv_kernel=4), (3 * 3 * 32, 8 * 8 * 4)),
        (g.model("minimax-01"), (0, 16 * 16 * 4)),
        (
            g.model(
                "mamba2",
                ssm__conv_kernel=4,
                ssm__inner_size=128,
                ssm__state_size=16,
                ssm__group_count=1,
            ),
            (3 * (128 + 32), 128 * 16),
        ),
    ],
)
def test_recurrent_states_have_llama_cpps_sizes(made: g.GGUFFile, state: tuple[int, int]):
    model = read(made)
    assert (model.state_r, model.state_s) == state


def test_latent_attention_keeps_one_compressed_row():
    lengths = {"key_length": 576, "value_length": 512, "key_length_mla": 192, "value_length_mla": 9}
    made = g.model("deepseek2", **{f"attention__{name}": n for name, n in lengths.items()})
    model = read(made)
    assert model.is_mla
    assert model.head_dim_k == 576


def split(tmp_path: Path) -> list[Path]:
    """Write a model in two parts."""
    first, second = g.llama(), g.GGUFFile()
    second.tensors = first.tensors[5:]
    first.tensors = first.tensors[:5]
    for number, part in enumerate((first, second)):
        part.set("split.no", g.U16, number).set("split.count", g.U16, 2)
    return [
        part.write(tmp_path / f"m-0000{number}-of-00002.gguf")
        for number, part in enumerate((first, second), start=1)
    ]


def test_the_parts_of_a_split_model_are_one(tmp_path: Path):
    paths = split(tmp_path)
    model = read_metadata(paths[0])
    assert model.params == read(g.llama()).params
    assert model.file_size == sum(path.stat().st_size for path in paths)
    assert model.tensors[5].offset == paths[0].stat().st_size


def test_a_missing_part_is_named(tmp_path: Path):
    paths = split(tmp_path)
    paths[1].unlink()
    with pytest.raises(NotFoundError, match="m-00002-of-00002"):
        read_metadata(paths[0])


def test_a_later_part_points_to_the_first(tmp_path: Path):
    with pytest.raises(GGUFError, match="later part") as caught:
        read_metadata(split(tmp_path)[1])
    assert "00001" in str(caught.value.remedy)
    assert read_file_header(split(tmp_path)[1]).values["split.no"] == 1


def test_a_first_part_with_another_name_cannot_find_the_rest(tmp_path: Path):
    renamed = split(tmp_path)[0].rename(tmp_path / "renamed.gguf")
    with pytest.raises(GGUFError, match="not named like the first"):
        read_metadata(renamed)


def test_parts_must_be_complete_and_disjoint(tmp_path: Path):
    first = read_metadata_from(g.BytesSource(split(tmp_path)[0].read_bytes()))
    with pytest.raises(GGUFError, match="2 parts"):
        add_shards(first, [])
    with pytest.raises(GGUFError, match="same tensor"):
        add_shards(first, [read_file_header(split(tmp_path)[0])])


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (g.model("clip"), "mmproj"),
        (g.model().set("general.type", g.STRING, "adapter"), "LoRA"),
        (g.model().set("general.type", g.STRING, "imatrix"), "importance matrix"),
        (g.model().drop("general.architecture"), "general.architecture"),
        (g.model().drop("llama.block_count"), "lacks the key llama.block_count"),
        (g.model(block_count=513), "513 layers"),
        (g.model(block_count=0), "0 layers"),
        (g.model(nextn_predict_layers=2), "2 of them"),
        (g.model(attention__head_count=[4]), "1 items for 2 layers"),
        (g.model(embedding_length="wide"), "not a count"),
        (g.model().set("llama.context_length", g.U64, 2**40), "not a count"),
        (
            g.vocabulary(g.model(), ["a", "b"]).set(
                "tokenizer.ggml.token_type", g.ARRAY, (g.I32, [1])
            ),
            "1 items for 2 tokens",
        ),
    ],
)
def test_what_is_no_sound_model_says_so(made: g.GGUFFile, what: str):
    with pytest.raises(GGUFError, match=what):
        read(made)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>404", "HTML page"),
        (b"\n <html>", "HTML page"),
        (b"PK\x03\x04rest", "zip"),
        (b"\x80\x02}q\x00.", "pickle"),
        (b"version https://git-lfs.github.com/spec/v1\n", "LFS pointer"),
        (b"tjgg\x03\x00\x00\x00", "before GGUF"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{ }", "safetensors"),
        (b'{"error": "Entry not found"}', "JSON"),
        (b"\x00" * 600, "zeros"),
        (b"nonsense, and more of it", "something else"),
        (b"GG", "something else"),
    ],
)
def test_the_wrong_kind_of_file_is_recognised(tmp_path: Path, content: bytes, what: str):
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(GGUFError, match=what) as caught:
        read_metadata(path)
    assert str(path) in caught.value.message
    assert caught.value.exit_code == 5


def test_no_file_and_no_regular_file(tmp_path: Path):
    with pytest.raises(NotFoundError):
        read_metadata(tmp_path / "none.gguf")
    with pytest.raises(GGUFError, match="is not a file"):
        read_metadata(tmp_path)
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(GGUFError, match="is not a file"):
        read_metadata(tmp_path / "pipe.gguf")
    with pytest.raises(GGUFError, match="cannot open"):
        read_metadata(tmp_path / ("n" * 300))


def test_a_disk_that_fails_is_no_traceback(tmp_path: Path):
    source = FileSource(g.llama().write(tmp_path / "small.gguf"))
    source.close()
    with pytest.raises(GGUFError, match="cannot read"):
        source.read(0, 8)
