"""``mlm verify``: hash files again and compare them with what was promised."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlm.cli._failures import Failure, exit_with
from mlm.cli._options import JsonOpt
from mlm.cli._progress import ProgressOpt, show_progress
from mlm.cli._session import Session, session
from mlm.completion.names import complete_installed
from mlm.errors import ExitCode, MlmError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mlm.store.listener import Listener
    from mlm.store.store import Store
    from mlm.store.types import Verified


EXAMPLES = {
    "mlm verify": "Read all models and compare their checksums",
    "mlm verify --quick": "Only those whose files were touched",
    "mlm verify qwen3-8b --repair": "One, and fetch what is broken of it",
}


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
    quick: Annotated[
        bool, typer.Option("--quick", help="Read only what was touched since it was verified.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Fetch what has rotted, and only that.")
    ] = False,
    progress: ProgressOpt = "auto",
    as_json: JsonOpt = False,
) -> None:
    """Check that model files are still what was promised, byte for byte."""
    from mlm.store import check
    from mlm.store.store import Store

    run = session(ctx)
    with Store(run.settings.home, run.settings.hub_cache) as store:
        models = [store.find(ref) for ref in refs] if refs else store.models()
        with show_progress(run, progress) as listener:
            files = check.verify(store, models, listener, quick=quick)
            failures = _repair(run, store, files, listener) if repair else []
    payload: dict[str, Any] = {"files": [_row(file) for file in files]}
    payload["errors"] = [failure.row() for failure in failures]
    run.emit("verify", payload, as_json=as_json, human=lambda: _table(files))
    exit_with(failures, as_json=as_json)
    bad = [file for file in files if not file.ok]
    if bad:
        if not as_json:
            run.note(f"hint: mlm verify {bad[0].file.ref} --repair")
        raise typer.Exit(ExitCode.INTEGRITY)


def _repair(
    run: Session, store: "Store", files: "list[Verified]", listener: "Listener"
) -> list[Failure]:
    """Put what could be repaired into ``files``, and return what could not."""
    from mlm.cli._hub import open_hub
    from mlm.store.check import repair as repair_file

    failures = []
    for index, found in enumerate(files):
        if found.ok or found.expected is None:
            continue
        try:
            with open_hub(run, found.file.repo_id or "") as hub:
                files[index] = repair_file(store, hub, found, listener)
        except MlmError as error:
            failures.append(Failure(found.file.ref, error))
    return failures


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
        "hashed": verified.hashed,
        "rotten_at": verified.rotten_at,
        "repaired_bytes": verified.repaired_bytes,
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
    from mlm.units import format_size

    if verified.repaired_bytes is not None:
        return "repaired", f"{verified.actual}"[:12] + (
            f" ({format_size(verified.repaired_bytes)} fetched)"
        )
    if verified.ok:
        return "ok" if verified.hashed else "unchanged", f"{verified.actual}"[:12]
    if verified.actual is None:
        return "missing", "cannot be read"
    if verified.expected is None:
        return "unknown", f"{verified.actual} (nothing to compare it with)"
    where = "" if verified.rotten_at is None else f", from byte {verified.rotten_at} on"
    return "CORRUPT", f"{verified.actual} instead of {verified.expected}{where}"
