"""What holds a machine back, read from trees of captured files."""

from pathlib import Path
from typing import Any

import pynvml
from fakes.fake_nvml import FakeNvml

from mlm.hardware.strain import (
    Clock,
    GpuStrain,
    Strain,
    ask_gpu_strain,
    read_cpu_pressure,
    read_strain,
)
from mlm.units import MIB

CPU = "sys/devices/system/cpu"
PRESSURE = (
    "some avg10=1.00 avg60={} avg300=0.00 total=9\nfull avg10=0.00 avg60=9.00 avg300=0.00 total=9\n"
)


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_machine_that_tells_nothing_is_under_no_known_strain(tmp_path: Path):
    assert read_strain(1, tmp_path) == Strain()


def test_pressure_load_and_swap_are_read(tmp_path: Path):
    files = {
        "proc/pressure/cpu": PRESSURE.format("43.50"),
        "proc/pressure/memory": PRESSURE.format("12.00"),
        "proc/loadavg": "9.25 3.00 1.00 3/999 4711\n",
        "proc/7/status": "Name:\tx\nVmRSS:\t 9 kB\nVmSwap:\t  2048 kB\n",
    }
    strain = read_strain(7, tree(tmp_path, files))
    assert (strain.cpu_pressure, strain.memory_pressure) == (0.435, 0.12)
    assert (strain.load, strain.swapped) == (9.25, 2 * MIB)
    assert read_strain(None, tmp_path).swapped is None
    assert read_cpu_pressure(tmp_path) == 0.01


def test_a_quota_of_version_2_and_how_often_it_bites(tmp_path: Path):
    files = {
        "proc/self/cgroup": "0::/app\n",
        "proc/self/mountinfo": "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "sys/fs/cgroup/app/cpu.max": "150000 100000\n",
        "sys/fs/cgroup/app/cpu.stat": "usage_usec 5\nnr_periods 200\nnr_throttled 50\n",
        "sys/fs/cgroup/cpu.stat": "usage_usec 5\n",
    }
    strain = read_strain(root=tree(tmp_path, files))
    assert (strain.cpu_quota, strain.quota_throttled) == (1.5, 0.25)


def test_a_quota_of_version_1_around_another_process(tmp_path: Path):
    files = {
        "proc/7/cgroup": "4:cpu,cpuacct:/job\n0::/\n",
        "proc/7/mountinfo": "30 1 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n",
        "sys/fs/cgroup/cpu/job/cpu.stat": "nr_periods 10\nnr_throttled 9\nthrottled_time 12\n",
        "sys/fs/cgroup/cpu/cpu.stat": "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n",
    }
    assert read_strain(7, tree(tmp_path, files)).quota_throttled == 0.9
    assert read_strain(None, tmp_path).quota_throttled is None


def test_heat_is_the_share_of_time_of_the_hottest_core(tmp_path: Path):
    files = {
        f"{CPU}/online": "0-1\n",
        f"{CPU}/cpu0/thermal_throttle/core_throttle_total_time_ms": "1000\n",
        f"{CPU}/cpu1/thermal_throttle/core_throttle_total_time_ms": "25000\n",
        "proc/uptime": "100.00 180.00\n",
    }
    assert read_strain(root=tree(tmp_path, files)).heat_throttled == 0.25


def test_how_the_clock_is_set(tmp_path: Path):
    files = {
        f"{CPU}/online": "0-3\n",
        f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave\n",
        f"{CPU}/cpu0/cpufreq/scaling_driver": "intel_pstate\n",
        f"{CPU}/cpu0/cpufreq/energy_performance_preference": "balance_power\n",
        f"{CPU}/cpu0/cpufreq/scaling_max_freq": "1200000\n",
        f"{CPU}/cpu0/cpufreq/cpuinfo_max_freq": "4600000\n",
    }
    found = read_strain(root=tree(tmp_path, files)).clock
    assert found == Clock("powersave", "intel_pstate", "balance_power", 1_200_000, 4_600_000)


def test_a_battery_counts_but_not_that_of_a_mouse(tmp_path: Path):
    supply = "sys/class/power_supply"
    mouse = {
        f"{supply}/hid/type": "Battery\n",
        f"{supply}/hid/scope": "Device\n",
        f"{supply}/hid/status": "Discharging\n",
        f"{supply}/AC/type": "Mains\n",
    }
    assert read_strain(root=tree(tmp_path, mouse)).on_battery is None
    own = {f"{supply}/BAT0/type": "Battery\n", f"{supply}/BAT0/status": "Discharging\n"}
    assert read_strain(root=tree(tmp_path, own)).on_battery is True
    (tmp_path / supply / "BAT0/status").write_text("Full\n")
    assert read_strain(root=tmp_path).on_battery is False


def test_junk_is_nothing(tmp_path: Path):
    files = {
        "proc/pressure/cpu": "\0\0junk",
        "proc/loadavg": "much",
        "proc/uptime": "long",
        "proc/7/status": "VmSwap: lots kB",
        "proc/self/cgroup": "junk",
        "proc/self/mountinfo": "junk",
        f"{CPU}/online": "many",
        f"{CPU}/cpu0/thermal_throttle/core_throttle_total_time_ms": "hot",
    }
    assert read_strain(7, tree(tmp_path, files)) == Strain()


def test_what_only_root_may_read_is_nothing(tmp_path: Path):
    files = {"proc/pressure/cpu/is": "a folder", "proc/loadavg/is": "one too"}
    assert read_strain(7, tree(tmp_path, files)) == Strain()


class Limited(FakeNvml):
    """A hot GPU with less power than usual, whose driver knows no default limit if asked to."""

    def __init__(self, reasons: int, *, knows_default: bool = True) -> None:
        super().__init__()
        self._reasons, self._knows_default = reasons, knows_default

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        return {"name": "Test GPU"}

    def nvmlDeviceGetPowerManagementLimit(self, handle: Any) -> int:
        return 200_000

    def nvmlDeviceGetPowerManagementDefaultLimit(self, handle: Any) -> int:
        if not self._knows_default:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return 450_000

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: Any) -> int:
        return self._reasons


def test_a_gpu_says_what_slows_it_down():
    assert ask_gpu_strain(Limited(0x20 | 0x40 | 0x04)) == (
        GpuStrain("Test GPU", ("power limit", "heat"), 200.0, 450.0),
    )


def test_a_gpu_that_idles_complains_of_nothing():
    (found,) = ask_gpu_strain(Limited(0x01, knows_default=False))
    assert found == GpuStrain("Test GPU", (), 200.0, None)


def test_without_a_driver_nothing_is_known():
    assert ask_gpu_strain(FakeNvml(fails=pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)) == ()
