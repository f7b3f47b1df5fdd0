"""``mlm import``: register a GGUF file that is on this machine already, where it is."""

from pathlib import Path
from typing import Annotated

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._progress import show_progress
from mlm.cli._session import session


def import_(
    ctx: typer.Context,
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A .gguf file; shards come along by themselves.")
    ],
    as_json: JsonOpt = False,
) -> None:
    """Register a local model file in place: nothing is copied or moved.

    For example: mlm import ~/models/mine.Q4_K_M.gguf
    """
    from rich.text import Text

    from mlm.cli.list_ import model_row
    from mlm.store.store import Store
    from mlm.units import format_size

    run = session(ctx)
    with (
        Store(run.settings.home, run.settings.hub_cache) as store,
        show_progress(run) as listener,
    ):
        files = store.import_file(path, listener)
    size = format_size(sum(file.size_bytes for file in files))
    run.emit(
        "import",
        {"files": [model_row(file) for file in files]},
        as_json=as_json,
        human=lambda: Text(f"{files[0].model_id}  {size}  {files[0].path}"),
    )
