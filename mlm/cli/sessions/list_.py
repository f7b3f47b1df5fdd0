"""``mlm sessions list``: what was talked about, last first."""

import shutil
from typing import TYPE_CHECKING, Annotated

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import print_document, print_text, session

if TYPE_CHECKING:
    from mlm.sessions.types import Summary

LimitOpt = Annotated[
    int, typer.Option("--limit", "-n", min=1, metavar="N", help="At most so many.")
]

EXAMPLES = {
    "mlm sessions list": "The last twenty",
    "mlm sessions list -n 500": "More of them",
}


def list_(ctx: typer.Context, limit: LimitOpt = 20, as_json: JsonOpt = False) -> None:
    """List the saved conversations, the last one first."""
    from mlm.cli._saved import describe_session, saved_sessions

    run = session(ctx)
    with saved_sessions(run) as sessions:
        found = sessions.summaries(limit=limit + 1)
    shown = found[:limit]
    if as_json:
        payload = {
            "path": str(run.settings.home.sessions_db),
            "sessions": [describe_session(known) for known in shown],
        }
        print_document("sessions.list", payload)
        return
    if shown:
        print_text(_table(shown))
    else:
        run.note("No conversation is saved yet; mlm chat begins one.")
    if len(found) > limit:
        run.note(f"hint: there are more: mlm sessions list -n {limit * 10}")


def _table(found: "list[Summary]") -> str:
    from mlm.cli._columns import align, one_line
    from mlm.units import format_ago

    rows = [("ID", "LAST", "MESSAGES", "MODEL", "TITLE")]
    rows += [
        (
            known.id,
            format_ago(known.updated_at),
            str(known.n_messages),
            one_line(known.model),
            one_line(known.title),
        )
        for known in found
    ]
    width = shutil.get_terminal_size().columns
    lines = align(rows, right=(2,)).splitlines()
    return "\n".join(line if len(line) <= width else line[: width - 1] + "…" for line in lines)
