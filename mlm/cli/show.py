"""``mlm show``: everything the store knows of one model."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mlm.cli._options import InstalledRefArg, JsonOpt
from mlm.cli._session import Session, session

if TYPE_CHECKING:
    from rich.table import Table

    from mlm.store.types import ModelFile


@dataclass(frozen=True, slots=True)
class _Shown:
    """A model, and what is around it."""

    model: "ModelFile"
    files: "list[ModelFile]"
    side_files: "list[ModelFile]"
    shared_with: list[str]  # what else leads to the same bytes
    is_own: bool  # its files are mlm's to delete
    changed: bool | None  # since it was verified, by size, time and inode; None: it never was
    config: Path | None  # None: it is planned when the model runs


EXAMPLES = {
    "mlm show qwen3-8b": "Where it is, and where it came from",
    "mlm show qwen3-8b --json": "The same for a script",
}


def show(ctx: typer.Context, ref: InstalledRefArg, as_json: JsonOpt = False) -> None:
    """Show where a model is and came from, what belongs to it, and if it was touched since."""
    from mlm.cli.list_ import model_row

    run = session(ctx)
    shown = _look(run, ref)
    payload: dict[str, Any] = {
        "model": model_row(shown.model),
        "files": [model_row(file) for file in shown.files],
        "side_files": [model_row(file) for file in shown.side_files],
        "shared_with": shown.shared_with,
        "in_place": not shown.is_own,
        "changed": shown.changed,
        "config": str(shown.config) if shown.config else None,
    }
    run.emit("show", payload, as_json=as_json, human=lambda: _table(shown))
    if shown.changed:
        run.note(f"hint: mlm verify {shown.model.ref}")


def _look(run: Session, ref: str) -> _Shown:
    from mlm.planning.config_file import config_path
    from mlm.store.sharing import Names
    from mlm.store.store import Store
    from mlm.store.survey import survey_cache

    with Store(run.settings.home, run.settings.hub_cache) as store:
        model = store.find(ref)
        files = store.files(model)
        receipts = {receipt.file.path: receipt for receipt in store.receipts()}
        names = Names([r.file for r in receipts.values()], survey_cache(store.hub_cache))
        others = [words for file in files for words in names.others(file)]
        known = [receipts[file.path] for file in files if file.path in receipts]
        config = config_path(run.settings.home.config, model.model_id)
        return _Shown(
            model=model,
            files=files,
            side_files=store.side_files(model),
            shared_with=list(dict.fromkeys(others)),
            is_own=store.is_ours(model),
            changed=None
            if model.verified_at is None
            else not all(receipt.is_current() for receipt in known),
            config=config if config.is_file() else None,
        )


def _table(shown: _Shown) -> "Table":
    from rich.table import Table
    from rich.text import Text

    from mlm.cli._columns import one_line
    from mlm.cli.list_ import origin_words
    from mlm.units import format_size

    model, files = shown.model, shown.files
    rows = {
        "model": model.model_id,
        "ref": model.ref,
        "quantization": model.quant,
        "repository": model.repo_id,
        "commit": model.commit,
        "origin": origin_words(model, is_own=shown.is_own),
        "size": f"{format_size(model.size_bytes)} ({model.size_bytes} bytes)",
        "sha256": (model.sha256 or "unknown") if len(files) == 1 else None,
        "verified": f"{_when(model.verified_at)}{_since(shown.changed)}",
        "last used": _when(model.last_used_at),
        "config": str(shown.config or "planned when it runs"),
        "path": str(model.path),
    }
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in rows.items():
        if value:
            table.add_row(label, Text(one_line(value)))
    shards = [(f"shard {n}", file) for n, file in enumerate(files, 1)] if len(files) > 1 else []
    for label, file in [*shards, *(("beside it", file) for file in shown.side_files)]:
        size, sha256 = format_size(file.size_bytes), file.sha256 or "sha256 unknown"
        table.add_row(label, Text(one_line(f"{file.filename}  {size}  {sha256}")))
    for words in shown.shared_with:
        table.add_row("same bytes", Text(one_line(words)))
    return table


def _since(changed: bool | None) -> str:
    if changed is None:
        return ""
    return ", but changed since" if changed else ", unchanged since"


def _when(unix_time: float | None) -> str:
    from datetime import datetime

    if unix_time is None:
        return "never"
    return f"{datetime.fromtimestamp(unix_time):%Y-%m-%d %H:%M}"
