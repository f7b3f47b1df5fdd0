"""``mlm catalog update``: sizes, checksums and commits as the hub has them now."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlm.cli._confirm import insist
from mlm.cli._options import DryRunOpt, JsonOpt, YesOpt
from mlm.cli._session import Session, print_document, print_text, session
from mlm.cli.catalog._differences import Update, describe_updates, update_row
from mlm.completion.names import complete_known
from mlm.errors import AuthError, MlmError, NetworkError, UsageError

if TYPE_CHECKING:
    from mlm.catalog.types import CatalogEntry
    from mlm.store.types import RepoFiles


EXAMPLES = {
    "mlm catalog update --dry-run": "What the hub has that the catalog has not",
    "mlm catalog update qwen3-8b --yes": "Take over what is new of one model",
}


def update(
    ctx: typer.Context,
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]...", help="Default: all.", autocompletion=complete_known),
    ] = None,
    yes: YesOpt = False,
    dry_run: DryRunOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Ask the hub for sizes and checksums, and write what is new to MLM_HOME/catalog.

    Shows the differences first; the shipped files stay as they are.
    """
    from mlm.catalog.load import find_own, load_catalog

    run = session(ctx)
    home = run.settings.home
    catalog = load_catalog(home.catalog, home.cache)
    entries = [catalog.find(name) for name in models] if models else catalog.entries
    updates = _compare(run, [e for e in entries if not e.bundled], find_own(home.catalog))
    changed = [one.refreshed.entry for one in updates if one.is_writable]
    writes = bool(changed) and not dry_run and (yes or _asks(as_json))
    if not as_json:
        print_text(describe_updates(updates))
    if writes and not yes:
        insist(f"Write {len(changed)} models to {home.catalog}?")
    written, refused = _write(home.catalog, changed) if writes else ([], [])
    if as_json:
        rows = [update_row(one) for one in updates]
        print_document("catalog.update", {"models": rows, "written": [str(p) for p in written]})
    run.note(_conclude(len(changed), len(written)))
    _fail(updates, refused, undecided=bool(changed) and not writes and not dry_run)


def _write(folder: Path, entries: "Sequence[CatalogEntry]") -> tuple[list[Path], list[MlmError]]:
    """Write each entry, and return the files and why some could not be written."""
    from mlm.catalog.write import write_entry

    written, refused = [], []
    for entry in entries:
        try:
            written.append(write_entry(folder, entry))
        except UsageError as error:
            refused.append(error)
    return written, list(refused)


def _asks(as_json: bool) -> bool:
    return not as_json and sys.stdin.isatty()


def _compare(run: Session, entries: "Sequence[CatalogEntry]", own: dict[str, Path]) -> list[Update]:
    from mlm.catalog.write import is_written_by_us, own_path
    from mlm.cli._hub import open_hub
    from mlm.cli._waiting import waiting_for
    from mlm.cli.catalog._asking import ask_about
    from mlm.store.refresh import refresh_entry

    repo_ids = list(dict.fromkeys(repo_id for entry in entries for repo_id in entry.repo_ids))
    with open_hub(run, "") as hub:
        if hub.offline and repo_ids:
            hub.resolve(repo_ids[0])  # says so, once
        run.note(f"asking the hub about {len(repo_ids)} repositories")
        with waiting_for(run, "waiting for its answers"):
            answers = ask_about(hub, repo_ids)
    listings = {name: a for name, a in answers.items() if not isinstance(a, MlmError)}
    failures = {name: a for name, a in answers.items() if isinstance(a, MlmError)}
    _check_reachable(listings, failures)
    updates = []
    for entry in entries:
        path = own.get(entry.model_id)
        is_ours = path is None or (
            path == own_path(run.settings.home.catalog, entry.model_id) and is_written_by_us(path)
        )
        failed = {name: failures[name] for name in entry.repo_ids if name in failures}
        refreshed = refresh_entry(entry, listings)
        updates.append(Update(refreshed, failed, None if is_ours else path))
    return updates


def _check_reachable(listings: "dict[str, RepoFiles]", failures: dict[str, MlmError]) -> None:
    """Raise if nothing can be said at all, because nobody answers."""
    errors = list(failures.values())
    if errors and not listings and all(isinstance(error, NetworkError) for error in errors):
        raise errors[0]


def _conclude(changed: int, written: int) -> str:
    if written:
        return f"wrote {written} models; `mlm catalog rm MODEL` goes back to the shipped one"
    return f"{changed} models to write; nothing was written" if changed else "nothing to write"


def _fail(updates: list[Update], refused: list[MlmError], *, undecided: bool) -> None:
    """Raise for what went wrong after all the rest was done; gated repositories are no failure."""
    if refused:
        raise refused[0]
    for one in updates:
        for error in one.failures.values():
            if not isinstance(error, AuthError):
                raise error
    if undecided:
        raise UsageError("nothing was written, for nobody can be asked", remedy="--yes, --dry-run")
