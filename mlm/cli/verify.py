"""``mlm verify``: hash files again and compare them with what was promised."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlm.cli._model_names import complete_installed
from mlm.cli._options import JsonOpt
from mlm.cli._progress import ProgressMode, show_progress
from mlm.cli._session import session
from mlm.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mlm.store.types import Verified


def verify(
    ctx: typer.Context,
    refs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[REF]...",
            help="Models to check; all when none is named.",
            autocompletion=complete_installed,
        ),
    ] = None,
    progress: Annotated[
        ProgressMode, typer.Option("--progress", help="json: JSON lines on stderr.")
    ] = "auto",
    as_json: JsonOpt = False,
) -> None:
    """Check that model files are still what was promised, byte for byte.

    For example: mlm verify qwen3-8b
    """
    from mlm.store.store import Store

    run = session(ctx)
    with Store(run.settings.home, run.settings.hub_cache) as store:
        models = [store.find(ref) for ref in refs] if refs else store.models()
        with show_progress(run, progress) as listener:
            files = [file for model in models for file in store.verify(model, listener)]
    payload = {"files": [_row(file) for file in files]}
    run.emit("verify", payload, as_json=as_json, human=lambda: _table(files))
    bad = [file for file in files if not file.ok]
    if bad:
        if not as_json:
            run.note(f"hint: mlm download {bad[0].file.ref} --force")
        raise typer.Exit(ExitCode.INTEGRITY)


def _row(verified: "Verified") -> dict[str, Any]:
    file = verified.file
    return {
        "ref": file.ref,
        "model": file.model,
        "quant": file.quant,
        "repo_id": file.repo_id,
        "commit": file.commit,
        "filename": file.filename,
        "path": str(verified.path),
        "size_bytes": file.size_bytes,
        "ok": verified.ok,
        "expected": verified.expected,
        "actual": verified.actual,
    }


def _table(files: "list[Verified]") -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    from mlm.units import format_size

    if not files:
        return Text("no models yet")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("RESULT", no_wrap=True)
    table.add_column("FILE", overflow="fold")
    table.add_column("SIZE", justify="right", no_wrap=True)
    table.add_column("SHA256", overflow="fold", max_width=30)
    for verified in files:
        result, checksum = _verdict(verified)
        size = format_size(verified.file.size_bytes)
        table.add_row(result, Text(verified.file.filename), size, checksum)
    return table


def _verdict(verified: "Verified") -> tuple[str, str]:
    if verified.ok:
        return "ok", f"{verified.actual}"[:12]
    if verified.actual is None:
        return "missing", "cannot be read"
    if verified.expected is None:
        return "unknown", f"{verified.actual} (nothing to compare it with)"
    return "CORRUPT", f"{verified.actual} instead of {verified.expected}"
