"""What mlm itself costs in a worker beside llama.cpp: its share of a decode step, and its memory.

    python scripts/bench_worker.py MODEL.gguf [--slots 16] [--tokens 48] [--rounds 5] [--threads N]

Share: a real worker with all slots decoding, the gateway's side of its socket in this process. In
the worker each llama_decode and each choice of a token notes the CPU time of its thread before and
after; what lies between is mlm's own. What another thread sends meanwhile is not counted. Only
steps in which every slot decodes count. On a machine with other work the share comes out too small,
for llama.cpp's threads burn time waiting for each other. There use one thread, and divide what
decode takes by as many as there would be.
Memory: RssAnon of a worker that has loaded nothing but a vocabulary, and of one that has loaded the
model and not been asked anything yet. The last line is JSON.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mlm.engine.messages import Generate, SamplingParams, WorkerConfig
from mlm.engine.meter import Meter
from mlm.engine.process import Worker
from mlm.engine.spawn import Launch, scrub_environment
from mlm.units import MIB

MAX_STEPS = 10_000
N_TOKENS, ENTERED, LEFT, CHOOSING = range(4)  # columns of the notes; the last since the last step
KINDS = {"greedy": SamplingParams(temperature=0.0), "sampled": SamplingParams(seed=1)}
WORKER = [sys.executable, str(Path(__file__).resolve())]


def work_noting(path: str) -> None:
    """Be a worker that notes when it enters and leaves llama.cpp."""
    from llama_cpp import llama_cpp as C

    from mlm.engine import worker
    from mlm.engine.sampler import Sampler

    notes = np.memmap(path, np.float64, "r+", shape=(MAX_STEPS, 4))
    decode: Callable[..., int] = C.llama_decode
    sample = Sampler.sample
    n_steps, choosing = 0, 0.0

    def noted_decode(context: object, batch: Any) -> int:
        nonlocal n_steps, choosing
        entered = time.thread_time()
        code = decode(context, batch)
        notes[n_steps] = batch.n_tokens, entered, time.thread_time(), choosing
        n_steps, choosing = n_steps + 1, 0.0
        return code

    def noted_sample(*arguments: Any) -> int:
        nonlocal choosing
        entered = time.thread_time()
        token = sample(*arguments)
        choosing += time.thread_time() - entered
        return token

    C.llama_decode, Sampler.sample = noted_decode, noted_sample  # type: ignore[method-assign]
    worker.main()


def load_vocabulary(path: str) -> None:
    """Be a worker that loads nothing but the vocabulary, and say what it takes."""
    import mlm.engine.llama.model as engine
    from mlm.engine import worker
    from mlm.engine.llama.log import LoadLog

    def only_the_vocabulary(config: WorkerConfig) -> tuple[Any, object]:
        params, kept_alive = model_params(config)
        params.vocab_only = True
        return params, kept_alive

    model_params, engine.model_params = engine.model_params, only_the_vocabulary
    worker.settle_in()
    worker.read_metadata(Path(path))
    _model = worker.Model(path, config_for(1), lambda _: None, LoadLog())
    print(read_anonymous("self"))


def read_anonymous(pid: int | str) -> int:
    """Return the bytes of a process's memory that belong to no file."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def config_for(slots: int, n_threads: int = 1) -> WorkerConfig:
    """Return a runtime config with short slots."""
    return WorkerConfig(
        n_ctx=512 * slots, n_parallel=slots, n_batch=512, n_ubatch=512, n_gpu_layers=0,
        n_threads=n_threads, n_threads_batch=n_threads,
    )  # fmt: skip


async def decode_together(
    model: str, config: WorkerConfig, n_tokens: int, kind: str
) -> list[dict[str, float]]:
    """Return the CPU seconds of each step in which all slots decoded."""

    async def ask(worker: Worker, i: int) -> None:
        request = Generate(
            i,
            prompt=f"story {i}",
            sampling=KINDS[kind],
            max_tokens=n_tokens,
        )
        await worker.answer(request, lambda _: None)

    with tempfile.NamedTemporaryFile() as file:
        file.truncate(MAX_STEPS * 4 * 8)
        command = [*WORKER, "--noting", file.name]
        worker = await Worker.start(model, config, launch=Launch(command))
        try:
            await asyncio.gather(*(ask(worker, i) for i in range(config.n_parallel)))
        finally:
            await worker.stop()
        notes = np.fromfile(file.name).reshape(-1, 4)
    return [
        {
            "decode": now[LEFT] - now[ENTERED],
            "choosing": now[CHOOSING],
            "own": now[ENTERED] - before[LEFT] - now[CHOOSING],
        }
        for before, now in pairwise(notes)
        if before[N_TOKENS] == now[N_TOKENS] == config.n_parallel
    ]


def measure_share(model: str, config: WorkerConfig, n_tokens: int, rounds: int) -> dict[str, Any]:
    """Print and return what a step consists of, with greedy and with sampled answers in turn."""
    shares: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        for kind in KINDS:
            steps = asyncio.run(decode_together(model, config, n_tokens, kind))
            if not steps:
                raise SystemExit("no step had all slots decoding: ask for more --tokens")
            whole = sum(sum(step.values()) for step in steps)
            parts = {name: sum(step[name] for step in steps) for name in steps[0]}
            shares[kind].append(1 - parts["decode"] / whole)
            line = ", ".join(
                f"{name} {seconds / len(steps) * 1000:.2f} ms ({seconds / whole:.2%})"
                for name, seconds in parts.items()
            )
            print(f"{kind:8} {len(steps)} steps of {config.n_parallel} tokens: {line}", flush=True)
    return {
        kind: {
            "median": round(statistics.median(found), 5),
            "min": round(min(found), 5),
            "max": round(max(found), 5),
        }
        for kind, found in shares.items()
    }


def measure_meter(slots: int, rounds: int = 2000) -> float:
    """Return the microseconds of CPU time that the meter takes of a step."""
    meter, clock, best = Meter(), time.monotonic, float("inf")
    for _ in range(9):
        entered = time.thread_time()
        for _ in range(rounds):
            meter.rest()
            meter.wake()
            began = clock()
            meter.note_computing(clock() - began)
            for _ in range(slots):
                started = clock()
                meter.note_choosing(clock() - started)
            meter.note_step(clock() - began, 0, slots, slots)
        best = min(best, (time.thread_time() - entered) / rounds)
    return best * 1e6


async def measure_loaded(model: str, slots: int) -> tuple[int, int]:
    """Return what a worker takes that has loaded the model, and the size of llama.cpp's buffers.

    Of a buffer only what has been written to counts; `scripts/check_memory.py` fills them.
    """
    worker = await Worker.start(model, config_for(slots))
    try:
        buffers = sum(b.n_bytes for b in worker.ready.buffers if b.kind != "weights")
        return read_anonymous(worker.pid), buffers
    finally:
        await worker.stop()


def measure_vocabulary(model: str) -> int:
    """Return what a worker takes that has loaded the vocabulary."""
    command = [*WORKER, "--vocabulary", model]
    environment = scrub_environment(os.environ)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    asked = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    vocabulary = measure_vocabulary(asked.model)
    loaded, buffers = asyncio.run(measure_loaded(asked.model, asked.slots))
    print(f"RssAnon with the vocabulary alone: {vocabulary / MIB:.1f} MiB")
    print(
        f"… with the model: {loaded / MIB:.1f} MiB, of {buffers / MIB:.1f} in buffers what is used"
    )
    meter_us = measure_meter(asked.slots)
    print(f"the meter takes {meter_us:.1f} us of a step")
    config = config_for(asked.slots, asked.threads)
    shares = measure_share(asked.model, config, asked.tokens, asked.rounds)
    found = {"share_beside_decode": shares, "meter_us": round(meter_us, 1)}
    memory = {"vocabulary_bytes": vocabulary, "loaded_bytes": loaded}
    print(json.dumps(vars(asked) | {"model": Path(asked.model).name} | found | memory))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--noting"]:
        _, _, notes_path, *sys.argv[1:] = sys.argv
        work_noting(notes_path)
    elif sys.argv[1:2] == ["--vocabulary"]:
        load_vocabulary(sys.argv[2])
    else:
        main()
