import math

import pytest

from mlm.engine.messages import SamplingParams
from mlm.engine.sampling import check_ranges, choose_seed, plan_stages, remembered_tokens

EVERYTHING = SamplingParams(
    temperature=0.7, top_k=40, top_p=0.9, min_p=0.05, typical_p=0.9, repeat_penalty=1.1,
    dry_multiplier=0.8, xtc_probability=0.5, logit_bias={5: 2.0}, min_tokens=3, seed=1,
    top_n_sigma=1.5, dynatemp_range=0.3,
)  # fmt: skip


def stages(params: SamplingParams, **facts: object) -> list[tuple[str, tuple[object, ...]]]:
    known = {"end_tokens": {2, 7}, "suppressed_tokens": (), "n_ctx_slot": 100, **facts}
    return plan_stages(params, **known)


def test_what_nobody_chose_is_as_in_llama_cpps_server():
    narrowing = [("top_k", (40,)), ("top_p", (0.95, 1)), ("min_p", (0.05, 1))]
    assert stages(SamplingParams(seed=5)) == [*narrowing, ("temp", (0.8,)), ("dist", (5,))]


def test_what_is_switched_off_is_not_in_the_chain():
    plain = SamplingParams(seed=5, temperature=1, top_k=0, top_p=1, min_p=0)
    assert stages(plain) == [("temp", (1.0,)), ("dist", (5,))]
    assert stages(SamplingParams(temperature=0, seed=5)) == [("greedy", ())]


def test_the_order_is_llama_cpps():
    assert [name for name, _ in stages(EVERYTHING)] == [
        "logit_bias", "logit_bias", "penalties", "dry", "top_n_sigma", "top_k", "min_p", "typical",
        "top_p", "min_p", "xtc", "temp_ext", "dist",
    ]  # fmt: skip


def test_ignore_eos_and_min_tokens_forbid_every_end_of_an_answer():
    ban = ("logit_bias", (((2, -math.inf), (7, -math.inf)),))
    assert stages(SamplingParams(ignore_eos=True))[0] == ban
    assert stages(SamplingParams(min_tokens=1))[0] == ban


def test_tokens_that_the_model_suppresses_are_banned():
    assert stages(SamplingParams(), suppressed_tokens=(9,))[0][1] == (((9, -math.inf),),)


@pytest.mark.parametrize(("version", "name"), [(1, "mirostat"), (2, "mirostat_v2")])
def test_mirostat_replaces_the_other_samplers(version: int, name: str):
    params = SamplingParams(mirostat=version, top_k=40, top_p=0.5, seed=3)
    assert [stage for stage, _ in stages(params)] == ["temp", name]


def test_looking_back_forever_means_the_whole_slot():
    assert stages(SamplingParams(repeat_penalty=2, repeat_last_n=-1))[0][1][0] == 100
    assert remembered_tokens(SamplingParams(dry_multiplier=1), 100) == 100
    assert remembered_tokens(SamplingParams(), 100) == 0


def test_a_temperature_that_moves_has_its_span_and_shape():
    moving = SamplingParams(dynatemp_range=0.5, dynatemp_exponent=2, seed=5)
    assert stages(moving)[-2:] == [("temp_ext", (0.8, 0.5, 2)), ("dist", (5,))]
    assert stages(SamplingParams(temperature=0, dynatemp_range=0.5)) == [("greedy", ())]


def test_repetition_ends_at_the_breakers_that_were_asked_for():
    dry = SamplingParams(dry_multiplier=1, dry_sequence_breakers=("|", "é"))
    assert stages(dry)[0][1][-1] == ("|", "é")
    assert stages(SamplingParams(dry_multiplier=1))[0][1][-1] == ("\n", ":", '"', "*")


def test_every_seed_is_kept_and_none_means_random_to_llama_cpp():
    assert choose_seed(42) == 42
    assert all(0 <= choose_seed(seed) < 2**32 - 1 for seed in (None, -1, 2**32 - 1, 2**63, 0))
    assert choose_seed(None) != choose_seed(None)


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(temperature=-0.1),
        SamplingParams(temperature=math.nan),
        SamplingParams(top_p=1.5),
        SamplingParams(repeat_penalty=0),
        SamplingParams(repeat_penalty=math.inf),
        SamplingParams(top_k=2**31),
        SamplingParams(mirostat=3),
        SamplingParams(logit_bias={-1: 1.0}),
        SamplingParams(logit_bias={50: 1.0}),
        SamplingParams(logit_bias={1: math.nan}),
        SamplingParams(top_n_sigma=-2),
        SamplingParams(dynatemp_exponent=math.nan),
        SamplingParams(dry_sequence_breakers=("x",) * 17),
        SamplingParams(dry_sequence_breakers=("é" * 21,)),
        SamplingParams(dry_sequence_breakers=("",)),
        SamplingParams(dry_sequence_breakers=("a\0b",)),
    ],
)
def test_a_parameter_out_of_range_is_refused_by_name(params: SamplingParams):
    with pytest.raises(ValueError, match=r"between|there is no token|finite|at most 16|NUL"):
        check_ranges(params, n_vocab=50)


def test_sensible_parameters_are_accepted():
    check_ranges(EVERYTHING, n_vocab=50)
