"""This machine, detected for real, and what is kept of it between runs."""

import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlm.hardware import cached
from mlm.hardware.bandwidth import measure_memory_bandwidth, read_caches
from mlm.hardware.cached import cached_hardware
from mlm.hardware.cpu import read_cpu
from mlm.hardware.detect import detect_hardware, find_disk, fingerprint, merge_probes
from mlm.hardware.probe import Probe
from mlm.hardware.types import Accelerator, Cpu, Memory
from mlm.units import GIB, MIB

MEMORY = Memory(total=32 * GIB, available=20 * GIB, limit=None, usable=20 * GIB)


def gpu(name: str, **more: object) -> Accelerator:
    plain = {"memory_total": 8 * GIB, "memory_free": 7 * GIB, "bandwidth_bytes_per_s": None}
    return Accelerator(index=0, name=name, kind="cuda", **{**plain, **more})


def test_this_machine_is_detected(tmp_path: Path):
    found = detect_hardware([tmp_path])

    assert 1 <= found.cpu.usable_cores <= found.cpu.logical_cores
    assert 0 <= found.memory.usable <= found.memory.available <= found.memory.total
    assert (found.memory_bandwidth_bytes_per_s or 0) > 10**8
    assert found.disks[0].path == tmp_path
    assert 0 < found.disks[0].free <= found.disks[0].total
    assert found.fingerprint
    assert {"cpu", "memory", "memory_bandwidth_bytes_per_s"} <= set(found.sources)


def test_the_measured_bandwidth_is_kept_and_nothing_else(tmp_path: Path):
    first = cached_hardware(tmp_path)
    [path] = tmp_path.iterdir()
    kept = json.loads(path.read_text())
    assert kept["memory_bandwidth_bytes_per_s"] == first.memory_bandwidth_bytes_per_s

    kept["memory_bandwidth_bytes_per_s"] = 123_456_789
    path.write_text(json.dumps(kept))

    second = cached_hardware(tmp_path)
    assert second.memory_bandwidth_bytes_per_s == 123_456_789
    assert second.sources["memory_bandwidth_bytes_per_s"] == "measured earlier"
    assert second.fingerprint == first.fingerprint


@pytest.mark.parametrize(("kept_bps", "stays"), [(7, False), (10**15, True)])
def test_an_old_figure_is_measured_again_and_the_greater_one_stays(
    tmp_path: Path, kept_bps: int, stays: bool
):
    cached_hardware(tmp_path)
    [path] = tmp_path.iterdir()
    old = json.loads(path.read_text())
    path.write_text(
        json.dumps(old | {"memory_bandwidth_bytes_per_s": kept_bps, "fresh_until": 1.0})
    )

    found = cached_hardware(tmp_path)

    assert (found.memory_bandwidth_bytes_per_s == kept_bps) is stays
    assert json.loads(path.read_text())["fresh_until"] > time.time()


@pytest.mark.parametrize(("pressure", "lasts_s"), [(0.0, 3600), (0.5, 60), (None, 3600)])
def test_what_was_measured_beside_other_work_is_soon_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pressure: float | None, lasts_s: float
):
    monkeypatch.setattr(cached, "read_cpu_pressure", lambda: pressure)
    cached_hardware(tmp_path)
    kept = json.loads((tmp_path / "hardware.json").read_text())
    assert lasts_s - 30 < kept["fresh_until"] - time.time() <= lasts_s


@pytest.mark.parametrize("content", ["[]", "{", '{"key": [], "memory": 3}'])
def test_a_broken_cache_is_measured_anew(tmp_path: Path, content: str):
    (tmp_path / "hardware.json").write_text(content)
    assert (cached_hardware(tmp_path).memory_bandwidth_bytes_per_s or 0) > 10**8


def test_another_machines_cache_is_not_believed(tmp_path: Path):
    kept = {"key": ["another", 1, None], "memory_bandwidth_bytes_per_s": 7}
    (tmp_path / "hardware.json").write_text(json.dumps(kept))
    assert cached_hardware(tmp_path).memory_bandwidth_bytes_per_s != 7


def test_a_folder_that_cannot_be_written_only_costs_time(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert cached_hardware(tmp_path / "file" / "cache").memory_bandwidth_bytes_per_s


def test_accelerators_are_numbered_over_all_vendors():
    probes = [Probe((gpu("a"), gpu("b"))), Probe(), Probe((gpu("c"),))]
    assert [(a.index, a.name) for a in merge_probes(probes, MEMORY)] == [
        (0, "a"),
        (1, "b"),
        (2, "c"),
    ]


def test_only_a_unified_accelerator_without_figures_gets_those_of_main_memory():
    probes = [Probe((gpu("own"), gpu("shared", memory_total=None, unified=True)))]
    own, shared = merge_probes(probes, MEMORY)
    assert own.memory_total == 8 * GIB
    assert (shared.memory_total, shared.memory_free) == (32 * GIB, 20 * GIB)


def test_the_fingerprint_changes_with_the_parts_and_not_with_the_load():
    cpu = Cpu("X", 8, 16, 8, ("avx2",))
    busy = Memory(total=32 * GIB - 3 * MIB, available=GIB, limit=GIB, usable=GIB)
    assert fingerprint(cpu, MEMORY, ()) == fingerprint(cpu, busy, ())
    assert fingerprint(cpu, MEMORY, ()) != fingerprint(cpu, MEMORY, (gpu("new"),))


def test_the_disk_of_a_folder_that_is_yet_to_be_made_is_that_of_its_parent(tmp_path: Path):
    disk = find_disk(tmp_path / "not" / "yet" / "there")
    assert disk is not None
    assert disk.path == tmp_path / "not" / "yet" / "there"
    assert disk.total > 0


def test_bandwidth_is_not_measured_where_memory_is_too_short():
    assert measure_memory_bandwidth(2, available=8 * MIB) is None


def test_caches_that_several_cores_share_count_once(tmp_path: Path):
    assert read_caches(tmp_path) is None
    for cpu, shared, size in ((0, "0-1", "32768K"), (1, "0-1", "32768K"), (2, "2", "16384K")):
        folder = tmp_path / f"cpu{cpu}/cache/index3"
        folder.mkdir(parents=True)
        (folder / "shared_cpu_list").write_text(shared + "\n")
        (folder / "size").write_text(size + "\n")
    assert read_caches(tmp_path) == 48 * MIB
    (tmp_path / "cpu2/cache/index3/size").write_text("a lot\n")
    assert read_caches(tmp_path) == 32 * MIB


def test_all_threads_read_all_of_memory_that_was_written_before(monkeypatch: pytest.MonkeyPatch):
    read: list[tuple[int, bytes]] = []

    class Library:
        @staticmethod
        def memchr(address: int, byte: int, size: int) -> None:
            assert bytes([byte]) != b"\x01"  # nothing is found: the search reads to the end
            read.append((size, ctypes.string_at(address + size - 1, 1)))

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())

    assert measure_memory_bandwidth(2, available=64 * MIB)
    # Pages never written to would all read from one page in the cache.
    assert set(read) == {(4 * MIB, b"\x01")}
    assert len(read) >= 6


def test_without_a_c_library_bandwidth_is_unknown(monkeypatch: pytest.MonkeyPatch):
    def refuse(name: str | None) -> None:
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert measure_memory_bandwidth(1, available=GIB) is None


def test_affinity_limits_the_usable_cores(monkeypatch: pytest.MonkeyPatch, plant):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3}, raising=False)
    block = "processor\t: {n}\nphysical id\t: 0\ncore id\t: {n}\n"
    root = plant({"proc/cpuinfo": "\n".join(block.format(n=n) for n in range(8))})
    cpu = read_cpu(None, root)
    assert (cpu.physical_cores, cpu.usable_cores) == (8, 1)


def test_everything_can_be_imported_where_unix_modules_are_missing():
    code = (
        "import sys\n"
        "for name in ('fcntl', 'resource', 'grp', 'pwd', 'termios'): sys.modules[name] = None\n"
        "import mlm.hardware.cached, mlm.hardware.preset, mlm.catalog.load, mlm.cli.hardware\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
