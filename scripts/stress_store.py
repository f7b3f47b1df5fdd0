"""What the store survives: faulty servers, kill -9, full disks, crowds, enemies, floods, leaks.

Method: every case is a house, a hub and real downloads of its own; all that is random comes from
the seed of the case, which is printed when the store breaks a promise. `--only` repeats such a case
alone. The cases of a suite run side by side, one for each core. The last line is JSON.
"""

import argparse
import importlib
import json
import os
import platform
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
FULL_SIZE = {
    "faults": 20,
    "kills": 500,
    "full_disk": 50,
    "crowd": 50,
    "hostile": 200,
    "memory": 99,
    "canary": 1,
}  # rounds
Figures = dict[str, float]


def endure(suite: str, case: Any) -> tuple[Figures | None, str]:
    """Run one case in a folder of its own; return its figures, or what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return importlib.import_module(f"stress.{suite}").endure(case, Path(folder)), ""
        except Exception as error:
            return None, f"{type(error).__name__}: {error}"


def run_suite(suite: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run all cases of a suite, and print a line for each promise that was broken."""
    module = importlib.import_module(f"stress.{suite}")
    rounds = FULL_SIZE[suite] if arguments.rounds is None else arguments.rounds
    cases = [c for c in module.cases(rounds, arguments.seed) if arguments.only in str(c)]
    started, results, broken = time.monotonic(), [], 0
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(endure, suite, case): case for case in cases}
        for done, future in enumerate(as_completed(waiting), 1):
            figures, why = future.result()
            if figures is None:
                broken += 1
                print(f"\n{suite} {waiting[future]}\n    {why}")
            else:
                results.append(figures)
            print(f"\r{suite}: {done} of {len(cases)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    elapsed_s = round(time.monotonic() - started, 1)
    return {"cases": len(cases), "broken": broken, "seconds": elapsed_s} | _total(module, results)


def _total(module: Any, results: list[Figures]) -> Figures:
    """Return what the figures of all cases come to: whole numbers added, the rest by the suite."""
    total: Figures = {}
    for figures in results:
        for name, value in figures.items():
            if isinstance(value, int):
                total[name] = total.get(name, 0) + value
    if results and hasattr(module, "summarise"):
        total |= module.summarise(results)
    return total


def exceeded(suite: str, total: Figures) -> list[str]:
    """Return which limits the figures of a suite do not keep to."""
    limits = importlib.import_module(f"stress.{suite}").LIMITS
    return [f"{suite}: {name}" for name, most in limits.items() if total.get(name, 0) > most]


def main() -> None:
    """Run the suites and print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(FULL_SIZE)}")
    parser.add_argument("--rounds", type=int, help="of each suite; default: the full size")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", metavar="TEXT", help="cases printed like this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    if unknown := set(arguments.suites) - set(FULL_SIZE):
        parser.error(f"no suite {', '.join(unknown)}; there are {', '.join(FULL_SIZE)}")
    load = os.getloadavg()[0]
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {load:.1f}, seed {arguments.seed}")
    totals, bad = {}, []
    for suite in arguments.suites or FULL_SIZE:
        totals[suite] = run_suite(suite, arguments)
        bad += exceeded(suite, totals[suite])
        bad += [f"{suite}: promises broken"] * bool(totals[suite]["broken"])
        for name, value in totals[suite].items():
            print(f"    {suite:<12}{name:<34}{value:>10}")
    print(json.dumps({"seed": arguments.seed, "bad": bad} | totals))
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
