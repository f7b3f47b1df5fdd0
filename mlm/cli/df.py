"""``mlm df``: what takes the space."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import session
from mlm.units import format_size

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mlm.store.usage import ModelUsage, Usage

_WORDS = {
    "models": "models",
    "in_place": "models of yours, registered in place",
    "partial": "unfinished downloads",
    "orphan": "blobs that no model uses",
    "other_cache": "other files in the model cache",
    "sessions": "saved conversations",
    "response_cache": "cached answers",
    "stats": "history",
    "index": "index and receipts",
    "logs": "logs",
    "other": "configs and the rest of mlm's folder",
}


EXAMPLES = {
    "mlm df": "What models and caches take, and what is free",
    "mlm df --json": "The same for a script",
}


def df(ctx: typer.Context, as_json: JsonOpt = False) -> None:
    """Show what takes the space, by model and by kind, and what is free on each disk."""
    from mlm.cli._waiting import waiting_for
    from mlm.store.store import Store
    from mlm.store.usage import measure_usage

    run = session(ctx)
    with (
        Store(run.settings.home, run.settings.hub_cache) as store,
        waiting_for(run, "looking through the folders"),
    ):
        usage = measure_usage(store)
    run.emit("df", _payload(usage), as_json=as_json, human=lambda: _tables(usage))
    if usage.categories["partial"] or usage.categories["orphan"]:
        run.note("hint: mlm prune")


def _payload(usage: "Usage") -> dict[str, Any]:
    return {
        "models": [_row(model) for model in usage.models],
        "categories": usage.categories,
        "total_bytes": usage.total_bytes,
        "disks": [
            asdict(disk) | {"mount": str(disk.mount), "folders": [str(f) for f in disk.folders]}
            for disk in usage.disks
        ],
    }


def _row(usage: "ModelUsage") -> dict[str, Any]:
    model = usage.model
    return {
        "ref": model.ref,
        "model_id": model.model_id,
        "path": str(model.path),
        "size_bytes": model.size_bytes,
        "in_place": usage.in_place,
        "exclusive_bytes": usage.exclusive_bytes,
        "shared_bytes": usage.shared_bytes,
        "shared_with": list(usage.shared_with),
    }


def _tables(usage: "Usage") -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from mlm.cli._columns import one_line

    def table(*heads: str) -> Table:
        made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for head in heads:
            is_size = head in ("SIZE", "OWN", "SHARED", "FREE", "TOTAL")
            made.add_column(
                head, justify="right" if is_size else "left", no_wrap=is_size, overflow="fold"
            )
        return made

    models = table("MODEL", "OWN", "SHARED", "WITH")
    for row in usage.models:
        shared = format_size(row.shared_bytes) if row.shared_bytes else ""
        name = f"{row.model.model_id}{' (in place)' if row.in_place else ''}"
        own = format_size(row.exclusive_bytes)
        models.add_row(Text(one_line(name)), own, shared, Text("\n".join(row.shared_with)))
    kinds = table("WHAT", "SIZE")
    for category, size in usage.categories.items():
        if size:
            kinds.add_row(_WORDS[category], format_size(size))
    kinds.add_row("together", format_size(usage.total_bytes))
    disks = table("DISK", "FREE", "TOTAL", "HOLDS")
    for disk in usage.disks:
        folders = Text("\n".join(str(folder) for folder in disk.folders))
        disks.add_row(
            Text(str(disk.mount)), format_size(disk.free), format_size(disk.total), folders
        )
    if not usage.models:
        return Group(kinds, Text(""), disks)
    return Group(models, Text(""), kinds, Text(""), disks)
