"""What a server survives: a thousand streams, overload, crashes, kill -9, model churn, leavers.

Method: each suite starts real servers of its own, with fake workers where it takes many slots or
exact moments, else `mlm serve` with the demo model and llama.cpp; one client process on loopback
asks them all, and looks at every answer and at /proc. What is random comes from a seed that is
fixed. Figures that a busy machine makes worse are compared with their targets all the same: run it
on an idle one. All suites take an hour and a half. The last line is JSON.
"""

import argparse
import asyncio
import importlib
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
SUITES = ("streams", "overload", "kills", "gateway", "aborts", "churn")
FILES = 16_384  # that may be open: a connection for each client
Figures = dict[str, float]


def run_suite(suite: str, amount: float | None) -> Figures:
    """Run one suite, in full or so much of it, in a folder of its own."""
    module = importlib.import_module(f"soak.{suite}")
    size = module.FULL
    if amount is not None:
        size = replace(size, **{module.UNIT: type(getattr(size, module.UNIT))(amount)})
    print(f"\n{suite}: {module.__doc__.partition('.')[0]}.\n  {size}", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"HF_HOME": f"{folder}/hf", "MLM_OFFLINE": "1"}
        figures = asyncio.run(module.endure(Path(folder), size))
    elapsed_s = time.monotonic() - started
    return {name: round(value, 3) for name, value in (figures | {"seconds": elapsed_s}).items()}


def targets_of(suite: str) -> dict[str, float]:
    """Return what the figures of a suite must not exceed."""
    module = importlib.import_module(f"soak.{suite}")
    return {**dict.fromkeys(module.NEVER, 0), **module.LIMITS}


def main() -> None:
    """Run the suites and print what they came to."""
    from mlm.server.system import raise_file_limit

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}")
    parser.add_argument("--amount", type=float, help="seconds, requests, kills or aborts of each")
    arguments = parser.parse_args()
    if unknown := set(arguments.suites) - set(SUITES):
        parser.error(f"no suite {', '.join(unknown)}; there are {', '.join(SUITES)}")
    raise_file_limit(FILES)
    load = os.getloadavg()[0]
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {load:.1f} before")
    totals: dict[str, Any] = {}
    missed = []
    for suite in arguments.suites or SUITES:
        totals[suite], targets = run_suite(suite, arguments.amount), targets_of(suite)
        for name, value in totals[suite].items():
            target = f"at most {targets[name]}" if name in targets else ""
            if name in targets and value > targets[name]:
                missed.append(f"{suite}: {name}")
                target += "  MISSED"
            print(f"  {name:<32}{value:>14,}  {target}".rstrip(), flush=True)
    print(f"\n{json.dumps({'missed': missed, 'load_before': round(load, 2)} | totals)}")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
