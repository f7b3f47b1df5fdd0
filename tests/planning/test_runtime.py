"""The config that is chosen fits, obeys what was asked, and explains itself."""

from dataclasses import fields, replace
from typing import Any

import pytest
from fakes.facts import LLAMA_8B, NOMIC, entry, gpu, machine, quant

from mlm.errors import UsageError
from mlm.hardware.types import Hardware
from mlm.planning.memory import plan_memory
from mlm.planning.overrides import Overrides
from mlm.planning.runtime import plan_runtime
from mlm.planning.shape import shape_from_catalog
from mlm.planning.speed import predict_speed
from mlm.planning.types import ModelShape, RuntimeConfig
from mlm.units import MIB


def llama_8b(**facts: Any) -> ModelShape:
    return shape_from_catalog(entry(architecture=replace(LLAMA_8B, **facts)), quant())


def chosen(hardware: Hardware, shape: ModelShape | None = None, **asked: Any) -> RuntimeConfig:
    return plan_runtime(shape or llama_8b(), hardware, Overrides(**asked))


def test_four_slots_of_a_long_chat_are_usual():
    config = chosen(machine(16))
    assert (config.n_parallel, config.n_ctx_slot, config.n_ctx) == (4, 8192, 32_768)
    assert (config.n_batch, config.n_ubatch) == (2048, 512)
    assert (config.n_threads, config.n_threads_batch) == (8, 8)
    assert (config.n_gpu_layers, config.use_mmap, config.type_k) == (0, True, "f16")
    assert config.n_outputs_max == 4


def test_every_field_has_a_reason():
    names = {field.name for field in fields(RuntimeConfig)} - {"reasons"}
    assert set(chosen(machine(16)).reasons) == names
    assert set(chosen(machine(16, gpu(24))).reasons) == names


@pytest.mark.parametrize(
    ("memory", "slots", "ctx", "mmap", "cache"),
    [
        (64, 4, 32_768, True, "f16"),
        (32, 4, 16_384, True, "f16"),
        (12, 4, 8192, False, "f16"),
        (8, 4, 4096, False, "f16"),
        (6.6, 2, 4096, False, "f16"),
        (6, 1, 4096, False, "f16"),
        (5.45, 1, 4096, False, "q8_0"),
        (5.3, 1, 1024, False, "f16"),
        (2, 1, 512, False, "f16"),
    ],
)
def test_less_memory_means_less_of_everything(
    memory: float, slots: int, ctx: int, mmap: bool, cache: str
):
    config = chosen(machine(memory))
    assert (config.n_parallel, config.n_ctx_slot) == (slots, ctx)
    assert (config.use_mmap, config.type_k, config.type_v) == (mmap, cache, cache)
    plan = plan_memory(llama_8b(), config, machine(memory))
    assert (plan.verdict == "fits") is (memory > 2)


def test_what_was_trained_short_stays_short():
    config = chosen(machine(64), llama_8b(n_ctx_train=2048))
    assert config.n_ctx_slot == 2048
    assert chosen(machine(64), llama_8b(n_ctx_train=5000)).n_ctx_slot == 5000


def test_everything_that_was_asked_for_is_done():
    asked = {
        "n_ctx_slot": 3000, "n_parallel": 3, "n_threads": 5, "n_batch": 1024, "n_ubatch": 128,
        "type_k": "q8_0", "type_v": "q4_0", "n_gpu_layers": 7, "flash_attn": "on",
        "response_cache": "off",
    }  # fmt: skip
    config = chosen(machine(16, gpu(24)), **asked)
    for name, value in asked.items():
        assert getattr(config, name) == value
    assert config.n_ctx == 9000
    assert config.n_threads_batch == 5
    assert config.reasons["n_batch"] == config.reasons["type_k"] == "as you asked"


def test_a_long_context_that_was_asked_for_is_given_even_if_it_costs_much():
    assert chosen(machine(16), n_ctx_slot=16_384, n_parallel=2).n_ctx_slot == 16_384
    assert chosen(machine(2), n_ctx_slot=16_384).n_ctx_slot == 16_384


def test_a_batch_makes_room_for_its_parts():
    assert chosen(machine(16), n_ubatch=4096).n_batch == 4096
    assert chosen(machine(16), n_batch=64).n_ubatch == 64


@pytest.mark.parametrize(
    ("vram", "layers", "slots", "ctx"),
    [
        (48, 33, 4, 16_384),
        (12, 33, 4, 8192),
        (6.6, 33, 2, 4096),
        (6, 33, 1, 4096),
        (4, 12, 4, 8192),
    ],
)
def test_a_gpu_gets_the_whole_model_if_any_useful_context_allows_it(
    vram: float, layers: int, slots: int, ctx: int
):
    hardware = machine(32, gpu(vram))
    config = chosen(hardware)
    assert config.n_gpu_layers == pytest.approx(layers, abs=2)
    assert (config.n_parallel, config.n_ctx_slot) == (slots, ctx)
    assert plan_memory(llama_8b(), config, hardware).verdict == "fits"
    assert "fit on Test GPU" in config.reasons["n_gpu_layers"]


def test_as_many_layers_as_fit_and_no_more():
    hardware = machine(32, gpu(4))
    config = chosen(hardware)
    more = replace(config, n_gpu_layers=config.n_gpu_layers + 1)
    assert plan_memory(llama_8b(), more, hardware).devices[1].is_tight


def test_a_gpu_too_small_for_anything_is_left_alone():
    assert chosen(machine(32, gpu(0.3))).n_gpu_layers == 0


def test_all_layers_means_the_output_too():
    assert chosen(machine(16, gpu(24)), n_gpu_layers="all").n_gpu_layers == 33
    assert chosen(machine(16, gpu(24)), n_gpu_layers=99).n_gpu_layers == 33


def test_earlier_requests_get_as_much_memory_as_the_cache_or_half_of_what_is_left():
    shape = llama_8b()
    roomy = machine(64)
    config = plan_runtime(shape, roomy, Overrides())
    plan = plan_memory(shape, config, roomy)
    assert 0 <= plan.devices[0].kv_cache - config.prefix_cache < 64 * MIB
    assert any("earlier requests" in reason for reason in plan.reasons)

    narrow = machine(8)
    config = plan_runtime(shape, narrow, Overrides())
    (cpu,) = plan_memory(shape, config, narrow).devices
    assert 0 <= config.prefix_cache <= cpu.headroom / 2 < cpu.kv_cache

    too_much = plan_memory(shape, replace(config, prefix_cache=2**40), narrow)
    assert any("which is more than" in reason for reason in too_much.reasons)


def test_an_encoder_takes_its_longest_input_at_once():
    made = entry("nomic", quant("F16", 274_290_560), architecture=NOMIC, params=137_000_000)
    shape = shape_from_catalog(made, made.quants[0])
    config = chosen(machine(8), shape)
    assert config.embedding
    assert config.n_batch == config.n_ubatch == config.n_ctx_slot == 2048
    assert "encoder" in config.reasons["type_k"]
    assert chosen(machine(8), shape, n_ctx_slot=512).n_batch == 512
    with pytest.raises(UsageError, match="at most 2048 tokens"):
        chosen(machine(8), shape, n_ctx_slot=4096)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"n_batch": 64, "n_ubatch": 128}, "more than --batch"),
        ({"flash_attn": "off", "type_v": "q8_0"}, "needs flash attention"),
        ({"n_parallel": 257}, "at most 256"),
        ({"n_threads": 513}, "at most 512"),
    ],
)
def test_what_cannot_be_is_refused(asked: dict[str, Any], why: str):
    with pytest.raises(UsageError, match=why) as caught:
        chosen(machine(16), **asked)
    assert caught.value.remedy


def test_without_flash_attention_the_cache_stays_f16():
    assert chosen(machine(5.45), flash_attn="off").type_v == "f16"


def test_mapping_is_given_up_only_where_weights_are_repacked():
    plain = chosen(machine(6, isa=()))
    assert plain.use_mmap
    assert plain.reasons["use_mmap"].startswith("the file is shared")
    assert "held only once" in chosen(machine(6)).reasons["use_mmap"]


QWEN3_30B_A3B = replace(
    LLAMA_8B, name="qwen3moe", n_layer=48, n_embd=2048, n_head=32, n_head_kv=4, head_dim=128,
    n_ff=768, n_vocab=151_936, n_ctx_train=262_144, n_expert=128, n_expert_used=8,
)  # fmt: skip


def mixture() -> ModelShape:
    made = entry("qwen3-30b-a3b", quant("Q4_K_M", 18_556_686_912), architecture=QWEN3_30B_A3B,
                 params=30_532_000_000, params_active=3_345_000_000)  # fmt: skip
    return shape_from_catalog(made, made.quants[0])


@pytest.mark.parametrize("vram", [6, 8, 12, 16])
def test_experts_stay_in_main_memory_where_a_mixture_is_too_large_for_the_gpu(vram: int):
    box = machine(64, gpu(vram))
    config = chosen(box, mixture())
    assert config.n_gpu_layers == 49
    assert 0 < config.n_cpu_moe < 48
    assert plan_memory(mixture(), config, box).verdict == "fits"
    fewer = replace(config, n_cpu_moe=config.n_cpu_moe - 1)
    assert plan_memory(mixture(), fewer, box).devices[1].is_tight
    assert "experts do not fit" in config.reasons["n_cpu_moe"]
    layers = replace(config, n_cpu_moe=0, n_gpu_layers=0)
    while not plan_memory(mixture(), layers, box).devices[-1].is_tight:
        best, layers = layers, replace(layers, n_gpu_layers=layers.n_gpu_layers + 1)
    assert predict_speed(mixture(), config, box)[0].mid > predict_speed(mixture(), best, box)[0].mid


def test_experts_go_to_a_gpu_that_has_room_for_them():
    assert chosen(machine(64, gpu(48)), mixture()).n_cpu_moe == 0
    assert chosen(machine(64), mixture()).n_cpu_moe == 0


def test_all_layers_of_a_mixture_that_were_asked_for_are_given_but_for_experts():
    config = chosen(machine(64, gpu(16)), mixture(), n_gpu_layers="all")
    assert (config.n_gpu_layers, config.n_cpu_moe > 0) == (49, True)
    assert config.reasons["n_gpu_layers"] == "as you asked"
    assert chosen(machine(64, gpu(16)), mixture(), n_gpu_layers=10).n_cpu_moe == 0


def test_a_gpu_that_cannot_even_hold_attention_gets_some_layers_instead():
    config = chosen(machine(64, gpu(4)), mixture())
    assert config.n_cpu_moe == 0
    assert 0 < config.n_gpu_layers < 49


def test_a_model_that_is_wholly_on_a_gpu_needs_few_threads():
    config = chosen(machine(16, gpu(24)))
    assert (config.n_threads, config.n_threads_batch) == (4, 4)
    assert "GPU does the work" in config.reasons["n_threads"]
    assert chosen(machine(32, gpu(4))).n_threads == 8  # some layers are left to the CPU
    assert chosen(machine(16, gpu(24)), n_threads=7).n_threads == 7
    assert chosen(machine(64, cores=2000)).n_threads == 512  # more, and llama.cpp aborts


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ({"efficiency_cores": 4}, "without 4 slow ones that the others would wait for"),
        ({"efficiency_cores": 0, "threads_per_core": 2}, "second threads on them"),
        ({"efficiency_cores": 0, "threads_per_core": 1}, "the 8 cores that may be used"),
    ],
)
def test_the_reason_for_the_threads_names_cores_that_are_left_out(kind: dict[str, int], why: str):
    box = machine(16)
    box = replace(box, cpu=replace(box.cpu, **kind))
    assert why in chosen(box).reasons["n_threads"]


def test_the_last_thing_to_shrink_is_the_compute_buffer():
    config = chosen(machine(5.1))
    assert config.n_ubatch == 128
    assert "memory allows no more" in config.reasons["n_ubatch"]
    assert plan_memory(llama_8b(), config, machine(5.1)).verdict == "fits"
