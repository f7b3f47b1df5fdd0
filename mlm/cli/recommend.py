"""``mlm recommend``: which model, in which quantization, for this machine and this purpose."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlm.cli._options import HardwareOpt, JsonOpt, MemoryOpt, finite
from mlm.cli._session import print_document, print_text, session
from mlm.completion.names import complete_known
from mlm.errors import DoesNotFitError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlm.catalog.types import CatalogEntry
    from mlm.hardware.types import Hardware
    from mlm.planning.recommendation import Ranking, Recommendation, Wish

_N_EXPLAINED = 3  # rows whose reasons are printed under the table

UseOpt = Annotated[
    Literal["chat", "code", "reasoning", "embedding", "vision"],
    typer.Option("--use", help="What the model is for."),
]
CtxOpt = Annotated[
    int | None,
    typer.Option(
        "--ctx",
        min=1,
        metavar="N",
        help="Tokens of one request, with its answer.",
        show_default=False,
    ),
]
UsersOpt = Annotated[
    int,
    typer.Option("--users", min=1, max=256, metavar="N", help="People who ask at the same time."),
]
MinTpsOpt = Annotated[
    float | None,
    typer.Option(
        "--min-tps",
        min=0,
        metavar="X",
        help="Leave out what writes fewer tokens a second.",
        show_default=False,
        callback=finite,
    ),
]
LicenseOpt = Annotated[
    str | None,
    typer.Option(
        "--license",
        metavar="ID",
        help="Only models under this licence: Apache-2.0, or permissive for any such.",
        show_default=False,
    ),
]
TopOpt = Annotated[int, typer.Option("--top", min=1, metavar="N", help="How many models to show.")]
ExplainOpt = Annotated[
    str | None,
    typer.Option(
        "--explain",
        metavar="REF",
        help="Show the arithmetic for this model instead.",
        show_default=False,
        autocompletion=complete_known,
    ),
]


EXAMPLES = {
    "mlm recommend": "The best models for this machine",
    "mlm recommend --use code --ctx 16384 --users 2": (
        "For two people who write code, with 16384 tokens for each request"
    ),
    'mlm recommend --hardware "2x RTX 4090, 128GB"': "For a machine that you do not have yet",
    "mlm recommend --explain qwen3-8b": "Why this model is ranked where it is",
}


def recommend(
    ctx: typer.Context,
    use: UseOpt = "chat",
    n_ctx: CtxOpt = None,
    users: UsersOpt = 1,
    min_tps: MinTpsOpt = None,
    memory: MemoryOpt = None,
    hardware: HardwareOpt = None,
    license: LicenseOpt = None,
    top: TopOpt = 5,
    explain: ExplainOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Recommend models for this machine."""
    from mlm.cli._catalog import open_catalog
    from mlm.cli._experience import read_calibration
    from mlm.cli._machine import planned_machine
    from mlm.planning.recommend import recommend as rank
    from mlm.planning.recommendation import Wish

    machine = planned_machine(session(ctx), hardware, memory)
    catalog = open_catalog(session(ctx))
    wish = Wish(use, n_ctx, users, min_tps, license)
    known = read_calibration(session(ctx), machine)
    if explain is not None:
        from mlm.cli._explain import explain_model

        explain_model(catalog, machine, wish, known, explain, as_json=as_json)
        return
    ranking = rank(catalog.entries, machine, wish, top, known)
    if as_json:
        print_document("recommend", _document(ranking, machine, wish))
    elif ranking.recommendations:
        print_text(_table(ranking))
        best = ranking.recommendations[0].label
        session(ctx).note(f"get it with: mlm download {best}; see more with: mlm plan {best}")
    if ranking.recommendations:
        return
    if as_json:
        raise typer.Exit(DoesNotFitError.exit_code)
    raise _nothing_found(catalog.entries, ranking, wish)


def _nothing_found(
    entries: "Sequence[CatalogEntry]", ranking: "Ranking", wish: "Wish"
) -> DoesNotFitError:
    """Return the error that says why even the model nearest to the wish is out."""
    from dataclasses import replace

    from mlm.planning.recommend import find_obstacle

    sizes = {(entry.model_id, q.quant): q.size_bytes for entry in entries for q in entry.quants}
    planned = [(sizes[r.model, r.quant], r) for r in ranking.rejected if r.quant is not None]
    anything = replace(wish, n_ctx_slot=None)
    made = [entry for entry in entries if find_obstacle(entry, anything) is None]
    remedy = "ask for less: a smaller --ctx, fewer --users, a lower --min-tps"
    if planned:
        _, least = min(planned, key=lambda pair: pair[0])
        reason = f"{least.model}:{least.quant}: {least.reason}"
    elif made:
        longest = max(made, key=lambda entry: entry.architecture.n_ctx_train)
        reason = f"the longest context is that of {longest.model_id}, "
        reason += f"{longest.architecture.n_ctx_train} tokens"
    elif wish.license:
        there = ", ".join(sorted({entry.license for entry in entries if not entry.bundled}))
        reason, remedy = f"none under {wish.license} is made for it", f"the licences are: {there}"
    else:
        reason, remedy = "none is made for it", "mlm recommend --use chat"
    return DoesNotFitError(
        f"no model in the catalog will do for {wish.use} here: {reason}", remedy=remedy
    )


def _document(ranking: "Ranking", machine: "Hardware", wish: "Wish") -> dict[str, Any]:
    from mlm.cli._planned import recommendation_fields
    from mlm.hardware.document import to_document

    return {
        "hardware": to_document(machine),
        "use": wish.use,
        "recommendations": [
            {"rank": rank, **recommendation_fields(found)}
            for rank, found in enumerate(ranking.recommendations, start=1)
        ],
        "rejected": [
            {"model": r.model, "quant": r.quant, "reason": r.reason} for r in ranking.rejected
        ],
    }


def _table(ranking: "Ranking") -> str:
    from mlm.cli._columns import align, wrap

    shown = ranking.recommendations
    rows: list[tuple[str, ...]] = [("", "MODEL", "SCORE", "MEMORY", "TOKENS/S", "CONTEXT")]
    rows += [(str(rank), *_cells(found)) for rank, found in enumerate(shown, start=1)]
    lines = [align(rows, right=(2, 3, 4, 5)), ""]
    for rank, found in enumerate(shown[:_N_EXPLAINED], start=1):
        lines.append(f"{rank}  {found.label}")
        lines += [wrap(reason, indent="   - ") for reason in found.reasons]
    return "\n".join(lines)


def _cells(found: "Recommendation") -> tuple[str, ...]:
    from mlm.units import format_size, format_tokens

    least, most = (format_tokens(n or 0) for n in (found.config.n_ctx_slot, found.n_ctx_most))
    return (
        found.label,
        f"{found.score:.0f}",
        format_size(found.memory_bytes),
        f"{found.speed.low:.0f}-{found.speed.high:.0f}",
        f"{least}-{most}" if most != least else least,
    )
