"""NVIDIA GPUs, as captured drivers describe them."""

import pynvml
import pytest
from fakes.fake_nvml import FakeNvml

from mlm.hardware.detect import merge_probes
from mlm.hardware.nvidia import Surroundings, probe_nvml, select_visible
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
    [card] = probe_nvml(FakeNvml("h100-nvl.json"), {}).accelerators
    assert card.bandwidth_bytes_per_s == 2 * 2619 * 10**6 * 6016 // 8  # 3.9 TB/s, not SXM's 3.35


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


def test_a_lost_gpu_is_named_and_the_others_are_used():
    nvml = FakeNvml("rtx-4090-and-3060.json", lost={1})
    probe = probe_nvml(nvml, {})
    assert [a.name for a in probe.accelerators] == ["GeForce RTX 4090"]
    assert probe.problem == "NVIDIA GPU 1: GPU is lost"


def test_a_split_gpu_without_a_slice_is_no_gpu_to_compute_on():
    nvml = FakeNvml("a100-mig.json")
    nvml.devices[0]["mig"]["slices"] = [None, None]
    probe = probe_nvml(nvml, {})
    assert probe.accelerators == ()
    assert "no slice" in (probe.problem or "")


def test_a_card_that_does_not_tell_its_memory_has_not_that_of_the_machine():
    nvml = FakeNvml("rtx-4090-and-3060.json")
    nvml.devices[0]["memory"] = None
    probe = probe_nvml(nvml, {})
    memory = Memory(total=128 * GIB, available=120 * GIB, limit=None, usable=120 * GIB)
    assert merge_probes([probe], memory)[0].memory_total is None


@pytest.mark.parametrize(
    ("board", "memory_gib", "name", "speed"),
    [
        ("NVIDIA Jetson AGX Orin Developer Kit", 61.4, "Jetson AGX Orin", 204.8),
        ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0", 7.4,
         "Jetson Orin Nano", 102),
        ("NVIDIA Jetson AGX Thor Developer Kit", 122.8, "Jetson AGX Thor", 273),
    ],
)  # fmt: skip
def test_a_jetson_is_known_by_its_board(board: str, memory_gib: float, name: str, speed: float):
    around = Surroundings(board, int(memory_gib * GIB))
    [gpu] = probe_nvml(FakeNvml("jetson-orin.json"), {}, around).accelerators
    assert (gpu.name, gpu.unified) == (name, True)
    assert gpu.bandwidth_bytes_per_s == speed * 10**9


def test_each_gpu_says_where_its_figures_come_from():
    cards = probe_nvml(FakeNvml("rtx-4090-and-3060.json"), {}).accelerators
    [nvl] = probe_nvml(FakeNvml("h100-nvl.json"), {}).accelerators
    assert cards[0].source == "NVML; bandwidth: GPU table"
    assert nvl.source == "NVML; bandwidth: bus width x clock"
