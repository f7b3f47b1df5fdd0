"""``mlm recommend --explain``: the arithmetic behind one model's place in the ranking."""

from typing import TYPE_CHECKING, Any

import typer

from mlm.cli._session import print_document, print_text
from mlm.errors import DoesNotFitError

if TYPE_CHECKING:
    from mlm.catalog.lookup import Catalog
    from mlm.hardware.types import Hardware
    from mlm.planning.recommend import Recommendation, Rejection, Wish


def explain_model(
    catalog: "Catalog", machine: "Hardware", wish: "Wish", text: str, *, as_json: bool
) -> None:
    """Print what each quantization of the model ``text`` comes to.

    Raises:
        NotFoundError: the catalog does not know it.
        UsageError: it is not a name of the catalog.
    """
    from mlm.errors import UsageError
    from mlm.planning.recommend import Recommendation, Rejection, consider, find_obstacle
    from mlm.store.ref import NameRef, parse_ref

    ref = parse_ref(text)
    if not isinstance(ref, NameRef):
        raise UsageError(f"{text} is not in the catalog", remedy=f"mlm plan {text}")
    entry = catalog.find(ref.name)
    quants = [catalog.find_quant(entry, ref.quant)] if ref.quant else list(entry.quants)
    results: list[Recommendation | Rejection]
    if obstacle := find_obstacle(entry, wish):
        results = [Rejection(entry.model_id, quant.quant, obstacle) for quant in quants]
    else:
        results = [consider(entry, quant, machine, wish) for quant in quants]
    if as_json:
        print_document("recommend", _document(results, machine, wish))
    else:
        print_text("\n\n".join(_text(found) for found in results))
    if not any(isinstance(found, Recommendation) for found in results):
        raise typer.Exit(DoesNotFitError.exit_code)


def _document(
    results: "list[Recommendation | Rejection]", machine: "Hardware", wish: "Wish"
) -> dict[str, Any]:
    from mlm.cli._planned import device_fields, recommendation_fields
    from mlm.hardware.document import to_document
    from mlm.planning.recommend import Recommendation

    found = [result for result in results if isinstance(result, Recommendation)]
    found.sort(key=lambda r: -r.score)
    return {
        "hardware": to_document(machine),
        "use": wish.use,
        "recommendations": [
            {
                "rank": rank,
                **recommendation_fields(result),
                "devices": [device_fields(device) for device in result.devices],
            }
            for rank, result in enumerate(found, start=1)
        ],
        "rejected": [
            {"model": r.model, "quant": r.quant, "reason": r.reason}
            for r in results
            if not isinstance(r, Recommendation)
        ],
    }


def _text(found: "Recommendation | Rejection") -> str:
    from mlm.cli._columns import align, wrap
    from mlm.cli._plan_text import device_rows
    from mlm.planning.recommend import Recommendation

    if not isinstance(found, Recommendation):
        return wrap(f"{found.model}:{found.quant} is out: {found.reason}")
    parts = found.parts
    rows = [
        ("quality", f"{parts['quality']:.1f}", f"published scores for {found.wish.use}, of 100"),
        ("- quantization", f"{parts['quant_loss']:.1%}", f"what {found.quant.quant} loses"),
        ("x fit", f"{parts['fit']:.2f}", "1 with memory to spare, 0.98 at four fifths of it"),
        ("x speed", f"{parts['speed']:.2f}", f"{found.speed.mid:.1f} tokens/s"),
        ("= score", f"{found.score:.1f}", ""),
    ]
    return f"{found.label}\n{align(rows, right=(1,))}\n{align(device_rows(found.devices))}"
