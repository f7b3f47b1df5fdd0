"""From evidence to reasons: each rule speaks when it should, and only then."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import typer
from fakes.facts import entry, gpu, machine
from fakes.typed import parses

from mlm.errors import UsageError
from mlm.hardware.strain import Clock, GpuStrain, Strain
from mlm.hardware.types import Hardware
from mlm.planning.evidence import Engine, Evidence, Finding, Live, Measured
from mlm.planning.overrides import Overrides
from mlm.planning.runtime import plan_runtime
from mlm.planning.shape import shape_from_catalog
from mlm.planning.speed import predict_speed
from mlm.planning.why import explain
from mlm.units import GIB, MIB

ALL_FEATURES = Engine(("avx2", "avx512"), can_offload=True, has_unusable_amx=False)
PLAIN = machine(32)
SMALL_CARD = machine(32, gpu(6))


def evidence(
    hardware: Hardware = PLAIN, wishes: Mapping[str, Any] | None = None, **known: Any
) -> Evidence:
    """Return what is known of an 8B model; ``wishes`` are overrides of its config."""
    shape = shape_from_catalog(entry(), entry().quants[0])
    config = plan_runtime(shape, hardware, Overrides(**{"n_ctx_slot": 4096} | dict(wishes or {})))
    usual: dict[str, Any] = {"engine": ALL_FEATURES, "path": "/models/a b.gguf"}
    made = Evidence(
        "llama-8b:Q4_K_M", shape, config, hardware, predict_speed(shape, config, hardware)
    )
    return replace(made, **usual | known)


def names(of: Evidence, status: str = "slow") -> set[str]:
    return {finding.name for finding in explain(of) if finding.status == status}


def find(name: str, of: Evidence) -> Finding:
    (found,) = [finding for finding in explain(of) if finding.name == name]
    if found.fix and found.fix.startswith("mlm "):
        assert parses(found.fix)
    return found


def measured(tps: float, **changes: Any) -> Measured:
    return replace(Measured(tps, None, 3, 7200.0, 1000), **changes)


def test_a_quiet_machine_has_nothing_slow():
    assert names(evidence()) == set()


def test_as_fast_as_it_can_be_is_an_answer_and_comes_first():
    made = evidence()
    mid = made.predicted[0].mid
    first = explain(replace(made, measured=measured(mid, prefill_tps=99.0)))[0]
    assert (first.name, first.status, first.what) == ("speed", "ok", "As fast as this machine can")
    assert f"{mid:.3g} tokens/s measured (3 times, last 2 h ago)" in first.evidence
    assert "prompts 99" in first.evidence
    assert first.fix is None


@pytest.mark.parametrize(
    ("share", "status", "word"), [(0.3, "slow", "Slower"), (1.0, "ok", "As"), (3.0, "ok", "Faster")]
)
def test_the_verdict_compares_with_the_interval(share: float, status: str, word: str):
    made = evidence()
    first = explain(replace(made, measured=measured(share * made.predicted[0].mid)))[0]
    assert (first.status, first.what.split()[0]) == (status, word)


def test_without_a_measurement_the_way_to_one_is_named():
    assert find("speed", evidence()).fix == "mlm bench llama-8b:Q4_K_M"
    assert find("speed", evidence(path=None)).fix == "mlm download llama-8b:Q4_K_M"


def test_of_a_tiny_model_no_speed_is_expected():
    made = evidence(measured=measured(40.0))
    tiny = replace(made, shape=replace(made.shape, disk_bytes=2 * MIB))
    assert explain(tiny)[0].status == "ok"
    never = explain(replace(tiny, measured=None))[0]
    assert (never.status, never.fix) == ("ok", None)  # a bench would say nothing of the machine


def test_a_model_that_does_not_fit_the_gpu_is_told_how_it_would():
    found = find("layers_on_cpu", evidence(SMALL_CARD, {"n_gpu_layers": 20, "n_parallel": 1}))
    assert found.what == "13 of 33 layers are on the CPU"
    assert "of the 6.00 GiB free on Test GPU" in found.evidence
    assert found.fix == "mlm serve llama-8b:Q4_K_M --gpu-layers all"


def test_where_a_smaller_kv_cache_makes_it_fit_that_is_the_fix():
    tight = machine(32, gpu(5.35))
    found = find("layers_on_cpu", evidence(tight, {"n_gpu_layers": 20, "n_parallel": 1}))
    assert found.fix is not None
    assert "--type-k q8_0 --type-v q8_0" in found.fix or "--ctx 2048" in found.fix


def test_where_nothing_makes_it_fit_a_smaller_file_may():
    tiny = machine(32, gpu(2))
    smaller = "mlm download llama-8b:Q2_K"
    made = evidence(tiny, {"n_gpu_layers": 5}, smaller=smaller)
    assert find("layers_on_cpu", made).fix == smaller
    assert find("layers_on_cpu", replace(made, smaller=None)).fix is None


def test_an_engine_without_gpu_support_is_the_one_reason():
    blind = replace(ALL_FEATURES, can_offload=False)
    made = evidence(SMALL_CARD, {"n_gpu_layers": 0}, engine=blind)
    assert names(made) == {"engine_gpu"}
    assert find("engine_gpu", made).fix == "mlm engine install"


def test_an_engine_that_was_built_for_less_is_found():
    modern = machine(32, isa=("avx2", "avx512f", "avx512_vnni"))
    found = find("engine_cpu", evidence(modern))
    assert "avx512_vnni" in found.evidence
    assert "avx2" not in found.evidence
    assert names(evidence(modern, engine=None)) == set()
    assert "engine_amx" in names(evidence(engine=replace(ALL_FEATURES, has_unusable_amx=True)))


def test_a_quota_below_the_cores_is_found_with_how_often_it_bites():
    found = find("cpu_quota", evidence(strain=Strain(cpu_quota=1.5, quota_throttled=0.4)))
    assert found.evidence == (
        "the control group allows 1.5 of 8 cores, and cut 40 % of its periods short"
    )
    assert "cpu_quota" not in names(evidence(strain=Strain(cpu_quota=8.0, quota_throttled=0.4)))


def test_threads_that_wait_for_each_other_are_found():
    crowded = evidence(wishes={"n_threads": 16})
    assert "16 threads for 8 usable cores" in find("threads", crowded).evidence
    assert find("threads", crowded).fix == "mlm serve llama-8b:Q4_K_M --threads 8"
    assert find("threads", evidence(wishes={"n_threads": 2})).status == "note"


def test_a_process_that_is_tied_to_some_cores_is_told():
    tied = replace(PLAIN, cpu=replace(PLAIN.cpu, usable_cores=2))
    assert find("affinity", evidence(tied)).fix == "taskset -c 0-7 mlm serve llama-8b:Q4_K_M"
    under_quota = evidence(tied, strain=Strain(cpu_quota=1.5))
    assert "affinity" not in names(under_quota)


def test_other_programs_are_told_from_the_models_own_threads():
    live = Live("http://127.0.0.1:8000", 7, active=1, waiting=0)
    assert "busy" in names(evidence(strain=Strain(load=12.0)))
    assert "busy" not in names(evidence(strain=Strain(load=12.0), live=live))
    assert "busy" in names(evidence(strain=Strain(cpu_pressure=0.4)))
    assert "busy" not in names(evidence(strain=Strain(cpu_pressure=0.01, load=3.0)))


def test_swap_and_short_memory_are_found():
    swapping = evidence(strain=Strain(swapped=2 * GIB, memory_pressure=0.3))
    assert names(swapping) == {"swap", "memory_pressure"}
    assert "2.00 GiB of the worker" in find("swap", swapping).evidence
    assert find("swap", swapping).fix == "mlm serve llama-8b:Q4_K_M --ctx 2048"
    assert names(evidence(strain=Strain(swapped=0, memory_pressure=0.0))) == set()


@pytest.mark.parametrize(
    ("clock", "found"),
    [
        (Clock("powersave", "acpi-cpufreq", None, None, None), {"governor"}),
        (Clock("powersave", "intel_pstate", "balance_performance", None, None), set()),
        (Clock("powersave", "intel_pstate", "power", None, None), {"governor"}),
        (Clock("performance", "amd-pstate-epp", "power", 4_000_000, 4_000_000), set()),
        (Clock("schedutil", "amd-pstate", None, 1_200_000, 4_600_000), {"clock"}),
    ],
)
def test_power_saving_is_told_from_a_cpu_that_chooses_itself(clock: Clock, found: set[str]):
    assert names(evidence(strain=Strain(clock=clock))) == found


def test_heat_and_battery_are_found_though_no_command_helps():
    made = evidence(strain=Strain(heat_throttled=0.2, on_battery=True))
    assert names(made) == {"heat", "battery"}
    assert find("heat", made).fix is None
    assert names(evidence(strain=Strain(heat_throttled=0.0, on_battery=False))) == set()


def test_a_gpu_that_is_held_back_says_by_what():
    limited = GpuStrain("RTX 4090", ("power limit",), 200.0, 450.0)
    hot = GpuStrain("RTX 4090", ("heat",), 450.0, 450.0)
    idle = GpuStrain("RTX 4090", (), None, None)
    card = machine(32, gpu(24))
    made = evidence(card, {"n_gpu_layers": 33}, strain=Strain(gpus=(idle, limited)))
    assert find("gpu_power", made).fix == "sudo nvidia-smi -i 1 -pl 450"
    assert names(evidence(card, {"n_gpu_layers": 33}, strain=Strain(gpus=(hot,)))) == {
        "gpu_throttled"
    }
    assert names(evidence(card, {"n_gpu_layers": 33}, strain=Strain(gpus=(idle,)))) == set()
    assert names(evidence(strain=Strain(gpus=(hot,)))) == set(), "nothing is on it"


def test_what_the_cpu_suffers_from_does_not_matter_to_a_model_on_the_gpu():
    strain = Strain(cpu_quota=1.0, cpu_pressure=0.9, load=99.0, heat_throttled=0.5)
    whole = evidence(machine(32, gpu(24)), {"n_gpu_layers": 33, "n_threads": 64}, strain=strain)
    assert names(whole) == set()


def test_a_cold_file_is_told_before_a_load_and_after():
    cold = evidence(resident_share=0.1)
    found = find("cold_cache", cold)
    assert found.status == "note"
    assert "10 % of the file is in memory: the next load reads 4.12 GiB" in found.evidence
    assert found.fix == "cat '/models/a b.gguf' > /dev/null"
    live = Live("http://127.0.0.1:8000", 7, 0, 0)
    plain_isa = machine(32, isa=())  # nothing is repacked
    made = evidence(plain_isa, resident_share=0.1, live=live, engine=None)
    assert find("cold_cache", made).status == "slow"
    assert "cold_cache" not in names(evidence(resident_share=0.99), "note")


def test_requests_that_wait_for_one_slot_are_found():
    live = Live("http://127.0.0.1:8000", 7, active=1, waiting=3)
    found = find("batch_of_one", evidence(wishes={"n_parallel": 1}, live=live))
    assert found.what == "One request is answered at a time"
    assert found.fix == "mlm serve llama-8b:Q4_K_M --parallel 2"
    assert "shared" in names(evidence(live=replace(live, active=2, waiting=0)), "note")


def test_a_long_context_is_found_in_what_was_measured():
    slow_kv = evidence(wishes={"n_ctx_slot": 65_536, "n_parallel": 1})
    found = find("long_context", replace(slow_kv, measured=measured(3.0, n_past=60_000)))
    assert found.status == "slow"
    assert "with 60000 tokens in the context" in found.evidence
    assert find("long_context", slow_kv).status == "note", "it is only what may come"
    assert "long_context" not in names(replace(slow_kv, measured=measured(3.0, n_past=100)))


def test_a_kv_cache_of_32_bits_and_attention_without_flash_are_found():
    made = evidence(wishes={"type_k": "f32", "type_v": "f32", "flash_attn": "off"})
    assert {"kv_type", "flash_attn"} <= names(made)
    find("kv_type", made)
    find("flash_attn", made)


def test_what_sets_the_pace_is_always_told():
    assert "50 GB/s" in find("bandwidth", evidence()).evidence
    assert "1000 GB/s" in find("bandwidth", evidence(machine(32, gpu(24)))).evidence
    unified = machine(32, gpu(16, "vulkan", bandwidth=None, unified=True))
    assert (
        "reads main memory" in find("bandwidth", evidence(unified, {"n_gpu_layers": 33})).evidence
    )


def test_what_nobody_knows_is_no_finding():
    ignorant = replace(
        PLAIN,
        cpu=replace(PLAIN.cpu, name=None, physical_cores=None, isa=()),
        memory_bandwidth_bytes_per_s=None,
    )
    assert [finding.name for finding in explain(evidence(ignorant, engine=None))] == ["speed"]


def test_a_ref_with_spaces_can_be_pasted_into_a_shell():
    made = replace(evidence(wishes={"n_threads": 16}), ref="./my model; rm -rf ~.gguf")
    assert find("threads", made).fix == "mlm serve './my model; rm -rf ~.gguf' --threads 8"
    assert find("speed", made).fix == "mlm bench './my model; rm -rf ~.gguf'"


def test_no_figure_is_divided_by_zero():
    made = evidence(SMALL_CARD, {"n_gpu_layers": 5}, measured=measured(0.0, n_past=0, age_s=-99.0))
    empty = replace(made.shape, disk_bytes=0, params=0)
    assert explain(replace(made, shape=empty))


def test_a_remedy_that_cannot_be_typed_would_be_noticed():
    for wrong in ("mlm serve x --no-such-option", "mlm nonsense x", "mlm serve x --type-k q9"):
        with pytest.raises((typer.TyperException, UsageError)):
            parses(wrong)
