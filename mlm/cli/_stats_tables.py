"""How ``mlm stats`` looks: a table of what was served, and how it came over time."""

import time
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from mlm.cli._charts import bar, sparkline
from mlm.stats.review import MINUTE_S, By, Review, count_over_time

if TYPE_CHECKING:
    from rich.console import RenderableType

_CHART_WIDTH, _NAME_WIDTH, _MOST_ROWS = 48, 24, 8
_BAR_WIDTH = 16
_NO_KEY = "(no key)"


def show_review(
    payload: dict[str, Any], review: Review, by: By, since: float | None
) -> "RenderableType":
    """Return what a person sees; ``since`` is where the charts begin."""
    if not payload["models"]:
        return Text("no requests yet")
    parts: list[RenderableType] = []
    if by == "day":
        parts.append(_table_of_days(payload["days"]))
    else:
        rows = [(row[by] or _NO_KEY, row) for row in payload[f"{by}s"]]
        parts += [_table(by, rows), *_chart(review, since)]
    cache = payload["response_cache"]
    line = f"response cache: {cache['entries']} answers, {cache['hits']} hits, "
    line += f"{cache['shared']} shared, {cache['misses']} misses, hit rate "
    return Group(*parts, Text(line + _percent(cache["hit_rate"])))


def _table(by: By, rows: list[tuple[str, dict[str, Any]]]) -> Table:
    table = _new_table(by.upper(), ("REQUESTS", "OK", "TTFT p50", "p95", "ITL p50", "p95", "TOK/S"))
    if by == "model":
        table.add_column("LOAD", justify="right", overflow="fold")
    for name, row in rows:
        ttft, itl = row["ttft_ms"], row["itl_ms"]
        cells = [str(row["requests"]), _percent(row["success_rate"])]
        cells += [_ms(value) for value in (ttft["p50"], ttft["p95"], itl["p50"], itl["p95"])]
        cells.append(_number(row["decode_tps"]))
        if by == "model":
            cells.append(_ms(row["load_ms"]["p50"]))
        table.add_row(Text(name), *cells)
    return table


def _table_of_days(days: list[dict[str, Any]]) -> Table:
    table = _new_table("DAY", ("REQUESTS", "OK", "TOKENS", "TTFT p50", "p95"))
    table.add_column("", no_wrap=True)
    most = max((day["requests"] for day in days), default=0)
    for day in days:
        tokens = day["prompt_tokens"] + day["completion_tokens"]
        cells = [str(day["requests"]), _percent(day["success_rate"]), str(tokens)]
        cells += [_ms(day["ttft_ms"][name]) for name in ("p50", "p95")]
        table.add_row(day["day"], *cells, bar(day["requests"], most, _BAR_WIDTH))
    return table


def _new_table(first: str, others: tuple[str, ...]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right", overflow="fold")
    return table


def _chart(review: Review, since: float | None) -> list[Text]:
    """Return a line for each of the busiest groups: its requests over time."""
    minutes = review.minutes
    if not minutes:
        return []
    first = min(min(counts) for counts in minutes.values())
    if since is not None:
        first = min(first, int(since // MINUTE_S))
    last = max(first, int(time.time() // MINUTE_S), *(max(counts) for counts in minutes.values()))
    busiest = sorted(minutes, key=lambda name: (-minutes[name].total(), name))[:_MOST_ROWS]
    begin = time.strftime("%Y-%m-%d %H:%M", time.localtime(first * MINUTE_S))
    lines = [Text(""), Text(f"requests from {begin} until now")]
    for name in busiest:
        counts = count_over_time(minutes[name], first, last, _CHART_WIDTH)
        shown = name or _NO_KEY
        if len(shown) > _NAME_WIDTH:
            shown = f"{shown[: _NAME_WIDTH - 1]}…"
        lines.append(Text(f"{shown:<{_NAME_WIDTH}} {sparkline(counts)}", no_wrap=True))
    return [*lines, Text("")]


def _ms(value: float | None) -> str:
    """Return milliseconds, three digits at most: ``12 ms``, ``1.4 s``."""
    if value is None:
        return "-"
    return f"{value:.3g} ms" if value < 999.5 else f"{value / 1000:.3g} s"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 999.5 else f"{value:.0f}"
