"""How the server does with the demo model, as ratios within one run.

Method: a real `mlm serve mlm-demo` in a house of its own; one client process on loopback, one
thread and connection per user. Rounds with 1, 4 and 8 users alternate, so that the machine's noise
hits them alike, and the first round is dropped. Prompts are made distinct, so that no cache helps;
the last measure then asks one question again and again, so that only the cache answers. The model
is tiny: these are the costs of mlm itself, not what a real model does. The last line is JSON.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mlm.bench.load import Load, apply_load
from mlm.bench.prompts import STANDARD_PROMPTS
from mlm.client import Client, Recording

MLM = [sys.executable, "-m", "mlm"]
USERS = (1, 4, 8)
ROUNDS, REPEATS, MAX_TOKENS = 5, 51, 48
MODEL = "mlm-demo"


@contextmanager
def served(model: str = MODEL, *, slots: int = max(USERS)) -> Iterator[tuple[str, str]]:
    """Yield the address of a server with the demo model, or a file; and the id of the model."""
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "MLM_HOME": home, "HF_HOME": home, "MLM_OFFLINE": "1"}
        if model == MODEL:
            subprocess.run([*MLM, "--quiet", "download", MODEL], env=environ, check=True, stdout=2)
        command = [*MLM, "--quiet", "serve", model, "--port", "0", "--json"]
        command += ["--parallel", str(slots), *(() if model == MODEL else ("--ctx", "2048"))]
        server = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            url = ""
            for line in server.stdout:
                event = json.loads(line)
                url = event.get("url") or url
                if event["event"] == "loaded":
                    yield url, event["model_ids"][0]
                    break
        finally:
            server.terminate()
            server.wait()


def throughput(client: Client, users: int) -> float:
    """Return the tokens per second of all users together."""
    measured = apply_load(client, MODEL, STANDARD_PROMPTS[:1], Load(users, 4, MAX_TOKENS))
    return sum(run.completion_tokens for run in measured.runs) / measured.wall_s


def ask(client: Client) -> float:
    """Return the milliseconds that one deterministic question takes."""
    started = time.perf_counter()
    question = [{"role": "user", "content": "What is mlm?"}]
    Recording(client.chat(question, model=MODEL, temperature=0)).wait()
    return (time.perf_counter() - started) * 1000


def main() -> None:
    """Measure and print."""
    with served() as (url, _), Client(url) as client:
        first_ms, *repeats_ms = (ask(client) for _ in range(REPEATS + 1))
        rounds = [{n: throughput(client, n) for n in USERS} for _ in range(ROUNDS + 1)][1:]
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{ROUNDS} alternating rounds, first one dropped; median (min-max)\n")
    for users in USERS:
        tps = [r[users] for r in rounds]
        print(
            f"{users} at once: {statistics.median(tps):6.0f} tok/s ({min(tps):.0f}-{max(tps):.0f})"
        )
    hit_ms = statistics.median(repeats_ms)
    print(f"first answer {first_ms:.1f} ms, repeated {hit_ms:.2f} ms")
    summary = {
        f"tps_{users}_to_1": round(statistics.median(r[users] / r[1] for r in rounds), 2)
        for users in USERS[1:]
    } | {"repeated_ms": round(hit_ms, 2), "first_to_repeated": round(first_ms / hit_ms, 1)}
    print(f"\n{json.dumps(summary)}")


if __name__ == "__main__":
    main()
