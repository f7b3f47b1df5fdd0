"""How much memory a download takes, whatever a hub sends."""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO, model_bytes

from mlm.units import MIB
from stress.house import living_in

REF = f"{REPO}:Q4_K_M"
LIMITS = {"resident MiB (most)": 150, "disk MiB (most)": 150}
# Says at the end how much memory the process has had at most. (The figure of getrusage would
# include the large process that started it.)
WEIGHED = """
import re, sys
from pathlib import Path
from mlm.cli.app import run
code = run(sys.argv[1:])
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(f"peak {int(peak[1]) * 1024}", file=sys.stderr)
sys.exit(code)
"""
_WAVE = bytes(MIB)
LOADS: dict[str, Callable[[FakeHub], object]] = {
    "a large file": lambda hub: hub.add(REPO, File(NAME, model_bytes(128 * MIB))),
    "several connections": lambda hub: (
        hub.add(REPO, File(NAME, model_bytes(96 * MIB))),
        hub.breaks(pace=12e6),
    ),
    "bytes without end": lambda hub: hub.breaks(append=_WAVE * 64, chunked=True),
    "compressed bytes": lambda hub: hub.breaks(
        status=200, body=_WAVE, repeat=10_000, compressed=True
    ),
    "compressed bytes, not said so": lambda hub: hub.breaks(
        status=200, body=_WAVE, repeat=10_000, compressed=True, without=("Content-Encoding",)
    ),
    "a compressed listing": lambda hub: hub.breaks(
        where="api", body=_WAVE, repeat=10_000, compressed=True
    ),
    "10 GB of listing": lambda hub: hub.breaks(where="api", body=b"[" * MIB, repeat=10_000),
    "a listing without end": lambda hub: hub.breaks(
        where="api", body=b" " * MIB, repeat=10**9, chunked=True
    ),
    "a million files": lambda hub: hub.breaks(where="api", entries=1_000_000),
    "redirects without end": lambda hub: [
        hub.breaks(where=where, hops=10**9) for where in ("api", "resolve", "cdn")
    ],
    "redirects of the bytes": lambda hub: hub.breaks(hops=10**9),
    "pages without end": lambda hub: hub.breaks(
        where="api", headers={"Link": f'<{hub.endpoint}/api/models/{REPO}?page=2>; rel="next"'}
    ),
    "large headers": lambda hub: hub.breaks(headers={f"X-{n}": "x" * 60_000 for n in range(90)}),
    "headers without end": lambda hub: hub.breaks(
        where="resolve", headers={f"X-{n}": "x" for n in range(100_000)}
    ),
    "a large refusal": lambda hub: hub.breaks(
        status=404, body=b"x" * MIB, repeat=10_000, headers={"X-Error-Message": "y" * 60_000}
    ),
}


@dataclass(frozen=True)
class Case:
    load: str
    seed: int = 0


def cases(rounds: int, seed: int) -> Iterator[Case]:
    """Yield every load once, however many rounds."""
    return (Case(load) for load in list(LOADS)[:rounds])


def endure(case: Case, folder: Path) -> dict[str, float]:
    """Download, and return the most memory that took."""
    with living_in(folder) as house:
        house.hub.add(REPO, File(NAME, model_bytes(300_000)))
        LOADS[case.load](house.hub)
        words = ("--quiet", "download", REF, "--json")
        prefix = (sys.executable, "-c", WEIGHED)
        done = house.run(*words, prefix=prefix, MLM_TIMEOUT_SCALE="0.1").expect()
        found = re.search(r"^peak (\d+)$", done.stderr, re.MULTILINE)
        assert found, done.stderr
        peak = int(found[1]) / MIB
        used = sum(path.lstat().st_size for path in house.cache.rglob("*") if path.is_file())
        assert 20 < peak <= LIMITS["resident MiB (most)"], f"{case.load}: {peak:.0f} MiB"
        return {"runs": 1, "resident MiB": peak, "disk MiB": used / MIB}


def summarise(results: list[dict[str, float]]) -> dict[str, float]:
    """Return what the figures of all cases come to."""
    names = ("resident MiB", "disk MiB")
    return {f"{name} (most)": round(max(r[name] for r in results), 1) for name in names}
