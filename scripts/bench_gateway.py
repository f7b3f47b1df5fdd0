"""What the gateway costs: CPU per token; tokens per second through it and of the engine alone.

    python scripts/bench_gateway.py MODEL.gguf [--clients 16] [--tokens 48] [--rounds 9]

CPU: what the gateway's threads take while so many streams get ten tokens per second each, from a
worker that makes them up and sends those of a step in one frame, like the real one, divided by the
tokens; a stretch in the middle, so that beginnings and ends are not in it. Speed: `mlm serve` and a
worker without a gateway hold the same model with the same config; they take turns, each round with
new prompts of about 64 tokens that both get, all at once. The other one sleeps meanwhile. Through
the gateway answers are streamed over HTTP to one client process, which alone is asked by a function
call, so the ratio has the client's cost in it, too. The CPU of a wave (``us_all``) has beginnings,
ends and the rest of the server's life in it. The last line is JSON.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from both_servers import Layout, serving_mlm

from mlm.bench.side import Messages, Side, Stage
from mlm.bench.texts import measure_texts
from mlm.client import Client
from mlm.engine.messages import Generate, SamplingParams, WorkerConfig
from mlm.engine.process import Worker

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
N_CTX_SLOT, PROMPT_TOKENS = 512, 64
PACE_S, MEASURED_S, AROUND_S = 0.1, 10.0, 2.0  # per token; of streams, and before and after
GREEDY = SamplingParams(temperature=0.0, ignore_eos=True)


async def ask_worker(worker: Worker, first_id: int, questions: list[Messages], n: int) -> float:
    """Ask a worker all questions at once; return the seconds until the last answer is over."""

    async def ask(request_id: int, question: Messages) -> None:
        messages = [dict(message) for message in question]
        request = Generate(request_id, messages=messages, sampling=GREEDY, max_tokens=n)
        await worker.answer(request, lambda _: None)

    started = time.perf_counter()
    await asyncio.gather(*(ask(first_id + i, question) for i, question in enumerate(questions)))
    return time.perf_counter() - started


async def compare(model: Path, clients: int, tokens: int, rounds: int) -> dict[str, list[float]]:
    """Return the figures of all rounds but the first."""
    n_threads = len(os.sched_getaffinity(0))
    layout = Layout(clients, N_CTX_SLOT, n_threads, n_batch=2048, n_ubatch=512)
    config = WorkerConfig(
        n_ctx=N_CTX_SLOT * clients, n_parallel=clients, n_batch=2048, n_ubatch=512, n_gpu_layers=0,
        n_threads=n_threads, n_threads_batch=n_threads, flash_attn="on",
    )  # fmt: skip
    names = ("alone_tps", "gateway_tps", "ratio", "us_all")
    figures: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as home, serving_mlm(model, layout, Path(home)) as url:
        client = Client(url)
        side = Side.open("a", client, client.models()[0])
        pid = client.stats()["system"]["pid"]
        texts = measure_texts("gateway", side.count_prompt_tokens)
        worker = await Worker.start(str(model), config)
        try:
            for number in range(rounds + 1):
                stage = Stage(side, texts, "gateway", number)
                questions = [stage.question(PROMPT_TOKENS, i) for i in range(clients)]
                cpu_s = cpu_of(pid)
                answers = stage.ask("gateway", questions, tokens)
                cpu_s = cpu_of(pid) - cpu_s
                alone_s = await ask_worker(worker, number * clients, questions, tokens)
                through, alone = answers.tokens / answers.wall_s, clients * tokens / alone_s
                row = (alone, through, through / alone, cpu_s / answers.tokens * 1e6)
                if number:
                    for name, value in zip(figures, row, strict=True):
                        figures[name].append(value)
        finally:
            await worker.stop()
    return figures


async def weigh_streams(clients: int, rounds: int) -> list[float]:
    """Return the microseconds of CPU per token of each round."""
    from soak.place import with_fakes

    slots = {"n_parallel": clients, "n_ctx": N_CTX_SLOT * clients}
    n_tokens = round((MEASURED_S + 2 * AROUND_S) / PACE_S)
    found = []
    with (
        tempfile.TemporaryDirectory() as folder,
        with_fakes(Path(folder), {"fake": {"config": slots}}) as place,
    ):
        place.wait_loaded()
        for number in range(rounds):
            prompts = (f"n={n_tokens} pace={PACE_S} {number} {i}" for i in range(clients))
            reading = asyncio.gather(*(place.asker.complete("fake", prompt) for prompt in prompts))
            await asyncio.sleep(AROUND_S)
            before = cpu_of(place.process.pid)
            await asyncio.sleep(MEASURED_S)
            cpu_s = cpu_of(place.process.pid) - before
            await reading
            found.append(cpu_s / (clients * MEASURED_S / PACE_S) * 1e6)
    return found


def cpu_of(pid: int) -> float:
    """Return the CPU seconds that the threads of a process have taken by now (Linux)."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")  # in ns; /proc's clock ticks are 10 ms
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    figures = {"us": asyncio.run(weigh_streams(asked.clients, asked.rounds))}
    figures |= asyncio.run(compare(asked.model, asked.clients, asked.tokens, asked.rounds))
    found: dict[str, Any] = {
        name: {
            "median": round(statistics.median(values), 3),
            "least": round(min(values), 3),
            "most": round(max(values), 3),
        }
        for name, values in figures.items()
    }
    for name, wish in (("us", "<= 120 us of CPU per token"), ("ratio", ">= 0.97")):
        spread = found[name]
        print(f"{name:6} {spread['median']} ({spread['least']} to {spread['most']}), wish {wish}")
    print(json.dumps({"model": asked.model.name, "clients": asked.clients} | found))


if __name__ == "__main__":
    main()
