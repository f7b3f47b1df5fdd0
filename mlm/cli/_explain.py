"""``mlm recommend --explain``: the arithmetic behind one model's place in the ranking."""

from typing import TYPE_CHECKING, Any

import typer

from mlm.cli._session import print_document, print_text
from mlm.errors import DoesNotFitError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlm.catalog.lookup import Catalog
    from mlm.hardware.types import Hardware
    from mlm.planning.calibration import Calibration
    from mlm.planning.recommendation import Recommendation, Rejection, Wish


def explain_model(
    catalog: "Catalog",
    machine: "Hardware",
    wish: "Wish",
    known: "Calibration",
    text: str,
    *,
    as_json: bool,
) -> None:
    """Print what each quantization of the model ``text`` comes to, to be redone by hand.

    Raises:
        NotFoundError: the catalog does not know it.
        UsageError: it is not a name of the catalog.
    """
    from mlm.errors import UsageError
    from mlm.planning.recommend import compete, consider, find_obstacle, recommend
    from mlm.planning.recommendation import Recommendation, Rejection
    from mlm.store.ref import NameRef, parse_ref

    ref = parse_ref(text)
    if not isinstance(ref, NameRef):
        raise UsageError(f"{text} is not in the catalog", remedy=f"mlm plan {text}")
    entry = catalog.find(ref.name)
    quants = [catalog.find_quant(entry, ref.quant)] if ref.quant else list(entry.quants)
    obstacle = find_obstacle(entry, wish)
    results: list[Recommendation | Rejection] = [
        Rejection(entry.model_id, quant.quant, obstacle)
        if obstacle
        else consider(entry, quant, machine, wish, known)
        for quant in quants
    ]
    if as_json:
        print_document("recommend", _document(results, machine, wish))
    elif obstacle:
        print_text("\n\n".join(_text(found, machine, {}) for found in results))
    else:
        _, losers = compete(entry, machine, wish, known)
        behind = {loser.quant: loser.reason for loser in losers}
        texts = [_text(found, machine, behind) for found in results]
        best = recommend(catalog.entries, machine, wish, 1, known).recommendations
        texts += [f"best here: {each.label}, score {each.score:.1f}" for each in best]
        print_text("\n\n".join(texts))
    if not any(isinstance(found, Recommendation) for found in results):
        raise typer.Exit(DoesNotFitError.exit_code)


def _document(
    results: "list[Recommendation | Rejection]", machine: "Hardware", wish: "Wish"
) -> dict[str, Any]:
    from mlm.cli._planned import device_fields, recommendation_fields
    from mlm.hardware.document import to_document
    from mlm.planning.recommendation import Recommendation

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


def _text(
    found: "Recommendation | Rejection", machine: "Hardware", behind: "Mapping[str | None, str]"
) -> str:
    from mlm.cli._columns import align, wrap
    from mlm.cli._plan_text import device_rows
    from mlm.planning.recommendation import Recommendation
    from mlm.planning.score import explain_fit, explain_loss, explain_speed

    if not isinstance(found, Recommendation):
        return wrap(f"{found.model}:{found.quant} is out: {found.reason}")
    quality, loss, fit, speed = (
        found.parts[name] for name in ("quality", "quant_loss", "fit", "speed")
    )
    use, tps = found.wish.use, found.speed
    factors = f"{quality:.1f} x (1 - {loss:.4f}) x {fit:.4f} x {speed:.4f}"
    rows = [
        ("quality", f"{quality:.1f}", f"of 100, by published scores for {use}"),
        ("quant. loss", f"{loss:.4f}", explain_loss(found.entry, found.quant.quant)),
        ("fit", f"{fit:.4f}", explain_fit(found.devices, machine)),
        ("speed", f"{speed:.4f}", explain_speed(tps.mid, use)),
        ("score", f"{found.score:.1f}", factors),
    ]
    lines = [found.label, align(rows, right=(1,))]
    lines.append(f"tokens/s     {tps.mid:.4g} ({tps.low:.3g} to {tps.high:.3g})")
    lines.append(align(device_rows(found.devices)))
    if reason := behind.get(found.quant.quant):
        lines.append(wrap(f"not chosen: {reason}"))
    return "\n".join(lines)
