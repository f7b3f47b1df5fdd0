"""``mlm sessions rename``: call a conversation something."""

from typing import Annotated

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import session
from mlm.completion.names import complete_session
from mlm.errors import UsageError

IdArg = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="As `mlm sessions list` shows it, or its beginning.",
        show_default=False,
        autocompletion=complete_session,
    ),
]
TitleArg = Annotated[str, typer.Argument(metavar="TITLE", help="A line.", show_default=False)]

EXAMPLES = {
    'mlm sessions rename 3f9a "Sorting in C++"': "A title that says more",
    "mlm sessions rename 77c0 Rates --json": "Say what it is now, for a program",
}


def rename(ctx: typer.Context, wanted: IdArg, title: TitleArg, as_json: JsonOpt = False) -> None:
    """Give a conversation a title."""
    from rich.text import Text

    from mlm.cli._saved import describe_session, saved_sessions
    from mlm.sessions.title import make_title

    if not title.strip():
        raise UsageError("a title needs a word", remedy=f'mlm sessions rename {wanted} "TITLE"')
    with saved_sessions(session(ctx)) as sessions:
        known = sessions.rename(sessions.find(wanted), make_title(title))
    session(ctx).emit(
        "sessions.rename",
        describe_session(known),
        as_json=as_json,
        human=lambda: Text(f"{known.id} is now: {known.title}"),
    )
