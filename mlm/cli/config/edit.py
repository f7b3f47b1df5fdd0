"""``mlm config edit``: change the config of a model in an editor."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mlm.cli._confirm import confirm
from mlm.cli._options import JsonOpt, RefArg
from mlm.cli._plan_text import VERDICTS
from mlm.cli._session import print_document, print_error, print_text, session
from mlm.errors import ConflictError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from mlm.cli.config._draft import Draft

DiscardOpt = Annotated[
    bool, typer.Option("--discard", help="Begin anew, not with what was left unfinished.")
]


EXAMPLES = {
    "mlm config edit qwen3-8b": "Change it in your editor",
    "mlm config edit qwen3-8b --discard": "Begin anew, without what was left unfinished",
}


def edit(
    ctx: typer.Context, ref: RefArg, discard: DiscardOpt = False, as_json: JsonOpt = False
) -> None:
    """Change the config of a model in your editor ($VISUAL, $EDITOR or vi).

    It is checked when you save: what is wrong can be corrected at once or later, and is never
    lost. Then mlm says whether the model fits with it.
    """
    from mlm.cli._machine import planned_machine
    from mlm.cli._model import find_subject
    from mlm.cli.config._document import config_document
    from mlm.cli.config._draft import open_draft
    from mlm.cli.config._sealed import note_if_sealed
    from mlm.planning.config_file import config_path, format_config, parse_config
    from mlm.planning.config_versions import write_version
    from mlm.planning.memory import plan_memory
    from mlm.planning.overrides import Overrides
    from mlm.planning.runtime import plan_runtime

    run = session(ctx)
    machine = planned_machine(run)
    subject = find_subject(run, ref, machine)
    path = config_path(run.settings.home.config, subject.model_id)
    before = _read(path)
    if before is None:
        planned_now = plan_runtime(subject.shape, machine, Overrides())
        original = format_config(planned_now, subject.model_id)
    else:
        original = before
    note_if_sealed(run, path)
    with open_draft(path, original, fresh=discard) as draft:
        if draft.is_old:
            run.note(f"going on with what was left in {draft.path}; --discard begins anew")
        text = _have_edited(draft, ref)
        config = parse_config(text, source=str(draft.path))
        if _read(path) != before:
            raise ConflictError(
                f"{path} has changed meanwhile; what you wrote is kept in {draft.path}",
                remedy=f"mlm config show {ref}, then mlm config edit {ref} goes on",
            )
        is_changed = text != original
        if is_changed:
            write_version(path, text)
            draft.discard()
    planned = plan_memory(subject.shape, config, machine)
    if as_json:
        document = config_document(subject.model_id, path, config, planned)
        print_document("config", {**document, "changed": is_changed})
    else:
        print_text(f"wrote {path}" if is_changed else "nothing changed")
    run.note("\n".join([f"{ref}: {VERDICTS[planned.verdict]}", *planned.reasons]))


def _read(path: "Path") -> str | None:
    """Return what is kept, None when nothing is."""
    if not path.is_file():
        return None
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text", remedy="mlm config generate REF") from error


def _have_edited(draft: "Draft", ref: str) -> str:
    """Return a text that a person has made of the draft, and that is a config.

    Raises:
        UsageError: there is none; what was written stays in the draft.
    """
    from mlm.cli.config._editor import edit_file
    from mlm.planning.config_file import parse_config

    try:
        while True:
            edit_file(draft.path)
            text = draft.read()
            if text is None:
                raise UsageError("nothing was saved, so the config stays as it was")
            try:
                parse_config(text, source=str(draft.path))
                return text
            except UsageError as error:
                if not _wants_to_go_on(error):
                    raise
    except UsageError as error:
        if draft.is_worth_keeping:
            error.remedy = f"mlm config edit {ref} goes on where you stopped"
        raise


def _wants_to_go_on(error: UsageError) -> bool:
    """Show what is wrong and ask, where there is somebody to ask."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print_error(error, as_json=False)
    try:
        return confirm("Edit it again?", default=True)
    except typer.Abort:
        return False
