"""Processors, read from captured and planted kernel files."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlm.hardware.cpu import count_usable, parse_cpuinfo, performance_cpus, read_cpu
from mlm.hardware.sysfs import parse_cpu_list

CAPTURED = Path(__file__).parents[1] / "fixtures" / "hardware" / "cpuinfo"


def captured(name: str) -> str:
    return (CAPTURED / f"{name}.txt").read_text(encoding="utf-8")


def test_a_xeon_says_its_name_cores_and_amx():
    info = parse_cpuinfo(captured("xeon-amx-2core"))
    assert info.name == "Intel Xeon Processor"
    assert (info.physical_cores, info.logical_cores) == (2, 2)
    assert {"avx2", "avx512_vnni", "avx512_bf16", "amx_int8"} <= set(info.isa)


def test_two_threads_of_a_core_are_one_physical_core():
    info = parse_cpuinfo(captured("ryzen-smt"))
    assert info.name == "AMD Ryzen 9 5950X 16-Core Processor"
    assert (info.physical_cores, info.logical_cores) == (2, 4)
    assert info.isa == ("sse4_2", "avx", "f16c", "fma", "bmi2", "avx2")


def test_a_raspberry_pi_says_its_board():
    info = parse_cpuinfo(captured("raspberry-pi-4"))
    assert info.name == "Raspberry Pi 4 Model B Rev 1.5 (Cortex-A72)"
    assert (info.physical_cores, info.logical_cores) == (None, 4)
    assert info.isa == ("neon",)


def test_an_arm_server_without_a_name_is_known_by_its_part_number():
    info = parse_cpuinfo(captured("graviton-3"))
    assert info.name == "Neoverse V1"
    assert info.isa == ("neon", "fp16", "dotprod", "i8mm", "bf16", "sve")


def test_an_empty_cpuinfo_says_nothing():
    info = parse_cpuinfo("")
    assert (info.name, info.physical_cores, info.logical_cores, info.isa) == (None, None, 0, ())


@given(st.text(alphabet=st.sampled_from("processor: flagsmodelname0123\t\n_ "), max_size=200))
def test_no_cpuinfo_makes_it_fail(text: str):
    assert parse_cpuinfo(text).logical_cores >= 0


@pytest.mark.parametrize(
    ("affinity", "quota", "cores", "usable"),
    [
        (16, None, 8, 8),
        (4, None, 8, 4),
        (16, 2.0, 8, 2),
        (16, 1.5, 8, 2),
        (16, 0.3, 8, 1),
        (16, None, None, 16),
        (0, None, None, 1),
    ],
)
def test_the_least_of_affinity_quota_and_cores_is_usable(affinity, quota, cores, usable):
    assert count_usable(affinity, quota, cores) == usable


def hybrid(n_performance: int, n_efficient: int) -> dict[str, str]:
    """Return the kernel's files of an Intel hybrid: P-cores with two threads, E-cores with one."""
    files, cpu = {}, 0
    for _ in range(n_performance):
        for _ in range(2):
            siblings = f"{cpu - cpu % 2}-{cpu - cpu % 2 + 1}"
            files[f"sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list"] = siblings
            cpu += 1
    files["sys/devices/cpu_core/cpus"] = f"0-{cpu - 1}\n"
    for _ in range(n_efficient):
        files[f"sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list"] = str(cpu)
        cpu += 1
    files["sys/devices/system/cpu/online"] = f"0-{cpu - 1}\n"
    return files


def test_efficiency_cores_of_a_hybrid_are_physical_but_not_performance_cores(plant):
    root = plant(hybrid(n_performance=6, n_efficient=8))
    cpu = read_cpu(None, root)
    assert cpu.physical_cores == 14
    assert performance_cpus(root) == set(range(12))
    assert (cpu.performance_cores, cpu.efficiency_cores, cpu.threads_per_core) == (6, 8, 2)
    assert cpu.usable_cores <= 6


def on_cpus(monkeypatch: pytest.MonkeyPatch, *cpus: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(cpus), raising=False)


@pytest.mark.parametrize(
    ("allowed", "usable"),
    [
        ((0, 1), 1),  # two threads of one core
        ((0, 2, 4), 3),
        ((0, 12, 13), 1),  # a fast core and two that it would wait for
        ((12, 13, 14), 3),  # slow ones only
    ],
)
def test_what_counts_is_the_fast_cores_that_the_process_may_run_on(
    plant, monkeypatch: pytest.MonkeyPatch, allowed: tuple[int, ...], usable: int
):
    on_cpus(monkeypatch, *allowed)
    root = plant(hybrid(n_performance=6, n_efficient=8))
    assert read_cpu(None, root).usable_cores == usable
    throttled = read_cpu(0.1, root)
    assert (throttled.usable_cores, throttled.quota) == (1, 0.1)


def test_cores_that_are_alike_are_all_performance_cores(plant):
    cpu = read_cpu(None, plant({"proc/cpuinfo": captured("ryzen-smt")}))
    assert (cpu.performance_cores, cpu.efficiency_cores, cpu.threads_per_core) == (2, 0, 2)


def test_what_a_board_does_not_tell_stays_unknown(plant):
    cpu = read_cpu(None, plant({"proc/cpuinfo": captured("raspberry-pi-4")}))
    assert (cpu.performance_cores, cpu.efficiency_cores, cpu.threads_per_core) == (None,) * 3


def test_risc_v_says_in_one_word_that_it_has_vectors():
    with_vectors = "processor\t: 0\nisa\t: rv64imafdcvh_zicbom_zvfh\n"
    without = "processor\t: 0\nisa\t: rv64imafdc_zve32x\n"
    assert parse_cpuinfo(with_vectors).isa == ("rvv",)
    assert parse_cpuinfo(without).isa == ()


def test_small_arm_cores_are_not_performance_cores(plant):
    capacity = {0: 250, 1: 250, 2: 760, 3: 1024}
    root = plant(
        {f"sys/devices/system/cpu/cpu{n}/cpu_capacity": str(c) for n, c in capacity.items()}
        | {"sys/devices/system/cpu/online": "0-3"}
    )
    assert performance_cpus(root) == {2, 3}


def test_cores_that_are_alike_are_not_told_apart(plant):
    root = plant(
        {f"sys/devices/system/cpu/cpu{n}/cpu_capacity": "1024" for n in range(4)}
        | {"sys/devices/system/cpu/online": "0-3"}
    )
    assert performance_cpus(root) is None


def test_a_machine_without_any_kernel_file_still_has_a_core(plant):
    cpu = read_cpu(None, plant({}))
    assert cpu.usable_cores >= 1
    assert cpu.isa == ()


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("0-3,8", {0, 1, 2, 3, 8}),
        ("0", {0}),
        ("", set()),
        ("3-1", set()),
        ("a-b,-1,1-", set()),
        ("9999999999", set()),
        ("0-99999999999999999999", set()),
    ],
)
def test_kernel_lists_of_cpus_are_read_and_junk_is_left_out(text, cpus):
    assert parse_cpu_list(text) == cpus
