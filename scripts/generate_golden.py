"""Write what `mlm recommend` says on machines of all sizes: ``tests/planning/golden/machines.txt``.

``tests/planning/test_golden.py`` fails when the advice changes. Then run this, and read what has
changed: would somebody who knows local models give that advice?
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlm.catalog.load import load_catalog
from mlm.catalog.types import CatalogEntry, UseCase
from mlm.cli._columns import align
from mlm.hardware.preset import find_preset
from mlm.planning.recommend import recommend
from mlm.planning.recommendation import Recommendation, Wish
from mlm.units import GIB, format_tokens

PATH = Path(__file__).parents[1] / "tests" / "planning" / "golden" / "machines.txt"
COMMAND = "python scripts/generate_golden.py"
N_BEST = 3
CHAT: tuple[UseCase, ...] = ("chat",)
CODE: tuple[UseCase, ...] = ("chat", "code")
ALL: tuple[UseCase, ...] = ("chat", "code", "reasoning", "embedding", "vision")

# Name in the table, what --hardware gets, purposes.
MACHINES: dict[str, tuple[str, tuple[UseCase, ...]]] = {
    "Raspberry Pi 4, 4 GB": ("4GB Raspberry Pi 4", ALL),
    "Raspberry Pi 5, 8 GB": ("8GB Raspberry Pi 5", CODE),
    "Raspberry Pi 5, 16 GB": ("16GB Raspberry Pi 5", CHAT),
    "old laptop, 8 GB, no AVX2": ("8GB old laptop", CHAT),
    "old desktop, 16 GB, no AVX2": ("16GB old desktop", CHAT),
    "N100 mini PC, 16 GB": ("16GB mini pc", CHAT),
    "laptop, 8 GB": ("8GB laptop", ALL),
    "laptop, 16 GB": ("16GB laptop", ALL),
    "laptop, 32 GB": ("32GB laptop", CODE),
    "desktop without a card, 64 GB": ("64GB desktop", CODE),
    "cloud server, 64 cores, 256 GB": ("256GB server, 64 cores", CODE),
    "GTX 1050 Ti 4 GB": ("GTX 1050 Ti, 16GB", CHAT),
    "RTX 3050 Laptop 4 GB": ("RTX 3050 Laptop 4GB, 16GB", CHAT),
    "GTX 1660 6 GB": ("GTX 1660, 16GB", CHAT),
    "RTX 4060 8 GB": ("RTX 4060, 16GB", CODE),
    "RTX 4070 12 GB in WSL (half of 32 GB)": ("RTX 4070, 16GB", CHAT),
    "RTX 3060 12 GB, 32 GB": ("RTX 3060", ALL),
    "RTX 4060 Ti 16 GB, 64 GB": ("RTX 4060 Ti 16GB, 64GB", CODE),
    "RTX 3090 24 GB, 64 GB": ("RTX 3090, 64GB", ALL),
    "RTX 4090 24 GB, 128 GB": ("RTX 4090, 128GB", CODE),
    "RTX 5090 32 GB, 96 GB": ("RTX 5090, 96GB", CODE),
    "RTX 3060 12 GB and 3090 24 GB": ("RTX 3060 + RTX 3090, 64GB, 16 cores", CHAT),
    "2x RTX 3090, 128 GB": ("2x RTX 3090, 128GB", CODE),
    "4x RTX 4090, 256 GB": ("4x RTX 4090, 256GB", CODE),
    "RX 7900 XTX 24 GB": ("RX 7900 XTX, 64GB", CODE),
    "Arc A770 16 GB": ("Arc A770 16GB", CHAT),
    "Arc B580 12 GB": ("Arc B580", CHAT),
    "A100 40 GB": ("A100 40GB, 128GB", CHAT),
    "A100 80 GB": ("A100 80GB, 256GB", CHAT),
    "H100 80 GB": ("H100, 256GB", ALL),
    "8x H100": ("p5.48xlarge", ALL),
    "MI300X 192 GB": ("MI300X, 512GB", CHAT),
    "MacBook Air M1, 8 GB": ("MacBook Air M1 8GB", CODE),
    "MacBook Air M2, 16 GB": ("MacBook Air M2 16GB", CHAT),
    "Mac mini M4, 16 GB": ("Mac mini M4 16GB", CODE),
    "MacBook Pro M3 Pro, 36 GB": ("MacBook Pro M3 Pro 36GB", CHAT),
    "MacBook Pro M4 Max, 128 GB": ("M4 Max 40-core 128GB", ALL),
    "Mac Studio M3 Ultra, 512 GB": ("Mac Studio M3 Ultra 512GB", CODE),
    "Strix Halo, 128 GB": ("Strix Halo 128GB", CODE),
    "DGX Spark, 128 GB": ("DGX Spark", CODE),
    "Jetson Orin Nano, 8 GB": ("Jetson Orin Nano 8GB", CHAT),
    "Jetson AGX Orin, 64 GB": ("Jetson AGX Orin 64GB", CHAT),
}  # fmt: skip


def golden_blocks() -> dict[str, str]:
    """Return the text for each machine, by its name in the table."""
    with tempfile.TemporaryDirectory() as folder:
        entries = load_catalog(Path(folder) / "none", Path(folder)).entries
    return {name: golden_block(entries, name) for name in MACHINES}


def golden_block(entries: Sequence[CatalogEntry], name: str) -> str:
    """Return what is recommended for one machine."""
    text, uses = MACHINES[name]
    machine = find_preset(text)
    blocks = [f'{name}   (--hardware "{text}")']
    for use in uses:
        found = recommend(entries, machine, Wish(use), N_BEST).recommendations
        rows = [(use if n == 0 else "", *_row(each)) for n, each in enumerate(found)]
        rows = rows or [(use, "nothing fits", "", "", "", "", "", "")]
        blocks.append(_indent(align(rows, right=(2, 3, 4, 5, 6))))
    return "\n".join(blocks)


def kept_blocks() -> dict[str, str]:
    """Return the text for each machine as it was when somebody last read it."""
    _, *blocks = PATH.read_text(encoding="utf-8").rstrip("\n").split("\n\n")
    return {block.partition("   (--")[0]: block for block in blocks}


def _row(found: Recommendation) -> Iterator[str]:
    speed = found.speed
    yield found.label
    yield f"score {found.score:.0f}"
    yield f"quality {found.quality:.0f}"
    yield f"{found.memory_bytes / GIB:.1f} GiB"
    yield f"{speed.low:.3g}-{speed.high:.3g} tok/s"
    yield format_tokens(found.config.n_ctx_slot)
    on_gpu = found.config.n_gpu_layers / (found.shape.n_layer + 1)
    cpu_experts = found.config.n_cpu_moe
    yield (f"{on_gpu:.0%} on the GPU" if on_gpu else "CPU") + (
        f", experts of {cpu_experts} layers in RAM" if cpu_experts else ""
    )


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def main() -> None:
    """Write the table."""
    header = f"The best {N_BEST} for each machine and purpose. Made by: {COMMAND}"
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text("\n\n".join([header, *golden_blocks().values()]) + "\n", encoding="utf-8")
    print(PATH)


if __name__ == "__main__":
    main()
