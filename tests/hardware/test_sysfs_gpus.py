"""AMD and Intel cards, read from planted sysfs trees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlm.hardware.amd import parse_ids, probe_amd
from mlm.hardware.detect import merge_probes, with_bandwidth
from mlm.hardware.intel import probe_intel
from mlm.hardware.types import Cpu, Hardware, Memory
from mlm.units import GIB


def card(number: int, vendor: str, device: str, **values: str | int) -> dict[str, str]:
    base = f"sys/class/drm/card{number}/device"
    driver = values.pop("driver", "amdgpu")
    uevent = f"DRIVER={driver}\nPCI_ID=1002:744C\nPCI_SLOT_NAME=0000:0{number}:00.0\n"
    files = {"vendor": vendor, "device": device, "revision": "0x00", "uevent": uevent} | values
    return {f"{base}/{name}": f"{value}\n" for name, value in files.items()}


def vram(total: int, used: int, gtt: int = 16 * GIB) -> dict[str, int]:
    return {
        "mem_info_vram_total": total,
        "mem_info_vram_used": used,
        "mem_info_gtt_total": gtt,
        "mem_info_gtt_used": 0,
    }


def test_a_radeon_card_is_read_with_memory_and_speed(plant):
    root = plant(card(0, "0x1002", "0x744c", revision="0xc8", **vram(24 * GIB, GIB)))
    [gpu] = probe_amd(root).accelerators
    assert (gpu.name, gpu.kind, gpu.driver, gpu.unified) == ("RX 7900 XTX", "rocm", "amdgpu", False)
    assert (gpu.memory_total, gpu.memory_free) == (24 * GIB, 23 * GIB)
    assert gpu.bandwidth_bytes_per_s == 960 * 10**9


def test_an_integrated_gpu_uses_main_memory_where_its_carve_out_is_small(plant):
    root = plant(card(1, "0x1002", "0x1586", **vram(GIB, GIB // 2, gtt=62 * GIB)))
    [gpu] = probe_amd(root).accelerators
    assert (gpu.name, gpu.unified) == ("Radeon 8060S", True)
    assert (gpu.memory_total, gpu.memory_free) == (62 * GIB, 62 * GIB)
    assert gpu.bandwidth_bytes_per_s == 256 * 10**9


def test_a_large_carve_out_is_memory_of_its_own(plant):
    root = plant(card(1, "0x1002", "0x1586", **vram(96 * GIB, GIB, gtt=15 * GIB)))
    [gpu] = probe_amd(root).accelerators
    assert (gpu.unified, gpu.memory_total, gpu.memory_free) == (False, 96 * GIB, 95 * GIB)


@pytest.mark.parametrize(
    ("version", "name"),
    [((11, 0, 0), "gfx1100"), ((9, 0, 10), "gfx90a"), ((11, 5, 1), "gfx1151"), (None, None)],
)
def test_the_chip_says_what_kernels_it_needs(plant, version, name: str | None):
    files = card(0, "0x1002", "0x744c", **vram(24 * GIB, 0))
    block = "sys/class/drm/card0/device/ip_discovery/die/0/GC/0"
    for part, number in zip(("major", "minor", "revision"), version or (), strict=False):
        files[f"{block}/{part}"] = f"{number}\n"
    [gpu] = probe_amd(plant(files)).accelerators
    assert gpu.compute_capability == name


def test_a_professional_board_carries_its_own_name(plant):
    root = plant(
        card(0, "0x1002", "0x7448", product_name="AMD Radeon PRO W7900", **vram(48 * GIB, 0))
    )
    [gpu] = probe_amd(root).accelerators
    assert (gpu.name, gpu.bandwidth_bytes_per_s) == ("PRO W7900", 864 * 10**9)


def test_the_list_of_libdrm_names_what_mlm_does_not_know(plant):
    ids = "# comment\n1.0.0\n73A5,\tC0,\tAMD Radeon RX 6950 XT\n"
    root = plant(
        card(0, "0x1002", "0x73a5", revision="0xc0", **vram(16 * GIB, 0))
        | {"usr/share/libdrm/amdgpu.ids": ids}
    )
    [gpu] = probe_amd(root).accelerators
    assert (gpu.name, gpu.bandwidth_bytes_per_s) == ("RX 6950 XT", 576 * 10**9)


def test_an_unknown_chip_is_a_gpu_of_unknown_speed(plant):
    root = plant(card(0, "0x1002", "0xffff", **vram(8 * GIB, 0)))
    [gpu] = probe_amd(root).accelerators
    assert (gpu.name, gpu.bandwidth_bytes_per_s) == ("AMD GPU 1002:ffff", None)


def test_a_card_without_the_amdgpu_driver_is_a_problem(plant):
    probe = probe_amd(plant(card(0, "0x1002", "0x744c", driver="vfio-pci")))
    assert probe.accelerators == ()
    assert "amdgpu driver does not run it" in (probe.problem or "")


def test_memory_figures_that_cannot_be_are_unknown(plant):
    root = plant(card(0, "0x1002", "0x744c", mem_info_vram_total="junk", mem_info_vram_used="-4"))
    [gpu] = probe_amd(root).accelerators
    assert (gpu.memory_total, gpu.memory_free) == (None, None)


def test_cards_are_numbered_in_the_order_of_the_kernel(plant):
    files: dict[str, str] = {}
    for number in (10, 2):
        files |= card(number, "0x1002", "0x744c", revision="0xc8", **vram(number * GIB, 0))
    found = probe_amd(plant(files)).accelerators
    assert [(gpu.index, gpu.memory_total) for gpu in found] == [(0, 2 * GIB), (1, 10 * GIB)]


def test_an_intel_arc_card_has_its_memory_from_the_table(plant):
    probe = probe_intel(plant(card(0, "0x8086", "0xe20b", driver="xe")))
    [gpu] = probe.accelerators
    assert (gpu.name, gpu.kind, gpu.memory_total) == ("Arc B580", "sycl", 12 * GIB)
    assert (gpu.bandwidth_bytes_per_s, gpu.memory_free) == (456 * 10**9, None)


@pytest.mark.parametrize(
    ("window_gib", "memory_gib"),
    [(16, 16), (8, 8), (0.25, 8), (0, 8)],  # 0: no such file
)
def test_the_window_tells_which_size_of_an_arc_card_it_is(plant, window_gib, memory_gib: int):
    files = card(0, "0x8086", "0x56a0", driver="i915")
    if window_gib:
        start = 0x6000000000
        lines = ["0x0 0x0 0x0", "0x0 0x0 0x0"]
        lines += [f"{start:#018x} {start + int(window_gib * GIB) - 1:#018x} 0x000000000014220c"]
        files["sys/class/drm/card0/device/resource"] = "\n".join(lines)
    [gpu] = probe_intel(plant(files)).accelerators
    assert gpu.memory_total == memory_gib * GIB


def test_old_graphics_inside_an_intel_processor_are_left_out(plant):
    assert probe_intel(plant(card(0, "0x8086", "0x9a49", driver="i915"))).accelerators == ()


def test_arc_graphics_inside_a_processor_share_its_memory_and_its_speed(plant):
    probe = probe_intel(plant(card(0, "0x8086", "0x64a0", driver="xe")))
    memory = Memory(total=32 * GIB, available=28 * GIB, limit=None, usable=28 * GIB)
    machine = Hardware(Cpu(None, 8, 8, 4, ()), memory, merge_probes([probe], memory), None, "x")
    [gpu] = with_bandwidth(machine, 90 * 10**9, "measured").accelerators
    assert (gpu.name, gpu.unified) == ("Arc 140V (Lunar Lake)", True)
    assert (gpu.memory_total, gpu.bandwidth_bytes_per_s) == (32 * GIB, 90 * 10**9)


def test_a_card_without_an_intel_driver_is_a_problem(plant):
    probe = probe_intel(plant(card(0, "0x8086", "0xe20b", driver="vfio-pci")))
    assert probe.accelerators == ()
    assert "neither i915 nor xe" in (probe.problem or "")


def test_a_machine_without_cards_has_none(plant):
    root = plant({})
    assert (probe_amd(root).accelerators, probe_intel(root).accelerators) == ((), ())


@given(st.text(max_size=120))
def test_no_list_of_names_makes_the_parser_fail(text):
    parse_ids(text)
