"""Eight processes that want the same file, and whoever holds the lock is killed now and then."""

import random
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO, model_bytes

from mlm.units import MIB
from stress.house import finish, living_in

REF = f"{REPO}:Q4_K_M"
CROWD = 8
SIZE = 24 * MIB + 99
PACE = 10e6  # bytes per second on each connection
LIMITS = {"failed survivors": 0, "bytes sent to size (most)": 1.2}


@dataclass(frozen=True)
class Case:
    seed: int


def cases(rounds: int, seed: int) -> Iterator[Case]:
    """Yield ``rounds`` crowds."""
    return (Case(number) for number in range(seed, seed + rounds))


def endure(case: Case, folder: Path) -> dict[str, float]:
    """Start the crowd, kill up to three owners, and look at what the others make of it."""
    chance = random.Random(str(case))
    file = File(NAME, model_bytes(SIZE, seed=chance.randrange(90)))
    with living_in(folder) as house:
        house.hub.add(REPO, file)
        house.hub.breaks(pace=PACE)
        processes = [house.start("download", REF, "--json") for _ in range(CROWD)]
        marks = sorted(chance.sample(range(SIZE // 20, SIZE), chance.randrange(4)))
        killed = [pid for mark in marks if (pid := _kill_owner(mark, house.hub, processes))]
        ended = [finish(process) for process in processes]
        survivors = [done for done in ended if done.exit_code != -signal.SIGKILL]
        assert len(survivors) >= CROWD - len(killed)
        for done in survivors:
            (arrived,) = done.expect(0).json["files"]
            assert arrived["sha256"] == file.sha256
        (path,) = house.arrived()
        assert path.read_bytes() == file.content
        blobs = [blob for blob in house.cache.glob("*/blobs/*") if blob.is_file()]
        assert len(blobs) == 1, blobs
        share = house.hub.sent["cdn"] / SIZE
        assert share <= LIMITS["bytes sent to size (most)"], f"{share:.2f} times the bytes"
    return {
        "runs": 1,
        "owners killed": len(killed),
        "failed survivors": 0,
        "bytes sent to size": share,
    }


def summarise(results: list[dict[str, float]]) -> dict[str, float]:
    """Return what the figures of all cases come to."""
    most = max(result["bytes sent to size"] for result in results)
    return {"bytes sent to size (most)": round(most, 3)}


def _kill_owner(mark: int, hub: FakeHub, processes: list[subprocess.Popen[str]]) -> int | None:
    """Kill who holds a lock when ``mark`` bytes have been sent; None if nobody does any more."""
    while hub.sent["cdn"] < mark:
        if all(process.poll() is not None for process in processes):
            return None
        time.sleep(0.002)
    ours = {process.pid for process in processes if process.poll() is None}
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if "FLOCK" in fields and (pid := int(fields[fields.index("FLOCK") + 3])) in ours:
            next(process for process in processes if process.pid == pid).kill()
            return pid
    return None
