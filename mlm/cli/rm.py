"""``mlm rm``: delete models, but never one that a server is using."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlm.cli._options import InstalledRefsArg, JsonOpt
from mlm.cli._session import Session, session
from mlm.errors import ConflictError, UsageError
from mlm.units import format_size

if TYPE_CHECKING:
    from mlm.store.store import Store
    from mlm.store.types import ModelFile


def rm(
    ctx: typer.Context,
    refs: InstalledRefsArg,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOpt = False,
) -> None:
    """Delete models from this machine; imported files are only forgotten, not deleted.

    For example: mlm rm qwen3-8b:Q4_K_M
    """
    from rich.text import Text

    from mlm.store.store import Store

    run = session(ctx)
    with Store(run.settings.home, run.settings.hub_cache) as store:
        models = _choose(store, refs)
        _refuse_what_is_served(run, store, models)
        if not yes:
            _ask(models)
        freed = {model: store.remove(model) for model in models}
    rows = [
        {"ref": model.ref, "path": str(model.path), "freed_bytes": size}
        for model, size in freed.items()
    ]
    total = sum(freed.values())
    run.emit(
        "rm",
        {"removed": rows, "freed_bytes": total},
        as_json=as_json,
        human=lambda: Text(
            "\n".join([*(f"removed {model.ref}" for model in freed), f"{format_size(total)} freed"])
        ),
    )


def _choose(store: "Store", refs: list[str]) -> "list[ModelFile]":
    """Return what the refs name, each model once; a ref may name several versions of a file."""
    chosen: dict[Path, ModelFile] = {}
    for ref in refs:
        registered = {model.path for model in store.models()}
        found = [model for model in store.find_all(ref) if model.path in registered]
        if not found:
            raise store.unknown(ref)
        chosen |= {model.path: model for model in found}
    return list(chosen.values())


def _refuse_what_is_served(run: Session, store: "Store", models: "list[ModelFile]") -> None:
    """Raise if a running server has one of the models."""
    from mlm.server.registry import Registry

    paths = {model.path for model in models}
    for server in Registry(run.settings.home.run).servers():
        used = {model_id: Path(path) for model_id, path in server.models.items()}
        for model_id in (str(resident.get("model")) for resident in server.resident):
            if model_id not in used and (found := store.find_all(model_id)):
                used[model_id] = found[0].path
        taken = [model_id for model_id, path in used.items() if path in paths]
        if taken:
            raise ConflictError(
                f"{taken[0]} is in use by the server at {server.url} (pid {server.pid})",
                remedy="mlm stop",
            )


def _ask(models: "list[ModelFile]") -> None:
    names = ", ".join(f"{model.ref} ({format_size(model.size_bytes)})" for model in models)
    if not sys.stdin.isatty():
        raise UsageError(f"this would delete {names}", remedy="repeat with --yes")
    typer.confirm(f"Delete {names}?", abort=True, err=True)
