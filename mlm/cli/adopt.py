"""``mlm adopt``: find the models that other tools have brought here, and use them as they are."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlm.cli._confirm import confirm
from mlm.cli._options import DryRunOpt, JsonOpt, YesOpt
from mlm.cli._progress import show_progress
from mlm.cli._session import Session, session, stdout
from mlm.cli._waiting import waiting_for
from mlm.errors import ExitCode, NotFoundError
from mlm.store.neighbours.types import Neighbour

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mlm.store.adopt import Adoption, Pins
    from mlm.store.neighbours.types import Findings, Skipped
    from mlm.store.store import Store


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What has become of one file."""

    adoption: "Adoption"
    shared: str | None = None  # clone or hardlink
    trouble: str | None = None  # why it could not be shared, though it was wanted


EXAMPLES = {
    "mlm adopt --dry-run": "Which models of other programs could be used here",
    "mlm adopt --from ollama": "Use those of Ollama",
    "mlm adopt --link": "Use all, and keep only one copy of the same bytes",
}


def adopt(
    ctx: typer.Context,
    neighbour: Annotated[
        Neighbour | None,
        typer.Option("--from", help="Look only into the models of this tool."),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Option("--path", metavar="DIR", help="Look into this folder instead."),
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", help="Let files with the same bytes share them on the disk.")
    ] = False,
    yes: YesOpt = False,
    dry_run: DryRunOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Find the models of Ollama, LM Studio, llama.cpp and other Hugging Face caches.

    They are registered where they are, after a hash check.
    """
    from mlm.store.adopt import plan_adoption
    from mlm.store.store import Store

    run = session(ctx)
    with waiting_for(run, "looking into the folders of other programs"):
        findings = _look(run, neighbour, path)
    pins = _pins(run)
    with (
        Store(run.settings.home, run.settings.hub_cache) as store,
        show_progress(run) as listener,
    ):
        plan = plan_adoption(store, findings, pins, listener, hash_all=yes and not dry_run)
        outcomes, skipped = [_Outcome(adoption) for adoption in plan.adoptions], [*plan.skipped]
        acts = not dry_run and (yes or _agreed(plan.adoptions, as_json=as_json))
        if acts:
            if not yes:  # what is new has to be hashed before it is trusted
                plan = plan_adoption(store, findings, pins, listener, hash_all=True)
            outcomes, bad = _act(run, store, plan.adoptions, listener, link=link)
            skipped = [*plan.skipped, *bad]
    payload = {
        "dry_run": not acts,
        "models": [_row(outcome) for outcome in outcomes],
        "skipped": [_skipped_row(item) for item in skipped],
        "reclaimable_bytes": sum(o.adoption.reclaimable_bytes for o in outcomes if not o.shared),
        "reclaimed_bytes": sum(o.adoption.reclaimable_bytes for o in outcomes if o.shared),
    }
    run.emit("adopt", payload, as_json=as_json, human=lambda: _report(payload, outcomes, skipped))
    if outcomes and not acts:
        run.note("hint: nothing was changed; for that, repeat with --yes")
    if any(outcome.trouble for outcome in outcomes):
        raise typer.Exit(ExitCode.CONFLICT)


def _look(run: Session, neighbour: Neighbour | None, path: Path | None) -> "Findings":
    from mlm.store.neighbours.places import guess_neighbour, look_into, usual_places
    from mlm.store.neighbours.types import NEIGHBOURS

    hub_cache = run.settings.hub_cache
    if path is not None:
        path = path.expanduser()
        if not path.is_dir():
            raise NotFoundError(f"{path} is not a folder", remedy="mlm adopt --path DIR")
        return look_into({neighbour or guess_neighbour(path): [path]}, hub_cache)
    places = usual_places(os.environ, hub_cache)
    wanted = [neighbour] if neighbour else NEIGHBOURS
    return look_into({name: places[name] for name in wanted}, hub_cache)


def _pins(run: Session) -> "Pins":
    """Return the catalog's promises by checksum."""
    from mlm.cli._catalog import open_catalog

    catalog = open_catalog(run)
    return {
        quant.sha256: (entry.model_id, quant)
        for entry in catalog.entries
        for quant in entry.quants
        if quant.sha256 and quant.n_files == 1
    }


def _agreed(adoptions: "tuple[Adoption, ...]", *, as_json: bool) -> bool:
    """Whether a person at a terminal says yes, having seen what there is."""
    if not adoptions or as_json or not sys.stdin.isatty():
        return False
    stdout().print(_table([_Outcome(adoption) for adoption in adoptions]))
    return confirm("Use these models?")


def _act(
    run: Session, store: "Store", adoptions: "tuple[Adoption, ...]", listener: Any, *, link: bool
) -> "tuple[list[_Outcome], list[Skipped]]":
    from mlm.cli._served import served_files
    from mlm.store.adopt import register, share

    bad = register(store, adoptions)
    unsound = {item.path for item in bad}
    outcomes = []
    served = served_files(run, store) if link else {}
    for adoption in adoptions:
        if adoption.content.file.path in unsound:
            continue
        result = share(store, adoption, served, listener) if link else None
        if result is None or result in ("clone", "hardlink"):
            outcomes.append(_Outcome(adoption, shared=result))
        else:
            outcomes.append(_Outcome(adoption, trouble=result))
    return outcomes, bad


def _row(outcome: _Outcome) -> dict[str, Any]:
    adoption = outcome.adoption
    file = adoption.content.file
    return {
        "from": adoption.neighbour,
        "ref": file.ref,
        "model_id": file.model_id,
        "model": file.model,
        "path": str(file.path),
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
        "status": adoption.status,
        "same_as": str(adoption.same_as.file.path) if adoption.same_as else None,
        "reclaimable_bytes": adoption.reclaimable_bytes,
        "keeps": adoption.keeps,
        "shared": outcome.shared,
        "trouble": outcome.trouble,
    }


def _skipped_row(item: "Skipped") -> dict[str, Any]:
    return {"from": item.neighbour, "path": str(item.path), "reason": item.reason}


def _report(
    payload: dict[str, Any], outcomes: list[_Outcome], skipped: "list[Skipped]"
) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    from mlm.cli._columns import one_line
    from mlm.units import format_size

    lines = [one_line(f"skipped {item.path}: {item.reason}") for item in skipped]
    if reclaimed := payload["reclaimed_bytes"]:
        lines.append(f"{format_size(reclaimed)} became free")
    if reclaimable := payload["reclaimable_bytes"]:
        lines.append(f"{format_size(reclaimable)} would become free with --link")
    if not outcomes:
        return Text("\n".join(["no models of other tools", *lines]))
    parts: list[RenderableType] = [_table(outcomes)]
    return Group(*parts, Text("\n".join(lines))) if lines else Group(*parts)


def _table(outcomes: list[_Outcome]) -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    from mlm.cli._columns import one_line
    from mlm.units import format_size

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in ("FROM", "MODEL", "SIZE", "WHAT"):
        table.add_column(head, overflow="fold", justify="right" if head == "SIZE" else "left")
    for outcome in outcomes:
        file = outcome.adoption.content.file
        table.add_row(
            outcome.adoption.neighbour,
            Text(one_line(file.model_id)),
            format_size(file.size_bytes),
            Text(_words(outcome)),
        )
    return table


def _words(outcome: _Outcome) -> str:
    adoption = outcome.adoption
    words: list[str] = [adoption.status]
    if adoption.same_as:
        words.append(f"the same as {adoption.same_as.file.ref}")
    if outcome.shared:
        words.append(f"shares its bytes now ({outcome.shared})")
    elif why := outcome.trouble or (adoption.same_as and adoption.keeps):
        words.append(f"stays apart: {why}")
    return "; ".join(words)
