"""Sets plans of our own arithmetic beside what the real llama.cpp would allocate."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakes import dry_run

from mlm.cli._machine import without_unusable_amx
from mlm.gguf.reader import read_metadata
from mlm.hardware.detect import survey_hardware
from mlm.planning.memory import plan_memory
from mlm.planning.shape import shape_from_metadata
from mlm.planning.types import Grade, ModelShape, RuntimeConfig
from mlm.units import MIB

ROOT = Path(__file__).parents[2]
CONTEXT = ("kv_cache", "compute", "output")
_ROUNDING = 0.01  # MiB; llama.cpp prints hundredths
_BLOCK = 32  # elements of a quantized cache that must fit into a head
# Contexts x caches x slots, and then what else changes the buffers.
CONTEXTS, CACHES, SLOTS = (2048, 8192, 32_768), ("f16", "q8_0", "q4_0"), (1, 4)
OTHERS: list[dict[str, Any]] = [
    {"n_ctx": 8192, "n_parallel": 1, "flash_attn": "off"},
    {"n_ctx": 16_384, "n_parallel": 4, "flash_attn": "off", "kv_unified": True},
    {"n_ctx": 16_384, "n_parallel": 4, "flash_attn": "off", "n_ubatch": 128},
    {"n_ctx": 4096, "n_parallel": 1, "n_ubatch": 2048},
    {"n_ctx": 32_768, "n_parallel": 4, "n_ubatch": 256, "kv_unified": True},
]
ENCODER: list[dict[str, Any]] = [
    {"n_ctx": n_ctx, "n_parallel": slots, "n_batch": 512, "flash_attn": flash}
    for n_ctx, slots, flash in ((512, 1, "auto"), (2048, 4, "auto"), (512, 1, "off"))
]


@dataclass(frozen=True)
class Comparison:
    """One plan beside the truth, in MiB by kind; weights are those of the plan in both."""

    grade: Grade
    settings: dict[str, Any]
    weights: float
    planned: dict[str, float]
    real: dict[str, float]

    @classmethod
    def of(
        cls, shape: ModelShape, settings: dict[str, Any], real: dict[str, float]
    ) -> "Comparison":
        """Return the plan of ``shape`` beside what llama.cpp said.

        Of results llama.cpp has room for one row per slot at first. Where vectors are made it grows
        with the inputs, and a plan counts how far.
        """
        fields = {"n_batch": 2048, "n_ubatch": 512, "n_gpu_layers": 0, "n_threads": 1, **settings}
        config = RuntimeConfig(n_threads_batch=1, embedding=shape.is_encoder, **fields)
        plan = plan_memory(shape, config, without_unusable_amx(survey_hardware()))
        cpu = plan.devices[0]
        planned = {kind: getattr(cpu, kind) / MIB for kind in CONTEXT}
        planned["output"] *= config.n_parallel / config.n_outputs_max
        return cls(plan.grade, settings, (cpu.weights + cpu.repack) / MIB, planned, real)

    def error(self, kind: str) -> float:
        """Return how far one line is off, relative to the truth."""
        difference = self.planned[kind] - self.real[kind]
        return 0.0 if abs(difference) <= _ROUNDING else difference / max(self.real[kind], _ROUNDING)

    @property
    def total_error(self) -> float:
        """Return how far the sum of all lines is off."""
        truth = self.weights + sum(self.real[kind] for kind in CONTEXT)
        return sum(self.planned[kind] - self.real[kind] for kind in CONTEXT) / truth


def all_settings(shape: ModelShape) -> Iterator[dict[str, Any]]:
    """Yield the contexts in which a model is compared, without those that llama.cpp refuses."""
    if shape.is_encoder:
        yield from ENCODER
        return
    heads = {part.head_k for part in shape.graph.layers} if shape.graph else {_BLOCK}
    for n_ctx, cache, slots in itertools.product(CONTEXTS, CACHES, SLOTS):
        if cache == "f16" or all(size % _BLOCK == 0 for size in heads):
            yield {"n_ctx": n_ctx, "n_parallel": slots, "type_k": cache, "type_v": cache}
    yield from OTHERS


def compare(path: Path, settings: Sequence[dict[str, Any]] | None = None) -> list[Comparison]:
    """Return a comparison for each of ``settings``, by default for all."""
    shape = shape_from_metadata(read_metadata(path))
    settings = list(all_settings(shape)) if settings is None else settings
    real = ask_llama_cpp([dry_run_of(path, each, embeds=shape.is_encoder) for each in settings])
    return [Comparison.of(shape, each, truth) for each, truth in zip(settings, real, strict=True)]


def dry_run_of(path: Path, settings: dict[str, Any], *, embeds: bool = False) -> list[Any]:
    """Return one run of the dry run: the same parameters, in llama.cpp's words."""
    wishes = {"n_batch": 2048, "n_ubatch": 512, **settings}
    slots = wishes.pop("n_parallel")
    rows = wishes["n_batch"] if embeds else slots
    more = {"n_seq_max": slots, "n_outputs_max": rows, "embeddings": embeds}
    return [str(path), {**wishes, **more}]


def ask_llama_cpp(runs: Sequence[Any]) -> list[dict[str, float]]:
    """Return what llama.cpp says of each run; in a process of its own, as it may abort."""
    done = subprocess.run(
        [sys.executable, dry_run.__file__, json.dumps(runs)],
        env={**os.environ, "GGML_NO_BACKTRACE": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stdout[-1500:] + done.stderr[-1500:])
    found: list[dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return found
