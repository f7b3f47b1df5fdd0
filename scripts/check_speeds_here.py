"""How well decode speeds are predicted on this machine, before and after one bench of each model.

    PYTHONPATH=. python scripts/check_speeds_here.py [--one-core] FOLDER [N_PAST …]

Makes the models of bench_models.py in FOLDER. For each, measures memory and arithmetic as
`mlm plan` does (on a shared machine they are not the same a quarter of an hour later), and decodes
with the engine, one token after the other, with so many tokens in the context (128, 1024 and 4096),
and with as many as the prompts of `mlm bench` have. The contexts take turns, so that other work on
the machine hits all of them alike; a speed is that of the middle step. Then every figure is
predicted again with runs in the ledger: the shortest prompt of a bench, or the whole bench, of the
same model or of another one.

On a machine that is busy with other things, ``--one-core`` uses one thread and counts only the time
that it was given.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from bench_models import SHAPES, make_model

from mlm.cli._machine import without_unusable_amx
from mlm.engine.rate import with_arithmetic
from mlm.engine.spawn import scrub_environment
from mlm.gguf.reader import read_metadata
from mlm.hardware.cached import cached_hardware
from mlm.hardware.types import Hardware
from mlm.planning.calibration import NOTHING_KNOWN, Calibration, calibrate
from mlm.planning.shape import shape_from_metadata
from mlm.planning.speed import predict_speed, time_token
from mlm.planning.types import ModelShape, RuntimeConfig
from mlm.stats.types import Observation

N_PASTS = (128, 1024, 4096)
BENCH_N_PASTS = (80, 300, 1070, 3150)  # in the middle of the answers to its prompts
_SECONDS = 20.0  # of decoding, per model
_TURN = 5  # steps with one context before it is the next one's turn
_CHUNK = 512


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, and what was measured of it."""

    name: str
    shape: ModelShape
    hardware: Hardware  # as it was just before
    config: RuntimeConfig
    decode_tps: dict[int, float]  # by tokens in the context: of the middle step …
    best_tps: dict[int, float]  # … and of the fastest
    prefill_tps: float  # of a prompt as long as the longest context


def main(arguments: list[str]) -> None:
    """Measure, predict, and print a table."""
    one_core = arguments[0] == "--one-core"
    arguments = arguments[one_core:]
    folder = Path(arguments[0])
    n_pasts = tuple(map(int, arguments[1:])) or N_PASTS
    paths = {name: make_model(name, folder) for name in SHAPES}
    measured = tuple(sorted({*n_pasts, *BENCH_N_PASTS}))
    subjects = [
        _measure_model(name, path, _measure_machine(one_core=one_core), measured)
        for name, path in paths.items()
    ]
    short = {s.name: calibrate(_observe(s, BENCH_N_PASTS[:1])) for s in subjects}
    bench = {s.name: calibrate(_observe(s, BENCH_N_PASTS)) for s in subjects}
    columns = ("predicted", "own short run", "of another", "own bench", "of another")
    print(f"{'model':14}{'n_past':>7}{'measured':>10}{'best':>8}"
          + "".join(f"{column:>17}" for column in columns))  # fmt: skip
    for index, subject in enumerate(subjects):
        names = (subject.name, subjects[index - 1].name)
        _show_prefill(subject, max(n_pasts))
        for n_past in measured:
            known = [runs[name] for runs in (short, bench) for name in names]
            _show(subject, n_past, [NOTHING_KNOWN, *known])
    print("load average", *(f"{load:.1f}" for load in os.getloadavg()))


def _measure_machine(*, one_core: bool) -> Hardware:
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as cache:
        hardware = without_unusable_amx(cached_hardware(Path(cache)))
        known = with_arithmetic(hardware, Path(cache))
    took = time.perf_counter() - started
    assert known.arithmetic is not None, "the engine cannot measure"
    print(
        f"measured in {took:.2f} s: memory {(known.memory_bandwidth_bytes_per_s or 0) / 1e9:.1f} "
        f"GB/s; {known.arithmetic.n_threads} cores do {known.arithmetic.scaling:.0%} of their work "
        f"together; Q4_K {known.arithmetic.reading['Q4_K'] / 1e9:.1f} GB/s each"
    )
    return replace(known, cpu=replace(known.cpu, usable_cores=1)) if one_core else known


def _measure_model(name: str, path: Path, hardware: Hardware, n_pasts: tuple[int, ...]) -> Subject:
    shape = shape_from_metadata(read_metadata(path))
    n_threads = hardware.cpu.usable_cores
    n_ctx = -(-(max(n_pasts) + 64) // 256) * 256
    config = RuntimeConfig(
        n_ctx=n_ctx * len(n_pasts), n_parallel=len(n_pasts), n_batch=_CHUNK, n_ubatch=_CHUNK,
        n_gpu_layers=0, n_threads=n_threads, n_threads_batch=n_threads,
    )  # fmt: skip
    command = [sys.executable, __file__, "--decode", str(path), str(n_ctx), str(n_threads)]
    done = subprocess.run(
        [*command, *map(str, n_pasts)],
        env=scrub_environment(os.environ) | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    found = json.loads(done.stdout)
    steps = {int(n_past): times for n_past, times in found["steps"].items()}
    return Subject(
        name,
        shape,
        hardware,
        config,
        {n_past: 1 / median(times) for n_past, times in steps.items()},
        {n_past: 1 / min(times) for n_past, times in steps.items()},
        found["prefill_tps"],
    )


def _observe(subject: Subject, n_pasts: tuple[int, ...]) -> list[Observation]:
    """Return what the ledger would hold after a bench with these contexts."""
    found, hardware = [], subject.hardware
    for n_past in n_pasts:
        decode, _ = time_token(subject.shape, subject.config, hardware, n_past=n_past)
        found.append(Observation(
            at=time.time(), machine=hardware.fingerprint, engine="this", model=subject.name,
            architecture=subject.shape.architecture, quant=subject.shape.quant, device="cpu",
            quantity="decode_tps", predicted=1 / decode.total, actual=subject.decode_tps[n_past],
            n_past=n_past, attention_share=decode.attention_share,
            n_threads=subject.config.n_threads, source="bench",
        ))  # fmt: skip
    return found


def _show(subject: Subject, n_past: int, calibrations: list[Calibration]) -> None:
    actual = subject.decode_tps[n_past]
    figures = []
    for calibration in calibrations:
        speed, _ = predict_speed(
            subject.shape, subject.config, subject.hardware, n_past=n_past,
            calibration=calibration, model=subject.name,
        )  # fmt: skip
        mark = " " if speed.low <= actual <= speed.high else "!"
        figures.append(f"{speed.mid:.1f} ({speed.mid / actual - 1:+.0%}){mark}")
    print(f"{subject.name:14}{n_past:7}{actual:10.1f}{subject.best_tps[n_past]:8.1f}"
          + "".join(f"{figure:>17}" for figure in figures))  # fmt: skip


def _show_prefill(subject: Subject, n_prompt: int) -> None:
    hardware, n_past = subject.hardware, n_prompt // 2
    _, speed = predict_speed(subject.shape, subject.config, hardware, n_past=n_past)
    print(f"{subject.name:14}prefill of {n_prompt}: measured {subject.prefill_tps:.0f}, predicted "
          f"{speed.mid:.0f} ({speed.mid / subject.prefill_tps - 1:+.0%})")  # fmt: skip


def decode(path: str, n_ctx: int, n_threads: int, n_pasts: list[int]) -> dict[str, Any]:
    """Return the seconds of single decode steps; for a child process, as llama.cpp may abort."""
    from mlm.engine.computer import Part
    from mlm.engine.llama.context import Context
    from mlm.engine.llama.log import LoadLog
    from mlm.engine.llama.model import Model
    from mlm.engine.llama.samplers import SamplerChain
    from mlm.engine.llama.threads import pin_threads
    from mlm.engine.messages import WorkerConfig

    config = WorkerConfig(
        n_ctx=n_ctx * len(n_pasts), n_parallel=len(n_pasts), n_batch=_CHUNK, n_ubatch=_CHUNK,
        n_gpu_layers=0, n_threads=n_threads, n_threads_batch=n_threads,
    )  # fmt: skip
    log = LoadLog()
    model = Model(path, config, lambda _: None, log)
    context = Context(model, config, log)
    pin_threads(context.handle, config)  # as a worker does
    chain = SamplerChain(model.vocabulary, [("greedy", ())])
    clock = time.process_time if n_threads == 1 else time.perf_counter
    filled = {}
    for slot, n_past in enumerate(n_pasts):
        started = clock()
        for at in range(0, n_past, _CHUNK):
            tokens = [(7919 * n) % 10_000 + 300 for n in range(at, min(at + _CHUNK, n_past))]
            assert context.decode([Part(slot, at, tokens, wants_logits=True)]) == 0
        filled[n_past] = n_past / (clock() - started)
    steps: dict[int, list[float]] = {n_past: [] for n_past in n_pasts}
    started = time.perf_counter()
    while time.perf_counter() - started < _SECONDS:
        for slot, n_past in enumerate(n_pasts):
            for _ in range(_TURN):
                before = clock()
                assert context.decode([Part(slot, n_past, [500], wants_logits=True)]) == 0
                chain.sample(context, 0)
                steps[n_past].append(clock() - before)
                context.memory.forget(slot, n_past)
    return {"steps": steps, "prefill_tps": filled[max(n_pasts)]}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--decode"]:
        file, *numbers = sys.argv[2:]
        context_size, threads, *pasts = map(int, numbers)
        print(json.dumps(decode(file, context_size, threads, pasts)))
    elif len(sys.argv) < 2:
        raise SystemExit("usage: check_speeds_here.py FOLDER [N_PAST …]")
    else:
        main(sys.argv[1:])
