"""How long a Tab takes, in each shell that is here, as milliseconds and as a ratio to bare Python.

Method: a shell on a pseudo-terminal has read the script of ``mlm completion``; a line is typed to
where a Tab can only mean one word, then the time from the Tab to the last letter of that word is
taken. Shells, the question that their scripts ask (``_MLM_COMPLETE``) and ``python -c pass`` take
turns, so that the machine's noise hits all of them alike; the first round is dropped. The last line
is JSON.
"""

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
from pathlib import Path

import pexpect

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 60
SHELLS = {
    "bash": (["--norc", "--noprofile", "-i"], "PS1='ready> '; bind 'set bell-style none'\n"),
    "zsh": (["-f", "-i"], "PROMPT='ready> '; unsetopt promptsp beep\n"),
    "fish": (
        ["--no-config", "--private", "-i"],
        "function fish_prompt; printf 'ready> '; end; set -g fish_autosuggestion_enabled 0\n",
    ),
}
LINES = {"command": ("mlm downl", "oad"), "quantization": ("mlm plan qwen3-8b:Q8", "_0")}


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        environ = _prepare(Path(folder))
        shells = {name: _start(name, environ) for name in SHELLS if shutil.which(name)}
        tasks = _tasks(environ, shells)
        rounds = [{name: task() for name, task in tasks.items()} for _ in range(ROUNDS + 1)][1:]
        for terminal in shells.values():
            terminal.close(force=True)
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{ROUNDS} interleaved rounds, first one dropped; wall milliseconds\n")
    print(f"{'':<30}{'median':>8}{'p99':>8}{'ratio':>8}")
    summary = {}
    for name in tasks:
        times = sorted(round_[name] * 1000 for round_ in rounds)
        median, p99 = statistics.median(times), times[int(len(times) * 0.99)]
        bare = statistics.median(round_[name] / round_["python -c pass"] for round_ in rounds)
        print(f"{name:<30}{median:>8.1f}{p99:>8.1f}{bare:>8.2f}")
        summary[name] = {"median_ms": round(median, 1), "p99_ms": round(p99, 1)}
        summary[name]["ratio"] = round(bare, 2)
    print(f"\n{json.dumps(summary)}")


def _prepare(folder: Path) -> dict[str, str]:
    """Return an environment where ``mlm`` is this checkout, started as pip's script does it."""
    program = folder / "bin" / "mlm"
    program.parent.mkdir()
    text = f"#!{sys.executable}\nimport sys\nfrom mlm.__main__ import main\nsys.exit(main())\n"
    program.write_text(text)
    program.chmod(0o755)
    environ = {**os.environ, "HOME": str(folder), "MLM_HOME": str(folder / "home"), "TERM": "xterm"}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # installed programs have their bytecode
    return environ | {"PATH": f"{program.parent}:{environ['PATH']}"}


def _start(name: str, environ: dict[str, str]) -> "pexpect.spawn[str]":
    words, manners = SHELLS[name]
    script = Path(environ["HOME"]) / f"mlm.{name}"
    script.write_bytes(subprocess.check_output(["mlm", "completion", name], env=environ))
    terminal = pexpect.spawn(
        name, words, env=environ, encoding="utf-8", timeout=30, dimensions=(50, 160)
    )
    terminal.delaybeforesend = None
    terminal.send(f"{manners}source {script}; printf 'so%s\\n' far\n")
    terminal.expect("sofar")
    terminal.expect("ready> ")
    return terminal


def _tasks(
    environ: dict[str, str], shells: dict[str, "pexpect.spawn[str]"]
) -> dict[str, Callable[[], float]]:
    def run(words: list[str], **more: str) -> Callable[[], float]:
        def once() -> float:
            started = time.perf_counter()
            subprocess.run(words, env={**environ, **more}, capture_output=True, check=True)
            return time.perf_counter() - started

        return once

    def press(terminal: "pexpect.spawn[str]", line: str, rest: str) -> Callable[[], float]:
        def once() -> float:
            terminal.send(line)
            time.sleep(0.1)  # the shell has drawn it, and waits
            while terminal.expect([r".+", pexpect.TIMEOUT], timeout=0.05) == 0:
                pass
            started = time.perf_counter()
            terminal.send("\t")
            terminal.expect_exact(rest)
            took = time.perf_counter() - started
            terminal.send("\x15")  # the line goes; what is drawn then, the next one reads
            return took

        return once

    tasks = {"python -c pass": run([sys.executable, "-c", "pass"])}
    for what, (line, rest) in LINES.items():
        *words, begun = line.split()
        tasks[f"asked for a {what}"] = run(words, _MLM_COMPLETE="zsh", _MLM_WORD=begun)
        for name, terminal in shells.items():
            tasks[f"{name}: a {what}"] = press(terminal, line, rest)
    return tasks


if __name__ == "__main__":
    main()
