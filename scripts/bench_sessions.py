"""How long ten thousand saved messages take to open and to search.

    python scripts/bench_sessions.py [--messages 10000] [--rounds 7] [--no-chat]

Method: a house of its own with one conversation of half of the messages and a hundred of the rest,
made of words of this project's documentation, 60 a message. The store is measured in this process,
each time with the file opened anew; commands as whole processes, and `mlm chat -c` at a
pseudo-terminal until it prompts, with the demo model warm in a server, beside `mlm chat`
and `mlm --version`, interleaved round by round. The first round is dropped. Milliseconds: median
(min-max). The last line is JSON.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect

from mlm.sessions.store import Sessions
from mlm.sessions.types import Message, Query

ROOT = Path(__file__).parents[1]
MLM = [sys.executable, "-m", "mlm"]
CONVERSATIONS, WORDS = 100, 60
TARGET_MS = 300


def fill(path: Path, n_messages: int) -> None:
    """Save the conversations; the long one is the last."""
    dice = random.Random(1)
    words = " ".join(page.read_text() for page in sorted((ROOT / "docs").rglob("*.md"))).split()

    def say(i: int) -> Message:
        text = " ".join(dice.choices(words, k=WORDS)) + (" zebrafish" if i == 7 else "")
        return Message("assistant" if i % 2 else "user", text, 1e9 + i, model="mlm-demo")

    with Sessions(path) as sessions:
        short = n_messages // 2 // CONVERSATIONS
        for length in (*[short] * CONVERSATIONS, n_messages - short * CONVERSATIONS):
            messages = [say(i) for i in range(length)]
            sessions.begin(messages, title="Talk", model="mlm-demo", ref="mlm-demo")


def store_actions(path: Path) -> dict[str, Callable[[], object]]:
    """Return what is measured of the store, by name."""

    def opened(act: Callable[[Sessions], object]) -> Callable[[], object]:
        def run() -> None:
            with Sessions(path) as sessions:
                act(sessions)

        return run

    return {
        "open, list 20": opened(lambda sessions: sessions.summaries(limit=20)),
        "open, read the longest": opened(lambda s: s.read(s.summaries(limit=1)[0])),
        "search a rare word": opened(lambda s: s.search(Query("zebrafish"), limit=20)),
        "search a common word": opened(lambda s: s.search(Query("the"), limit=20)),
        "search three words": opened(lambda s: s.search(Query("model file memory"), limit=20)),
        "search signs": opened(lambda s: s.search(Query("%$"), limit=20)),
    }


def command_actions(environ: dict[str, str], *, has_chat: bool) -> dict[str, Callable[[], object]]:
    """Return what is measured of whole commands, by name."""

    def command(*words: str) -> Callable[[], object]:
        return lambda: subprocess.run([*MLM, *words], env=environ, capture_output=True, check=True)

    def chat(*words: str) -> Callable[[], object]:
        def run() -> None:
            child = pexpect.spawn(sys.executable, ["-m", "mlm", "chat", *words], env=environ)
            child.expect(">>> ?[^ ]*\x1b", timeout=60)
            child.close(force=True)

        return run

    actions = {
        "mlm --version": command("--version"),
        "mlm sessions list": command("sessions", "list"),
        "mlm sessions search": command("sessions", "search", "model", "file"),
        "mlm sessions show": command("sessions", "show"),
    }
    chats = {"mlm chat": chat("mlm-demo", "--no-save"), "mlm chat -c": chat("-c")}
    return actions | (chats if has_chat else {})


@contextmanager
def warm_server(environ: dict[str, str]) -> Iterator[None]:
    """Have the demo model in memory."""
    subprocess.run([*MLM, "--quiet", "download", "mlm-demo"], env=environ, check=True, stdout=2)
    command = [*MLM, "--quiet", "serve", "mlm-demo", "--port", "0", "--json"]
    server = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        next(line for line in server.stdout if '"loaded"' in line)
        yield
    finally:
        server.terminate()
        server.wait()


def measure(actions: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the milliseconds of each action in every round but the first."""
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds + 1):
        for name, act in actions.items():
            started = time.perf_counter()
            act()
            taken[name].append((time.perf_counter() - started) * 1000)
    return {name: times[1:] for name, times in taken.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-chat", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "MLM_HOME": home, "HF_HOME": home, "MLM_OFFLINE": "1"}
        environ |= {"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}
        path = Path(home) / "sessions.sqlite"
        fill(path, options.messages)
        taken = measure(store_actions(path), options.rounds)
        if options.no_chat:
            taken |= measure(command_actions(environ, has_chat=False), options.rounds)
        else:
            with warm_server(environ):
                taken |= measure(command_actions(environ, has_chat=True), options.rounds)
        size = path.stat().st_size
    load = os.getloadavg()[0]
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {load:.1f}")
    print(f"{options.messages} messages, {size / 1e6:.1f} MB; {options.rounds} rounds\n")
    for name, times in taken.items():
        median = statistics.median(times)
        print(f"{name:<24}{median:8.1f} ({min(times):.1f}-{max(times):.1f})")
    medians = {name: round(statistics.median(times), 1) for name, times in taken.items()}
    print(f"\n{json.dumps({'target_ms': TARGET_MS, 'load': round(load, 1), **medians})}")


if __name__ == "__main__":
    main()
