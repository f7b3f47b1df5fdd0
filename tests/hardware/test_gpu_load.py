"""How busy GPUs are."""

import pynvml
import pytest
from fakes.fake_nvml import FakeNvml

from mlm.hardware.gpu_load import ask_gpu_loads


def test_each_card_tells_what_it_does():
    nvml = FakeNvml("rtx-4090-and-3060.json")
    nvml.devices[0] |= {"load": 87, "power": 312_500, "heat": 71}
    first, second = ask_gpu_loads(nvml)
    assert (first.name, first.utilisation_percent) == ("NVIDIA GeForce RTX 4090", 87.0)
    assert (first.power_w, first.temperature_c) == (312.5, 71.0)
    assert first.memory_total == 25757220864
    assert first.memory_used == 25757220864 - 24696061952
    assert second.utilisation_percent is None, "what a driver does not tell is unknown"
    assert (second.power_w, second.temperature_c) == (None, None)
    assert not nvml.is_open


def test_a_chip_without_memory_of_its_own_has_none_to_show():
    (chip,) = ask_gpu_loads(FakeNvml("gb10-unified.json"))
    assert (chip.memory_used, chip.memory_total) == (None, None)


def test_a_card_that_is_lost_leaves_the_others():
    loads = ask_gpu_loads(FakeNvml("rtx-4090-and-3060.json", lost={0}))
    assert [load.name for load in loads] == ["NVIDIA GeForce RTX 3060"]


@pytest.mark.parametrize(
    "code", [pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED]
)
def test_without_a_driver_there_are_none(code: int):
    assert ask_gpu_loads(FakeNvml(fails=code)) == ()
