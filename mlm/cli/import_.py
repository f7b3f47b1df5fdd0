"""``mlm import``: register GGUF files that are on this machine already, in place or copied."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._progress import show_progress
from mlm.cli._session import Session, print_error, session
from mlm.errors import MlmError, UsageError

if TYPE_CHECKING:
    from mlm.store.intake import How, Imported


EXAMPLES = {
    "mlm import ~/models/mine.Q4_K_M.gguf": "Use a file where it is",
    "mlm import ~/models": "All models of a folder",
    "mlm import mine.gguf --copy": "Keep a copy of it, whatever becomes of the file",
}


def import_(
    ctx: typer.Context,
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", help="A .gguf file, shards come along by themselves; or a folder."
        ),
    ],
    copy: Annotated[bool, typer.Option("--copy", help="Copy it into MLM_HOME/models.")] = False,
    hardlink: Annotated[
        bool, typer.Option("--hardlink", help="Give it a second name there, on the same disk.")
    ] = False,
    as_json: JsonOpt = False,
) -> None:
    """Register local model files: in place, or with --copy or --hardlink in mlm's own folder."""
    if copy and hardlink:
        raise UsageError("a copy is not a hard link", remedy="choose --copy or --hardlink")
    run = session(ctx)
    how: How = "copy" if copy else "hardlink" if hardlink else "in_place"
    imported, failures = _import_all(run, path.expanduser(), how)
    payload = {
        "files": [_row(one, how, n) for one in imported for n in range(len(one.files))],
        "errors": [_failure(failed, error) for failed, error in failures],
    }
    run.emit("import", payload, as_json=as_json, human=lambda: _describe(imported))
    if failures:
        if not as_json:
            for _, error in failures:
                print_error(error, as_json=False)
        raise typer.Exit(failures[0][1].exit_code)


def _import_all(
    run: Session, path: Path, how: "How"
) -> "tuple[list[Imported], list[tuple[Path, MlmError]]]":
    """Import what ``path`` means; of a folder, one bad file does not keep the others out."""
    from mlm.store.intake import find_models, import_model
    from mlm.store.store import Store

    imported: list[Imported] = []
    failures: list[tuple[Path, MlmError]] = []
    with (
        Store(run.settings.home, run.settings.hub_cache) as store,
        show_progress(run) as listener,
    ):
        for model in find_models(path):
            try:
                imported.append(import_model(store, model, how, listener))
            except MlmError as error:
                if not path.is_dir():
                    raise
                failures.append((model, error))
    return imported, failures


def _row(imported: "Imported", how: "How", number: int) -> dict[str, Any]:
    from mlm.cli.list_ import model_row

    return model_row(imported.files[number]) | {"how": how, "same_as": list(imported.same_as)}


def _failure(path: Path, error: MlmError) -> dict[str, Any]:
    return {
        "path": str(path),
        "code": error.code,
        "message": error.message,
        "remedy": error.remedy,
        "exit_code": int(error.exit_code),
    }


def _describe(imported: "list[Imported]") -> Any:
    from rich.text import Text

    from mlm.cli._columns import one_line
    from mlm.units import format_size

    lines = []
    for one in imported:
        size = format_size(sum(file.size_bytes for file in one.files))
        lines.append(one_line(f"{one.files[0].model_id}  {size}  {one.files[0].path}"))
        if one.same_as:
            lines.append(f"  the same bytes as {one_line(', '.join(one.same_as))}")
    return Text("\n".join(lines))
