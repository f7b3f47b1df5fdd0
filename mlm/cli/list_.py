"""``mlm list``: the models on this machine."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import session

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mlm.store.types import ModelFile


def list_(ctx: typer.Context, as_json: JsonOpt = False) -> None:
    """List the models on this machine.

    For example: mlm list --json
    """
    from mlm.store.store import Store

    run = session(ctx)
    with Store(run.settings.home, run.settings.hub_cache) as store:
        models = store.models()
    run.emit(
        "list",
        {"models": [model_row(model) for model in models]},
        as_json=as_json,
        human=lambda: _table(models),
    )
    if not models:
        run.note("hint: mlm recommend, then mlm download REF")


def model_row(model: "ModelFile") -> dict[str, Any]:
    """Return the fields of one model in ``mlm.list/1``."""
    return asdict(model) | {"path": str(model.path)}


def _table(models: "list[ModelFile]") -> "RenderableType":
    from datetime import datetime

    from rich.table import Table
    from rich.text import Text

    from mlm.units import format_size

    if not models:
        return Text("no models yet")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("MODEL", overflow="fold")
    table.add_column("QUANT", overflow="fold")
    table.add_column("SIZE", justify="right")
    table.add_column("VERIFIED", overflow="fold")
    table.add_column("SHA256", overflow="fold")
    for model in models:
        verified = "never"
        if model.verified_at is not None:
            verified = f"{datetime.fromtimestamp(model.verified_at):%Y-%m-%d}"
        table.add_row(
            Text(model.model_id),
            model.quant or "?",
            format_size(model.size_bytes),
            verified,
            model.sha256[:12] if model.sha256 else "?",
        )
    return table
