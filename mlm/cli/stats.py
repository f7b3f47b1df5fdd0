"""``mlm stats``: what the servers of this machine have done."""

import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import session
from mlm.units import parse_age

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mlm.stats.review import Review

SinceOpt = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="How far back: 30m, 12h, 7d.", show_default=False),
]
ByOpt = Annotated[Literal["model", "key", "day"], typer.Option(help="What the rows are.")]


EXAMPLES = {
    "mlm stats": "All requests so far, by model",
    "mlm stats --since 7d --by day": "The last week, day by day",
}


def stats(
    ctx: typer.Context, since: SinceOpt = None, by: ByOpt = "model", as_json: JsonOpt = False
) -> None:
    """Sum up the requests so far: latencies, throughput, loads, cache hits."""
    from mlm.server.cache_file import read_cache
    from mlm.stats.review import review_history

    start = None if since is None else time.time() - parse_age(since)
    home = session(ctx).settings.home
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

    session(ctx).emit("stats", payload, as_json=as_json, human=show)


def _describe(review: "Review", by: str) -> dict[str, Any]:
    from mlm.stats.summary import summarise_cache, summarise_groups

    document: dict[str, Any] = {
        "by": by,
        "models": summarise_groups("model", review.models),
        "response_cache": summarise_cache(review.models.values()),
    }
    if by == "key":
        keys = summarise_groups("key", review.groups)
        document["keys"] = [row | {"key": row["key"] or None} for row in keys]
    elif by == "day":
        days = summarise_groups("day", review.groups)
        document["days"] = sorted(days, key=lambda row: str(row["day"]))
    return document
