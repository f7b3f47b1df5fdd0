"""Predicted speeds are near published ones, and move the right way."""

from dataclasses import replace
from typing import Any

import pytest
from fakes.facts import GB, LLAMA_8B, MIXTRAL, NOMIC, entry, gpu, machine, quant
from fakes.observations import observation

from mlm.hardware.types import Hardware
from mlm.planning.calibration import calibrate
from mlm.planning.shape import shape_from_catalog
from mlm.planning.speed import TYPICAL_TOKENS, predict_speed
from mlm.planning.types import ModelShape, RuntimeConfig, SpeedInterval

LLAMA_2_7B = replace(LLAMA_8B, n_head_kv=32, n_ff=11_008, n_vocab=32_000, n_ctx_train=4096)


def shape(**fields: Any) -> ModelShape:
    made = entry(**fields)
    return shape_from_catalog(made, made.quants[0])


def speeds(
    hardware: Hardware, model: ModelShape, n_past: int = TYPICAL_TOKENS, **fields: Any
) -> tuple[SpeedInterval, SpeedInterval]:
    usual = {"n_ctx": 4096, "n_parallel": 1, "n_batch": 2048, "n_ubatch": 512, "n_gpu_layers": 99}
    threads = hardware.cpu.usable_cores
    config = RuntimeConfig(**{**usual, "n_threads": threads, "n_threads_batch": threads, **fields})
    return predict_speed(model, config, hardware, n_past=n_past)


def llama_2(name: str, size: int) -> ModelShape:
    made = entry("llama-2-7b", quant(name, size), architecture=LLAMA_2_7B, params=6_740_000_000)
    return shape_from_catalog(made, made.quants[0])


# llama-bench, Llama-2-7B, tg128 and pp512: llama.cpp discussions 4167 (Apple) and 15013 (CUDA).
@pytest.mark.parametrize(
    ("card", "quant_name", "size", "decode", "prefill"),
    [
        (gpu(64, "metal", bandwidth=400 * GB, unified=True), "Q4_0", 3_825_807_040, 61, 530),
        (gpu(64, "metal", bandwidth=400 * GB, unified=True), "Q8_0", 7_161_089_728, 41, 540),
        (gpu(12, "metal", bandwidth=100 * GB, unified=True), "Q4_0", 3_825_807_040, 22, 180),
        (replace(gpu(24, bandwidth=1008 * GB), compute_capability="8.9"), "Q4_0", 3_825_807_040,
         187, 12_000),
        (gpu(24, bandwidth=936 * GB), "Q4_0", 3_825_807_040, 158, 5200),
        (gpu(12, bandwidth=360 * GB), "Q4_0", 3_825_807_040, 76, 2100),
    ],
)  # fmt: skip
def test_published_results_lie_inside_the_interval(
    card: Any, quant_name: str, size: int, decode: float, prefill: float
):
    found, found_prefill = speeds(machine(96, card), llama_2(quant_name, size), n_past=64)
    assert found.low < decode < found.high
    assert found_prefill.low < prefill < found_prefill.high * 1.3


def test_cpus_are_bound_by_bandwidth_or_by_cores():
    model = shape()
    slow = speeds(machine(32, cores=8, bandwidth=19 * GB), model)[0]
    fast = speeds(machine(32, cores=8, bandwidth=90 * GB), model)[0]
    few = speeds(machine(32, cores=1, bandwidth=90 * GB), model)[0]
    assert few.mid < slow.mid < fast.mid
    bare = speeds(machine(32, cores=8, bandwidth=90 * GB, isa=()), model)
    assert bare[0].mid < fast.mid
    assert bare[1].mid < speeds(machine(32, cores=8), model)[1].mid


def test_experts_that_are_not_used_cost_nothing():
    size = 26_441_533_376
    dense = shape(architecture=replace(LLAMA_8B), params=46_703_000_000, quants=(quant(size=size),))
    sparse = shape(architecture=MIXTRAL, params=46_703_000_000, params_active=12_900_000_000,
                   quants=(quant(size=size),))  # fmt: skip
    hardware = machine(64, gpu(48))
    assert speeds(hardware, sparse)[0].mid > 2.5 * speeds(hardware, dense)[0].mid
    assert speeds(hardware, sparse)[1].mid > 1.3 * speeds(hardware, dense)[1].mid


def test_layers_left_on_the_cpu_slow_everything_down():
    hardware = machine(32, gpu(24))
    whole, _ = speeds(hardware, shape())
    half, _ = speeds(hardware, shape(), n_gpu_layers=16)
    none, _ = speeds(hardware, shape(), n_gpu_layers=0)
    assert none.mid < half.mid < whole.mid / 3


def test_an_assumed_bandwidth_makes_the_interval_wider():
    known, _ = speeds(machine(32, gpu(24)), shape())
    assumed, _ = speeds(machine(32, gpu(24, bandwidth=None)), shape())
    assert assumed.high / assumed.low > known.high / known.low


def test_an_encoder_has_one_speed():
    model = shape(architecture=NOMIC, params=137_000_000, quants=(quant("F16", 274_290_560),))
    decode, prefill = speeds(machine(8), model)
    assert decode == prefill


def config(**fields: Any) -> RuntimeConfig:
    usual = {"n_ctx": 8192, "n_parallel": 1, "n_batch": 512, "n_ubatch": 512, "n_gpu_layers": 0}
    return RuntimeConfig(**{**usual, "n_threads": 8, "n_threads_batch": 8, **fields})


def test_a_longer_past_slows_decoding_down_until_the_slot_is_full():
    pasts = [0, 2048, 8192, 100_000]
    decode = [predict_speed(shape(), config(), machine(32), n_past=n)[0].mid for n in pasts]
    assert decode[0] > decode[1] > decode[2] == decode[3]


def test_runs_on_this_machine_correct_the_figure_and_narrow_the_interval():
    before, prefill = predict_speed(shape(), config(), machine(32))
    run = observation(model="llama-8b:Q4_K_M", predicted=before.mid, actual=0.8 * before.mid)
    known = calibrate([run])
    same, _ = predict_speed(
        shape(), config(), machine(32), calibration=known, model="llama-8b:Q4_K_M"
    )
    other, same_prefill = predict_speed(shape(), config(), machine(32), calibration=known)
    assert same.mid == pytest.approx(0.8 * before.mid, rel=0.03)
    assert same.mid < other.mid < before.mid
    widths = [speed.high / speed.low for speed in (same, other, before)]
    assert widths == sorted(widths)
    assert same_prefill == prefill


def test_runs_on_the_cpu_say_nothing_of_a_gpu_or_of_a_mixture():
    run = observation(predicted=10.0, actual=5.0)
    for n_gpu_layers in (16, 33):
        arguments = shape(), config(n_gpu_layers=n_gpu_layers), machine(32, gpu(24))
        assert predict_speed(*arguments, calibration=calibrate([run])) == predict_speed(*arguments)


def test_a_model_without_anything_to_compute_has_a_speed_all_the_same():
    empty = replace(shape(), blocks=(), output=(), params=0, params_active=0)
    for machine_of in (machine(32), machine(32, gpu(24))):
        decode, prefill = predict_speed(empty, config(n_gpu_layers=1), machine_of)
        assert 0 < decode.low < decode.high
        assert 0 < prefill.low < prefill.high
