"""The catalog that is shipped: wide, in order, and with figures that can be."""

import re
from pathlib import Path

import pytest

from mlm.catalog.files import catalog_files, shipped_dir
from mlm.catalog.load import load_catalog
from mlm.catalog.lookup import Catalog
from mlm.catalog.validate import check_files
from mlm.planning.sizes import doubt_size, predict_file_size

USERS_MODELS = (
    "llama-2-7b-chat", "phi-2", "mistral-7b-instruct", "mixtral-8x7b", "mixtral-8x22b",
    "llama-3.1-8b", "gemma-2-2b", "nomic-embed-text-v1.5",
)  # fmt: skip
# What machines with 128 GB to 1 TB, or 4 to 8 large cards, are bought for.
LARGE_MODELS = (
    "deepseek-r1-0528", "deepseek-v3-0324", "deepseek-v3.1", "devstral-2-123b", "glm-4.5",
    "glm-4.6", "glm-4.7", "kimi-k2", "kimi-k2.5", "llama-3.1-405b", "llama-4-maverick",
    "llama-4-scout", "minimax-m2", "minimax-m2.5", "mistral-large-2407",
    "qwen3-235b-a22b-thinking-2507", "qwen3-coder-480b-a35b", "qwen3.5-397b-a17b",
)  # fmt: skip
# Bits per weight of whole files: llama.cpp's tools/quantize/README.md (Llama-3.1-8B), with room
# for small models, whose embeddings weigh more, are kept at more bits, and are in some files twice.
BITS_PER_WEIGHT = {
    "Q2_K": (2.4, 5.6), "Q3_K_M": (3.4, 6.2), "IQ4_XS": (3.9, 6.9), "Q4_K_M": (4.4, 7.6),
    "Q5_K_M": (5.2, 8.2), "Q6_K": (6.1, 9.2), "Q8_0": (8.1, 10.3), "F16": (15.0, 19.0),
    "BF16": (15.0, 18.0), "MXFP4": (3.9, 5.0),
}  # fmt: skip


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """The shipped catalog alone."""
    folder = tmp_path_factory.mktemp("catalog")
    return load_catalog(folder / "own", folder / "cache")


@pytest.mark.parametrize("path", catalog_files(shipped_dir()), ids=lambda path: path.stem)
def test_every_file_is_in_order_and_named_after_its_family(path: Path):
    assert check_files([path], doubt_size) == {path: []}
    text = path.read_text(encoding="utf-8")
    assert f"\nfamily: {path.stem}\n" in f"\n{text}"


def test_it_is_wide(catalog: Catalog):
    assert len({entry.family for entry in catalog.entries}) >= 35
    assert len(catalog.entries) >= 135
    assert sum(len(entry.quants) for entry in catalog.entries) >= 1000


def test_what_sees_has_its_projectors_and_shards_their_checksums(catalog: Catalog):
    seeing = [entry for entry in catalog.entries if "vision" in entry.use_cases]
    assert len(seeing) >= 30
    for entry in seeing:
        assert {side.repo_id for side in entry.mmproj} <= set(entry.repo_ids)
        assert any(entry.projector(quant) for quant in entry.quants)
    sets = [quant for entry in catalog.entries for quant in entry.quants if quant.shards]
    assert len(sets) >= 8
    assert all(shard.sha256 for quant in sets for shard in quant.shards)


@pytest.mark.parametrize("model_id", USERS_MODELS)
def test_it_has_the_models_that_users_named(catalog: Catalog, model_id: str):
    assert catalog.find(model_id).model_id == model_id


@pytest.mark.parametrize("model_id", LARGE_MODELS)
def test_it_has_the_large_models_whose_shapes_explain_their_files(catalog: Catalog, model_id: str):
    large = catalog.find(model_id)
    assert large.params > 100 * 10**9
    for quant in large.quants:
        predicted = predict_file_size(large.architecture, large.params, quant.quant)
        assert predicted is not None
        assert predicted.mid == pytest.approx(quant.size_bytes, rel=0.07), quant.quant


def test_compressed_attention_has_the_one_wide_head_of_its_files(catalog: Catalog):
    heads = {
        e.model_id: (e.architecture.n_head_kv, e.architecture.head_dim)
        for e in catalog.entries
        if e.architecture.name == "deepseek2"
    }
    assert heads.pop("deepseek-coder-v2-lite") == (16, 192)  # files of 2024
    assert set(heads.values()) == {(1, 576)}


def test_no_name_is_used_twice(catalog: Catalog):
    names = [name for entry in catalog.entries for name in (entry.model_id, *entry.aliases)]
    assert sorted(names) == sorted(set(names))


def test_no_file_belongs_to_two_models(catalog: Catalog):
    files = [(q.repo_id, q.filename) for entry in catalog.entries for q in entry.quants]
    assert sorted(files) == sorted(set(files))


def test_no_checksum_stands_for_two_files(catalog: Catalog):
    sums = [q.sha256 for entry in catalog.entries for q in entry.quants if q.sha256]
    assert len(sums) == len(set(sums)) >= 310


def test_sizes_agree_with_the_bits_per_weight_of_the_quantization(catalog: Catalog):
    wrong = [
        f"{entry.model_id}:{quant.quant} {bits:.2f}"
        for entry in catalog.entries
        for quant in entry.quants
        if quant.quant in BITS_PER_WEIGHT and entry.params > 10**9
        and entry.architecture.name != "gpt-oss"  # its experts stay MXFP4 at every quantization
        and not (
            BITS_PER_WEIGHT[quant.quant][0]
            <= (bits := quant.size_bytes * 8 / entry.params)
            <= BITS_PER_WEIGHT[quant.quant][1]
        )
    ]  # fmt: skip
    assert wrong == []


def test_shard_sets_say_how_many_files_they_are(catalog: Catalog):
    for entry in catalog.entries:
        for quant in entry.quants:
            shards = re.search(r"-00001-of-(\d{5})\.gguf$", quant.filename)
            assert quant.n_files == (int(shards[1]) if shards else 1), quant.filename


def test_a_mixture_of_experts_has_fewer_active_weights(catalog: Catalog):
    for entry in catalog.entries:
        is_mixture = entry.architecture.n_expert is not None
        assert (entry.params_active < entry.params) == is_mixture, entry.model_id


def test_embedding_models_are_only_that(catalog: Catalog):
    for entry in catalog.entries:
        assert ("embedding" in entry.use_cases) == (entry.use_cases == ("embedding",))


def test_every_use_has_models_with_a_published_score(catalog: Catalog):
    for use in ("chat", "code", "reasoning", "embedding", "vision"):
        rated = [e for e in catalog.entries if use in e.use_cases and use in e.quality]
        assert len(rated) >= 5, use


def test_quality_orders_models_as_everybody_knows_them(catalog: Catalog):
    def chat(model_id: str) -> float:
        return catalog.find(model_id).quality["chat"]

    assert chat("llama-2-7b-chat") < chat("llama-3.1-8b") < chat("llama-3.3-70b")
    assert chat("qwen3-0.6b") < chat("qwen3-1.7b") < chat("qwen3-4b") < chat("qwen3-8b")
    assert chat("gemma-3-1b") < chat("gemma-3-4b") < chat("gemma-3-12b") < chat("gemma-3-27b")
