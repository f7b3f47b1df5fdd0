"""``mlm rm``: delete models, but never one that a server is using."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mlm.cli._confirm import insist
from mlm.cli._options import DryRunOpt, InstalledRefsArg, JsonOpt, YesOpt
from mlm.cli._session import Session, session
from mlm.errors import ConflictError, UsageError
from mlm.units import format_size

if TYPE_CHECKING:
    from mlm.store.removal import Removal
    from mlm.store.store import Store
    from mlm.store.types import ModelFile


EXAMPLES = {
    "mlm rm qwen3-8b:Q4_K_M": "Delete one quantization, after asking",
    "mlm rm qwen3-8b --dry-run": "What would be deleted, and how much that frees",
}


def rm(
    ctx: typer.Context,
    refs: InstalledRefsArg,
    yes: YesOpt = False,
    dry_run: DryRunOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Delete models from this machine; imported files are only forgotten, not deleted.

    Bytes that something else still uses stay, and it says what.
    """
    from mlm.store.removal import plan_removal
    from mlm.store.store import Store

    run = session(ctx)
    with Store(run.settings.home, run.settings.hub_cache) as store:
        models = _choose(store, refs)
        _refuse_what_is_served(run, store, models)
        removals = plan_removal(store, models)
        if not yes and not dry_run:
            _ask(removals)
        if not dry_run:
            removals = [removal.done(store) for removal in removals]
    payload = {
        "removed": [_row(removal) for removal in removals],
        "freed_bytes": sum(removal.freed_bytes for removal in removals),
        "dry_run": dry_run,
    }
    run.emit("rm", payload, as_json=as_json, human=lambda: _describe(removals, dry_run=dry_run))


def _choose(store: "Store", refs: list[str]) -> "list[ModelFile]":
    """Return what the refs name, each model once; a ref may name several versions of a file."""
    chosen: dict[Path, ModelFile] = {}
    registered = {model.path for model in store.models()}
    for ref in refs:
        found = [model for model in store.find_all(ref) if model.path in registered]
        if not found:
            raise store.unknown(ref)
        chosen |= {model.path: model for model in found}
    return list(chosen.values())


def _refuse_what_is_served(run: Session, store: "Store", models: "list[ModelFile]") -> None:
    """Raise if a running server has one of the models."""
    from mlm.cli._served import served_files
    from mlm.store.survey import look_at

    served = served_files(run, store)
    for file in (file for model in models for file in store.files(model)):
        content = look_at(file.path, follow=True)
        if content and content.inode in served:
            model_id, server = served[content.inode]
            raise ConflictError(
                f"{model_id} is in use by the server at {server.url} (pid {server.pid})",
                remedy="mlm stop",
            )


def _ask(removals: "list[Removal]") -> None:
    names = ", ".join(_name(removal) for removal in removals)
    if not sys.stdin.isatty():
        raise UsageError(f"this would delete {names}", remedy="repeat with --yes")
    insist(f"Delete {names}?")


def _name(removal: "Removal") -> str:
    return f"{removal.model.ref} ({format_size(removal.freed_bytes)} become free)"


def _row(removal: "Removal") -> dict[str, Any]:
    return {
        "ref": removal.model.ref,
        "path": str(removal.model.path),
        "freed_bytes": removal.freed_bytes,
        "in_place": removal.in_place,
        "kept_by": list(removal.kept_by),
    }


def _describe(removals: "list[Removal]", *, dry_run: bool) -> Any:
    from rich.text import Text

    from mlm.cli._columns import one_line

    lines = []
    for removal in removals:
        verb = "forget" if removal.in_place else "remove"
        past = "forgot" if removal.in_place else "removed"
        lines.append(one_line(f"{f'would {verb}' if dry_run else past} {removal.model.ref}"))
        if removal.in_place:
            lines.append(f"  the file stays where it is: {one_line(str(removal.model.path))}")
        elif removal.kept_by:
            lines.append(f"  its bytes stay, they are also {one_line('; '.join(removal.kept_by))}")
    total = format_size(sum(removal.freed_bytes for removal in removals))
    lines.append(f"{total} would become free" if dry_run else f"{total} freed")
    return Text("\n".join(lines))
