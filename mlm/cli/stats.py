"""``mlm stats``: what the servers of this machine have done."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import session
from mlm.errors import UsageError
from mlm.units import parse_since

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mlm.cli._session import Session
    from mlm.stats.review import By, Review

SinceOpt = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="How far back: 30m, 24h, 7d, 2026-11-01.", show_default=False
    ),
]
ByOpt = Annotated[
    Literal["model", "key", "day", "hour"] | None,
    typer.Option(help="What the rows are; model if not given.", show_default=False),
]
LiveOpt = Annotated[bool, typer.Option("--live", help="Watch a running server; ? helps there.")]
UrlOpt = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", help="With --live: the server to watch.", show_default=False
    ),
]
PortOpt = Annotated[
    int | None,
    typer.Option(
        "--port",
        min=1,
        max=65535,
        metavar="N",
        help="With --live: the server on this port of this machine.",
        show_default=False,
    ),
]
KeyFileOpt = Annotated[
    Path | None,
    typer.Option(
        "--api-key-file",
        metavar="FILE",
        help="With --live: an admin's key, for a server that is not this user's.",
        show_default=False,
    ),
]


EXAMPLES = {
    "mlm stats": "All requests so far, by model",
    "mlm stats --since 7d --by day": "The last week, day by day",
    "mlm stats --live": "Watch the running server, with keys to load and unload",
}


def stats(
    ctx: typer.Context,
    since: SinceOpt = None,
    by: ByOpt = None,
    live: LiveOpt = False,
    url: UrlOpt = None,
    port: PortOpt = None,
    key_file: KeyFileOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Sum up the requests so far, or watch a running server (--live).

    Latencies, throughput, loads, cache hits, over all servers of this machine, also those that
    have ended.
    """
    run = session(ctx)
    if live:
        if since or by or as_json:
            raise UsageError(
                "--live shows a running server: --since, --by and --json are for its history",
                remedy="mlm stats --live, or mlm stats --json",
            )
        from mlm.cli._live import watch_server

        watch_server(run, url, port, key_file)
        return
    if url or port or key_file:
        raise UsageError(
            "--url, --port and --api-key-file say which server to watch",
            remedy="mlm stats --live --help",
        )
    _sum_up(run, since, by or "model", as_json=as_json)


def _sum_up(run: "Session", since: str | None, by: "By", *, as_json: bool) -> None:
    from mlm.cli._waiting import waiting_for
    from mlm.server.cache_file import read_cache
    from mlm.stats.review import review_history

    start = None if since is None else parse_since(since, time.time())
    home = run.settings.home
    with waiting_for(run, "reading the history"):
        review = review_history(home.stats_db, since=start, by=by)
    payload = _describe(review, by) | {
        "since": start,
        "system": {
            "history": str(home.stats_db),
            "requests": review.n_requests,
            "loads": review.n_loads,
        },
    }
    stored = read_cache(home.response_cache_db)
    payload["response_cache"] |= {
        "entries": sum(row["entries"] for row in stored),
        "bytes": sum(row["bytes"] for row in stored),
    }

    def show() -> "RenderableType":
        from mlm.cli._stats_tables import show_review

        return show_review(payload, review, by, start)

    run.emit("stats", payload, as_json=as_json, human=show)
    if not payload["models"]:
        everything = "hint: mlm serve REF, and ask it something; or take the tour: mlm demo"
        run.note(everything if start is None else "hint: all that there is: mlm stats")


def _describe(review: "Review", by: "By") -> dict[str, Any]:
    from mlm.stats.review import SPANS
    from mlm.stats.summary import summarise_cache, summarise_groups

    document: dict[str, Any] = {
        "by": by,
        "models": summarise_groups("model", review.models),
        "response_cache": summarise_cache(review.models.values()),
    }
    if by == "key":
        keys = summarise_groups("key", review.groups)
        document["keys"] = [row | {"key": row["key"] or None} for row in keys]
    elif by in SPANS:
        spans = summarise_groups(by, review.groups)
        document[f"{by}s"] = sorted(spans, key=lambda row: str(row[by]))
    return document
