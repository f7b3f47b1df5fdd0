"""``mlm lock``: write down exactly which bytes a manifest comes to."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlm.cli._options import JsonOpt, ManifestOpt
from mlm.cli._session import print_document, print_text, session
from mlm.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from mlm.manifest.types import Lock, LockedModel, Manifest


EXAMPLES = {
    "mlm lock --init": "Begin: write down what is installed here",
    "mlm lock": "After a change of mlm.yaml",
    "mlm lock --upgrade qwen3-8b:Q4_K_M": "Take the newest version of one model",
}


def lock(
    ctx: typer.Context,
    refs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[REF]...", help="With --upgrade: only these models."),
    ] = None,
    file: ManifestOpt = Path("mlm.yaml"),
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Look up again what is locked already.")
    ] = False,
    init: Annotated[
        bool, typer.Option("--init", help="Write a first mlm.yaml from the models installed here.")
    ] = False,
    as_json: JsonOpt = False,
) -> None:
    """Write mlm.lock: the commit, files and checksums that mlm.yaml comes to.

    What is locked already stays as it is, whatever happens upstream.
    """
    from mlm.cli._locking import make_lock
    from mlm.cli._progress import Notes
    from mlm.manifest.lock_file import lock_path, read_lock, write_lock
    from mlm.manifest.manifest_file import read_manifest

    run = session(ctx)
    if init:
        from mlm.cli._first_manifest import write_first_manifest

        write_first_manifest(run, file)
    manifest = read_manifest(file)
    chosen = _choose(manifest, refs or [], upgrade=upgrade)
    path = lock_path(file)
    old = read_lock(path)
    new = make_lock(
        run,
        manifest,
        old,
        Notes(run),
        renewed=lambda wanted: wanted.name in chosen,
        keep_engine=not upgrade or bool(refs),
    )
    written = write_lock(path, new)
    payload = _describe(file, path, old, new) | {"written": written}
    if as_json:
        print_document("lock", payload)
    else:
        print_text(_table(payload))
    if new.engine is None:
        run.note("no release of llama-cpp-python is locked: none that will do is installed here")


def _choose(manifest: "Manifest", refs: list[str], *, upgrade: bool) -> set[str]:
    """Return the names of the models to look up again."""
    from mlm.store.ref import parse_ref

    names = {wanted.name for wanted in manifest.models}
    if not upgrade:
        if refs:
            raise UsageError(
                "models are named only to be upgraded", remedy=f"mlm lock --upgrade {refs[0]}"
            )
        return set()
    chosen = {str(parse_ref(ref)) for ref in refs}
    if unknown := sorted(chosen - names):
        raise NotFoundError(
            f"{unknown[0]} is not in {manifest.path}", remedy=f"it has {', '.join(sorted(names))}"
        )
    return chosen or names


def _describe(file: Path, path: Path, old: "Lock | None", new: "Lock") -> dict[str, Any]:
    """Return the fields of ``mlm.lock/1``."""
    before = {model.name: model for model in old.models} if old else {}
    names = {model.name for model in new.models}
    return {
        "file": str(file),
        "lock": str(path),
        "engine": new.engine,
        "models": [
            _row(model, before.get(model.name))
            for model in sorted(new.models, key=lambda model: model.name)
        ],
        "removed": sorted(name for name in before if name not in names),
    }


def _row(model: "LockedModel", before: "LockedModel | None") -> dict[str, Any]:
    return {
        "model": model.name,
        "status": "added" if before is None else "unchanged" if before == model else "changed",
        "revision": model.revision,
        "repo_id": model.repo_id,
        "commit": model.commit,
        "quant": model.quant,
        "config_sha256": model.config_sha256,
        "files": [
            {"filename": file.filename, "size_bytes": file.size_bytes, "sha256": file.sha256}
            for file in model.files
        ],
    }


def _table(payload: dict[str, Any]) -> str:
    from mlm.cli._columns import align
    from mlm.units import format_size

    rows = [["STATUS", "MODEL", "COMMIT", "FILES", "SIZE"]]
    for model in payload["models"]:
        size = format_size(sum(file["size_bytes"] for file in model["files"]))
        n_files = str(len(model["files"]))
        rows.append([model["status"], model["model"], model["commit"][:12], n_files, size])
    rows += [["removed", name, "", "", ""] for name in payload["removed"]]
    verb = "wrote" if payload["written"] else "nothing to do:"
    return align(rows, right=(3, 4)) + f"\n{verb} {payload['lock']}"
