"""``mlm download``: bring models in, verified, where every other tool finds them too."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlm.cli._failures import Failure, exit_with
from mlm.cli._options import JsonOpt, RefsArg
from mlm.cli._progress import ProgressOpt, show_progress
from mlm.cli._session import Session, print_document, print_text, session
from mlm.errors import MlmError

if TYPE_CHECKING:
    from mlm.store.download import Terms
    from mlm.store.listener import Listener
    from mlm.store.order import Order
    from mlm.store.types import Downloaded


EXAMPLES = {
    "mlm download qwen3-8b": "The quantization that suits this machine best",
    "mlm download qwen3-8b:Q4_K_M --limit-rate 5MB": "A certain one, and leave room on the line",
    "mlm download bartowski/Qwen_Qwen3-8B-GGUF:Q4_K_M": "From a repository of the hub",
    "mlm download qwen3-8b qwen3-embedding-0.6b --dry-run": "What would be fetched, and how much",
}


def download(
    ctx: typer.Context,
    refs: RefsArg,
    quant: Annotated[
        str | None, typer.Option("--quant", metavar="Q", help="Which quantization: Q4_K_M.")
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option("--revision", metavar="R", help="A branch, tag or commit of the repository."),
    ] = None,
    limit_rate: Annotated[
        str | None,
        typer.Option("--limit-rate", metavar="SIZE", help="At most this much a second: 5MB."),
    ] = None,
    allow_unverified: Annotated[
        bool, typer.Option("--allow-unverified", help="Take files that nobody has a sha256 of.")
    ] = False,
    no_side_files: Annotated[
        bool,
        typer.Option("--no-side-files", help="Leave out projector (mmproj) and imatrix files."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Fetch again what is there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    progress: ProgressOpt = "auto",
    as_json: JsonOpt = False,
) -> None:
    """Download models and verify their checksums.

    What is there already is not fetched again; what was interrupted is continued.
    """
    from dataclasses import replace

    from mlm.cli._orders import make_order
    from mlm.store.download import Terms

    run = session(ctx)
    terms = Terms(allow_unverified, force, _parse_rate(limit_rate))
    files: list[Downloaded] = []
    failures: list[Failure] = []
    with show_progress(run, progress) as listener:
        for ref in refs:
            try:
                order = make_order(run, ref, quant=quant, revision=revision)
                order = replace(order, side_files=not no_side_files)
                files += _fetch(run, order, terms, listener, dry_run=dry_run)
            except MlmError as error:
                if len(refs) == 1:
                    raise
                failures.append(Failure(ref, error))
    payload: dict[str, Any] = {"files": [_row(file) for file in files]}
    payload["errors"] = [failure.row() for failure in failures]
    if as_json:
        print_document("download", payload)
    else:
        print_text(_table(files))
    exit_with(failures, as_json=as_json)


def _parse_rate(text: str | None) -> int | None:
    from mlm.errors import UsageError
    from mlm.units import parse_size

    if text is None:
        return None
    rate = parse_size(text)
    if rate == 0:
        raise UsageError("at 0 bytes a second nothing would ever arrive", remedy="--limit-rate 5MB")
    return rate


def _fetch(
    run: Session, order: "Order", terms: "Terms", listener: "Listener", *, dry_run: bool
) -> "list[Downloaded]":
    from mlm.cli._hub import open_hub
    from mlm.store.delivery import Delivery, already_here
    from mlm.store.store import Store

    with (
        Store(run.settings.home, run.settings.hub_cache) as store,
        open_hub(run, order.ref.repo_id) as hub,
    ):
        if hub.offline and (kept := already_here(store, order)):
            return kept
        delivery = Delivery(store, hub, terms, listener)
        return delivery.preview(order) if dry_run else delivery.download(order)


def _row(file: "Downloaded") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(file) | {"path": str(file.path), "elapsed_s": round(file.elapsed_s, 3)}


def _table(files: "list[Downloaded]") -> str:
    from mlm.cli._columns import align
    from mlm.units import format_duration, format_size

    rows = [["STATUS", "SIZE", "TIME", "SHA256", "FILE"]]
    for file in files:
        rows.append(
            [
                file.status,
                format_size(file.size_bytes),
                format_duration(file.elapsed_s) if file.fetched_bytes else "",
                file.sha256[:12] if file.sha256 else "?",
                f"{file.repo_id}/{file.filename}",
            ]
        )
    return align(rows, right=(1, 2))
