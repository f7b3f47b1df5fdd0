"""What a process takes, as far as anybody says."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
from fakes.fake_nvml import FakeNvml

from mlm.hardware.process_memory import ask_gpu_memory, read_peak_rss
from mlm.units import MIB

NOBODY = 2**31 - 1


class Busy(FakeNvml):
    """Two GPUs with the processes that are given."""

    def __init__(self, *processes: list[tuple[int, int | None]]) -> None:
        super().__init__()
        self._processes = processes

    def nvmlDeviceGetCount(self) -> int:
        return len(self._processes)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:
        return index

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:
        if self._processes[handle] is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NO_PERMISSION)
        return [SimpleNamespace(pid=p, usedGpuMemory=used) for p, used in self._processes[handle]]


def test_the_peak_of_a_process_is_read_where_the_kernel_keeps_it(tmp_path: Path):
    status = tmp_path / "proc/7/status"
    status.parent.mkdir(parents=True)
    status.write_text("Name:\tx\nVmPeak:\t 999 kB\nVmHWM:\t   2048 kB\nVmRSS:\t  17 kB\n")
    assert read_peak_rss(7, tmp_path) == 2 * MIB


def test_elsewhere_what_it_has_now_must_do(tmp_path: Path):
    assert (read_peak_rss(os.getpid(), tmp_path) or 0) > MIB


def test_of_a_process_that_is_gone_nothing_is_known():
    assert read_peak_rss(NOBODY) is None
    assert ask_gpu_memory(Busy([(1, 5)]), NOBODY) is None


def test_memory_on_all_gpus_is_added_up():
    nvml = Busy([(7, 100), (8, 50)], [(7, 20), (7, None)])
    assert ask_gpu_memory(nvml, 7) == 120
    assert not nvml.is_open


def test_a_driver_that_does_not_answer_is_no_error():
    assert ask_gpu_memory(FakeNvml(fails=pynvml.NVML_ERROR_DRIVER_NOT_LOADED), 7) is None
    assert ask_gpu_memory(Busy(None), 7) is None  # type: ignore[arg-type]
