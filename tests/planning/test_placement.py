"""Which device holds what: layers by llama.cpp's rule, experts where they were asked to stay."""

from dataclasses import replace
from typing import Any

import pytest
from fakes.facts import MIXTRAL, entry, gpu, machine, quant

from mlm.hardware.types import Hardware
from mlm.planning.memory import plan_memory
from mlm.planning.placement import (
    device_at,
    devices_of,
    kind_of,
    place_layers,
    placement_of,
    split_model,
)
from mlm.planning.shape import shape_from_catalog
from mlm.planning.types import ModelShape, RuntimeConfig
from mlm.units import GIB


def config(**fields: Any) -> RuntimeConfig:
    usual = {"n_ctx": 8192, "n_parallel": 1, "n_batch": 2048, "n_ubatch": 512, "n_gpu_layers": 33}
    return RuntimeConfig(**{**usual, "n_threads": 8, "n_threads_batch": 8, **fields})


def mixtral() -> ModelShape:
    made = entry("mixtral", quant("Q4_K_M", 26_441_533_376), architecture=MIXTRAL,
                 params=46_703_000_000, params_active=12_900_000_000)  # fmt: skip
    return shape_from_catalog(made, made.quants[0])


def held(shape: ModelShape, machine: Hardware, **fields: Any) -> list[int]:
    """Return the bytes of weights on each device."""
    return [
        sum(count * sum(w.n_bytes for w in weights) for weights, count in part.weights())
        for part in split_model(shape, config(**fields), machine)
    ]


def test_a_card_of_unknown_size_is_not_planned_with():
    assert [d.name for d in devices_of(machine(16, gpu(None)))] == ["cpu"]
    known_total = replace(gpu(8), memory_free=None)
    assert devices_of(machine(16, known_total))[1].available == 8 * GIB


def test_an_integrated_gpu_is_left_alone_beside_a_real_one():
    both = machine(16, gpu(12, "vulkan", unified=True), gpu(8, "cuda"))
    assert [device.name for device in devices_of(both)] == ["cpu", "cuda1"]
    alone = machine(16, gpu(12, "vulkan", unified=True))
    assert [device.name for device in devices_of(alone)] == ["cpu", "vulkan0"]


@pytest.mark.parametrize(
    ("place", "device"),
    [
        ("CPU", "cpu"), ("CPU_Mapped", "cpu"), ("CPU_REPACK", "cpu"), ("AMX", "cpu"),
        ("BLAS", "cpu"), ("CUDA0", "cuda0"), ("CUDA12", "cuda12"), ("CUDA_Host", "cpu"),
        ("ROCm1", "rocm1"), ("ROCm_Host", "cpu"), ("Vulkan0", "vulkan0"), ("SYCL0", "sycl0"),
        ("MTL0", "metal0"), ("MTL0_Mapped", "metal0"), ("Metal", "metal0"), ("cuda1", "cuda1"),
    ],
)  # fmt: skip
def test_places_are_known_by_the_names_that_llama_cpp_gives_them(place: str, device: str):
    assert device_at(place) == device
    assert kind_of(device) == device.rstrip("0123456789")


def test_a_device_that_nobody_knows_is_the_cpu():
    assert kind_of("tpu0") == "cpu"


@pytest.mark.parametrize(
    ("fields", "placement"),
    [
        ({"n_gpu_layers": 0}, "cpu"),
        ({"n_gpu_layers": 9}, "mixed"),
        ({"n_gpu_layers": 33}, "cuda"),
        ({"n_gpu_layers": 33, "n_cpu_moe": 1}, "mixed"),
        ({"n_gpu_layers": 0, "n_cpu_moe": 9}, "cpu"),
    ],
)
def test_layers_are_on_one_kind_of_device_or_on_several(fields: dict[str, int], placement: str):
    box = machine(64, gpu(48), gpu(48))
    assert placement_of(split_model(mixtral(), config(**fields), box)) == placement


def test_the_first_layers_stay_on_the_cpu():
    devices = devices_of(machine(16, gpu(10), gpu(10)))
    assert place_layers(9, 4, devices) == [range(6), range(6, 8), range(8, 10)]
    assert place_layers(9, 99, devices) == [range(0), range(5), range(5, 10)]
    assert place_layers(9, 0, devices) == [range(10), range(0), range(0)]
    assert place_layers(9, 4, devices[:1]) == [range(10)]


def test_experts_of_the_first_layers_stay_in_main_memory():
    shape, box = mixtral(), machine(64, gpu(48))
    all_there, none_here = held(shape, box), held(shape, box, n_cpu_moe=32)
    part = held(shape, box, n_cpu_moe=8)
    experts = sum(w.n_bytes for b in shape.blocks for w in b.weights if w.role == "experts")
    assert all_there[0] == 0
    assert none_here == [experts, all_there[1] - experts]
    assert part == [experts // 4, all_there[1] - experts // 4]
    assert held(shape, box, n_cpu_moe=99) == none_here
    cpu, card = plan_memory(shape, config(n_cpu_moe=32), box).devices
    assert cpu.kv_cache == 0  # attention of those layers stays on the card
    assert card.kv_cache == GIB
    assert cpu.repack == 0  # pinned or mapped memory, as llama.cpp has it beside such a card


def test_experts_are_where_their_layer_is_without_a_card():
    shape = mixtral()
    assert held(shape, machine(64), n_cpu_moe=8) == held(shape, machine(64))
    layers_on_cpu = {"n_gpu_layers": 20, "n_cpu_moe": 8}  # the first 13 are there anyway
    box = machine(64, gpu(48))
    assert held(shape, box, **layers_on_cpu) == held(shape, box, n_gpu_layers=20)


def test_only_a_card_without_pinned_memory_leaves_repacking_to_the_cpu():
    shape = mixtral()
    apple = machine(64, gpu(48, "metal", unified=True), isa=("neon", "dotprod"))
    cpu = plan_memory(shape, config(n_gpu_layers=1), apple).devices[0]
    assert cpu.repack > 20 * GIB
    box = machine(64, gpu(24))
    assert plan_memory(shape, config(n_gpu_layers=1), box).devices[0].repack == 0
    assert plan_memory(shape, config(n_gpu_layers=0), box).devices[0].repack > 20 * GIB


def test_a_model_without_experts_has_none_to_keep():
    shape = shape_from_catalog(entry(), quant())
    box = machine(16, gpu(24))
    assert held(shape, box, n_cpu_moe=32) == held(shape, box)


@pytest.mark.parametrize("n_gpu_layers", [0, 1, 16, 33])
@pytest.mark.parametrize("n_cpu_moe", [0, 5, 32])
def test_every_weight_is_somewhere_once(n_gpu_layers: int, n_cpu_moe: int):
    shape, box = mixtral(), machine(64, gpu(24), gpu(8), gpu(16))
    whole = sum(w.n_bytes for block in shape.blocks for w in block.weights)
    whole += sum(w.n_bytes for w in shape.output)
    assert sum(held(shape, box, n_gpu_layers=n_gpu_layers, n_cpu_moe=n_cpu_moe)) == whole


@pytest.mark.parametrize(
    ("n_layer", "n_gpu_layers", "free", "expected"),
    [
        # llama.cpp 0.3.36, by hand: layer i of n goes to the first card with sum(free[:k]) > i / n
        (32, 33, (24, 8), [0, 25, 8]),  # 24/32 * 33 = 24.75
        (32, 33, (8, 24), [0, 9, 24]),  # 8/32 * 33 = 8.25
        (32, 33, (10, 10, 10), [0, 11, 11, 11]),
        (32, 20, (24, 8), [13, 15, 5]),  # of the last 20: 15.0
        (32, 20, (16, 12, 4), [13, 10, 8, 2]),  # 10.0, 17.5
        (80, 81, (80, 80, 24, 24), [0, 32, 31, 9, 9]),  # 31.2, 62.3, 71.7
        (32, 1, (24, 8), [32, 1, 0]),  # the output alone
        (32, 33, (24, 0), [0, 33, 0]),  # a full card gets nothing
        (32, 33, (0, 24), [0, 0, 33]),
    ],
)
def test_unequal_cards_share_the_layers_by_llama_cpps_rule(
    n_layer: int, n_gpu_layers: int, free: tuple[float, ...], expected: list[int]
):
    devices = devices_of(machine(16, *(gpu(size) for size in free)))
    placed = place_layers(n_layer, n_gpu_layers, devices)
    counts = [len(layers) for layers in placed]
    assert counts == expected
    assert sorted(layer for layers in placed for layer in layers) == list(range(n_layer + 1))


def test_cards_without_free_memory_cannot_be_divided_by():
    devices = devices_of(machine(16, gpu(0), gpu(0)))
    assert [len(layers) for layers in place_layers(32, 33, devices)] == [0, 33, 0]


def test_the_output_is_multiplied_on_the_last_card_and_its_result_is_in_main_memory():
    shape, box = mixtral(), machine(64, gpu(24), gpu(24))
    parts = split_model(shape, config(), box)
    assert [bool(part.output) for part in parts] == [False, False, True]
    cpu, first, last = plan_memory(shape, config(), box).devices
    assert cpu.output > 0 == first.output == last.output
    assert first.kv_cache + last.kv_cache == GIB


def test_cards_that_work_one_after_the_other_hold_inputs_of_several_batches():
    shape = mixtral()
    alone = plan_memory(shape, config(), machine(64, gpu(48))).devices[1].compute
    pair = machine(64, gpu(24), gpu(24))
    _, first, last = plan_memory(shape, config(), pair).devices
    inputs = 512 * (4096 * 4 + 32) + 512 * 8192 * 2  # hidden state, and mask of 8192 cells
    assert first.compute == last.compute == alone + 3 * inputs
    unpiped = plan_memory(shape, config(n_cpu_moe=1), pair).devices[2].compute
    assert unpiped == alone


def test_a_card_holds_the_weight_of_main_memory_that_it_multiplies_with():
    shape, box = mixtral(), machine(64, gpu(48))
    alone = plan_memory(shape, config(), box).devices[1].compute
    experts = max(w.n_bytes for block in shape.blocks for w in block.weights)
    assert plan_memory(shape, config(n_cpu_moe=1), box).devices[1].compute == alone + experts
    few = plan_memory(shape, config(n_cpu_moe=1, n_ubatch=16), box).devices[1].compute
    assert few == plan_memory(shape, config(n_ubatch=16), box).devices[1].compute
