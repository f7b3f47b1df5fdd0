"""``mlm sessions list``: what was talked about, last first."""

import shutil
from typing import TYPE_CHECKING

import typer

from mlm.cli._options import JsonOpt, LimitOpt
from mlm.cli._session import print_document, print_text, session

if TYPE_CHECKING:
    from mlm.sessions.types import Summary

_TITLE_WIDTH = 20  # columns that a title has at least, if others can make room

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
    """Return a line for each; in a narrow terminal the title stays and other columns go."""
    from mlm.cli._columns import align, cut, one_line
    from mlm.units import format_ago

    rows = [("TITLE", "ID", "LAST", "MESSAGES", "MODEL")]
    rows += [
        (
            one_line(known.title),
            known.id,
            format_ago(known.updated_at),
            str(known.n_messages),
            one_line(known.model),
        )
        for known in found
    ]
    width = shutil.get_terminal_size().columns
    for n_columns in range(len(rows[0]), 1, -1):
        right = (2,) if n_columns > 3 else ()
        text = align([(*row[1:n_columns], row[0]) for row in rows], right=right)
        if text.index("TITLE") <= width - _TITLE_WIDTH:
            break
    return "\n".join(cut(line, width) for line in text.splitlines())
