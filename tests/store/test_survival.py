"""What real processes leave behind when they are killed, starved or not alone."""

import json
import random
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO, model_bytes
from fakes.processes import wait_until

from mlm.errors import ExitCode
from mlm.store.hasher import PIECE_BYTES
from mlm.units import MIB

REF = f"{REPO}:Q4_K_M"
BIG = model_bytes(12 * MIB + 345)
COMMAND = [sys.executable, "-m", "mlm", "download", REF, "--json"]


@pytest.fixture
def big(hub: FakeHub) -> File:
    file = File(NAME, BIG)
    hub.add(REPO, file)
    return file


def partial_size(hub_cache: Path) -> int:
    return sum(path.stat().st_size for path in hub_cache.rglob("*.mlm-partial"))


def kill_after(count: int, hub: FakeHub, hub_cache: Path) -> None:
    """Start a download and kill it when ``count`` bytes have come: all whole pieces are written."""
    hub.breaks(stall_at=count)
    with subprocess.Popen(COMMAND, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: partial_size(hub_cache) >= count - count % PIECE_BYTES)
        process.kill()
    hub.recovers()


def finish() -> dict[str, object]:
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=True)
    (file,) = json.loads(done.stdout)["files"]
    return file


def assert_nothing_is_left_over(hub_cache: Path) -> None:
    names = [path.name for path in hub_cache.rglob("*")]
    assert [name for name in names if "partial" in name or "unfinished" in name] == []


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(100, marks=pytest.mark.slow),
        20 * PIECE_BYTES + 5,
        pytest.param(24 * PIECE_BYTES - 1, marks=pytest.mark.slow),
    ],
)
def test_a_killed_download_goes_on_where_it_was(
    count: int, hub: FakeHub, big: File, hub_cache: Path
):
    kill_after(count, hub, hub_cache)
    assert not list(hub_cache.glob("*/snapshots/*/*")), "nothing unfinished has a final name"
    file = finish()
    assert Path(str(file["path"])).read_bytes() == BIG
    kept = len(BIG) - int(str(file["fetched_bytes"]))
    assert count - kept <= 2 * PIECE_BYTES, "at most one being filled, and one not noted yet"
    assert_nothing_is_left_over(hub_cache)


@pytest.mark.slow
def test_killed_again_and_again_it_still_arrives(hub: FakeHub, big: File, hub_cache: Path):
    chance = random.Random(7)
    for count in sorted(chance.sample(range(len(BIG)), 15)):
        kill_after(count, hub, hub_cache)
    assert Path(str(finish()["path"])).read_bytes() == BIG
    assert_nothing_is_left_over(hub_cache)


def test_two_processes_share_one_download(hub: FakeHub, big: File):
    hub.breaks(pace=30 * MIB)
    processes = [
        subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    statuses = sorted(json.loads(out)["files"][0]["status"] for out, _ in outputs)
    assert statuses == ["downloaded", "present"]
    assert hub.requested_ranges == [None]


def test_a_disk_that_fills_up_is_named_and_nothing_is_lost(
    hub: FakeHub, big: File, hub_cache: Path
):
    def starve() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5 * MIB, 5 * MIB))

    starved = subprocess.run(COMMAND, capture_output=True, text=True, preexec_fn=starve)
    assert starved.returncode == ExitCode.DISK_SPACE
    message = json.loads(starved.stdout)["error"]["message"]
    assert re.search(r"needs .* \(\d+ bytes\) more, and .* are free", message)
    file = finish()
    assert file["status"] == "resumed"
    assert Path(str(file["path"])).read_bytes() == BIG


def hf(*words: str) -> subprocess.CompletedProcess[str]:
    command = str(Path(sys.executable).with_name("hf"))
    return subprocess.run([command, *words], capture_output=True, text=True)


@pytest.mark.slow
def test_the_hf_tool_does_not_prune_what_is_still_coming(hub: FakeHub, big: File, hub_cache: Path):
    kill_after(20 * PIECE_BYTES, hub, hub_cache)
    assert hf("cache", "prune", "--yes").returncode == 0
    assert finish()["status"] == "resumed"
