"""``mlm outdated``: what has changed upstream since it was locked, or installed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import Session, print_document, print_text, session
from mlm.errors import AuthError, NotFoundError

if TYPE_CHECKING:
    from mlm.manifest.types import LockedModel
    from mlm.manifest.upstream import Compared
    from mlm.store.types import RemoteFile, RepoFiles

_DEFAULT = Path("mlm.yaml")


EXAMPLES = {
    "mlm outdated": "What is newer upstream",
    "mlm outdated --file ~/project/mlm.yaml": "For a lock elsewhere",
}


def outdated(
    ctx: typer.Context,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            metavar="FILE",
            help="Whose lock; without mlm.yaml, what is installed.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOpt = False,
) -> None:
    """Say what has changed upstream since the models were locked.

    News is no failure: the exit code is 0.
    """
    run = session(ctx)
    models = _models(run, file)
    compared = _compare(run, models)
    if as_json:
        print_document("outdated", {"models": [_row(one) for one in compared]})
    else:
        print_text(_table(compared))
    changed = [one.model.name for one in compared if one.news in ("moved", "replaced")]
    if changed:
        is_locked = file is not None or _DEFAULT.exists()
        verb = "mlm lock --upgrade" if is_locked else "mlm download"
        run.note(f"hint: {verb} {changed[0]}" + (", then mlm sync" if is_locked else ""))


def _models(run: Session, file: Path | None) -> "Sequence[LockedModel]":
    """Return what to ask about: the models of a lock, or else those installed here."""
    from mlm.manifest.compare import find_drift
    from mlm.manifest.lock_file import lock_path, read_lock
    from mlm.manifest.manifest_file import read_manifest

    if file is None and not _DEFAULT.exists():
        from mlm.cli._installed import installed_models

        return installed_models(run)
    manifest = read_manifest(file or _DEFAULT)
    path = lock_path(manifest.path)
    lock = read_lock(path)
    if lock is None:
        raise NotFoundError(f"there is no {path} to compare with", remedy="mlm lock")
    for drift in find_drift(manifest, lock):
        run.note(f"{drift}; hint: mlm lock")
    return lock.models


def _compare(run: Session, models: "Sequence[LockedModel]") -> "list[Compared]":
    """Ask the hub once about each repository at the revision that is followed."""
    from mlm.manifest.upstream import Compared, compare_upstream

    seen: dict[tuple[str, str], RepoFiles | str] = {}
    compared = []
    for model in models:
        key = (model.repo_id, model.revision or "main")
        if key not in seen:
            seen[key] = _ask(run, *key)
        repo = seen[key]
        if isinstance(repo, str):
            compared.append(Compared(model, None, why=repo))
        else:
            compared.append(compare_upstream(model, repo))
    return compared


def _ask(run: Session, repo_id: str, revision: str) -> "RepoFiles | str":
    """Return what the repository holds, or in words why the hub does not show it any more."""
    from mlm.cli._hub import open_hub
    from mlm.cli._waiting import waiting_for

    try:
        with open_hub(run, repo_id) as hub, waiting_for(run, f"asking the hub about {repo_id}"):
            return hub.resolve(repo_id, revision)
    except (NotFoundError, AuthError) as error:
        return error.message


def _row(compared: "Compared") -> dict[str, Any]:
    model = compared.model
    return {
        "model": model.name,
        "status": compared.news,
        "why": compared.why,
        "repo_id": model.repo_id,
        "revision": model.revision or "main",
        "commit": model.commit,
        "upstream_commit": compared.commit,
        "files": [
            {
                "filename": file.locked.filename,
                "status": file.news,
                "size_bytes": file.locked.size_bytes,
                "sha256": file.locked.sha256,
                "upstream_size_bytes": file.upstream.size_bytes if file.upstream else None,
                "upstream_sha256": file.upstream.sha256 if file.upstream else None,
            }
            for file in compared.files
        ],
    }


def _table(compared: "Sequence[Compared]") -> str:
    from mlm.cli._columns import align, wrap

    if not compared:
        return "no models yet"
    rows = [["MODEL", "STATUS", "COMMIT", "UPSTREAM"]]
    details: list[str] = []
    for one in compared:
        upstream = one.commit[:12] if one.commit else "?"
        rows.append([one.model.name, one.news, one.model.commit[:12], upstream])
        if one.why:
            details += ["", wrap(f"{one.model.name}: {one.why}", indent="  ")]
        for file in one.files:
            if file.news != "same":
                details += ["", f"{file.locked.filename} is {file.news}"]
                details.append(f"  locked    {_shown(file.locked)}")
                details += [f"  upstream  {_shown(file.upstream)}"] if file.upstream else []
    return "\n".join([align(rows), *details])


def _shown(file: "RemoteFile") -> str:
    from mlm.units import format_size

    return f"sha256 {(file.sha256 or '?')[:12]}  {format_size(file.size_bytes)}"
