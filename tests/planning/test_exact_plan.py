"""Plans with llama.cpp's own figures in them."""

from dataclasses import replace
from typing import Any

from fakes.facts import LLAMA_8B, entry, gpu, machine, quant

from mlm.planning.memory import plan_memory
from mlm.planning.shape import shape_from_catalog
from mlm.planning.types import ContextBuffers, ModelShape, RuntimeConfig
from mlm.units import GIB, MIB


def config(n_gpu_layers: int = 0, **fields: Any) -> RuntimeConfig:
    usual = {"n_ctx": 8192, "n_parallel": 1, "n_batch": 2048, "n_ubatch": 512}
    threads = {"n_threads": 8, "n_threads_batch": 8}
    return RuntimeConfig(**{**usual, **threads, "n_gpu_layers": n_gpu_layers, **fields})


def llama_8b() -> ModelShape:
    return shape_from_catalog(entry(), quant())


TOLD = ContextBuffers(kv_cache=3 * GIB, compute={"CPU": 300 * MIB}, output=2 * MIB)


def test_its_figures_take_the_place_of_ours_and_make_the_plan_exact():
    shape = replace(llama_8b(), notes=("this is rough",))
    ours = plan_memory(shape, config(), machine(16))
    plan = plan_memory(shape, config(), machine(16), TOLD)
    (cpu,) = plan.devices
    assert (plan.grade, ours.grade) == ("exact", "estimated")
    assert (cpu.kv_cache, cpu.compute, cpu.output) == (3 * GIB, 300 * MIB, 2 * MIB)
    assert (cpu.weights, cpu.repack) == (ours.devices[0].weights, ours.devices[0].repack)
    assert "this is rough" in ours.reasons
    assert "this is rough" not in plan.reasons


def test_the_verdict_follows_its_figures():
    huge = replace(TOLD, kv_cache=30 * GIB)
    assert plan_memory(llama_8b(), config(), machine(16), huge).verdict == "does_not_fit"


def test_each_card_gets_its_own_buffer_and_its_share_of_the_cache():
    told = replace(
        TOLD, compute={"CUDA0": 400 * MIB, "CUDA1": 350 * MIB, "CUDA_Host": 20 * MIB, "CPU": 0}
    )
    box = machine(16, gpu(24), gpu(8))
    ours = plan_memory(llama_8b(), config(33), box)
    plan = plan_memory(llama_8b(), config(33), box, told)
    cpu, large, small = plan.devices
    assert plan.grade == "exact"
    assert [d.compute for d in plan.devices] == [20 * MIB, 400 * MIB, 350 * MIB]
    assert cpu.output == 2 * MIB
    assert large.output == small.output == 0
    assert cpu.kv_cache == 0
    assert large.kv_cache + small.kv_cache == 3 * GIB
    assert large.kv_cache / small.kv_cache == ours.devices[1].kv_cache / ours.devices[2].kv_cache


def test_of_a_card_that_is_not_here_it_knows_the_cache_but_not_the_buffers():
    box = machine(16, gpu(24))
    ours = plan_memory(llama_8b(), config(33), box)
    plan = plan_memory(llama_8b(), config(33), box, TOLD)
    assert plan.grade == "estimated"
    assert plan.devices[1].kv_cache == 3 * GIB
    assert plan.devices[0].output == 2 * MIB
    assert [d.compute for d in plan.devices] == [d.compute for d in ours.devices]
    assert "not asked about cuda0" in plan.reasons[-1]


def test_where_a_load_takes_more_than_a_dry_run_tells_the_plan_is_not_exact():
    shape = replace(llama_8b(), architecture="kimi-linear")
    one = plan_memory(shape, config(), machine(16), TOLD)
    several = plan_memory(shape, config(n_parallel=4), machine(16), TOLD)
    assert (one.grade, several.grade) == ("exact", "estimated")
    assert "takes more than it tells" in several.reasons[-1]


def test_what_the_cpu_needs_is_not_left_for_a_card_in_the_same_memory():
    apple = machine(16, gpu(12, "metal", unified=True), isa=("neon", "dotprod"))
    told = replace(TOLD, compute={"Metal": 400 * MIB, "CPU": 3 * GIB})
    plan = plan_memory(llama_8b(), config(33), apple, told)
    cpu, metal = plan.devices
    assert plan.grade == "exact"
    assert metal.available == min(12 * GIB, 16 * GIB - cpu.total)


def test_a_cache_that_we_did_not_foresee_is_on_the_last_device():
    facts = replace(LLAMA_8B, name="nomic-bert")  # an encoder has none
    shape = shape_from_catalog(entry(architecture=facts), quant())
    assert plan_memory(shape, config(), machine(16)).devices[0].kv_cache == 0
    assert plan_memory(shape, config(), machine(16), TOLD).devices[0].kv_cache == 3 * GIB
