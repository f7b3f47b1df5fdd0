"""``mlm prune``: delete what need not be kept; without --yes, only say what that is."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import Session, session
from mlm.errors import ExitCode
from mlm.units import format_age, format_size, parse_age, parse_size

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mlm.store.prune import Prunable, Wish
    from mlm.store.store import Store


EXAMPLES = {
    "mlm prune": "What could go, and how much that frees; nothing is deleted",
    "mlm prune --yes": "Delete it",
    "mlm prune --unused-for 90d --larger-than 1GB": (
        "Also large models that nobody has used for three months"
    ),
}


def prune(
    ctx: typer.Context,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="TIME", help="Only what is older: 12h, 30d."),
    ] = None,
    larger_than: Annotated[
        str | None,
        typer.Option("--larger-than", metavar="SIZE", help="Only what frees more: 500MB."),
    ] = None,
    unused_for: Annotated[
        str | None,
        typer.Option("--unused-for", metavar="TIME", help="Also models not used for so long: 90d."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Delete; without it nothing is touched.")
    ] = False,
    as_json: JsonOpt = False,
) -> None:
    """Find what need not be kept: abandoned downloads, blobs without a name, replaced versions.

    Loaded models and files imported in place always stay.
    """
    from mlm.store.prune import Wish
    from mlm.store.prune import prune as delete
    from mlm.store.store import Store

    run = session(ctx)
    wish = Wish(
        older_than_s=None if older_than is None else parse_age(older_than),
        larger_than=None if larger_than is None else parse_size(larger_than),
        unused_for_s=None if unused_for is None else parse_age(unused_for),
    )
    with Store(run.settings.home, run.settings.hub_cache) as store:
        chosen = _choose(run, store, wish)
        outcomes: list[tuple[Prunable, str | None]] = [(item, None) for item in chosen]
        if yes:
            outcomes = delete(store, chosen)
    gone = [item for item, trouble in outcomes if trouble is None]
    payload = {
        "dry_run": not yes,
        "items": [_row(item, trouble, pruned=yes) for item, trouble in outcomes],
        "freed_bytes": sum(item.freed_bytes for item in gone),
    }
    run.emit("prune", payload, as_json=as_json, human=lambda: _table(outcomes, pruned=yes))
    if chosen and not yes:
        run.note("hint: nothing was deleted; for that, repeat with --yes")
    if len(gone) < len(outcomes):
        raise typer.Exit(ExitCode.CONFLICT)


def _choose(run: Session, store: "Store", wish: "Wish") -> "list[Prunable]":
    from mlm.cli._catalog import open_catalog
    from mlm.cli._served import served_files
    from mlm.cli._waiting import waiting_for
    from mlm.store.prune import choose_prunable, gather

    catalog = open_catalog(run)
    pinned = {(quant.repo_id, quant.revision) for e in catalog.entries for quant in e.quants}
    with waiting_for(run, "looking through the folders"):
        facts = gather(store, served_files(run, store), pinned)
    return choose_prunable(facts, wish, time.time())


def _row(item: "Prunable", trouble: str | None, *, pruned: bool) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "name": item.name,
        "path": str(item.path),
        "freed_bytes": item.freed_bytes,
        "age_s": None if item.age_s is None else round(item.age_s),
        "reason": item.reason,
        "pruned": pruned and trouble is None,
        "trouble": trouble,
    }


def _table(outcomes: "list[tuple[Prunable, str | None]]", *, pruned: bool) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from mlm.cli._columns import one_line

    if not outcomes:
        return Text("nothing to prune")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("WHAT", no_wrap=True)
    table.add_column("NAME", overflow="fold")
    table.add_column("FREES", justify="right", no_wrap=True)
    table.add_column("AGE", justify="right", no_wrap=True)
    table.add_column("WHY", overflow="fold")
    for item, trouble in outcomes:
        age = "?" if item.age_s is None else format_age(item.age_s)
        why = f"KEPT: {trouble}" if trouble else item.reason
        what = item.kind.replace("_", " ")
        table.add_row(
            what, Text(one_line(item.name)), format_size(item.freed_bytes), age, Text(why)
        )
    freed = format_size(sum(item.freed_bytes for item, trouble in outcomes if trouble is None))
    return Group(table, Text(f"{freed} freed" if pruned else f"{freed} would become free"))
