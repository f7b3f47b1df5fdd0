"""``mlm show``: everything the store knows of one model."""

from typing import TYPE_CHECKING

import typer

from mlm.cli._options import InstalledRefArg, JsonOpt
from mlm.cli._session import session

if TYPE_CHECKING:
    from rich.table import Table

    from mlm.store.types import ModelFile


def show(ctx: typer.Context, ref: InstalledRefArg, as_json: JsonOpt = False) -> None:
    """Show where a model is, where it came from and when it was last verified.

    For example: mlm show qwen3-8b
    """
    from mlm.cli.list_ import model_row
    from mlm.store.store import Store

    run = session(ctx)
    with Store(run.settings.home, run.settings.hub_cache) as store:
        model = store.find(ref)
        files = store.files(model)
    payload = {"model": model_row(model), "files": [model_row(file) for file in files]}
    run.emit("show", payload, as_json=as_json, human=lambda: _table(model, files))


def _table(model: "ModelFile", files: "list[ModelFile]") -> "Table":
    from rich.table import Table
    from rich.text import Text

    from mlm.units import format_size

    checksum = model.sha256 or "unknown"
    rows = {
        "model": model.model_id,
        "ref": model.ref,
        "quantization": model.quant,
        "repository": model.repo_id,
        "commit": model.commit,
        "origin": model.origin,
        "size": f"{format_size(model.size_bytes)} ({model.size_bytes} bytes)",
        "sha256": checksum if len(files) == 1 else f"see --json: {len(files)} files",
        "verified": _when(model.verified_at),
        "last used": _when(model.last_used_at),
        "path": str(model.path),
    }
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in rows.items():
        if value:
            table.add_row(label, Text(value))
    return table


def _when(unix_time: float | None) -> str:
    from datetime import datetime

    if unix_time is None:
        return "never"
    return f"{datetime.fromtimestamp(unix_time):%Y-%m-%d %H:%M}"
