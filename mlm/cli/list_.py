"""``mlm list``: the models on this machine."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import session

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mlm.store.types import ModelFile

Order = Literal["name", "size", "used"]
_WIDE = 70  # columns that it takes to say more than names, sizes and times


EXAMPLES = {
    "mlm list": "All models on this machine",
    "mlm list qwen --sort size": "Those with qwen in the name, the largest first",
}


def list_(
    ctx: typer.Context,
    text: Annotated[
        str | None,
        typer.Argument(metavar="[TEXT]", help="Only models with this in a name."),
    ] = None,
    sort: Annotated[
        Order, typer.Option("--sort", help="By name, the largest first, or the last used first.")
    ] = "name",
    as_json: JsonOpt = False,
) -> None:
    """List the models on this machine: what they take, when they were last used and verified."""
    from mlm.store.store import Store

    run = session(ctx)
    with Store(run.settings.home, run.settings.hub_cache) as store:
        there = store.models()
        models = sorted((m for m in there if _has(m, text)), key=lambda m: _rank(m, sort))
        own = {model.path for model in models if store.is_ours(model)}
    run.emit(
        "list",
        {"models": [model_row(model) for model in models]},
        as_json=as_json,
        human=lambda: _table([(model, model.path in own) for model in models]),
    )
    if not there:
        run.note("hint: mlm recommend, then mlm download REF")
    elif not models:
        run.note(f"hint: none of {len(there)} models has '{text}' in its name")


def model_row(model: "ModelFile") -> dict[str, Any]:
    """Return the fields of one model in ``mlm.list/1``."""
    return asdict(model) | {"path": str(model.path)}


def _has(model: "ModelFile", text: str | None) -> bool:
    names = (model.model_id, model.ref, model.model, model.quant, model.filename)
    return text is None or any(text.casefold() in name.casefold() for name in names if name)


def _rank(model: "ModelFile", order: Order) -> tuple[float, str]:
    number = {
        "name": 0.0,
        "size": -float(model.size_bytes),
        "used": -(model.last_used_at or 0.0),
    }[order]
    return number, model.ref.casefold()


def _table(models: "list[tuple[ModelFile, bool]]") -> "RenderableType":
    from datetime import datetime

    from rich.table import Table
    from rich.text import Text

    from mlm.cli._columns import one_line
    from mlm.cli._session import stdout
    from mlm.units import format_ago, format_size

    if not models:
        return Text("no models yet")
    is_wide = stdout().width >= _WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("MODEL", overflow="fold")
    table.add_column("QUANT", overflow="fold")
    table.add_column("SIZE", justify="right")
    table.add_column("USED", overflow="fold")
    if is_wide:
        table.add_column("VERIFIED", overflow="fold")
        table.add_column("FROM", overflow="fold")
    for model, is_own in models:
        used_at, verified_at = model.last_used_at, model.verified_at
        used = "never" if used_at is None else format_ago(used_at)
        verified = "never" if verified_at is None else f"{datetime.fromtimestamp(verified_at):%F}"
        row = [model.quant or "?", format_size(model.size_bytes), used]
        table.add_row(
            Text(one_line(model.model_id)),
            *row,
            *([verified, origin_words(model, is_own=is_own)] if is_wide else []),
        )
    return table


def origin_words(model: "ModelFile", *, is_own: bool) -> str:
    """Return where a model came from, and that its file is not mlm's where it is not."""
    if model.origin != "import":
        return model.origin
    return "copy" if is_own else "in place"
