"""AMD and Intel cards, read from planted sysfs trees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlm.hardware.amd import parse_ids, probe_amd
from mlm.hardware.intel import probe_intel
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


def test_an_integrated_gpu_shares_main_memory_beyond_its_carve_out(plant):
    root = plant(card(1, "0x1002", "0x1586", **vram(GIB, GIB // 2, gtt=62 * GIB)))
    [gpu] = probe_amd(root).accelerators
    assert (gpu.name, gpu.unified) == ("Radeon 8060S", True)
    assert (gpu.memory_total, gpu.memory_free) == (63 * GIB, 62 * GIB + GIB // 2)
    assert gpu.bandwidth_bytes_per_s == 256 * 10**9


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


@pytest.mark.parametrize("device", ["0x9a49", "0x7d55"])
def test_graphics_inside_an_intel_processor_are_left_out(plant, device):
    assert probe_intel(plant(card(0, "0x8086", device, driver="i915"))).accelerators == ()


def test_a_machine_without_cards_has_none(plant):
    root = plant({})
    assert (probe_amd(root).accelerators, probe_intel(root).accelerators) == ((), ())


@given(st.text(max_size=120))
def test_no_list_of_names_makes_the_parser_fail(text):
    parse_ids(text)
