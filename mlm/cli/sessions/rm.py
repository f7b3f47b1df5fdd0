"""``mlm sessions rm``: delete conversations for good."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from mlm.cli._confirm import insist
from mlm.cli._options import JsonOpt, YesOpt
from mlm.cli._session import session
from mlm.completion.names import complete_session
from mlm.errors import UsageError

if TYPE_CHECKING:
    from mlm.sessions.store import Sessions
    from mlm.sessions.types import Summary

_NAMED = 5  # in a question; of more only the number is said

IdsArg = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ID]...",
        help="As `mlm sessions list` shows them, or their beginnings.",
        show_default=False,
        autocompletion=complete_session,
    ),
]
OlderOpt = Annotated[
    str | None,
    typer.Option(
        "--older-than",
        metavar="TIME",
        help="All to which nothing was added for so long: 30d.",
        show_default=False,
    ),
]
AllOpt = Annotated[bool, typer.Option("--all", help="All of them.")]

EXAMPLES = {
    "mlm sessions rm 3f9a 77c0": "Two of them, after asking",
    "mlm sessions rm --older-than 30d": "What nobody added to for a month",
    "mlm sessions rm --all --yes": "Everything, without asking",
}


def rm(
    ctx: typer.Context,
    ids: IdsArg = None,
    older_than: OlderOpt = None,
    every: AllOpt = False,
    yes: YesOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Delete conversations; their words are in no file afterwards."""
    from mlm.cli._saved import describe_session, saved_sessions

    run = session(ctx)
    if sum((bool(ids), older_than is not None, every)) != 1:
        raise UsageError(
            "say what to delete: IDs, --older-than TIME or --all", remedy="mlm sessions list"
        )
    with saved_sessions(run) as sessions:
        chosen = _choose(sessions, ids or [], older_than)
        if chosen and not yes:
            _ask(chosen)
        if chosen:
            sessions.remove([known.id for known in chosen])
    run.emit(
        "sessions.rm",
        {"removed": [describe_session(known) for known in chosen]},
        as_json=as_json,
        human=lambda: f"removed {_count(chosen)}",
    )


def _choose(sessions: "Sessions", ids: list[str], older_than: str | None) -> "list[Summary]":
    """Return what the words of the command line mean, each once."""
    from mlm.units import parse_age

    if ids:
        return list({known.id: known for known in map(sessions.find, ids)}.values())
    before = None if older_than is None else time.time() - parse_age(older_than)
    return sessions.summaries(before=before)


def _ask(chosen: "list[Summary]") -> None:
    from mlm.cli._columns import one_line

    titles = "; ".join(f"{known.id} {one_line(known.title)}" for known in chosen[:_NAMED])
    rest = f"; and {len(chosen) - _NAMED} more" if len(chosen) > _NAMED else ""
    if not sys.stdin.isatty():
        raise UsageError(f"this would delete {titles}{rest}", remedy="repeat with --yes")
    insist(f"Delete {_count(chosen)}: {titles}{rest}?")


def _count(chosen: "list[Summary]") -> str:
    return "1 conversation" if len(chosen) == 1 else f"{len(chosen)} conversations"
