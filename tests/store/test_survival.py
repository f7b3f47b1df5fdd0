"""What real processes leave behind when they are killed, starved or not alone."""

import json
import random
import re
import resource
import signal
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
# Kills its own process just before the n-th change to the file system that a download makes.
KILLED_AT_STEP = """
import os, signal, sys
steps = ("os.rename", "os.symlink", "os.remove", "os.chmod", "os.truncate", "os.mkdir")
left = [int(sys.argv[1])]
def count(event, arguments):
    if event in steps and "mlm" in str(arguments[0]):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
from mlm.cli.app import run
sys.addaudithook(count)
sys.exit(run(sys.argv[2:]))
"""

# Says at the end how much memory the process has had at most, in bytes. (The figure of getrusage
# would include the large process that started it.)
WEIGHED = """
import re, sys
from pathlib import Path
from mlm.cli.app import run
code = run(["--quiet", *sys.argv[1:]])
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(int(peak[1]) * 1024, file=sys.stderr)
sys.exit(code)
"""


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
    assert (count - (len(BIG) - int(str(file["fetched_bytes"])))) <= PIECE_BYTES
    assert_nothing_is_left_over(hub_cache)


@pytest.mark.slow
def test_killed_again_and_again_it_still_arrives(hub: FakeHub, big: File, hub_cache: Path):
    chance = random.Random(7)
    for count in sorted(chance.sample(range(len(BIG)), 15)):
        kill_after(count, hub, hub_cache)
    assert Path(str(finish()["path"])).read_bytes() == BIG
    assert_nothing_is_left_over(hub_cache)


@pytest.mark.slow
def test_killed_at_every_step_it_neither_lies_nor_forgets(
    hub: FakeHub, hub_cache: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    small = File(NAME, model_bytes(200_000))
    hub.add(REPO, small)
    for step in range(1, 100):
        monkeypatch.setenv("MLM_HOME", str(tmp_path / f"mlm-home{step}"))
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / f"mlm-cache{step}"))
        killed = subprocess.run(
            [sys.executable, "-c", KILLED_AT_STEP, str(step), *COMMAND[3:]],
            capture_output=True,
            text=True,
        )
        if killed.returncode == 0:
            break
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        for path in (tmp_path / f"mlm-cache{step}").glob("*/snapshots/*/*"):
            assert path.read_bytes() == small.content
        assert Path(str(finish()["path"])).read_bytes() == small.content
        assert_nothing_is_left_over(tmp_path / f"mlm-cache{step}")
        listed = subprocess.run(
            [*COMMAND[:3], "list", "--json"], capture_output=True, text=True, check=True
        )
        assert [m["sha256"] for m in json.loads(listed.stdout)["models"]] == [small.sha256]
    assert step > 8, "the steps were not seen"


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


@pytest.mark.slow
def test_memory_stays_small_however_large_the_file(hub: FakeHub):
    hub.add(REPO, File(NAME, model_bytes(96 * MIB)))
    done = subprocess.run(
        [sys.executable, "-c", WEIGHED, *COMMAND[3:]], capture_output=True, text=True, check=True
    )
    assert 20 * MIB < int(done.stderr.split()[-1]) < 150 * MIB


def hf(*words: str) -> subprocess.CompletedProcess[str]:
    command = str(Path(sys.executable).with_name("hf"))
    return subprocess.run([command, *words], capture_output=True, text=True)


def test_the_hf_tool_reads_our_store_and_finds_it_right(hub: FakeHub, big: File):
    finish()
    assert REPO in hf("cache", "ls").stdout
    verified = hf("cache", "verify", REPO)
    assert "All checksums match" in verified.stdout, verified.stderr


@pytest.mark.slow
def test_the_hf_tool_fetches_nothing_that_we_have(hub: FakeHub, big: File):
    finish()
    hub.requests.clear()
    assert hf("download", REPO, NAME).returncode == 0
    assert hub.asked("cdn") == []


@pytest.mark.slow
def test_what_the_hf_tool_has_fetched_is_ours_after_a_check(hub: FakeHub, big: File):
    assert hf("download", REPO, NAME).returncode == 0
    hub.requests.clear()
    assert finish()["status"] == "adopted"
    assert hub.asked("cdn") == []


@pytest.mark.slow
def test_the_hf_tool_does_not_prune_what_is_still_coming(hub: FakeHub, big: File, hub_cache: Path):
    kill_after(20 * PIECE_BYTES, hub, hub_cache)
    assert hf("cache", "prune", "--yes").returncode == 0
    assert finish()["status"] == "resumed"
