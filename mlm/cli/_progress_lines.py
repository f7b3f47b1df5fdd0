"""The lines of a progress block: as many columns as the width has room for, each of fixed width.

Where a column is depends on nothing but the width, so nothing moves while figures change.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mlm.units import format_duration, format_size

_MIN_NAME = 10
_NAME_ENOUGH = 40  # what is left beyond goes to the bar
_PREFIX_FROM = 24  # columns of a name that leave room for a word before it
_BAR, _MAX_BAR = 10, 40
_PERCENT, _ETA, _RATE, _SIZE, _CONNECTIONS = 4, 6, 10, 17, 3  # "9.99 GiB/9.99 GiB", "x16"
# The columns beside the name, the most wanted first.
_COLUMNS = (
    ("percent", _PERCENT),
    ("eta", _ETA),
    ("rate", _RATE),
    ("bar", _BAR),
    ("size", _SIZE),
    ("connections", _CONNECTIONS),
)
_ORDER = ("bar", "percent", "size", "rate", "connections", "eta")
_LONGEST_ETA_S = 100 * 3600


@dataclass(frozen=True, slots=True)
class Signs:
    """What the bar is drawn with: verified, here but not verified, still missing."""

    verified: str
    here: str
    missing: str
    ellipsis: str


BLOCKS = Signs("█", "▒", "░", "…")
ASCII = Signs("#", "=", "-", "~")


@dataclass(frozen=True, slots=True)
class Row:
    """One file, or all of them. ``verified`` None: the phase does not say."""

    name: str  # safe to print
    done: int
    total: int
    state: str = ""  # a word about what is going on, if it is not a download
    verified: int | None = None
    rate: float | None = None
    eta_s: float | None = None
    connections: int = 0


def draw_lines(rows: Sequence[Row], columns: int, signs: Signs = BLOCKS) -> list[str]:
    """Return a line per row, none longer than ``columns`` less one: the last column wraps."""
    width = max(1, columns - 1)
    chosen = _choose_columns(width)
    name_width = width - sum(chosen.values()) - len(chosen)
    if "bar" in chosen and name_width > _NAME_ENOUGH:
        wider = min(_MAX_BAR - _BAR, name_width - _NAME_ENOUGH)
        chosen["bar"] += wider
        name_width = min(name_width - wider, 2 * _NAME_ENOUGH)
    return [_draw(row, chosen, name_width, signs) for row in rows]


def _choose_columns(width: int) -> dict[str, int]:
    chosen: dict[str, int] = {}
    left = width - _MIN_NAME
    for name, needed in _COLUMNS:
        left -= needed + 1
        if left < 0 and chosen:
            break
        chosen[name] = needed
    return chosen


def _draw(row: Row, widths: dict[str, int], name_width: int, signs: Signs) -> str:
    cells = {
        "percent": _percent(row),
        "eta": _eta(row),
        "rate": _rate(row),
        "size": f"{format_size(row.done)}/{format_size(row.total)}",
        "connections": f"x{row.connections}" if row.connections > 1 else "",
        "bar": _bar(row, widths.get("bar", 0), signs),
    }
    figures = [cells[name].rjust(widths[name]) for name in _ORDER if name in widths]
    if name_width < 1:  # fewer than six columns: the percentage, and of that what fits
        return figures[0][-(_PERCENT + 1 + name_width) :]
    name = f"{row.state} {row.name}" if row.state and name_width >= _PREFIX_FROM else row.name
    return " ".join([fit(name, name_width, signs.ellipsis), *figures])


def _percent(row: Row) -> str:
    share = row.done / row.total if row.total else 1.0
    return f"{min(100, int(100 * share)):d}%"  # 100 only when it is all there


def _eta(row: Row) -> str:
    if row.eta_s is None:
        return ""
    return format_duration(row.eta_s) if row.eta_s < _LONGEST_ETA_S else ">99h"


def _rate(row: Row) -> str:
    if row.rate is None:
        return row.state
    return f"{format_size(int(row.rate))}/s"


def _bar(row: Row, width: int, signs: Signs) -> str:
    here = _share(row.done, row.total, width)
    verified = here
    if row.verified is not None:
        verified = min(here, _share(row.verified, row.total, width))
    parts = (signs.verified * verified, signs.here * (here - verified))
    return "".join(parts).ljust(width, signs.missing)


def _share(part: int, total: int, width: int) -> int:
    return min(width, part * width // total) if total else width


def fit(name: str, width: int, ellipsis: str) -> str:
    """Return ``name`` in exactly ``width`` cells of a terminal; a long one loses its middle.

    The end of a model file's name says more than its middle: quantization and number of the shard.
    """
    from rich.cells import cell_len, set_cell_size

    if cell_len(name) <= width or width < 3:
        return set_cell_size(name, width)
    name = name.removesuffix(".gguf")
    if cell_len(name) <= width:
        return set_cell_size(name, width)
    tail_width = (width - 1) * 2 // 3
    start = len(name)
    while start > 0 and cell_len(name[start - 1 :]) <= tail_width:
        start -= 1
    tail = name[start:]
    return set_cell_size(name, width - 1 - cell_len(tail)) + ellipsis + tail
