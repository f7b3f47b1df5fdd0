"""Whether whole plans hold: what a real worker takes, loaded, after a prompt that fills a slot,
and after requests whose samplers take most, in all slots at once.

    python scripts/check_memory.py [NAME …]

Models are headers at real shapes with vocabularies as large as real ones, and a hole for the
weights. The hole counts like weights: its zeros are pages of the page cache, mapped like others.
"Overhead" is what the worker's process takes beyond the buffers that llama.cpp reports, and its
sandbox's private memory. A plan may be off by 5 % and the worker's peak 2 % above it.
"""

import argparse
import asyncio
import re
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from fakes.real_buffers import USUAL
from fakes.real_shapes import HARD_SHAPES, SHAPES
from fakes.real_worker import ask, events_of
from fakes.vocabularies import spell

from mlm.cli._machine import without_unusable_amx
from mlm.engine.messages import Embed, Finished
from mlm.engine.process import Worker
from mlm.engine.rehearsal import rehearse_load
from mlm.gguf.reader import read_metadata
from mlm.hardware.detect import survey_hardware
from mlm.hardware.process_memory import read_peak_rss
from mlm.planning.memory import plan_memory
from mlm.planning.shape import shape_from_metadata
from mlm.planning.types import DevicePlan, RuntimeConfig
from mlm.server.model import worker_config
from mlm.units import MIB

TOTAL_LIMIT, PEAK_LIMIT = 0.05, 1.02
# Chains that look through the whole vocabulary; and a grammar that forbids what would be chosen.
GREEDIEST: dict[str, Any] = {
    "temperature": 1.0, "top_k": 0, "top_p": 0.999, "dry_multiplier": 0.5, "repeat_penalty": 1.1,
    "dry_penalty_last_n": -1, "ignore_eos": True,
}  # fmt: skip
DIGIT, LETTER = 15, 64  # tokens of `fakes.vocabularies`
BOUND: dict[str, Any] = {"grammar": "root ::= [a-z]+", "logit_bias": {DIGIT: 90, LETTER: 60}}
# Small contexts, so that a prompt of a slot's length takes seconds.
RUNS: list[tuple[str, dict[str, Any]]] = [
    ("qwen2", {"n_ctx": 4096}),
    ("qwen2", {"n_ctx": 4096, "n_parallel": 4, "use_mmap": False}),
    ("qwen2", {"n_ctx": 4096, "n_parallel": 4, "type_k": "q8_0", "type_v": "q8_0"}),
    ("llama", {"n_ctx": 2048}),
    ("lfm2", {"n_ctx": 2048, "n_parallel": 2}),
    ("mamba", {"n_ctx": 1024}),
    ("granitehybrid", {"n_ctx": 2048}),
    ("gemma3", {"n_ctx": 1024, "use_mmap": False}),
    ("bert", {"n_ctx": 512, "n_batch": 512, "n_ubatch": 512, "embedding": True}),
]  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """One worker, and what was said of it. Sizes are bytes."""

    plan: DevicePlan
    buffers: int  # as llama.cpp reports them
    overhead: int  # measured
    loaded: int  # of main memory, before the first request
    peak: int

    @property
    def error(self) -> float:
        return self.plan.total / (self.buffers + self.overhead) - 1

    @property
    def is_right(self) -> bool:
        return abs(self.error) <= TOTAL_LIMIT and self.peak <= PEAK_LIMIT * self.plan.total


async def try_worker(path: Path, config: RuntimeConfig) -> Outcome:
    """Plan, load, ask, measure."""
    shape = shape_from_metadata(read_metadata(path))
    told = rehearse_load(path, worker_config(config))
    machine = without_unusable_amx(survey_hardware())
    (plan,) = plan_memory(shape, config, machine, told).devices
    worker = await Worker.start(path, worker_config(config))
    try:
        loaded = psutil.Process(worker.pid).memory_info().rss
        if config.embedding:
            whole = Embed(request_id=1, inputs=[[LETTER] * (worker.ready.n_ctx_slot - 8)])
            assert [type(event) async for event in events_of(worker, whole)][-1] is Finished
        else:
            await ask(worker, "0" * (worker.ready.n_ctx_slot - 8), max_tokens=4)
            slots = range(config.n_parallel)
            await asyncio.gather(*(ask(worker, "0", max_tokens=6, **GREEDIEST) for _ in slots))
            await ask(worker, "0", max_tokens=6, **BOUND)
        sizes: Counter[str] = Counter()
        for buffer in worker.ready.buffers:
            sizes[buffer.kind] += buffer.n_bytes
        overhead = _measure_overhead(worker.pid, sizes, mapped=config.use_mmap)
        peak = read_peak_rss(worker.pid) or 0
        return Outcome(plan, sizes.total(), overhead, loaded, peak)
    finally:
        await worker.stop(grace_s=5)


def _measure_overhead(pid: int, sizes: Counter[str], *, mapped: bool) -> int:
    """Return what the process has besides buffers, and its children to themselves."""
    status = Path(f"/proc/{pid}/status").read_text()
    anonymous, of_files = (_kib(rf"{name}:\s+(\d+) kB", status) for name in ("RssAnon", "RssFile"))
    smaps = Path(f"/proc/{pid}/smaps").read_text()
    mappings = re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", smaps)
    weights = sum(_kib(r"\nRss:\s+(\d+) kB", each) for each in mappings if ".gguf\n" in each)
    buffers = sum(size for kind, size in sizes.items() if kind != "weights" or not mapped)
    children = psutil.Process(pid).children(recursive=True)
    private = sum(child.memory_full_info().uss for child in children)
    return anonymous - buffers + of_files - weights + private


def _kib(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found[1]) * 1024 if found else 0


def write_model(name: str, folder: Path) -> Path:
    """Write a shape with a vocabulary in its header, and a hole."""
    made = (SHAPES | HARD_SHAPES)[name]()
    n_vocab = next(tensor.shape[1] for tensor in made.tensors if tensor.name.startswith("token_e"))
    size = sum(tensor.n_bytes + -tensor.n_bytes % made.alignment for tensor in made.tensors)
    made.data = b""
    path = spell(made, n_vocab).write(folder / f"{name}.gguf")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + size)
    return path


def main() -> int:
    """Print a line for each run; return 1 when one is over a limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(SHAPES | HARD_SHAPES))
    names = parser.parse_args().names
    columns = ("plan", "buffers", "overhead", "error", "loaded", "peak", "peak/plan")
    print("MiB".ljust(14) + "".join(f"{name:>10}" for name in columns))
    right = True
    with tempfile.TemporaryDirectory() as folder:
        for name, wishes in RUNS:
            if name not in names:
                continue
            config = RuntimeConfig(**{**USUAL, **wishes})
            found = asyncio.run(try_worker(write_model(name, Path(folder)), config))
            right &= found.is_right
            plan = found.plan.total
            sizes = (plan, found.buffers, found.overhead), (found.loaded, found.peak)
            first, second = ("".join(f"{size / MIB:10.1f}" for size in part) for part in sizes)
            share = f"{found.peak / plan:10.1%}"
            print(f"{name:14}{first}{found.error:10.1%}{second}{share}  {wishes}", flush=True)
    return int(not right)


if __name__ == "__main__":
    sys.exit(main())
