"""Macs, from captured sysctl output."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlm.hardware.apple import (
    describe_cpu,
    describe_gpu,
    metal_budget,
    parse_gpu_cores,
    parse_sysctl,
)
from mlm.hardware.types import Memory
from mlm.units import GIB

CAPTURED = Path(__file__).parents[1] / "fixtures" / "hardware" / "sysctl"


def captured(name: str) -> dict[str, str]:
    return parse_sysctl((CAPTURED / f"{name}.txt").read_text(encoding="utf-8"))


def memory(total: int, usable: int) -> Memory:
    return Memory(total=total, available=usable, limit=None, usable=usable)


def test_an_apple_chip_computes_on_its_performance_cores():
    cpu = describe_cpu(captured("m2-max-64gb"))
    assert (cpu.name, cpu.physical_cores, cpu.logical_cores) == ("Apple M2 Max", 12, 12)
    assert cpu.usable_cores == 8
    assert cpu.isa == ("neon", "fp16", "dotprod", "i8mm", "bf16")


def test_an_apple_chip_has_a_gpu_that_shares_memory_within_metals_budget():
    [gpu] = describe_gpu(captured("m2-max-64gb"), memory(64 * GIB, 60 * GIB)).accelerators
    assert (gpu.name, gpu.kind, gpu.unified) == ("M2 Max", "metal", True)
    assert gpu.memory_total == gpu.memory_free == 48 * GIB
    assert gpu.bandwidth_bytes_per_s == 400 * 10**9


def test_a_gpu_has_no_more_free_than_main_memory_has():
    [gpu] = describe_gpu(captured("m2-max-64gb"), memory(64 * GIB, 20 * GIB)).accelerators
    assert gpu.memory_free == 20 * GIB


def test_an_intel_mac_has_a_processor_and_no_metal_gpu_for_llama():
    values = captured("intel-mac-16gb")
    cpu = describe_cpu(values)
    assert (cpu.physical_cores, cpu.usable_cores) == (6, 6)
    assert {"avx", "avx2", "fma", "f16c", "bmi2"} <= set(cpu.isa)
    assert describe_gpu(values, memory(16 * GIB, 8 * GIB)).accelerators == ()


@pytest.mark.parametrize(
    ("total", "wired_mib", "budget"),
    [
        (64 * GIB, None, 48 * GIB),
        (64 * GIB, 0, 48 * GIB),
        (64 * GIB, 57344, 56 * GIB),
        (8 * GIB, 99999, 8 * GIB),
        (16 * GIB, None, 32 * GIB // 3),
    ],
)
def test_metals_budget_follows_the_setting_or_the_size(total, wired_mib, budget):
    assert metal_budget(total, wired_mib) == budget


@given(st.text(max_size=200))
def test_no_sysctl_output_makes_it_fail(text):
    values = parse_sysctl(text)
    assert describe_cpu(values).usable_cores >= 1
    describe_gpu(values, memory(GIB, GIB))


@pytest.mark.parametrize(
    ("name", "cores", "isa"),
    [
        ("m1-8gb", (8, 4, 4), ("neon", "fp16", "dotprod")),
        ("m3-ultra-512gb", (32, 24, 8), ("neon", "fp16", "dotprod", "i8mm", "bf16")),
        ("m4-max-128gb", (16, 12, 4), ("neon", "fp16", "dotprod", "i8mm", "bf16", "sme")),
        # Its faster cores are "Super", its others "Performance": none is left out of the count.
        ("m5-max-64gb", (18, 18, 0), ("neon", "fp16", "dotprod", "i8mm", "bf16", "sme")),
    ],
)
def test_every_generation_says_its_cores_and_instructions(name: str, cores, isa):
    cpu = describe_cpu(captured(name))
    assert (cpu.physical_cores, cpu.performance_cores, cpu.efficiency_cores) == cores
    assert (cpu.usable_cores, cpu.threads_per_core) == (cores[1], 1)
    assert cpu.isa == isa


def test_an_owner_may_have_given_metal_more_than_its_share():
    [gpu] = describe_gpu(captured("m3-ultra-512gb"), memory(512 * GIB, 500 * GIB)).accelerators
    assert gpu.memory_total == 480 * GIB
    assert gpu.bandwidth_bytes_per_s == 819 * 10**9


def test_chips_of_one_name_differ_by_the_cores_of_their_gpu():
    text = (CAPTURED.parent / "ioreg-m4-max.txt").read_text(encoding="utf-8")
    cores = parse_gpu_cores(text)
    large = memory(128 * GIB, 120 * GIB)
    [full] = describe_gpu(captured("m4-max-128gb"), large, cores).accelerators
    [unsaid] = describe_gpu(captured("m4-max-128gb"), large, parse_gpu_cores("")).accelerators
    assert full.bandwidth_bytes_per_s == 546 * 10**9
    assert unsaid.bandwidth_bytes_per_s == 410 * 10**9  # never more than is sure
