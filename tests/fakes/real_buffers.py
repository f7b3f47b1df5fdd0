"""Loads a model for real, as a worker does, and says what buffers llama.cpp took.

    python real_buffers.py FILE '[{"n_ctx": 4096, "n_parallel": 1, …}, …]'

prints a list of bytes by kind, one for each context: a `WorkerConfig` without what is usual.
The file may be a header and a hole: its zeros are read and repacked like anything else. The model
is loaded once, each context made and freed.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

USUAL: dict[str, Any] = {
    "n_ctx": 4096, "n_parallel": 1, "n_batch": 2048, "n_ubatch": 512, "n_gpu_layers": 0,
    "n_threads": 2, "n_threads_batch": 2,
}  # fmt: skip
KINDS = ("weights", "repack", "kv_cache", "compute", "output")
ROOT = Path(__file__).parents[2]


def ask_for_buffers(path: Path, wishes: Sequence[dict[str, Any]]) -> list[dict[str, int]]:
    """Return what each context took; runs this file in a process of its own."""
    words = [sys.executable, __file__, str(path), json.dumps(wishes)]
    environment = {**os.environ, "GGML_NO_BACKTRACE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{path.name}: {done.stderr[-2000:]}")
    return list(json.loads(done.stdout.splitlines()[-1]))


def measure(path: str, wishes: Sequence[dict[str, Any]]) -> list[dict[str, int]]:
    """Return what each context took, and the weights, which are the same for all."""
    from llama_cpp import llama_cpp as C

    from mlm.engine.llama.context import Context
    from mlm.engine.llama.log import LoadLog
    from mlm.engine.llama.model import Model
    from mlm.engine.messages import WorkerConfig

    log = LoadLog()
    configs = [WorkerConfig(**{**USUAL, **each}) for each in wishes]
    model = Model(path, configs[0], lambda fraction: None, log)
    weights = _sum_up(log)
    results = []
    for config in configs:
        before = _sum_up(log)
        context = Context(model, config, log)
        taken = {kind: size - before[kind] for kind, size in _sum_up(log).items()}
        results.append({**taken, **{kind: weights[kind] for kind in ("weights", "repack")}})
        C.llama_free(context.handle)
    return results


def _sum_up(log: Any) -> Counter[str]:
    found: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
    for buffer in log.buffers:
        found[buffer.kind] += buffer.n_bytes
    return found


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], json.loads(sys.argv[2]))), flush=True)
    os._exit(0)
