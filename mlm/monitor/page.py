"""The live view as lines: a pure function of what is known, what was chosen, and the size."""

import textwrap
import time

from rich.cells import cell_len

from mlm.monitor.table import (
    ORDERS,
    PLAIN,
    PRETTY,
    Row,
    describe_model,
    draw_table,
)
from mlm.monitor.tiles import draw_tiles
from mlm.monitor.types import Ended
from mlm.monitor.view import View, list_models
from mlm.monitor.watcher import Sight
from mlm.monitor.words import Line, cut, fit, joined, short_ms
from mlm.units import format_duration

_HELP = """\
up, down, j, k   choose a model
l                load it
u                unload it, after a question
p                pin it: it stays in memory; again: unpin it
s                sort by {orders}
space            hold the view; again: go on
?, h             this help; any key leaves it
q, Esc, Ctrl-C   quit; the server goes on

Percentiles are of the latest requests, 50/95/99: half, 95 % and 99 % took no longer. \
TTFT: until the first token. ITL: from one token to the next. E2E: until the end. \
REUSED: share of prompt tokens that were not computed again. Charts show the last two minutes."""
_HELP_INDENT = " " * 17
_KEYS = ("? help", "q quit", "u unload", "l load", "p pin", "s sort", "space hold")
_LEAST_RECENT, _WIDE, _WIDEST_HELP = 3, 60, 80
_REPLY_S = 10.0  # for which the last line says what became of an order


def draw_page(sight: Sight, view: View, columns: int, rows: int, *, pretty: bool) -> list[Line]:
    """Return at most ``rows`` lines of at most ``columns`` cells; pretty ones are not ASCII."""
    head, foot = _head(sight, columns, pretty=pretty), _foot(sight, view, columns, pretty=pretty)
    room = rows - 2
    if view.helps:
        body: list[Line] = [[("", line)] for line in _help(min(columns, _WIDEST_HELP))]
    elif sight.reading is None:
        body = []
    else:
        body = _body(sight, view, columns, room, pretty=pretty)
    body = body[: max(room, 0)]
    filler: list[Line] = [[] for _ in range(room - len(body))]
    lines = [cut(line, columns) for line in (head, *body, *filler, foot)][: max(rows, 1)]
    if pretty:
        return lines
    return [[(style, text.replace("…", "~")) for style, text in line] for line in lines]


def _help(columns: int) -> list[str]:
    """Return what the keys do in a table, what the words mean in a paragraph."""
    keys, words = _HELP.format(orders=", ".join(ORDERS)).split("\n\n")
    indent = _HELP_INDENT if columns >= _WIDE else "  "
    rows = [textwrap.wrap(row, columns, subsequent_indent=indent) for row in keys.split("\n")]
    return [*(line for row in rows for line in row), "", *textwrap.wrap(words, columns)]


def _wrap_parts(text: str, columns: int, *, most: int) -> list[str]:
    """Return as many of the first parts of ``text``, between commas, as fit on so many lines."""
    lines = textwrap.wrap(text, columns)
    while len(lines) > most and ", " in text:
        text = text.rpartition(", ")[0]
        lines = textwrap.wrap(text, columns)
    return lines[:most]


def _body(sight: Sight, view: View, columns: int, room: int, *, pretty: bool) -> list[Line]:
    assert sight.reading is not None
    models = list_models(sight, view.order)
    signs = PRETTY if pretty else PLAIN
    about = next((describe_model(r, columns) for r in models if r.model.name == view.chosen), "")
    detail = _wrap_parts(about, columns, most=2 if columns >= _WIDE else 4)
    tiles = draw_tiles(sight.reading, sight.pace, columns)
    tiles = tiles[: max(0, room - 5 - len(detail))]  # a model and two requests come before them
    if tiles:
        tiles.append([])
    left = room - len(tiles) - 1 - len(detail)
    recent = [_ended(request, columns, pretty=pretty) for request in sight.reading.recent]
    for_recent = 2 + min(len(recent), _LEAST_RECENT) if recent and left >= 4 else 0
    n_models = max(1, min(len(models), left - for_recent))
    shown = _around(models, view.chosen, n_models)
    table = draw_table(shown, view.chosen, view.order, columns, signs) if models else [_nothing()]
    lines = [*tiles, *table, *([("class:quiet", fit(line, columns))] for line in detail)]
    if for_recent and room - len(lines) > 2:
        lines += [[], [("class:head", fit("RECENT REQUESTS", columns))], *recent]
    return lines


def _around(models: list[Row], chosen: str, n_models: int) -> list[Row]:
    """Return so many rows that the chosen one is among them."""
    names = [row.model.name for row in models]
    place = names.index(chosen) if chosen in names else 0
    first = max(0, min(place - n_models // 2, len(models) - n_models))
    return models[first : first + n_models]


def _nothing() -> Line:
    return [("class:quiet", "no model yet: mlm download NAME, then press l here")]


def _head(sight: Sight, columns: int, *, pretty: bool) -> Line:
    """Return who is watched, and whether it answers: first what must not be missed."""
    if sight.trouble:
        since = ""
        if sight.seen_at is not None:
            since = f" since {time.strftime('%H:%M:%S', time.localtime(sight.seen_at))}"
        text = f"{'✕' if pretty else '!'} NO ANSWER{since}, trying again: {sight.trouble}"
        return [("class:bad", fit(text, columns))]
    word = "held" if sight.paused else "live"
    sign = ("‖" if sight.paused else "●") if pretty else ("=" if sight.paused else "*")
    reading = sight.reading
    parts = [sight.url.removeprefix("http://")]
    if reading is not None:
        up = f"up {format_duration(reading.uptime_s)}" if reading.uptime_s is not None else ""
        parts += [up, f"mlm {reading.version}" if reading.version else ""]
    text = f" {joined(parts, columns - 7)}"
    style = "class:changing" if sight.paused else "class:good"
    return [(style, f"{sign} {word}"), ("class:title", fit(text, max(columns - 6, 0)))]


def _foot(sight: Sight, view: View, columns: int, *, pretty: bool) -> Line:
    if view.unloading:
        return [("class:question", fit(f"unload {view.unloading}? y or n", columns))]
    if sight.reply and (sight.busy or sight.pace.at - sight.replied_at < _REPLY_S):
        sign = ("✕ " if pretty else "! ") if sight.refused else ""
        return [("class:bad" if sight.refused else "class:good", fit(sign + sight.reply, columns))]
    keys, width = [], 0
    for key in _KEYS:
        width += len(key) + 2
        if width - 2 <= columns:
            keys.append(key)
    return [("class:quiet", fit("  ".join(keys), columns))]


def _ended(request: Ended, columns: int, *, pretty: bool) -> Line:
    at = time.strftime("%H:%M:%S", time.localtime(request.at))
    well, ill = ("✓", "✕") if pretty else ("+", "!")
    if request.error:
        status = "" if request.status is None else f"{request.status} "
        parts = [f"{status}{request.error}"]
    else:
        parts = [_duration(request.e2e_ms)]
        if request.ttft_ms is not None:
            parts.append(f"first after {_duration(request.ttft_ms)}")
    tokens = f"{request.prompt_tokens}+{request.completion_tokens} tokens"
    reused = f"{request.cached_tokens} reused" if request.cached_tokens else ""
    cache = f"cache {request.cache}" if request.cache in ("hit", "shared") else ""
    key = f"key {request.key}" if request.key else ""
    name = request.model or request.endpoint
    width = max(10, min(32, columns // 4))
    begin = f"{at} {ill if request.error else well} {fit(name, width)} "
    parts += [tokens, reused, cache, request.endpoint, key]
    text = begin + joined(parts, columns - cell_len(begin))
    return [("class:bad" if request.error else "", fit(text, columns))]


def _duration(ms: float | None) -> str:
    text = short_ms(ms)
    return text.replace("s", " s") if text.endswith("s") else f"{text} ms"
