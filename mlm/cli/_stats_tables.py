"""How ``mlm stats`` looks: a table of what was served, and how it came over time."""

import shutil
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from mlm.monitor.charts import bar, sparkline
from mlm.monitor.types import Percentiles
from mlm.monitor.words import fit, spread
from mlm.stats.review import MINUTE_S, SPANS, By, Review, count_over_time, fill_gaps

if TYPE_CHECKING:
    from rich.console import RenderableType

_CHART_WIDTH, _NAME_WIDTH, _MOST_ROWS = 48, 24, 8
_NARROW, _BARS = 60, 80  # columns of a terminal below which the less important ones are left out
_BAR_WIDTH = 9
_MOST_FILLED = 100  # rows up to which days and hours without a request are shown, too
_NO_KEY = "(no key)"
_DURATIONS = ("ttft_ms", "itl_ms", "e2e_ms")


def show_review(
    payload: dict[str, Any], review: Review, by: By, since: float | None
) -> "RenderableType":
    """Return what a person sees; ``since`` is where the charts begin."""
    if not payload["models"]:
        return Text("no requests yet" if since is None else f"no requests since {_moment(since)}")
    parts: list[RenderableType] = []
    rows = [(row[by] or _NO_KEY, row) for row in payload[f"{by}s"]]
    if by in SPANS:
        parts += [_table_of_spans(by, dict(rows)), Text("")]
    else:
        parts += [_table(by, rows), Text(""), _percentiles(by, rows), *_chart(review, since)]
    cache = payload["response_cache"]
    line = f"response cache: {cache['entries']} answers, {cache['hits']} hits, "
    line += f"{cache['shared']} shared, {cache['misses']} misses, hit rate "
    return Group(*parts, Text(line + _percent(cache["hit_rate"])))


def _table(by: By, rows: list[tuple[str, dict[str, Any]]]) -> Table:
    columns = ["REQUESTS", "OK", "IN", "REUSED", "OUT", "TOK/S"]
    if by == "model":
        columns.append("LOAD")
    if _width() < _NARROW:
        columns = ["REQUESTS", "OK", "TOK/S"]
    table = _new_table(by.upper(), columns)
    for name, row in rows:
        cells = _describe_group(row)
        table.add_row(Text(name), *(cells[column] for column in columns))
    return table


def _describe_group(row: dict[str, Any]) -> dict[str, str]:
    """Return the cells of a row by the columns' names."""
    prompts, cached = row["prompt_tokens"], row["cached_tokens"]
    return {
        "REQUESTS": str(row["requests"]),
        "OK": _percent(row["success_rate"]),
        "IN": _count(prompts),
        "REUSED": _percent(cached / prompts if prompts else None),
        "OUT": _count(row["completion_tokens"]),
        "TOK/S": _number(row["decode_tps"]),
        "LOAD": _ms(row["load_ms"]["p50"]),
    }


def _percentiles(by: By, rows: list[tuple[str, dict[str, Any]]]) -> Table:
    """Return how long it took: half, 95 % and 99 % of all took no longer."""
    shown = _DURATIONS[:2] if _width() < _NARROW else _DURATIONS
    table = _new_table("ms p50/p95/p99", [name.split("_")[0].upper() for name in shown])
    for name, row in rows:
        spreads = [Percentiles(*(row[of][p] for p in ("p50", "p95", "p99"))) for of in shown]
        table.add_row(Text(name), *(spread(durations) or "-" for durations in spreads))
    return table


def _table_of_spans(by: By, spans: dict[str, dict[str, Any]]) -> Table:
    """Return days or hours, with bars of how many requests and tokens there were in each."""
    has_bars, durations = _width() >= _BARS, ("p50", "p95") if _width() >= _NARROW else ()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(by.upper(), no_wrap=True)
    for name in ("REQUESTS", "TOKENS"):
        table.add_column(name, justify="right", no_wrap=True)
        if has_bars:
            table.add_column("", no_wrap=True, min_width=_BAR_WIDTH)
    for name in ("OK", *("TTFT p50", "p95")[: len(durations)]):
        table.add_column(name, justify="right", overflow="fold")
    most_requests = max(row["requests"] for row in spans.values())
    most_tokens = max(_tokens(row) for row in spans.values())
    filled = fill_gaps(list(spans), by)
    for name in filled if len(filled) <= _MOST_FILLED else spans:
        if (row := spans.get(name)) is None:
            table.add_row(name, "0")
            continue
        requests, tokens = row["requests"], _tokens(row)
        cells = [str(requests), bar(requests, most_requests, _BAR_WIDTH)]
        cells += [_count(tokens), bar(tokens, most_tokens, _BAR_WIDTH)]
        cells = cells if has_bars else cells[::2]
        cells += [_percent(row["success_rate"])]
        table.add_row(name, *cells, *(_ms(row["ttft_ms"][p]) for p in durations))
    return table


def _tokens(row: dict[str, Any]) -> int:
    return int(row["prompt_tokens"] + row["completion_tokens"])


def _width() -> int:
    return shutil.get_terminal_size().columns


def _new_table(first: str, others: Sequence[str]) -> Table:
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
    lines = [Text(""), Text(f"requests from {_moment(first * MINUTE_S)} until now")]
    name_width = min(_NAME_WIDTH, _width() // 3)
    chart_width = max(1, min(_CHART_WIDTH, _width() - name_width - 1))
    for name in busiest:
        counts = count_over_time(minutes[name], first, last, chart_width)
        line = f"{fit(name or _NO_KEY, name_width)} {sparkline(counts)}"
        lines.append(Text(line, no_wrap=True))
    return [*lines, Text("")]


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _count(n: int) -> str:
    """Return a number in at most five characters: ``950``, ``12.3k``, ``4.56M``."""
    for factor, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if n >= factor:
            return _number(n / factor) + letter
    return str(n)


def _ms(value: float | None) -> str:
    """Return milliseconds, three digits at most: ``12 ms``, ``1.4 s``."""
    if value is None:
        return "-"
    return f"{value:.3g} ms" if value < 999.5 else f"{value / 1000:.3g} s"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 999.5 else f"{value:.0f}"
