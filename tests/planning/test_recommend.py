"""The ranking follows from quality, fit and speed, and nothing is dropped without a reason."""

import math
import random
from dataclasses import replace
from typing import Any

import pytest
from fakes.facts import GB, LLAMA_8B, MIXTRAL, entry, gpu, machine, quant

from mlm.catalog.types import CatalogEntry, Quant, SideFile
from mlm.hardware.types import Accelerator, Hardware
from mlm.planning.calibration import Calibration, Estimate
from mlm.planning.quants import base_type, quality_loss
from mlm.planning.recommend import choose_quant, consider, recommend
from mlm.planning.recommendation import Ranking, Recommendation, Rejection, Wish
from mlm.planning.score import most_score, most_tps
from mlm.units import GIB

SMALL = replace(LLAMA_8B, n_layer=16, n_embd=2048, n_head=16, head_dim=128, n_ff=8192)


def small(model_id: str = "small", **fields: Any) -> CatalogEntry:
    usual: dict[str, Any] = {"architecture": SMALL, "params": 1_236_000_000}
    return entry(model_id, quant("Q4_K_M", 807_694_464), **{**usual, **fields})


def labels(ranking: Ranking) -> list[str]:
    return [found.label for found in ranking.recommendations]


def reason(ranking: Ranking, model: str) -> str:
    return next(rejection.reason for rejection in ranking.rejected if rejection.model == model)


def test_the_better_model_comes_first_where_both_are_fast():
    models = [small(quality={"chat": 30.0}), entry("big", quality={"chat": 60.0})]
    ranking = recommend(models, machine(32, gpu(24)), Wish())
    assert labels(ranking) == ["big:Q4_K_M", "small:Q4_K_M"]


def test_the_faster_model_comes_first_where_the_better_one_crawls():
    models = [small(quality={"chat": 45.0}), entry("big", quality={"chat": 60.0})]
    ranking = recommend(models, machine(32, cores=2, bandwidth=5 * GB), Wish())
    assert labels(ranking)[0] == "small:Q4_K_M"


def test_what_does_not_fit_says_how_much_it_lacks():
    ranking = recommend([entry("big"), small()], machine(4), Wish())
    assert labels(ranking) == ["small:Q4_K_M"]
    assert reason(ranking, "big") == "its weights alone take 4.58 GiB of 4.00 GiB"
    ranking = recommend([entry("big")], machine(5), Wish())
    assert "can be had" in reason(ranking, "big")


@pytest.mark.parametrize(
    ("fields", "wish", "why"),
    [
        ({"bundled": True}, Wish(), "comes with mlm"),
        ({}, Wish("code"), "not made for code"),
        ({"use_cases": ("code",)}, Wish("code"), "no published figures"),
        ({}, Wish(n_ctx_slot=200_000), "trained for 131072 tokens"),
        ({}, Wish(min_tps=1e6), "you asked for 1e+06"),
    ],
)
def test_hard_constraints_come_first(fields: dict[str, Any], wish: Wish, why: str):
    ranking = recommend([entry("it", **fields)], machine(32), wish)
    assert labels(ranking) == []
    assert why in reason(ranking, "it")


def test_one_quantization_per_model_is_recommended_and_the_others_say_why_not():
    quants = (quant("Q2_K", 3_179_131_488), quant(), quant("Q8_0", 8_540_771_936))
    ranking = recommend([entry("it", *quants)], machine(32), Wish())
    assert labels(ranking) == ["it:Q4_K_M"]
    assert {r.quant for r in ranking.rejected} == {"Q2_K", "Q8_0"}
    assert "Q4_K_M scores" in ranking.rejected[0].reason


def test_what_is_beaten_in_everything_is_dropped():
    worse = entry("worse", quality={"chat": 59.0}, params=8_030_000_001)
    ranking = recommend([worse, entry("better")], machine(32), Wish())
    assert labels(ranking) == ["better:Q4_K_M"]
    assert reason(ranking, "worse") == "better:Q4_K_M is better, faster and smaller"


def test_a_model_for_embeddings_is_beaten_only_by_one_that_reads_faster():
    purpose: dict[str, Any] = {"use_cases": ("embedding",)}
    better = entry("better", quant("Q2_K", 3_179_131_488), quality={"embedding": 90.0}, **purpose)
    faster = small("faster", quality={"embedding": 50.0}, **purpose)
    faster = replace(faster, quants=(quant("F32", 4_944_000_000),))
    pairs = [
        consider(it, it.quants[0], machine(32, gpu(24)), Wish("embedding"))
        for it in (better, faster)
    ]
    assert all(isinstance(pair, Recommendation) for pair in pairs)
    assert pairs[0].prefill.mid < pairs[1].prefill.mid
    ranking = recommend([better, faster], machine(32, gpu(24)), Wish("embedding"))
    assert sorted(labels(ranking)) == ["better:Q2_K", "faster:F32"]


def test_only_the_best_are_listed_and_the_rest_keep_their_rank():
    # The worse, the smaller: so none beats another in everything.
    models = [
        small(
            f"m{i}",
            quality={"chat": 50.0 - i},
            params=1_236_000_000 - i * 10**7,
            architecture=replace(SMALL, n_layer=16 - i),
        )
        for i in range(8)
    ]
    models = [
        replace(m, quants=(quant("Q4_K_M", 807_694_464 - i * 40_000_000),))
        for i, m in enumerate(models)
    ]
    ranking = recommend(models, machine(16, cores=2, bandwidth=9 * GB), Wish(), top=2)
    assert len(ranking.recommendations) == 2
    everyone = {r.model for r in ranking.rejected} | {
        r.entry.model_id for r in ranking.recommendations
    }
    assert everyone == {f"m{i}" for i in range(8)}
    assert any(r.reason.startswith("rank 3") for r in ranking.rejected)
    fast = recommend(models, machine(32, gpu(24)), Wish(), top=2)
    assert any("cannot be among the best 2" in r.reason for r in fast.rejected)


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ("permissive", ["free:Q4_K_M"]),
        ("apache-2.0", ["free:Q4_K_M"]),
        ("LicenseRef-Gemma", ["bound:Q4_K_M"]),
        (None, ["bound:Q4_K_M", "free:Q4_K_M"]),
    ],
)
def test_only_models_under_the_wished_licence_are_recommended(wanted, kept: list[str]):
    models = [
        small("free", license="Apache-2.0", quality={"chat": 50.0}),
        entry("bound", license="LicenseRef-Gemma"),
    ]
    ranking = recommend(models, machine(32, gpu(24)), Wish(license=wanted))
    assert labels(ranking) == kept
    if wanted == "permissive":
        why = "its licence is LicenseRef-Gemma, you asked for permissive"
        assert reason(ranking, "bound") == why


def test_three_bits_are_for_those_whom_four_do_not_fit():
    quants = (quant("Q3_K_M", 4_018_918_432), quant("IQ4_XS", 4_447_663_136))
    roomy = recommend([entry("it", *quants)], machine(32, bandwidth=9 * GB), Wish())
    assert labels(roomy) == ["it:IQ4_XS"]
    assert "with four bits it fits too (IQ4_XS)" in reason(roomy, "it")
    narrow = recommend([entry("it", *quants)], machine(4.9), Wish())
    assert labels(narrow) == ["it:Q3_K_M"]


def test_three_bits_on_the_card_beat_four_that_crawl_beside_it():
    quants = (quant("Q3_K_M", 4_018_918_432), quant("IQ4_XS", 4_447_663_136))
    ranking = recommend([entry("it", *quants)], machine(32, gpu(4.8), bandwidth=9 * GB), Wish())
    assert labels(ranking) == ["it:Q3_K_M"]


def test_it_says_how_long_a_context_would_do():
    [found] = recommend([entry()], machine(32), Wish()).recommendations
    assert found.config.n_ctx_slot == 8192
    assert found.n_ctx_most == 131_072
    assert "131072 tokens fit too" in found.reasons[1]
    [tight] = recommend([entry()], machine(8), Wish()).recommendations
    assert tight.n_ctx_most in (8192, 16_384)
    [asked] = recommend([entry()], machine(32), Wish(n_ctx_slot=131_072)).recommendations
    assert "fit too" not in asked.reasons[1]


def test_the_order_of_the_catalog_does_not_matter(shipped):
    entries = list(shipped)
    hardware = machine(14, bandwidth=38 * GB)
    usual = recommend(entries, hardware, Wish())
    random.Random(7).shuffle(entries)
    assert recommend(entries, hardware, Wish()) == usual


MACHINES = [
    machine(3.5, cores=4, bandwidth=4 * GB, isa=("neon",)),
    machine(14, bandwidth=38 * GB),
    machine(14, gpu(4, bandwidth=112 * GB), bandwidth=57 * GB),
    machine(56, gpu(24, bandwidth=936 * GB), bandwidth=57 * GB),
    machine(28, gpu(22, "metal", bandwidth=150 * GB, unified=True), bandwidth=112 * GB),
]


@pytest.mark.parametrize("use", ["chat", "vision"])
@pytest.mark.parametrize("hardware", MACHINES, ids=["pi", "laptop", "4GB", "24GB", "mac"])
def test_what_is_not_planned_could_not_have_been_among_the_best(shipped, hardware, use):
    wish = Wish(use)
    all_planned = recommend(shipped, hardware, wish, top=1000).recommendations
    assert labels(recommend(shipped, hardware, wish, top=4)) == [r.label for r in all_planned[:4]]


@pytest.mark.parametrize("hardware", MACHINES, ids=["pi", "laptop", "4GB", "24GB", "mac"])
def test_no_pair_exceeds_what_was_promised_of_it(shipped, hardware: Hardware):
    for made in [each for each in shipped if "chat" in each.use_cases][::3]:
        for each in made.quants[::2]:
            found = consider(made, each, hardware, Wish())
            if isinstance(found, Recommendation):
                assert found.decode.mid <= most_tps(made, each, hardware), found.label
                assert found.score <= most_score(made, each, "chat", hardware), found.label


def test_a_machine_that_proved_faster_than_its_figures_skips_no_more_than_it_may():
    slow = [small("fast", quality={"chat": 30.0}), entry("big", quality={"chat": 60.0})]
    quick = Estimate(math.log(50), 0.0, (0.0, 0.0, 0.0), 0.0025, 5)
    known = Calibration(of_devices={("cpu", "decode_tps"): quick})
    hardware = machine(32, bandwidth=2 * GB)
    assert labels(recommend(slow, hardware, Wish(), top=1)) == ["fast:Q4_K_M"]
    assert labels(recommend(slow, hardware, Wish(), 1, known)) == ["big:Q4_K_M"]


def test_what_ran_here_before_corrects_the_speeds():
    slow = Estimate(math.log(0.5), 0.0, (0.0, 0.0, 0.0), 0.0025, 5)
    known = Calibration(of_devices={("cpu", "decode_tps"): slow})
    plain = consider(entry(), quant(), machine(32), Wish())
    corrected = consider(entry(), quant(), machine(32), Wish(), known)
    assert isinstance(plain, Recommendation) and isinstance(corrected, Recommendation)
    assert corrected.decode.mid == pytest.approx(plain.decode.mid / 2)
    assert corrected.score < plain.score


def test_those_behind_say_what_they_lack():
    models = [
        small("fast", quality={"chat": 30.0}),
        entry("good", quality={"chat": 60.0}),
    ]
    ranking = recommend(models, machine(32, gpu(24)), Wish(), top=1)
    assert labels(ranking) == ["good:Q4_K_M"]
    ranking = recommend(models, machine(32, bandwidth=20 * GB), Wish(), top=1)
    assert "than fast:Q4_K_M" in reason(ranking, "good") or "good" in labels(ranking)[0]


def seeing(*quants: Quant, size: int = GIB) -> CatalogEntry:
    """Return a model that sees, with a projector of ``size`` in its repository."""
    eyes = SideFile("org/m-GGUF", "main", "mmproj-F16.gguf", size, True, None, False, "test")
    both: dict[str, Any] = {"use_cases": ("chat", "vision"), "mmproj": (eyes,)}
    return entry("seer", *quants, quality={"chat": 60.0, "vision": 60.0}, **both)


@pytest.mark.parametrize(("cards", "device"), [((), "cpu"), ((gpu(12),), "cuda0")])
def test_what_a_model_sees_with_takes_memory_too(cards: tuple[Accelerator, ...], device: str):
    hardware = machine(32, *cards)
    blind = consider(seeing(), quant(), hardware, Wish("chat"))
    sees = consider(seeing(), quant(), hardware, Wish("vision"))
    assert isinstance(blind, Recommendation) and isinstance(sees, Recommendation)
    more = sees.memory_bytes - blind.memory_bytes
    assert more == 1.5 * GIB  # what it computes in is guessed to be half as large
    [before] = [plan for plan in blind.devices if plan.device == device]
    [after] = [plan for plan in sees.devices if plan.device == device]
    assert (after.total - before.total, after.available) == (more, before.available)
    assert any("projector of 1.00 GiB, counted in" in reason for reason in sees.reasons)
    assert any("also takes pictures" in reason for reason in blind.reasons)


def test_a_projector_that_does_not_fit_beside_the_model_rules_it_out():
    ranking = recommend([seeing(size=3 * GIB)], machine(7), Wish("vision"))
    assert labels(ranking) == []
    assert "can be had" in reason(ranking, "seer")
    assert labels(recommend([seeing(size=3 * GIB)], machine(7), Wish("chat"))) == ["seer:Q4_K_M"]


def test_a_file_without_a_projector_cannot_see():
    elsewhere = quant(repo_id="other/m-GGUF")
    ranking = recommend([seeing(elsewhere)], machine(32), Wish("vision"))
    assert reason(ranking, "seer") == "no projector is known for this file"
    assert choose_quant(seeing(elsewhere), machine(32)) == elsewhere


def test_more_users_need_more_cache():
    one = consider(entry(), quant(), machine(32), Wish())
    four = consider(entry(), quant(), machine(32), Wish(users=4))
    assert isinstance(one, Recommendation)
    assert isinstance(four, Recommendation)
    assert four.memory_bytes - one.memory_bytes >= 3 * GIB
    assert "for 4 users" in four.reasons[1]


def test_reasons_name_figures_savings_and_licences():
    found = consider(entry(gated=True), quant(), machine(6.5), Wish(n_ctx_slot=4096))
    assert isinstance(found, Recommendation)
    text = " ".join(found.reasons)
    assert "chat quality 60 of 100" in text
    assert "2.8% of it" in text
    assert "4096 tokens" in text
    assert "an unmapped file" in text
    assert "licence must be accepted on the hub first: org/m" in text
    squeezed = consider(entry(), quant(), machine(5.45), Wish(n_ctx_slot=4096))
    assert isinstance(squeezed, Recommendation)
    assert "and a KV cache of type q8_0" in " ".join(squeezed.reasons)


def test_scores_are_the_product_of_their_parts():
    found = consider(entry(), quant(), machine(32), Wish())
    assert isinstance(found, Recommendation)
    parts = found.parts
    expected = parts["quality"] * (1 - parts["quant_loss"]) * parts["fit"] * parts["speed"]
    assert found.score == pytest.approx(expected)
    assert 0.9 <= parts["fit"] <= 1
    assert found.plan.verdict == "fits"
    crowded = consider(entry(), quant(), machine(11.5), Wish())
    assert isinstance(crowded, Recommendation)
    assert crowded.parts["fit"] < parts["fit"]


def test_embeddings_are_judged_by_prefill():
    made = entry(use_cases=("embedding",), quality={"embedding": 60.0})
    found = consider(made, quant(), machine(32), Wish("embedding"))
    assert isinstance(found, Recommendation)
    assert found.speed == found.prefill


def test_a_bare_name_gets_the_best_quantization_for_the_machine():
    quants = (quant("Q2_K", 3_179_131_488), quant(), quant("Q8_0", 8_540_771_936))
    made = entry("it", *quants)
    assert choose_quant(made, machine(32, gpu(24))).quant == "Q8_0"
    assert choose_quant(made, machine(16)).quant == "Q4_K_M"
    assert choose_quant(made, machine(4.5)).quant == "Q2_K"
    assert choose_quant(made, machine(1)).quant == "Q2_K"
    assert choose_quant(replace(made, use_cases=(), quality={}), machine(16)).quant == "Q4_K_M"


def test_large_models_and_experts_lose_less_by_quantization():
    assert quality_loss("Q4_K_M", 70 * 10**9) < quality_loss("Q4_K_M", 8 * 10**9)
    assert quality_loss("Q4_K_M", 10**6) == quality_loss("Q4_K_M", 10**5)
    mixtral = entry(architecture=MIXTRAL, params=46_703_000_000, params_active=12_900_000_000)
    found = consider(mixtral, quant(size=26_441_533_376), machine(64), Wish())
    assert isinstance(found, Recommendation)
    assert found.parts["quant_loss"] == pytest.approx(quality_loss("Q4_K_M", 24_545_000_000), 0.01)


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("UD-Q4_K_XL", "Q4_K_M"), ("Q6_K_L", "Q6_K"), ("i1-IQ3_M", "IQ3_M"),
        ("Q3_K_XL", "Q3_K_L"), ("Q2_K_L", "Q2_K"), ("q8_0", "Q8_0"),
    ],
)  # fmt: skip
def test_uploaders_own_names_count_as_what_they_are_like(name: str, like: str):
    assert quality_loss(name, 10**9) == quality_loss(like, 10**9)


def test_losses_rank_as_measured():
    order = ["BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "Q2_K", "IQ1_S"]
    losses = [quality_loss(name, 8 * 10**9) for name in order]
    assert losses == sorted(losses)
    assert losses[0] == 0
    assert quality_loss("Q9_Z", 8 * 10**9) > 0


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("Q4_K_M", "Q4_K"), ("Q8_0", "Q8_0"), ("IQ4_XS", "IQ4_XS"), ("MXFP4_MOE", "MXFP4"),
        ("IQ3_M", "IQ3_S"), ("UD-Q2_K_XL", "Q2_K"), ("Q5_K_S", "Q5_K"), ("strange", "Q4_K"),
    ],
)  # fmt: skip
def test_the_main_type_of_a_file_follows_from_its_name(name: str, base: str):
    assert base_type(name) == base


# Machines of all sizes, and what a sensible person would not be surprised to see there.
GOLDEN = [
    ("Raspberry Pi 5 8GB", machine(7, cores=4, bandwidth=13 * GB, isa=("neon", "dotprod")), 1, 10),
    ("old laptop", machine(7, cores=4, bandwidth=25 * GB), 1, 10),
    ("laptop", machine(14, cores=8, bandwidth=60 * GB), 3, 40),
    ("12 GB card", machine(28, gpu(12, bandwidth=360 * GB)), 8, 40),
    ("24 GB card", machine(56, gpu(24, bandwidth=1008 * GB)), 20, 50),
    ("M2 Max", machine(56, gpu(48, "metal", bandwidth=400 * GB, unified=True),
                       isa=("neon", "dotprod", "i8mm")), 20, 80),
    ("8x H100", machine(1000, *[gpu(80, bandwidth=3350 * GB)] * 8, cores=64), 20, 700),
]  # fmt: skip


@pytest.mark.parametrize(("name", "hardware", "low", "high"), GOLDEN, ids=[g[0] for g in GOLDEN])
def test_the_shipped_catalog_gives_sensible_advice(
    name: str, hardware: Hardware, low: float, high: float, shipped: Any
):
    ranking = recommend(shipped, hardware, Wish())
    best = ranking.recommendations[0]
    assert low * 10**9 <= best.entry.params <= high * 10**9
    assert best.decode.mid >= 4
    assert not best.entry.bundled
    assert [r.score for r in ranking.recommendations] == sorted(
        (r.score for r in ranking.recommendations), reverse=True
    )
    assert recommend(shipped, hardware, Wish()) == ranking


def test_every_pair_of_the_shipped_catalog_can_be_considered(shipped):
    hardware = machine(2000, gpu(1000))
    for made in shipped:
        for each in made.quants:
            found = consider(made, each, hardware, Wish(made.use_cases[0]))
            assert not isinstance(found, Rejection), found
