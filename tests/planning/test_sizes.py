"""File sizes before there is a file: against published ones, and rule by rule."""

from dataclasses import replace

import pytest
from check_size_predictions import measure, read_known

from mlm.catalog.types import Architecture
from mlm.planning.quantize import Recipe, choose_type
from mlm.planning.sizes import predict_file_size
from mlm.planning.tensors import Part

LLAMA_8B = Architecture("llama", 32, 4096, 32, 8, 128, 14336, 128256, 131072)
PARAMS_8B = 8_030_000_000
RECIPE = Recipe("Q4_K_M", 32, 4, 0, False, False, 32)


def size(facts: Architecture, params: int, quant: str) -> int:
    found = predict_file_size(facts, params, quant)
    assert found is not None
    assert found.low < found.mid < found.high
    return found.mid


def test_half_of_the_published_files_are_met_within_a_tenth_of_a_percent():
    known = read_known()
    assert len(known) > 360
    middle, p95, inside = measure(known)
    assert middle < 0.001
    assert p95 < 0.03
    assert inside > 0.96


@pytest.mark.parametrize("special", sorted({one.special for one in read_known()}))
def test_special_files_are_told_as_well(special: str):
    group = [one for one in read_known() if one.special == special]
    assert measure(group)[1] < 0.065
    assert all(abs(one.error) < 0.15 for one in group)


# Sizes of bartowski/Meta-Llama-3.1-8B-Instruct-GGUF, from the hub's listing.
@pytest.mark.parametrize(
    ("quant", "published"),
    [("Q4_K_M", 4_920_739_232), ("Q8_0", 8_540_775_840), ("Q6_K", 6_596_011_424)],
)
def test_llama_8b_comes_out_to_a_thousandth(quant: str, published: int):
    assert size(LLAMA_8B, PARAMS_8B, quant) == pytest.approx(published, rel=1e-3)


def test_the_mixtures_are_in_the_order_of_their_names():
    names = ["Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K"]
    names += ["Q8_0", "F16", "F32"]
    sizes = [size(LLAMA_8B, PARAMS_8B, name) for name in names]
    assert sizes == sorted(sizes)


def test_a_mixture_with_larger_tables_is_larger_by_just_these():
    table = 4096 * 128256
    more = size(LLAMA_8B, PARAMS_8B, "Q4_K_L") - size(LLAMA_8B, PARAMS_8B, "Q4_K_M")
    # token_embd from Q4_K, output from Q6_K, both to Q8_0
    assert more == table * (34 / 32 - 144 / 256) + table * (34 / 32 - 210 / 256)


def test_the_parameters_tell_whether_the_output_is_a_table_of_its_own():
    small = Architecture("llama", 16, 2048, 32, 8, 64, 8192, 128256, 131072)
    shared = size(small, 1_236_000_000, "Q8_0")
    own = size(small, 1_236_000_000 + 2048 * 128256, "Q8_0")
    assert own - shared == 2048 * 128256 // 32 * 34


def test_a_name_that_says_nothing_has_no_size():
    assert predict_file_size(LLAMA_8B, PARAMS_8B, "Q4") is None
    assert predict_file_size(LLAMA_8B, PARAMS_8B, "UD-NEW") is None


@pytest.mark.parametrize("name", ["fp16", "F16", "i1-Q4_K_M", "UD-Q4_K_XL", "mxfp4"])
def test_uploaders_own_spellings_are_understood(name: str):
    assert predict_file_size(LLAMA_8B, PARAMS_8B, name) is not None


@pytest.mark.parametrize(
    ("part", "quant", "expected"),
    [
        (Part("ffn_down", 14336, 4096, 0), "Q4_K_M", "Q6_K"),  # the first eighth
        (Part("ffn_down", 14336, 4096, 5), "Q4_K_M", "Q4_K"),
        (Part("ffn_down", 14336, 4096, 6), "Q4_K_M", "Q6_K"),  # every third between
        (Part("ffn_down", 14336, 4096, 31), "Q4_K_M", "Q6_K"),  # the last eighth
        (Part("ffn_down", 4864, 896, 0), "Q4_K_M", "Q6_K"),
        (Part("ffn_up", 896, 4864, 0), "Q4_K_M", "Q5_0"),  # 896 is no multiple of 256
        (Part("ffn_up", 900, 4864, 0), "Q4_K_M", "F16"),  # nor 900 of 32
        (Part("ffn_down", 14336, 4096, 0), "IQ4_XS", "IQ4_XS"),
        (Part("attn_v", 4096, 1024), "IQ4_XS", "Q5_K"),
        (Part("attn_output", 4096, 4096), "Q3_K_M", "Q4_K"),
        (Part("output", 4096, 128256), "IQ2_XS", "Q5_K"),
        (Part("token_embd", 4096, 128256), "IQ1_S", "Q2_K"),
        (Part("output", 4096, 128256), "Q8_0", "Q8_0"),
        (Part("plain", 1, 4096), "Q8_0", "F32"),
        (Part("ffn_up", 4096, 14336), "BF16", "BF16"),
    ],
)
def test_each_tensor_gets_the_type_of_llama_quantize(part: Part, quant: str, expected: str):
    assert choose_type(part, replace(RECIPE, quant=quant)) == expected


def test_eight_experts_are_an_exception():
    mixtral = replace(RECIPE, n_expert=8)
    assert choose_type(Part("attn_v", 4096, 1024), mixtral) == "Q8_0"
    assert choose_type(Part("attn_k", 4096, 1024), mixtral) == "Q8_0"
    assert choose_type(Part("attn_output", 4096, 4096), mixtral) == "Q5_K"


def test_shared_embeddings_are_kept_like_an_output():
    tied = replace(RECIPE, is_tied=True)
    assert choose_type(Part("token_embd", 4096, 32000), tied) == "Q6_K"
    assert choose_type(Part("token_embd", 4096, 32000), RECIPE) == "Q4_K"


def test_experts_trained_in_four_bits_stay_so():
    gpt_oss = Architecture("gpt-oss", 24, 2880, 64, 8, 64, 2880, 201088, 131072, 32, 4)
    assert size(gpt_oss, 20_910_000_000, "F16") < 14_500_000_000
