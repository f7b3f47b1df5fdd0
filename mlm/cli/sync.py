"""``mlm sync``: make this machine have what mlm.yaml asks for, exactly as mlm.lock has it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlm.cli._failures import Failure, exit_with
from mlm.cli._options import JsonOpt, ManifestOpt
from mlm.cli._progress import ProgressOpt, show_progress
from mlm.cli._session import Session, print_document, print_text, session

if TYPE_CHECKING:
    from mlm.cli._syncing import Synced
    from mlm.manifest.types import Lock, Manifest


EXAMPLES = {
    "mlm sync": "Fetch what is missing",
    "mlm sync --dry-run": "Only say what that would be",
    "mlm sync --frozen": "In a script: exactly what mlm.lock says, or exit with 11",
}


def sync(
    ctx: typer.Context,
    file: ManifestOpt = Path("mlm.yaml"),
    frozen: Annotated[
        bool, typer.Option("--frozen", help="Exit 11 if anything differs from mlm.lock.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    progress: ProgressOpt = "auto",
    as_json: JsonOpt = False,
) -> None:
    """Make this machine have the models and configs of mlm.yaml, as mlm.lock has them.

    Where mlm.yaml has changed, the lock is brought up to date first; what is right already is not
    touched.
    """
    from mlm.cli._locking import current_lock, frozen_lock
    from mlm.cli._syncing import sync_models
    from mlm.manifest.manifest_file import read_manifest

    run = session(ctx)
    manifest = read_manifest(file)
    with show_progress(run, progress) as listener:
        if frozen:
            lock, locked_now = frozen_lock(run, manifest), False
        else:
            lock, locked_now = current_lock(run, manifest, listener, dry_run=dry_run)
        done, failures = sync_models(run, manifest, lock, listener, dry_run=dry_run)
    _report(run, manifest, lock, done, failures, locked_now=locked_now, as_json=as_json)


def _report(
    run: Session,
    manifest: "Manifest",
    lock: "Lock",
    done: "list[Synced]",
    failures: list[Failure],
    *,
    locked_now: bool,
    as_json: bool,
) -> None:
    """Print what became of every model; the exit code is that of the first failure."""
    from mlm.manifest.compare import find_engine_drift
    from mlm.manifest.engine import installed_version
    from mlm.manifest.lock_file import lock_path

    installed = installed_version()
    payload: dict[str, Any] = {
        "file": str(manifest.path),
        "lock": str(lock_path(manifest.path)),
        "locked": locked_now,
        "engine": {"locked": lock.engine, "installed": installed},
        "models": [model_row(synced) for synced in done],
        "errors": [failure.row() for failure in failures],
    }
    if as_json:
        print_document("sync", payload)
    else:
        print_text(_table(done))
    for drift in find_engine_drift(manifest, lock, installed):
        run.note(f"{drift}; hint: mlm setup {manifest.path}")
    exit_with(failures, as_json=as_json)


def model_row(synced: "Synced") -> dict[str, Any]:
    """Return what ``mlm.sync/1`` says of one model."""
    return {
        "model": synced.locked.name,
        "status": synced.status,
        "repo_id": synced.locked.repo_id,
        "commit": synced.locked.commit,
        "files": synced.files,
        "config": {"path": str(synced.config_path), "status": synced.config_status},
    }


def _table(done: "list[Synced]") -> str:
    from mlm.cli._columns import align
    from mlm.units import format_size

    rows = [["MODEL", "FILES", "SIZE", "CONFIG", "RESULT"]]
    for synced in done:
        files = ", ".join(dict.fromkeys(file["status"] for file in synced.files))
        size = format_size(synced.locked.size_bytes)
        result = "nothing to do" if synced.status == "unchanged" else synced.status
        rows.append([synced.locked.name, files, size, synced.config_status, result])
    return align(rows, right=(2,))
