"""Control groups: every level up the tree counts, in both versions, in containers too."""

from dataclasses import replace

import psutil
import pytest
from fakes.facts import machine
from hypothesis import given
from hypothesis import strategies as st

from mlm.hardware.cgroup import (
    CgroupLimits,
    parse_cpu_max,
    parse_membership,
    parse_stat,
    read_cgroup,
)
from mlm.hardware.memory import (
    follow_limit,
    limit_memory,
    memory_limit,
    parse_meminfo,
    read_memory,
)
from mlm.hardware.types import Memory
from mlm.units import GIB

V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "37 31 0:34 {root} /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n"
)


def v2_level(folder: str, **values: str | int) -> dict[str, str]:
    base = f"sys/fs/cgroup/{folder}".rstrip("/")
    return {f"{base}/{name.replace('_', '.', 1)}": f"{value}\n" for name, value in values.items()}


def test_no_control_group_is_no_limit(plant):
    limits = read_cgroup(plant({}))
    assert (limits.cpu_quota, limits.memory_limit, limits.memory_room) == (None, None, None)


def test_the_limits_of_a_v2_group_are_read(plant):
    root = plant(
        {"proc/self/cgroup": "0::/box\n", "proc/self/mountinfo": V2_MOUNT}
        | v2_level(
            "box",
            cpu_max="150000 100000",
            memory_max=4 * GIB,
            memory_current=3 * GIB,
            memory_stat=f"anon 5\ninactive_file {GIB}\nactive_file 7",
        )
    )
    limits = read_cgroup(root)
    assert limits.cpu_quota == 1.5
    assert limits.memory_limit == 4 * GIB
    assert limits.memory_room == 2 * GIB  # the page cache will be dropped


def test_the_smallest_limit_up_the_tree_counts(plant):
    root = plant(
        {"proc/self/cgroup": "0::/slice/box/leaf\n", "proc/self/mountinfo": V2_MOUNT}
        | v2_level("slice", cpu_max="800000 100000", memory_max=8 * GIB, memory_current=7 * GIB)
        | v2_level("slice/box", cpu_max="400000 100000", memory_max=4 * GIB, memory_current=GIB)
        | v2_level("slice/box/leaf", cpu_max="max 100000", memory_max="max", memory_current=GIB)
    )
    limits = read_cgroup(root)
    assert limits.cpu_quota == 4
    assert limits.memory_limit == 4 * GIB
    assert limits.memory_room == GIB  # little is left in the slice around, though the box has room


def test_the_limits_of_a_v1_group_are_read(plant):
    root = plant(
        {
            "proc/self/cgroup": "5:memory:/box\n4:cpu,cpuacct:/box\n3:freezer:/\n",
            "proc/self/mountinfo": V1_MOUNTS.format(root="/"),
            "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "200000",
            "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/memory/box/memory.limit_in_bytes": str(2 * GIB),
            "sys/fs/cgroup/memory/box/memory.usage_in_bytes": str(GIB),
            "sys/fs/cgroup/memory/box/memory.stat": f"cache 5\ntotal_inactive_file {GIB // 2}",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        }
    )
    limits = read_cgroup(root)
    assert limits.cpu_quota == 2
    assert limits.memory_limit == 2 * GIB
    assert limits.memory_room == 3 * GIB // 2


def test_the_level_at_which_a_group_is_slowed_down_is_its_limit(plant):
    root = plant(
        {"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": V2_MOUNT}
        | v2_level("", memory_max=8 * GIB, memory_high=6 * GIB, memory_current=GIB)
    )
    assert (read_cgroup(root).memory_limit, read_cgroup(root).memory_room) == (6 * GIB, 5 * GIB)


def test_a_v1_group_tells_of_a_tighter_one_around_it_that_cannot_be_seen(plant):
    root = plant(
        {
            "proc/self/cgroup": "5:memory:/docker/abc\n",
            "proc/self/mountinfo": V1_MOUNTS.format(root="/docker/abc"),
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": str(GIB),
            "sys/fs/cgroup/memory/memory.stat": f"hierarchical_memory_limit {3 * GIB}",
        }
    )
    assert (read_cgroup(root).memory_limit, read_cgroup(root).memory_room) == (3 * GIB, 2 * GIB)


def test_a_container_that_sees_only_its_own_subtree_finds_its_limit(plant):
    root = plant(
        {
            "proc/self/cgroup": "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n",
            "proc/self/mountinfo": V1_MOUNTS.format(root="/docker/abc"),
            "sys/fs/cgroup/memory/memory.limit_in_bytes": str(GIB),
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "0",
        }
    )
    assert read_cgroup(root).memory_limit == GIB


def test_a_group_outside_the_namespace_is_not_searched_outside_the_mount(plant):
    root = plant(
        {"proc/self/cgroup": "0::/../../etc\n", "proc/self/mountinfo": V2_MOUNT}
        | v2_level("", memory_max=GIB, memory_current=0)
    )
    assert read_cgroup(root).memory_limit == GIB


@pytest.mark.parametrize("text", ["max 100000", "-1 100000", "0 100000", "5", "", "1 2 3", "x y"])
def test_no_quota_is_no_quota(text):
    assert parse_cpu_max(text) is None


@given(st.text(max_size=80))
def test_no_text_makes_the_parsers_fail(text):
    parse_cpu_max(text)
    parse_membership(text)
    parse_stat(text)
    parse_meminfo(text)


def test_meminfo_gives_total_and_available():
    text = "MemTotal:       16000000 kB\nMemFree:  1000 kB\nMemAvailable:    8000000 kB\n"
    assert parse_meminfo(text) == (16_000_000 * 1024, 8_000_000 * 1024)


def test_an_old_kernel_without_available_counts_what_is_free_or_cached():
    text = "MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 10 kB\nCached: 200 kB\n"
    assert parse_meminfo(text) == (1000 * 1024, 310 * 1024)


def test_memory_without_a_limit_is_what_is_available(plant):
    root = plant({"proc/meminfo": "MemTotal: 1000 kB\nMemAvailable: 600 kB\n"})
    memory = read_memory(read_cgroup(root), root)
    assert (memory.total, memory.usable, memory.limit) == (1000 * 1024, 600 * 1024, None)


def test_memory_under_a_limit_is_what_is_left_of_it(plant):
    root = plant(
        {"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": V2_MOUNT}
        | v2_level("", memory_max=4 * GIB, memory_current=GIB)
    )
    memory = limit_memory(16 * GIB, 12 * GIB, read_cgroup(root))
    assert (memory.limit, memory.usable, memory.available) == (4 * GIB, 3 * GIB, 12 * GIB)


def test_a_limit_above_all_memory_is_no_limit(plant):
    root = plant(
        {"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": V2_MOUNT}
        | v2_level("", memory_max=64 * GIB, memory_current=0)
    )
    memory = limit_memory(16 * GIB, 12 * GIB, read_cgroup(root))
    assert (memory.limit, memory.usable) == (None, 12 * GIB)


def test_a_group_over_its_limit_has_nothing_left(plant):
    root = plant(
        {"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": V2_MOUNT}
        | v2_level("", memory_max=GIB, memory_current=2 * GIB)
    )
    assert read_cgroup(root).memory_room == 0


@pytest.mark.parametrize("psutil_fails", [False, True])
def test_without_proc_the_system_is_asked(plant, monkeypatch, psutil_fails: bool):
    if psutil_fails:  # it reads /proc too

        def fail() -> None:
            raise FileNotFoundError("/proc/meminfo")

        monkeypatch.setattr(psutil, "virtual_memory", fail)
    memory = read_memory(CgroupLimits(), plant({}))
    assert 0 < memory.usable <= memory.total


def test_the_limit_is_the_one_that_holds_now(plant):
    files = {"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": V2_MOUNT}
    files |= {"proc/meminfo": "MemTotal: 16777216 kB\nMemAvailable: 9000000 kB\n"}
    root = plant(files | v2_level("", memory_max=8 * GIB, memory_current=GIB))
    assert memory_limit(root) == 8 * GIB
    plant(v2_level("", memory_max=2 * GIB))
    assert memory_limit(root) == 2 * GIB
    plant(v2_level("", memory_max="max"))
    assert memory_limit(root) is None


@pytest.mark.parametrize(
    ("first", "now", "usable"),
    [
        (None, None, 12),  # nothing has changed
        (10, 10, 8),
        (10, 6, 4),  # two of the first ten were taken
        (10, 1, 0),
        (10, 13, 11),
        (10, 90, 12),  # more than the machine has free is of no use
        (10, None, 12),
        (None, 5, 5),
        (None, 90, 12),
    ],
)
def test_a_limit_that_has_changed_is_followed(first: int | None, now: int | None, usable: int):
    had = Memory(total=16, available=12, limit=first, usable=12 if first is None else first - 2)
    found = follow_limit(replace(machine(16), memory=had), now)
    assert found.memory == Memory(total=16, available=12, limit=now, usable=usable)
