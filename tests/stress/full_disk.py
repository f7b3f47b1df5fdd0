"""A disk that fills up while a download runs: a small tmpfs of the test's own, filled at an offset.

The mount lives in a namespace of one process, so what happens there is a program of its own,
`INSIDE`. Where namespaces are forbidden, a limit on the size of files stands in for the disk.
"""

import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fakes.hub import File
from fakes.hub.tiny import NAME, REPO, model_bytes

from mlm.errors import ExitCode
from mlm.units import MIB
from stress.house import MLM, Done, House, living_in

REF = f"{REPO}:Q4_K_M"
SIZE = 8 * MIB + 4321
LIMITS = {"corrupt": 0, "index does not open": 0, "figures not named": 0}
FIGURES = re.compile(r"needs .* \((\d+) bytes\) more, and .* \((\d+) bytes\) are free")
# Mounts a disk at argv[1], fills it when argv[2] bytes of a download are there, then makes room and
# lets the download go on. Prints what each command left.
INSIDE = """
import json, os, subprocess, sys, time
disk, offset, spare, room, *mlm = sys.argv[1], *map(int, sys.argv[2:5]), *sys.argv[5:]
subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}", "none", disk], check=True)
def free():
    left = os.statvfs(disk)
    return left.f_bavail * left.f_bsize
def run(*words):
    done = subprocess.run([*mlm, *words, "--json"], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr
before = free()
download = [*mlm, "download", "REF", "--json"]
process = subprocess.Popen(download, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
while before - free() < offset and process.poll() is None:
    time.sleep(0.0005)
with open(f"{disk}/ballast", "wb", buffering=0) as ballast:
    try:
        while (count := free() - spare) > 0:
            ballast.write(bytes(min(count, 1 << 20)))
    except OSError:
        pass
stdout, stderr = process.communicate()
left = [(process.returncode, stdout, stderr), run("list")]
os.remove(f"{disk}/ballast")
left += [run("download", "REF"), run("verify"), run("list")]
print(json.dumps(left))
"""


@dataclass(frozen=True)
class Case:
    seed: int
    is_small_from_the_start: bool


def cases(rounds: int, seed: int) -> Iterator[Case]:
    """Yield ``rounds`` offsets; every tenth disk is too small before anything has come."""
    for number in range(seed, seed + rounds):
        yield Case(number, number % 10 == 9)


def endure(case: Case, folder: Path) -> dict[str, float]:
    """Fill the disk, look at what is said and kept, make room and go on."""
    chance = random.Random(str(case))
    file = File(NAME, model_bytes(SIZE, seed=chance.randrange(90)))
    offset = 0 if case.is_small_from_the_start else chance.randrange(1, SIZE)
    with living_in(folder) as house:
        house.hub.add(REPO, file)
        house.hub.breaks(pace=8 * MIB)
        if can_mount():
            failed, listed, resumed, verified, final = _on_small_disk(
                house, chance.randrange(0, 100_000), offset
            )
        else:
            failed, listed, resumed, verified, final = _under_limit(house, offset)
        is_full = failed.exit_code != ExitCode.OK
        if is_full:
            failed.expect(ExitCode.DISK_SPACE)
            message = failed.json["error"]["message"]
            assert FIGURES.search(message), message
        assert listed.expect(0).json["models"] == [] or not is_full
        (arrived,) = resumed.expect(0).json["files"]
        assert arrived["sha256"] == file.sha256
        assert verified.expect(0).json["files"][0]["ok"]
        assert [m["sha256"] for m in final.expect(0).json["models"]] == [file.sha256]
    return {
        "runs": 1,
        "full": is_full,
        "corrupt": 0,
        "index does not open": 0,
        "figures not named": 0,
        "resumed": arrived["status"] == "resumed",
    }


@cache
def can_mount() -> bool:
    """Whether a disk can be mounted here without being root."""
    command = ["unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def _on_small_disk(house: House, spare: int, offset: int) -> list[Done]:
    """Run `INSIDE` with everything on that disk, the index too; ``spare`` bytes stay free."""
    house.folder.mkdir(exist_ok=True)
    room = SIZE * 2 + 4 * MIB
    inside = INSIDE.replace("REF", REF)
    words = (str(house.folder), str(offset), str(spare), str(room), *MLM)
    process = house.run(*words, prefix=("unshare", "-Urm", sys.executable, "-c", inside))
    assert process.exit_code == 0, process.stderr
    return [Done(*left) for left in json.loads(process.stdout)]


def _under_limit(house: House, offset: int) -> list[Done]:
    limit = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (L, L))".replace(
        "L", str(max(offset, MIB))
    )
    prefix = (sys.executable, "-c", f"{limit}; os.execv(sys.executable, sys.argv[1:])", *MLM)
    words = [("download", REF), ("list",), ("download", REF), ("verify",), ("list",)]
    return [
        house.run(*command, "--json", prefix=prefix if number == 0 else MLM)
        for number, command in enumerate(words)
    ]
