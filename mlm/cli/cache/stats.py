"""``mlm cache stats``: what the response cache holds."""

from typing import TYPE_CHECKING, Any

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import session

if TYPE_CHECKING:
    from rich.console import RenderableType


EXAMPLES = {
    "mlm cache stats": "How much is kept, and how often it helped",
    "mlm cache stats --json": "The same for a script",
}


def stats(ctx: typer.Context, as_json: JsonOpt = False) -> None:
    """Show how many answers are kept, and how often they helped."""
    from mlm.server.cache_file import read_cache
    from mlm.stats.review import review_history
    from mlm.stats.summary import summarise_cache

    home = session(ctx).settings.home
    stored = read_cache(home.response_cache_db)
    payload: dict[str, Any] = {
        "path": str(home.response_cache_db),
        "entries": sum(row["entries"] for row in stored),
        "bytes": sum(row["bytes"] for row in stored),
        **summarise_cache(review_history(home.stats_db).models.values()),
        "models": stored,
    }
    session(ctx).emit("cache.stats", payload, as_json=as_json, human=lambda: _table(payload))


def _table(payload: dict[str, Any]) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from mlm.units import format_size

    rate = payload["hit_rate"]
    helped = Text(
        f"{payload['hits']} hits, {payload['shared']} shared, {payload['misses']} misses"
        + (f", hit rate {rate:.0%}" if rate is not None else "")
    )
    if not payload["models"]:
        return Group(Text("no answers are kept"), helped)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("MODEL", overflow="fold")
    table.add_column("ANSWERS", justify="right", no_wrap=True)
    table.add_column("SIZE", justify="right", no_wrap=True)
    for row in payload["models"]:
        table.add_row(Text(row["model"]), str(row["entries"]), format_size(row["bytes"]))
    return Group(table, helped)
