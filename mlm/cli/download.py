"""``mlm download``: bring models in, verified, where every other tool finds them too."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlm.cli._failures import Failure, exit_with
from mlm.cli._options import DryRunOpt, JsonOpt, RefsArg, YesOpt
from mlm.cli._progress import ProgressOpt, show_progress
from mlm.cli._session import Session, print_document, print_text, session

if TYPE_CHECKING:
    from mlm.cli._download_plan import DownloadPlan
    from mlm.cli._errands import Errand
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
    dry_run: DryRunOpt = False,
    yes: YesOpt = False,
    progress: ProgressOpt = "auto",
    as_json: JsonOpt = False,
) -> None:
    """Download models and verify their checksums.

    What is there already is not fetched again; what was interrupted is continued. At a terminal it
    shows the plan and asks before more than 2 GB are fetched; a no ends it with 130, as Ctrl-C
    does.
    """
    from dataclasses import replace

    from mlm.cli._errands import Errands
    from mlm.cli._orders import make_order
    from mlm.store.download import Terms

    run = session(ctx)
    terms = Terms(allow_unverified, force, _parse_rate(limit_rate))
    is_for_programs = as_json or progress == "json"

    def order(ref: str) -> "Order":
        made = make_order(run, ref, quant=quant, revision=revision)
        return replace(made, side_files=not no_side_files)

    with (
        ExitStack() as stack,
        show_progress(run, "json" if progress == "json" else "none") as notes,
    ):
        errands = Errands(run, stack, terms, notes)
        found = errands.look_up(refs, order)
        asks = not (yes or is_for_programs)
        plan = _plan(run, found, terms.limit_rate, dry_run=dry_run, asks=asks)
        if not dry_run:
            with show_progress(run, progress) as listener:
                found = errands.fetch(found, listener)
    _report(run, found, plan if dry_run else None, as_json=as_json)


def _plan(
    run: Session, found: "list[Errand]", limit_rate: int | None, *, dry_run: bool, asks: bool
) -> "DownloadPlan | None":
    """Return the plan where somebody wants to see it, having asked whether to go on.

    Raises:
        typer.Abort: not to.
    """
    from mlm.cli._download_plan import is_asked, make_plan, offer

    asks = asks and not dry_run and is_asked([errand.forecast for errand in found])
    if not (asks or dry_run):
        return None
    wanted = [(one.order, one.forecast) for one in found if one.order is not None]
    if not wanted:
        return None
    plan = make_plan(run, wanted, limit_rate)
    if asks:
        offer(run, plan)
    return plan


def _report(
    run: Session, found: "list[Errand]", plan: "DownloadPlan | None", *, as_json: bool
) -> None:
    """Print what became of it, or with a ``plan`` what would, and exit with the first failure."""
    from mlm.cli._download_plan import describe_plan
    from mlm.cli._download_rate import remember_rate

    failures = [Failure(errand.ref, errand.error) for errand in found if errand.error is not None]
    if failures and len(found) == 1:
        raise failures[0].error
    files = [file for errand in found for file in errand.files]
    if plan is None:
        remember_rate(run.settings, files)
    else:
        files = list(plan.files)
    if as_json:
        payload: dict[str, Any] = {"files": [_row(file) for file in files]}
        payload["plan"] = plan.fields() if plan else None
        payload["errors"] = [failure.row() for failure in failures]
        print_document("download", payload)
    else:
        print_text(describe_plan(plan) if plan else _table(files))
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
