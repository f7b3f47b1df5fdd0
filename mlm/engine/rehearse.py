"""Lets llama.cpp say what loading a model would take, and prints it as JSON.

A process of its own, because llama.cpp aborts, hangs or eats memory on bad input:
``python -m mlm.engine.rehearse MODEL CONFIG``, the config being a `WorkerConfig` as JSON. Of the
model only the header is read; the rest of the file may be a hole.
"""

import json
import os
import sys
from typing import Any

import msgspec

from mlm.engine.hygiene import settle_in

# A vocabulary of 262,144 tokens takes 0.2 GB (measured); recurrent state, which is really
# allocated, a few MB per slot, hundreds with many slots.
MEMORY_LIMIT_BYTES = 1536 * 1024**2
CPU_LIMIT_S = 30


def main(arguments: list[str]) -> None:
    """Print one JSON document and end at once: llama.cpp's clean-up takes longer than the work."""
    settle_in()
    _limit_resources()
    print(json.dumps(_rehearse(*arguments)), flush=True)
    os._exit(0)


def _rehearse(path: str, config: str) -> dict[str, Any]:
    from mlm.engine.llama.context import rehearse
    from mlm.engine.llama.log import LoadError, LoadLog
    from mlm.engine.messages import WorkerConfig

    log = LoadLog()
    try:
        rehearse(path, msgspec.json.decode(config, type=WorkerConfig), log)
    except LoadError as error:
        return {"refusal": str(error)}
    made = [buffer for buffer in log.buffers if buffer.kind in ("compute", "output")]
    return {
        "kv_cache": log.cache_bytes,
        "compute": {b.place: b.n_bytes for b in made if b.kind == "compute"},
        "output": sum(buffer.n_bytes for buffer in made if buffer.kind == "output"),
    }


def _limit_resources() -> None:
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_S, CPU_LIMIT_S))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))


if __name__ == "__main__":
    main(sys.argv[1:])
