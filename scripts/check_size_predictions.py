"""How near predicted file sizes come to published ones: `mlm.planning.sizes` against 364 files.

All are judged, those of llama-quantize's own mixtures and those that are special in some way.
Shapes and parameters are the catalog's, or `known_shapes.csv` for models that are not in it. Sizes
are exact, from the sources named in `known_sizes.csv`.
"""

import csv
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from mlm.catalog.load import load_catalog
from mlm.catalog.types import Architecture
from mlm.planning.sizes import SizeInterval, predict_file_size

TABLES = Path(__file__).parents[1] / "tests" / "planning"


@dataclass(frozen=True)
class Known:
    """A published file and what would have been said of it."""

    repo_id: str
    filename: str
    size_bytes: int
    special: str  # in which way it is not made by llama-quantize's rules alone; mostly empty
    predicted: SizeInterval

    @property
    def error(self) -> float:
        return self.predicted.mid / self.size_bytes - 1

    @property
    def is_inside(self) -> bool:
        return self.predicted.low <= self.size_bytes <= self.predicted.high


def read_known() -> list[Known]:
    """Return every published file with its prediction."""
    shapes = _read_shapes()
    known = []
    for row in _rows("known_sizes.csv"):
        facts, params = shapes[row["base_repo"]]
        predicted = predict_file_size(facts, params, row["quant"], row["repo_id"], row["base_repo"])
        assert predicted is not None, row
        size = int(row["size_bytes"])
        known.append(Known(row["repo_id"], row["filename"], size, row["special"], predicted))
    return known


def _read_shapes() -> dict[str, tuple[Architecture, int]]:
    with tempfile.TemporaryDirectory() as folder:
        catalog = load_catalog(Path(folder) / "own", Path(folder) / "cache")
    shapes = {e.base_repo: (e.architecture, e.params) for e in catalog.entries if e.base_repo}
    for row in _rows("known_shapes.csv"):
        numbers = {k: int(v) if v else None for k, v in row.items() if k.startswith(("n_", "head"))}
        facts = Architecture(name=row["architecture"], n_ctx_train=4096, **numbers)  # type: ignore[arg-type]
        shapes[row["base_repo"]] = (facts, int(row["params"]))
    return shapes


def _rows(name: str) -> list[dict[str, str]]:
    with (TABLES / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def measure(known: list[Known]) -> tuple[float, float, float]:
    """Return median and 95th percentile of the errors, and the share inside the interval."""
    errors = sorted(abs(one.error) for one in known)
    inside = sum(one.is_inside for one in known) / len(known)
    return median(errors), errors[int(0.95 * len(errors))], inside


def main() -> None:
    known = read_known()
    groups = {"all": known}
    for why in dict.fromkeys(one.special for one in known):
        groups[why or "by llama-quantize's rules"] = [one for one in known if one.special == why]
    for name, group in groups.items():
        middle, p95, inside = measure(group)
        print(
            f"{name}: {len(group)} files, median {middle:.3%}, p95 {p95:.2%}, inside {inside:.0%}"
        )
    for one in sorted(known, key=lambda one: -abs(one.error)):
        if abs(one.error) > 0.03:
            print(f"{one.error:+.1%} {one.repo_id}/{one.filename}")


if __name__ == "__main__":
    main()
