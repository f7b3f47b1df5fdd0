"""``mlm sessions search``: find what was said."""

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlm.cli._options import JsonOpt, LimitOpt
from mlm.cli._session import print_document, session, stdout

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mlm.sessions.types import Hit

WordsArg = Annotated[
    list[str],
    typer.Argument(
        metavar="WORDS...",
        help="All of them must occur; '\"two words\"' side by side.",
        show_default=False,
    ),
]
RoleOpt = Annotated[
    Literal["system", "user", "assistant"] | None,
    typer.Option("--role", help="Only what they said.", show_default=False),
]
ModelOpt = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="Only with that model.", show_default=False),
]
SinceOpt = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="How far back: 12h, 7d.", show_default=False),
]

EXAMPLES = {
    "mlm sessions search rate limit": "Every word must occur",
    "mlm sessions search '\"rate limit\"' --since 30d": "Side by side, in the last 30 days",
    "mlm sessions search 'C++'": "Signs are found, too",
}


def search(
    ctx: typer.Context,
    words: WordsArg,
    role: RoleOpt = None,
    model: ModelOpt = None,
    since: SinceOpt = None,
    limit: LimitOpt = 20,
    as_json: JsonOpt = False,
) -> None:
    """Search everything that was said in saved conversations.

    Capitals and accents do not matter, and a word may be the beginning of a longer one.
    """
    from mlm.cli._saved import saved_sessions
    from mlm.sessions.types import Query
    from mlm.units import parse_age

    start = None if since is None else time.time() - parse_age(since)
    query = Query(" ".join(words), role=role, model=model, since=start)
    run = session(ctx)
    with saved_sessions(run) as sessions:
        found = sessions.search(query, limit=limit + 1)
    shown = found[:limit]
    if as_json:
        print_document(
            "sessions.search", {"query": query.words, "hits": [_describe(hit) for hit in shown]}
        )
        return
    screen = stdout()
    for hit in shown:
        screen.print(_render(hit, screen.width))
    if not shown:
        run.note("Nothing was found.")
    if len(found) > limit:
        run.note(f"hint: there is more: -n {limit * 10}")


def _describe(hit: "Hit") -> dict[str, Any]:
    from mlm.cli._saved import describe_session

    matches, end = [], 0
    for index, part in enumerate(hit.parts):
        start, end = end, end + len(part)
        if index % 2:
            matches.append([start, end])
    return {
        "session": describe_session(hit.session),
        "position": hit.position,
        "role": hit.role,
        "model": hit.model,
        "at": hit.at,
        "snippet": "".join(hit.parts),
        "matches": matches,
    }


def _render(hit: "Hit", width: int) -> "RenderableType":
    """Return a line that says where, and what was said.

    What was found stands out, in a pipe between asterisks.
    """
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    from mlm.cli._columns import cut, one_line, width_of
    from mlm.units import format_ago

    mark = "" if sys.stdout.isatty() else "**"
    who = hit.model if hit.role == "assistant" else hit.role
    head, said = Text(hit.session.id, style="bold"), Text()
    rest = f" · {one_line(who or hit.role)} · {format_ago(hit.at)}"
    title = cut(one_line(hit.session.title), max(1, width - len(head) - 2 - width_of(rest)))
    head.append(f"  {title}{rest}", style="not bold dim")
    for index, part in enumerate(hit.parts):
        clean = " ".join(part.split("\n"))
        said.append(f"{mark}{clean}{mark}" if index % 2 else clean, style=_STYLES[index % 2])
    return Group(head, Padding(said, (0, 0, 0, 2), expand=False))


_STYLES = ("not bold", "bold red")
