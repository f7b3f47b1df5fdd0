"""The llama-bench results that others published, as `tests/planning/data` holds them."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from mlm.catalog.types import Architecture, CatalogEntry, Quant
from mlm.hardware.gpu_table import find_gpu
from mlm.hardware.types import Accelerator, AcceleratorKind, Cpu, Hardware, Memory
from mlm.planning.memory import plan_memory
from mlm.planning.placement import Part, split_model
from mlm.planning.shape import shape_from_catalog
from mlm.planning.speed import predict_speed
from mlm.planning.traffic import cache_bytes, seen_tokens, used_share
from mlm.planning.types import ModelShape, RuntimeConfig, SpeedInterval
from mlm.units import GIB

DATA = Path(__file__).parents[1] / "tests" / "planning" / "data"
_POSSIBLE = 1.05  # of the bandwidth: more bytes cannot have been read
_MEMORY = 512 * GIB  # main memory; none of these results depends on it
_COUNTS = (
    "n_layer", "n_embd", "n_head", "n_head_kv", "head_dim", "n_ff", "n_vocab", "n_expert",
    "n_expert_used", "sliding_window", "n_layer_attention",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Result:
    """One line of llama-bench: what ran on what, and how fast."""

    device: str
    kind: AcceleratorKind
    model: str
    source: str
    n_past: int  # tokens in the context while decoding, on average
    decode_tps: float
    n_prompt: int | None
    prefill_tps: float | None
    shape: ModelShape
    config: RuntimeConfig
    hardware: Hardware

    @property
    def part(self) -> Part:
        """The model on its accelerator."""
        return split_model(self.shape, self.config, self.hardware)[1]

    @property
    def why_not_judged(self) -> str | None:
        """Why it says nothing of a prediction; None if it does."""
        if self.kind not in ("cuda", "rocm", "metal", "vulkan", "sycl"):
            return "not on an accelerator"
        if plan_memory(self.shape, self.config, self.hardware).verdict == "does_not_fit":
            return "the device cannot hold the model"
        bandwidth = self.hardware.accelerators[0].bandwidth_bytes_per_s
        if bandwidth is None:
            return "no bandwidth is published"
        if self.decode_tps * self._bytes_per_token() > _POSSIBLE * bandwidth:
            return "the device cannot read so fast"
        return None

    def predict(self) -> SpeedInterval:
        """Return the decode speed that mlm predicts."""
        return predict_speed(self.shape, self.config, self.hardware, n_past=self.n_past)[0]

    def predict_prefill(self) -> SpeedInterval:
        """Return the prefill speed that mlm predicts; prompts are long only behind a long past."""
        n_past = max(self.n_past, (self.n_prompt or 0) // 2)
        return predict_speed(self.shape, self.config, self.hardware, n_past=n_past)[1]

    def _bytes_per_token(self) -> float:
        weights = sum(
            count * sum(w.n_bytes * used_share(w, self.shape) for w in group)
            for group, count in self.part.weights()
        )
        cached = sum(
            count
            * seen_tokens(b, self.shape, self.config, self.n_past)
            * cache_bytes(b, self.config)
            for b, count in self.part.layers
        )
        return weights + cached


def read_results() -> Iterator[Result]:
    """Yield every result that is kept, judged or not."""
    models = {row["model"]: row for row in _read("published_models.csv")}
    for row in _read("published_speeds.csv"):
        shape = _shape(models[row["model"]], row["quant"], int(row["size_bytes"]))
        n_past = int(row["n_past"])
        yield Result(
            device=row["device"],
            kind=cast(AcceleratorKind, row["kind"]),
            model=row["model"],
            source=row["source"],
            n_past=n_past,
            decode_tps=float(row["decode_tps"]),
            n_prompt=int(row["n_prompt"]) if row["n_prompt"] else None,
            prefill_tps=float(row["prefill_tps"]) if row["prefill_tps"] else None,
            shape=shape,
            config=_config(shape, n_past),
            hardware=_machine(row["device"], cast(AcceleratorKind, row["kind"])),
        )


def _read(name: str) -> Iterator[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _shape(model: dict[str, str], quant: str, size: int) -> ModelShape:
    """Return the shape of a model as `mlm recommend` would have it, from its facts."""
    counts = {name: int(model[name]) if model[name] else None for name in _COUNTS}
    architecture = Architecture(name=model["architecture"], n_ctx_train=1 << 20, **counts)  # type: ignore[arg-type]
    file = Quant(quant, "a/b", "main", "b.gguf", size, True, None, False, "published")
    entry = CatalogEntry(
        model_id=model["model"], family="", name=model["model"], base_repo="", license="",
        params=int(model["params"]), params_active=int(model["params_active"]),
        architecture=architecture, gated=False, released=None, use_cases=(), scores=(),
        quants=(file,), source="published",
    )  # fmt: skip
    return shape_from_catalog(entry, file)


def _config(shape: ModelShape, n_past: int) -> RuntimeConfig:
    n_ctx = -(-(n_past + 256) // 256) * 256
    return RuntimeConfig(
        n_ctx=n_ctx, n_parallel=1, n_batch=2048, n_ubatch=512, n_gpu_layers=shape.n_layer + 1,
        n_threads=8, n_threads_batch=8,
    )  # fmt: skip


def _machine(device: str, kind: AcceleratorKind) -> Hardware:
    """Return a machine with this device, as the GPU table describes it."""
    row = find_gpu(device)
    if row is None:
        raise LookupError(f"the GPU table has no {device}")
    size = max(row.memory_sizes, default=None)
    card = Accelerator(0, row.name, kind, size, size, row.bandwidth_bytes_per_s)
    card = replace(card, compute_capability=row.compute_capability)
    cpu, memory = Cpu("any", 8, 8, 8, ("avx2",)), Memory(_MEMORY, _MEMORY, None, _MEMORY)
    return Hardware(cpu, memory, (card,), 50 * 10**9, "published")
