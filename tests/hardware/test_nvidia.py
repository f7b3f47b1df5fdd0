"""NVIDIA GPUs, as captured drivers describe them."""

import pynvml
import pytest
from fakes.fake_nvml import FakeNvml

from mlm.hardware.detect import merge_probes
from mlm.hardware.nvidia import probe_nvml, select_visible
from mlm.hardware.types import Memory
from mlm.units import GIB


def test_two_cards_are_read_with_memory_speed_and_driver():
    nvml = FakeNvml("rtx-4090-and-3060.json")
    probe = probe_nvml(nvml, {})
    first, second = probe.accelerators

    assert (first.index, first.name, first.kind) == (0, "GeForce RTX 4090", "cuda")
    assert (first.memory_total, first.memory_free) == (25757220864, 24696061952)
    assert first.bandwidth_bytes_per_s == 1008 * 10**9
    assert (first.compute_capability, first.driver) == ("8.9", "560.35.03")
    assert not first.unified
    assert (second.index, second.bandwidth_bytes_per_s) == (1, 360 * 10**9)
    assert probe.problem is None
    assert not nvml.is_open


def test_mig_slices_count_instead_of_their_board_with_their_share_of_the_bandwidth():
    probe = probe_nvml(FakeNvml("a100-mig.json"), {})
    assert [a.name for a in probe.accelerators] == [
        "A100-SXM4-40GB MIG 3g.20gb",
        "A100-SXM4-40GB MIG 2g.10gb",
    ]
    assert [a.memory_total for a in probe.accelerators] == [20937965568, 10468982784]
    assert probe.accelerators[0].bandwidth_bytes_per_s == round(
        1555 * 10**9 * 20937965568 / (40 * GIB)
    )
    assert probe.accelerators[0].compute_capability == "8.0"


def test_a_chip_without_memory_of_its_own_shares_main_memory():
    probe = probe_nvml(FakeNvml("gb10-unified.json"), {})
    [bare] = probe.accelerators
    assert (bare.memory_total, bare.memory_free, bare.unified) == (None, None, True)
    assert bare.bandwidth_bytes_per_s == 273 * 10**9

    memory = Memory(total=128 * GIB, available=120 * GIB, limit=None, usable=120 * GIB)
    [merged] = merge_probes([probe], memory)
    assert (merged.memory_total, merged.memory_free) == (128 * GIB, 120 * GIB)


def test_a_variant_that_the_table_does_not_tell_apart_has_the_drivers_own_bandwidth():
    [card] = probe_nvml(FakeNvml("h100-pcie.json"), {}).accelerators
    assert card.bandwidth_bytes_per_s == 2 * 1593 * 10**6 * 5120 // 8  # 2.0 TB/s, not SXM's 3.35


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "not loaded"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "reboot"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "Insufficient Permissions"),
        (pynvml.NVML_ERROR_UNKNOWN, "Unknown Error"),
    ],
)
def test_a_driver_that_does_not_answer_is_a_problem_and_not_a_crash(code, words):
    probe = probe_nvml(FakeNvml(fails=code), {})
    assert probe.accelerators == ()
    assert words in (probe.problem or "")


def test_no_driver_is_no_problem():
    probe = probe_nvml(FakeNvml(fails=pynvml.NVML_ERROR_LIBRARY_NOT_FOUND), {})
    assert (probe.accelerators, probe.problem) == ((), None)


def test_only_visible_devices_are_seen_in_their_order_and_numbered_from_zero():
    probe = probe_nvml(FakeNvml("rtx-4090-and-3060.json"), {"CUDA_VISIBLE_DEVICES": "1,0"})
    assert [(a.index, a.name) for a in probe.accelerators] == [
        (0, "GeForce RTX 3060"),
        (1, "GeForce RTX 4090"),
    ]


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (None, [0, 1]),
        ("", []),
        ("-1", []),
        ("1", [1]),
        ("0,7,1", [0]),
        ("GPU-6", [1]),
        ("GPU-", []),
        ("0,0", [0]),
        ("x", []),
        ("9" * 50, []),
    ],
)
def test_visible_devices_are_chosen_as_cuda_does(wanted, chosen):
    assert select_visible(["GPU-11", "GPU-66"], wanted) == chosen
