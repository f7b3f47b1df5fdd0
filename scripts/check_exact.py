"""How near exact plans come to what llama.cpp takes: every line of a plan against a real load.

    python scripts/check_exact.py [NAME …] [--folder DIR]

Models are headers at real shapes and a hole for the weights, which loads for real; 3 contexts x 3
types of KV cache x 1 and 4 slots each. What is in the way of the limit is named. Needs as much
memory as the largest model with its second copy: see `tests/fakes/real_shapes.py`.
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakes.real_buffers import KINDS, USUAL, ask_for_buffers
from fakes.real_shapes import HARD_SHAPES, SHAPES, write_hole

from mlm.cli._machine import without_unusable_amx
from mlm.engine.rehearsal import rehearse_load
from mlm.gguf.reader import read_metadata
from mlm.hardware.detect import survey_hardware
from mlm.planning.memory import plan_memory
from mlm.planning.shape import shape_from_metadata
from mlm.planning.types import DevicePlan, RuntimeConfig
from mlm.server.model import worker_config
from mlm.units import format_size

LIMIT = 0.01  # of a line
# llama.cpp prints hundredths of a MiB: a line of half a MiB can be off by that.
ROUNDING = 1024**2 // 100
CONTEXTS, CACHES, SLOTS = (2048, 8192, 32_768), ("f16", "q8_0", "q4_0"), (1, 4)


@dataclass(frozen=True)
class Line:
    """One figure of one plan."""

    model: str
    wishes: dict[str, Any]
    kind: str
    planned: int
    real: int

    @property
    def error(self) -> float:
        difference = max(abs(self.planned - self.real) - ROUNDING, 0)
        return difference / self.real if self.real else float(difference > 0)


def wishes_for(is_encoder: bool, n_ctx_train: int) -> Iterator[dict[str, Any]]:
    """Yield the contexts to try; an encoder has no cache, and a batch as large as its context."""
    if is_encoder:
        for n_ctx in (n_ctx_train // 4, n_ctx_train // 2, n_ctx_train):
            yield {"n_ctx": n_ctx, "n_batch": n_ctx, "n_ubatch": n_ctx, "embedding": True}
        return
    for n_ctx, cache, slots in itertools.product(CONTEXTS, CACHES, SLOTS):
        yield {"n_ctx": n_ctx, "n_parallel": slots, "type_k": cache, "type_v": cache}


def check(name: str, folder: Path) -> Iterator[tuple[Line, Line]]:
    """Yield every line of every plan of one model, exact and computed."""
    path = write_hole(name, folder)
    shape = shape_from_metadata(read_metadata(path))
    machine = without_unusable_amx(survey_hardware())
    wishes = list(wishes_for(shape.is_encoder, shape.n_ctx_train))
    for each, real in zip(wishes, ask_for_buffers(path, wishes), strict=True):
        config = RuntimeConfig(**{**USUAL, **each})
        buffers = rehearse_load(path, worker_config(config))
        plans = [plan_memory(shape, config, machine, known) for known in (buffers, None)]
        assert plans[0].grade == "exact", plans[0]
        exact, computed = (plan.devices[0] for plan in plans)
        for kind in KINDS:
            yield _line(name, each, kind, exact, real), _line(name, each, kind, computed, real)


def _line(name: str, wishes: dict[str, Any], kind: str, plan: DevicePlan, real: Any) -> Line:
    return Line(name, wishes, kind, getattr(plan, kind), real[kind])


def main() -> int:
    """Print the largest error of each line; return 1 when one is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(SHAPES | HARD_SHAPES))
    names = parser.parse_args().names
    print(f"{'largest error of':18}" + "".join(f"{kind:>10}" for kind in KINDS) + "   computed")
    bad: list[Line] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            pairs = list(check(name, Path(folder)))
            worst = {k: max(e.error for e, _ in pairs if e.kind == k) for k in KINDS}
            computed = max(line.error for _, line in pairs)
            cells = "".join(f"{worst[kind]:10.2%}" for kind in KINDS)
            print(f"{name:18}{cells}{computed:11.1%}", flush=True)
            bad += [exact for exact, _ in pairs if exact.error > LIMIT]
    for line in sorted(bad, key=lambda line: -line.error)[:10]:
        planned, real = format_size(line.planned), format_size(line.real)
        print(f"{line.model} {line.wishes}: {line.kind} {planned} instead of {real}")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
