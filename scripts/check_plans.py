"""How near computed plans come to what llama.cpp would take, for published models of all kinds.

    python scripts/check_plans.py [NAME …]

Each model is a header at its real shape (`tests/fakes/published_shapes.txt`): 3 contexts x 3 types
of KV cache x 1 and 4 slots, and contexts without flash attention, with one cache for all slots,
and with other batches. Per line and for the whole, the largest error and the median. Fails when a
total is off by more than 5 %, the median of a model by more than 1 %, or a plan that is rough
calls itself computed.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from fakes.published_shapes import architecture_of, published_names, write_published
from fakes.truth import CONTEXT, Comparison, compare

LIMIT, MEDIAN_LIMIT = 0.05, 0.01


def worst(found: list[Comparison], kind: str) -> float:
    """Return the largest error of one line, with its sign."""
    return max((each.error(kind) for each in found), key=abs)


def row(name: str, found: list[Comparison]) -> str:
    """Return the line of the table about one model."""
    total = max((each.total_error for each in found), key=abs)
    median = statistics.median(abs(each.total_error) for each in found)
    lines = "".join(f"{worst(found, kind):10.2%}" for kind in CONTEXT)
    grade = "" if found[0].grade == "computed" else f"  {found[0].grade}"
    return f"{name:22}{architecture_of(name):17}{lines}{total:10.2%}{median:9.3%}{grade}"


def is_missed(found: list[Comparison]) -> bool:
    """Return whether a computed plan misses the measure."""
    errors = [abs(each.total_error) for each in found]
    is_rough = max(errors) > LIMIT or statistics.median(errors) > MEDIAN_LIMIT
    return is_rough and found[0].grade == "computed"


def main() -> int:
    """Print the table; return 1 when the measure is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=published_names())
    names = parser.parse_args().names
    heads = "".join(f"{kind:>10}" for kind in CONTEXT)
    print(f"{'largest error of':39}{heads}{'total':>10}{'median':>9}")
    missed, everything = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = write_published(name, Path(folder))
            found = compare(path)
            path.unlink()
            print(row(name, found), flush=True)
            everything += found
            missed += [name] * is_missed(found)
    computed = [each for each in everything if each.grade == "computed"]
    totals = [abs(each.total_error) for each in computed]
    exact = sum(abs(each.error("compute")) <= MEDIAN_LIMIT for each in computed)
    print(
        f"{len(names)} models, {len(everything)} contexts, {len(computed)} plans computed: "
        f"totals off by {max(totals):.2%} at most, {statistics.median(totals):.4%} in the median; "
        f"the compute buffer within 1 % in {exact / len(computed):.1%}"
    )
    if missed:
        print(f"over the limit: {', '.join(missed)}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
