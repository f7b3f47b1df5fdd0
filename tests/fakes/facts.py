"""Machines and catalog entries for planning, made of a few figures."""

from dataclasses import replace
from typing import Any

from mlm.catalog.types import Architecture, CatalogEntry, Quant
from mlm.hardware.types import Accelerator, AcceleratorKind, Cpu, Hardware, Memory
from mlm.units import GIB

GB = 1_000_000_000


def machine(
    memory_gib: float = 16,
    *gpus: Accelerator,
    cores: int = 8,
    bandwidth: int | None = 50 * GB,
    isa: tuple[str, ...] = ("avx2",),
) -> Hardware:
    """Return a machine all of whose memory is free."""
    size = int(memory_gib * GIB)
    return Hardware(
        cpu=Cpu("test", cores, cores, cores, isa),
        memory=Memory(size, size, None, size),
        accelerators=tuple(replace(card, index=index) for index, card in enumerate(gpus)),
        memory_bandwidth_bytes_per_s=bandwidth,
        fingerprint="test",
    )


def gpu(
    memory_gib: float | None = 24,
    kind: AcceleratorKind = "cuda",
    *,
    bandwidth: int | None = 1000 * GB,
    unified: bool = False,
) -> Accelerator:
    """Return an accelerator all of whose memory is free."""
    size = None if memory_gib is None else int(memory_gib * GIB)
    return Accelerator(0, "Test GPU", kind, size, size, bandwidth, unified=unified)


LLAMA_8B = Architecture(
    name="llama", n_layer=32, n_embd=4096, n_head=32, n_head_kv=8, head_dim=128, n_ff=14_336,
    n_vocab=128_256, n_ctx_train=131_072,
)  # fmt: skip
MIXTRAL = replace(LLAMA_8B, n_vocab=32_000, n_ctx_train=32_768, n_expert=8, n_expert_used=2)
NOMIC = Architecture(
    name="nomic-bert", n_layer=12, n_embd=768, n_head=12, n_head_kv=12, head_dim=64, n_ff=3072,
    n_vocab=30_522, n_ctx_train=2048,
)  # fmt: skip


def quant(name: str = "Q4_K_M", size: int = 4_920_739_232, **fields: Any) -> Quant:
    """Return one file of a model."""
    usual = {"revision": "main", "size_exact": True, "sha256": None, "sha256_verified": False}
    made = Quant(quant=name, repo_id="org/m-GGUF", filename=f"m-{name}.gguf", size_bytes=size,
                 source="test", **usual)  # type: ignore[arg-type]  # fmt: skip
    return replace(made, **fields)


def entry(model_id: str = "llama-8b", *quants: Quant, **fields: Any) -> CatalogEntry:
    """Return a catalog entry, that of an 8B llama but for ``fields``."""
    made = CatalogEntry(
        model_id=model_id, family="llama", name=model_id, base_repo="org/m", params=8_030_000_000,
        params_active=fields.get("params", 8_030_000_000), architecture=LLAMA_8B,
        license="Apache-2.0", gated=False, released=None, use_cases=("chat",), scores=(),
        quants=quants or (quant(),), source="test", quality={"chat": 60.0},
    )  # fmt: skip
    return replace(made, **fields)
