"""Who made a file, and how it is called, tell what is special about it."""

from dataclasses import replace

import pytest

from mlm.catalog.types import Architecture
from mlm.planning.sizes import predict_file_size
from mlm.planning.uploaders import read_habit

LLAMA_8B = Architecture("llama", 32, 4096, 32, 8, 128, 14336, 128256, 131072)
QWEN3_SMALL = Architecture("qwen3", 28, 1024, 16, 8, 128, 3072, 151936, 40960)
HYBRID = Architecture("qwen35", 32, 2560, 16, 4, 256, 9216, 248320, 262144, n_layer_attention=8)
MIXTRAL = replace(LLAMA_8B, n_vocab=32000, n_expert=8, n_expert_used=2)
TABLE_Q8_0 = 1024 * 151936 // 32 * 34


def size(
    facts: Architecture, params: float, quant: str, repo_id: str = "", base_repo: str | None = None
) -> int:
    found = predict_file_size(facts, int(params), quant, repo_id, base_repo)
    assert found is not None
    assert found.low < found.mid < found.high
    return found.mid


def test_a_table_that_the_original_holds_twice_is_in_most_files_twice():
    base = "Qwen/Qwen3-0.6B"
    sizes = {
        uploader: size(QWEN3_SMALL, 596e6, "Q8_0", f"{uploader}/Qwen3-0.6B-GGUF", base)
        for uploader in ("unsloth", "Qwen", "bartowski", "ggml-org")
    }
    assert sizes["unsloth"] == sizes["Qwen"]
    assert sizes["bartowski"] == sizes["ggml-org"] == sizes["Qwen"] + TABLE_Q8_0
    finetune = size(QWEN3_SMALL, 596e6, "Q8_0", "bartowski/mine-GGUF", "me/mine")
    assert finetune == sizes["Qwen"]


def test_qwen_stores_both_tables_of_its_second_generation():
    second = replace(QWEN3_SMALL, name="qwen2")
    own, other = (size(second, 590e6, "Q8_0", repo) for repo in ("Qwen/x-GGUF", "bartowski/x-GGUF"))
    assert own == other + TABLE_Q8_0


def test_of_a_file_of_nobody_knows_whom_nothing_special_is_said_but_the_table_may_be_there_twice():
    found = predict_file_size(QWEN3_SMALL, 596_000_000, "Q8_0")
    assert found is not None
    assert found.mid < size(QWEN3_SMALL, 596e6, "Q8_0", "ggml-org/x", "Qwen/Qwen3-0.6B")
    assert found.high > found.mid + 0.9 * TABLE_Q8_0


def test_a_draft_head_is_one_more_layer():
    plain, head = (
        size(HYBRID, 4.21e9, "Q8_0", f"unsloth/Qwen3.5-4B{mark}-GGUF") for mark in ("", "-MTP")
    )
    # attention with gated queries, three matrices, and what joins two tokens
    params = 2560 * (2 * 4096 + 2 * 1024 + 4096) + 3 * 2560 * 9216 + 2 * 2560 * 2560
    assert head - plain == pytest.approx(params * 34 / 32, rel=0.01)
    assert size(HYBRID, 4.21e9, "Q8_0", "ggml-org/Qwen3.5-4B-GGUF") == head
    assert size(LLAMA_8B, 8.03e9, "Q8_0", "unsloth/Llama-MTP") == size(LLAMA_8B, 8.03e9, "Q8_0")


def test_types_chosen_tensor_by_tensor_have_a_wider_interval():
    plain = predict_file_size(LLAMA_8B, 8_030_000_000, "Q4_K_M")
    chosen = predict_file_size(LLAMA_8B, 8_030_000_000, "UD-Q4_K_XL")
    assert plain is not None and chosen is not None
    assert chosen.mid == pytest.approx(1.02 * plain.mid, rel=0.001)
    assert chosen.high / chosen.low > plain.high / plain.low


def test_in_mixtures_of_experts_they_are_chosen_otherwise():
    dense, mixture = (read_habit("UD-IQ2_XXS", facts) for facts in (LLAMA_8B, MIXTRAL))
    assert dense is not None and mixture is not None
    assert mixture.factor > dense.factor


def test_files_of_2023_had_rules_of_their_own():
    old, new = (size(LLAMA_8B, 8.03e9, "Q2_K", repo) for repo in ("TheBloke/x", ""))
    assert old > 1.08 * new
    old, new = (size(MIXTRAL, 46.7e9, "Q3_K_M", repo) for repo in ("TheBloke/x", ""))
    assert old < 0.95 * new


def test_more_bits_for_hybrid_models_are_bartowskis_way():
    repos = ("bartowski/Qwen_Qwen3.5-4B-GGUF", "lmstudio-community/Qwen3.5-4B-GGUF")
    his, theirs = (size(HYBRID, 4.21e9, "Q4_K_M", repo) for repo in repos)
    assert his == pytest.approx(1.06 * theirs, rel=0.01)
    his, theirs = (size(HYBRID, 4.21e9, "Q8_0", repo) for repo in repos)
    assert his == theirs
