"""``mlm stats``: what the servers of this machine have done."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import session
from mlm.units import parse_age

if TYPE_CHECKING:
    from rich.console import RenderableType

SinceOpt = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="How far back: 30m, 12h, 7d.", show_default=False),
]


def stats(ctx: typer.Context, since: SinceOpt = None, as_json: JsonOpt = False) -> None:
    """Sum up the requests so far: latencies, throughput, loads, cache hits.

    For example: mlm stats --since 7d
    """
    from mlm.server.cache_file import read_cache
    from mlm.stats.history import read_history
    from mlm.stats.summary import summarise_cache, summarise_models

    start = None if since is None else time.time() - parse_age(since)
    home = session(ctx).settings.home
    requests, loads = read_history(home.stats_db, since=start)
    stored = read_cache(home.response_cache_db)
    payload: dict[str, Any] = {
        "since": start,
        "models": summarise_models(requests, loads),
        "response_cache": {
            "entries": sum(row["entries"] for row in stored),
            "bytes": sum(row["bytes"] for row in stored),
            **summarise_cache(requests),
        },
        "system": {"history": str(home.stats_db), "requests": len(requests), "loads": len(loads)},
    }
    session(ctx).emit("stats", payload, as_json=as_json, human=lambda: _tables(payload))


def _tables(payload: dict[str, Any]) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    if not payload["models"]:
        return Text("no requests yet")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("MODEL", overflow="fold")
    for name in ("REQUESTS", "OK", "TTFT p50", "p95", "ITL p50", "p95", "TOK/S", "LOAD"):
        table.add_column(name, justify="right", overflow="fold")
    for model in payload["models"]:
        ttft, itl = model["ttft_ms"], model["itl_ms"]
        table.add_row(
            Text(model["model"]),
            str(model["requests"]),
            _percent(model["success_rate"]),
            *(_ms(value) for value in (ttft["p50"], ttft["p95"], itl["p50"], itl["p95"])),
            _number(model["decode_tps"]),
            _ms(model["load_ms"]["p50"]),
        )
    cache = payload["response_cache"]
    line = f"response cache: {cache['entries']} answers, {cache['hits']} hits, "
    line += f"{cache['shared']} shared, {cache['misses']} misses, hit rate "
    return Group(table, Text(line + _percent(cache["hit_rate"])))


def _ms(value: float | None) -> str:
    """Return milliseconds, three digits at most: ``12 ms``, ``1.4 s``."""
    if value is None:
        return "-"
    return f"{value:.3g} ms" if value < 999.5 else f"{value / 1000:.3g} s"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 999.5 else f"{value:.0f}"
