"""The table of known GPUs, and the ways in which drivers and people spell them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlm.hardware.gpu_table import find_gpu, load_table
from mlm.units import GIB


def test_every_row_is_plausible():
    for row in load_table():
        assert row.name and row.vendor in {"NVIDIA", "AMD", "Intel", "Apple", "Qualcomm"}
        assert all(2 * GIB <= size <= 1024 * GIB for size in row.memory_sizes), row
        speed = row.bandwidth_bytes_per_s
        assert speed is None or 20 * 10**9 <= speed <= 10_000 * 10**9, row


def test_every_row_is_found_by_its_own_name_and_size():
    for row in load_table():
        size = row.memory_sizes[0] if row.memory_sizes else None
        assert find_gpu(row.name, size, row.gpu_cores) == row


@pytest.mark.parametrize(
    ("name", "memory_gib", "found", "gb_per_s"),
    [
        ("NVIDIA GeForce RTX 4090", 24, "RTX 4090", 1008),
        ("rtx4090", None, "RTX 4090", 1008),
        ("NVIDIA GeForce RTX 4090 D", 24, "RTX 4090 D", 1008),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 16, "RTX 4090 Laptop", 576),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", 16, "RTX 4070 Ti Super", 672),
        ("RTX4070Ti", None, "RTX 4070 Ti", 504),
        ("NVIDIA GeForce RTX 3080", 12, "RTX 3080", 912),
        ("NVIDIA GeForce RTX 3080", 10, "RTX 3080", 760),
        ("RTX 3060 8GB", None, "RTX 3060", 240),
        ("NVIDIA A100-SXM4-80GB", None, "A100 80GB", 2039),
        ("NVIDIA A100-PCIE-40GB", None, "A100 40GB", 1555),
        ("NVIDIA H100 80GB HBM3", None, "H100", 3350),
        ("Tesla T4", 15, "T4", 320),
        ("NVIDIA RTX 6000 Ada Generation", 48, "RTX 6000 Ada", 960),
        ("NVIDIA RTX A6000", 48, "RTX A6000", 768),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 96, "RTX PRO 6000", 1792),
        ("AMD Radeon RX 7900 XTX", 24, "RX 7900 XTX", 960),
        ("AMD Instinct MI300X", 192, "MI300X", 5300),
        ("Intel(R) Arc(TM) A770 Graphics", 16, "Arc A770", 560),
        ("Apple M2 Max", 64, "M2 Max", 400),
        ("Apple M4 Max", 64, "M4 Max (32-core GPU)", 410),
    ],
)
def test_a_gpu_is_known_as_drivers_and_people_spell_it(name, memory_gib, found, gb_per_s):
    row = find_gpu(name, memory_gib * GIB if memory_gib else None)
    assert row is not None
    assert (row.name, row.bandwidth_bytes_per_s) == (found, gb_per_s * 10**9)


def test_the_number_of_gpu_cores_tells_apple_chips_apart():
    row = find_gpu("M3 Max", 64 * GIB, gpu_cores=40)
    assert row is not None and row.bandwidth_bytes_per_s == 400 * 10**9


@pytest.mark.parametrize(
    "name", ["RTX 9999", "RTX 4090 Ti", "RX 7900", "NVIDIA GeForce RTX 4080 Max-Q", "", "GPU", "M"]
)
def test_another_card_is_not_taken_for_a_known_one(name):
    assert find_gpu(name) is None


@given(st.text(max_size=40))
def test_no_name_makes_the_search_fail(name):
    find_gpu(name)
