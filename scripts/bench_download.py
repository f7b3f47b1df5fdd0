"""How fast models come in, as ratios within one run: mlm, curl with sha256sum, the hf tool.

Method: a fake hub in a process of its own on loopback sends one file from memory (tmpfs) through
the kernel. Everybody is a whole process with a fresh home and a fresh cache on tmpfs. Before each
run a scratch file as large as the model is written and removed, so that each finds memory in the
same state; the order rotates from round to round; figures are medians of all rounds, in seconds of
wall time. mlm verifies what it fetches; curl's file is hashed afterwards by sha256sum; hf verifies
nothing, and is kept from its own transfer protocol, which no mirror speaks. In the throttled case
the server sends at most 20 MB/s over each connection. `verify` and `sha256sum`, one process for
each core, read the same files from the page cache. The last line is JSON.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlm.units import GIB, MIB, format_size, parse_size

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from fakes import gguf_files  # noqa: E402
from fakes.hub import File  # noqa: E402
from fakes.hub.apart import Apart, hub_apart  # noqa: E402

BIN = Path(sys.executable).parent
MLM = (str(BIN / "mlm"), "--quiet")
REPO, NAME = "org/bench-GGUF", "bench.Q4_K_M.gguf"
SHELF, SHELF_COUNT = "org/shelf-GGUF", 8
CAP = 20e6  # bytes per second on each connection
MEMORY = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())


@dataclass(frozen=True)
class Bench:
    """Where everything is, and how often it is done."""

    folder: Path
    hub: Apart
    rounds: int

    def environ(self, house: Path) -> dict[str, str]:
        """Return the environment of somebody whose home and cache are below ``house``."""
        return {**os.environ, "MLM_HOME": str(house / "mlm"), "HF_HOME": str(house / "hf"),
                "HF_ENDPOINT": self.hub.endpoint, "HF_HUB_DISABLE_XET": "1",
                "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                "NO_PROXY": "127.0.0.1,localhost"}  # fmt: skip

    def time(self, work: Callable[[Path], object], scratch_bytes: int) -> float:
        """Return the seconds that ``work`` takes in a house of its own."""
        _use_memory(self.folder / "scratch", scratch_bytes)
        house = self.folder / "house"
        house.mkdir()
        started = time.perf_counter()
        work(house)
        elapsed = time.perf_counter() - started
        shutil.rmtree(house)
        return elapsed

    def compare(
        self, works: dict[str, Callable[[Path], object]], size: int = 0, *, scratch: bool = True
    ) -> dict[str, float]:
        """Do all works on ``size`` bytes in rotating order, print and return their medians."""
        names = list(works)
        seconds: dict[str, list[float]] = {name: [] for name in names}
        for number in range(self.rounds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                seconds[name].append(self.time(works[name], size if scratch else 0))
        for name, values in seconds.items():
            median = statistics.median(values)
            rate = f"{size / median / 1e6:7.0f} MB/s" if size else ""
            print(f"  {name:<22}{median:>8.2f} s ({min(values):.2f}-{max(values):.2f}){rate:>16}")
        return {name: statistics.median(values) for name, values in seconds.items()}


def _use_memory(path: Path, size: int) -> None:
    piece = bytes(4 * MIB)
    with path.open("wb") as file:
        for _ in range(-(-size // len(piece))):
            file.write(piece)
    path.unlink()


def _make_model(path: Path, size: int, name: str = NAME) -> File:
    with path.open("wb") as file:
        file.write(b"GGUF")
        while (left := size - file.tell()) > 0:
            file.write(os.urandom(min(left, 4 * MIB)))
    return File(name, path)


def clients(bench: Bench, commit: str) -> dict[str, Callable[[Path], None]]:
    """Return everybody who can download the model."""
    url = f"{bench.hub.endpoint}/{REPO}/resolve/{commit}/{NAME}"

    def run(house: Path, *command: str) -> None:
        _run(bench.environ(house), *command)

    def curl(house: Path) -> None:
        run(house, "curl", "--silent", "--fail", "--location", "-o", str(house / NAME), url)

    def curl_and_hash(house: Path) -> None:
        curl(house)
        run(house, "sha256sum", str(house / NAME))

    return {
        "mlm download": lambda house: run(house, *MLM, "download", f"{REPO}:Q4_K_M"),
        "curl": curl,
        "curl, then sha256sum": curl_and_hash,
        "hf download": lambda house: run(house, str(BIN / "hf"), "download", REPO, NAME),
    }


def measure_downloads(bench: Bench, size: int, capped_size: int) -> dict[str, float]:
    """Measure with an unthrottled server and with one that caps each connection."""
    everybody = clients(bench, bench.hub.add(REPO, _make_model(bench.folder / "model", size)))
    del everybody["curl"]
    print(f"\nunthrottled, {format_size(size)}:")
    free = bench.compare(everybody, size)
    (bench.folder / "model").unlink()
    capped = _make_model(bench.folder / "capped", capped_size)
    everybody = clients(bench, bench.hub.add(REPO, capped))
    del everybody["curl, then sha256sum"]
    bench.hub.breaks(pace=CAP)
    bench.hub.most_busy()
    print(f"\n{CAP / 1e6:.0f} MB/s for each connection, {format_size(capped_size)}:")
    throttled = bench.compare(everybody, capped_size)
    connections = bench.hub.most_busy()
    bench.hub.recovers()
    (bench.folder / "capped").unlink()
    print(f"  at most {connections} connections at once")
    return {
        "mlm_to_curl_and_sha256sum": free["mlm download"] / free["curl, then sha256sum"],
        "hf_to_mlm": free["hf download"] / free["mlm download"],
        "capped_one_connection_to_mlm": throttled["curl"] / throttled["mlm download"],
        "capped_hf_to_mlm": throttled["hf download"] / throttled["mlm download"],
    }


def measure_verify(bench: Bench, size: int, count: int) -> dict[str, float]:
    """Measure `mlm verify` where ``count`` models of ``size`` bytes in all are installed."""
    names = [f"model{number}/model{number}.Q4_K_M.gguf" for number in range(count)]
    models = [
        _make_model(bench.folder / f"model{number}", size // count, name)
        for number, name in enumerate(names)
    ]
    bench.hub.add(SHELF, *models)
    environ = bench.environ(bench.folder / "shelf")
    paths = []
    for name in names:
        document = _run(environ, *MLM, "download", f"{SHELF}/{name}", "--json")
        paths.append(json.loads(document)["files"][0]["path"])
    for number in range(count):
        (bench.folder / f"model{number}").unlink()
    listing = bench.folder / "paths"
    listing.write_text("\n".join(paths) + "\n")
    hashing = f"xargs -n 1 -P {os.cpu_count()} sha256sum < {listing}"
    print(f"\nin the page cache, {count} models, together {format_size(size)}:")
    times = bench.compare(
        {
            "mlm verify": lambda _: _run(environ, *MLM, "verify"),
            "sha256sum, parallel": lambda _: _run(environ, "sh", "-c", hashing),
        },
        size,
        scratch=False,
    )
    shutil.rmtree(bench.folder / "shelf")
    return {"sha256sum_to_verify": times["sha256sum, parallel"] / times["mlm verify"]}


def measure_sync(bench: Bench) -> dict[str, float]:
    """Measure a second `mlm sync`, with everything there, against bare start-up."""
    wanted = [f"models/model{number}.Q8_0.gguf" for number in range(8)]
    model = gguf_files.llama().encode()
    bench.hub.add(REPO, *(File(name, model + bytes([n])) for n, name in enumerate(wanted)))
    manifest = bench.folder / "mlm.yaml"
    manifest.write_text("models:\n" + "".join(f"  - model: {REPO}/{name}\n" for name in wanted))
    environ = bench.environ(bench.folder / "synced")
    sync = (*MLM, "sync", "--file", str(manifest))
    _run(environ, *sync)
    print(f"\n{len(wanted)} models, all there:")
    times = bench.compare(
        {
            "mlm sync": lambda _: _run(environ, *sync),
            "mlm --version": lambda _: _run(environ, *MLM, "--version"),
        }
    )
    return {"sync_over_start_up_ms": (times["mlm sync"] - times["mlm --version"]) * 1000}


def _run(environ: dict[str, str], *command: str) -> str:
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=parse_size, default=2 * GIB, help="of the model: 2GiB")
    parser.add_argument("--capped-size", type=parse_size, default=1 * GIB, help="… when throttled")
    parser.add_argument("--shelf", type=parse_size, default=4 * GIB, help="verified in all: 10GiB")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, hub_apart() as hub:
        bench = Bench(Path(folder), hub, arguments.rounds)
        load = os.getloadavg()[0]
        print(f"{platform.platform()}, {os.cpu_count()} cores, load {load:.1f}, on {MEMORY}")
        print(f"{arguments.rounds} rounds in rotating order; medians (min-max)")
        ratios: dict[str, float] = {}
        ratios |= measure_downloads(bench, arguments.size, arguments.capped_size)
        ratios |= measure_verify(bench, arguments.shelf, SHELF_COUNT)
        ratios |= measure_sync(bench)
    print(f"\n{json.dumps({name: round(value, 2) for name, value in ratios.items()})}")


if __name__ == "__main__":
    main()
