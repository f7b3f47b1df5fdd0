"""`kill -9` at any moment of a download, by the bytes that have come, by the clock, at each step.

Afterwards nothing wrong has a final name, the next run finishes it, and nothing is left over.
"""

import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fakes.hub import File
from fakes.hub.tiny import NAME, REPO, model_bytes

from mlm.units import MIB
from stress.house import House, finish, living_in

REF = f"{REPO}:Q4_K_M"
LIMITS = {"corrupt": 0, "left over": 0, "MiB fetched twice (median)": 8}
LONGEST_RUN_S = 2.5  # from start to end of an undisturbed download here
# Kills its own process just before the n-th change that it makes below a folder.
KILLED_AT_STEP = """
import os, signal, sys
number, folder = int(sys.argv[1]), sys.argv[2]
steps = ("os.rename", "os.symlink", "os.link", "os.remove", "os.chmod", "os.truncate", "os.mkdir")
writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT
left = [number]
def count(event, arguments):
    changes = event in steps or (event == "open" and (arguments[2] or 0) & writing)
    if changes and folder in str(arguments[0]):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
from mlm.cli.app import run
sys.addaudithook(count)
sys.exit(run(sys.argv[3:]))
"""


@dataclass(frozen=True)
class Case:
    kind: str  # bytes, clock, step
    seed: int  # of a step: which

    @property
    def is_parallel(self) -> bool:
        return self.kind != "step" and self.seed % 3 == 2


def cases(rounds: int, seed: int) -> Iterator[Case]:
    """Yield ``rounds`` random kills, by bytes and by the clock in turn, and at 40 steps."""
    for number in range(seed, seed + rounds):
        yield Case("bytes" if number % 2 else "clock", number)
    for step in range(1, min(40, rounds) + 1):
        yield Case("step", step)


def endure(case: Case, folder: Path) -> dict[str, float]:
    """Kill a download, look at what it has left, and let the next run finish it."""
    chance = random.Random(str(case))
    size = 300_000 if case.kind == "step" else chance.choice([10, 24]) * MIB + chance.randrange(MIB)
    file = File(NAME, model_bytes(size, seed=chance.randrange(90)))
    with living_in(folder) as house:
        house.hub.add(REPO, file)
        if case.is_parallel:
            house.hub.breaks(pace=size / 4)
        killed = _kill(case, house, chance, size)
        for path in house.arrived():
            assert path.read_bytes() == file.content, "something corrupt has a final name"
        house.hub.recovers()
        (arrived,) = house.run("download", REF, "--json").expect(0).json["files"]
        assert Path(arrived["path"]).read_bytes() == file.content, "it ended corrupt"
        assert house.leftovers() == [], house.leftovers()
        listed = house.run_here("list", "--json").expect(0).json["models"]
        assert [model["sha256"] for model in listed] == [file.sha256]
        return {
            "runs": 1,
            "killed": killed,
            "corrupt": 0,
            "left over": 0,
            "killed with several connections": killed and case.is_parallel,
            "MiB fetched twice": max(0, house.hub.sent["cdn"] - size) / MIB if killed else 0.0,
        }


def _kill(case: Case, house: House, chance: random.Random, size: int) -> bool:
    """Start a download and kill it; whether it was not done before that."""
    words = ("download", REF, "--json")
    if case.kind == "step":
        prefix = (sys.executable, "-c", KILLED_AT_STEP, str(case.seed), str(house.folder))
        return house.run(*words, prefix=prefix).exit_code == -signal.SIGKILL
    process = house.start(*words)
    if case.kind == "clock":
        _wait(process, chance.uniform(0, LONGEST_RUN_S))
    else:
        goal = chance.randrange(size)
        while house.hub.sent["cdn"] < goal and process.poll() is None:
            time.sleep(0.001)
    process.kill()
    return finish(process).exit_code == -signal.SIGKILL


def _wait(process: subprocess.Popen[str], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def summarise(results: list[dict[str, float]]) -> dict[str, float]:
    """Return what the figures of all cases come to."""
    twice = [result["MiB fetched twice"] for result in results if result["killed"]]
    return {
        "MiB fetched twice (median)": round(statistics.median(twice), 2) if twice else 0,
        "MiB fetched twice (most)": round(max(twice, default=0), 2),
    }
