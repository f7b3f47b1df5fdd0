"""Known GPUs and chips: memory sizes and bandwidth, from ``data/gpus.csv`` (sources: README.md)."""

import csv
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal, cast

from mlm.units import GIB

GpuKind = Literal["card", "laptop", "unified"]

# What drivers write into a name and no table does: makers, sockets, memory technology.
_NOISE = {
    "nvidia", "geforce", "amd", "radeon", "intel", "apple", "qualcomm", "gpu", "graphics", "tesla",
    "quadro", "instinct", "generation", "blackwell", "workstation", "server", "edition",
    "sxm", "sxm2", "sxm3", "sxm4", "sxm5", "hbm2", "hbm2e", "hbm3", "hbm3e", "nvl", "ws", "series",
    "with", "design",
}  # fmt: skip
# Words that make another card of the same number: a name may not lack or add one.
_VARIANTS = {
    "ti", "super", "laptop", "maxq", "xt", "xtx", "gre", "d", "ada", "sff", "pro", "max", "max+",
    "ultra", "embedded",
}  # fmt: skip
_GPU_CORES = re.compile(r"\(?\b(\d{1,3})[- ]core(?:[- ]gpu)?\b\)?")
_SIZE = re.compile(r"\b(\d{1,4})\s*(?:gib|gb|g)\b")


@dataclass(frozen=True, slots=True)
class GpuRow:
    """One row of the table. Sizes and bandwidth are the maker's; bandwidth is the peak."""

    vendor: str
    name: str
    kind: GpuKind
    memory_sizes: tuple[int, ...]  # bytes, smallest first; empty when the table does not say
    bandwidth_bytes_per_s: int | None
    compute_capability: str | None

    @property
    def gpu_cores(self) -> int | None:
        """Apple sells some chips with fewer GPU cores and less bandwidth: "(30-core GPU)"."""
        found = re.search(r"\((\d+)-core", self.name)
        return int(found[1]) if found else None


@cache
def load_table() -> tuple[GpuRow, ...]:
    """Return every row of the table."""
    path = Path(__file__).parent / "data" / "gpus.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(_row(fields) for fields in csv.DictReader(file))


def _row(fields: dict[str, str]) -> GpuRow:
    bandwidth = fields["bandwidth_gb_per_s"]
    return GpuRow(
        vendor=fields["vendor"],
        name=fields["name"],
        kind=cast(GpuKind, fields["kind"]),
        memory_sizes=tuple(int(size) * GIB for size in fields["memory_gib"].split("/") if size),
        bandwidth_bytes_per_s=round(float(bandwidth) * 10**9) if bandwidth else None,
        compute_capability=fields["compute_capability"] or None,
    )


def find_gpu(name: str, memory: int | None = None, gpu_cores: int | None = None) -> GpuRow | None:
    """Return the row of the GPU that a driver or a person calls ``name``, None when unknown.

    ``memory`` (bytes) and ``gpu_cores`` tell variants of the same name apart, and may be said in
    the name too; without them the first in the table is taken, the usual one or the slowest.
    """
    wanted = words(name)
    rows = [row for row in load_table() if words(row.name) == wanted]
    if not rows:
        rows = _most_specific([row for row in load_table() if _is_part(words(row.name), wanted)])
    if memory is None and (found := _SIZE.search(name.lower())):
        memory = int(found[1]) * GIB
    rows = [row for row in rows if memory is None or _may_have(row, memory)] or rows
    if gpu_cores is None and (found := _GPU_CORES.search(name.lower())):
        gpu_cores = int(found[1])
    rows = [row for row in rows if gpu_cores in (None, row.gpu_cores)] or rows
    return rows[0] if rows else None


@lru_cache(maxsize=1024)
def words(name: str) -> frozenset[str]:
    """Return what identifies a GPU in ``name``: ``{"rtx", "4070", "ti"}``."""
    text = re.sub(r"\((?:r|tm)\)|[®™]", " ", _GPU_CORES.sub(" ", name.lower()))
    text = _SIZE.sub(" ", text.replace("max-q", "maxq").replace("mobile", "laptop"))
    text = re.sub(r"\b(rtx|gtx|rx|arc)(?=\d)", r"\1 ", text)  # RTX4090
    text = re.sub(r"(?<=\d{4})(ti|super|xtx|xt|gre|d)\b", r" \1", text)  # 4070Ti, 4090D
    found = re.split(r"[\s/(),_-]+", text)
    return frozenset(word for word in found if word and word not in _NOISE)


def _is_part(row: frozenset[str], wanted: frozenset[str]) -> bool:
    return bool(row) and row < wanted and not (wanted - row) & _VARIANTS


def _most_specific(rows: list[GpuRow]) -> list[GpuRow]:
    longest = max((len(words(row.name)) for row in rows), default=0)
    return [row for row in rows if len(words(row.name)) == longest]


def _may_have(row: GpuRow, memory: int) -> bool:
    """Drivers keep back a part, and makers count GB: 8 % below to 2 % above is the same size."""
    return any(0.92 * size <= memory <= 1.02 * size for size in row.memory_sizes)
