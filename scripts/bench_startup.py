"""How long the command line takes to start, as ratios within one run.

Method: each command runs as a whole process, interleaved round by round so that the machine's
noise hits all of them alike; the first round, which may write bytecode, is dropped; figures are
user+system CPU and wall milliseconds, medians with minimum and maximum. The last line is JSON.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 9
BIN = Path(sys.executable).parent
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "mlm --version": [str(BIN / "mlm"), "--version"],
    "mlm --help": [str(BIN / "mlm"), "--help"],
    "mlm recommend": [str(BIN / "mlm"), "recommend"],
    "hf --help": [str(BIN / "hf"), "--help"],
}


def run_once(command: list[str], environ: dict[str, str]) -> tuple[float, float]:
    """Return the CPU and wall seconds of one run."""
    before, started = os.times(), time.perf_counter()
    subprocess.run(command, env=environ, capture_output=True, check=True)
    wall, after = time.perf_counter() - started, os.times()
    cpu = (after.children_user + after.children_system) - (
        before.children_user + before.children_system
    )
    return cpu, wall


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "MLM_HOME": home, "HF_HOME": home, "MLM_OFFLINE": "1"}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)  # installed programs have their bytecode
        rounds = [
            {name: run_once(command, environ) for name, command in COMMANDS.items()}
            for _ in range(ROUNDS + 1)
        ][1:]
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{ROUNDS} interleaved rounds, first one dropped; milliseconds: median (min-max)\n")
    print(f"{'command':<18}{'CPU':>18}{'wall':>20}")
    medians = {}
    for name in COMMANDS:
        cpu, wall = ([r[name][i] * 1000 for r in rounds] for i in (0, 1))
        medians[name] = statistics.median(cpu), statistics.median(wall)
        print(f"{name:<18}{_spread(cpu):>18}{_spread(wall):>20}")
    bare, hf = medians["python -c pass"], medians["hf --help"]
    summary = {
        "version_over_python_ms": round(medians["mlm --version"][1] - bare[1], 1),
        "help_over_python_ms": round(medians["mlm --help"][1] - bare[1], 1),
        "recommend_to_hf_help_cpu": round(medians["mlm recommend"][0] / hf[0], 2),
        "recommend_to_hf_help_wall": round(medians["mlm recommend"][1] / hf[1], 2),
    }
    print(f"\n{json.dumps(summary)}")


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f})"


if __name__ == "__main__":
    main()
