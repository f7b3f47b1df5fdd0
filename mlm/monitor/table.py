"""The models: a row each, with as many columns as the width has room for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from mlm.monitor.pace import Pace
from mlm.monitor.types import ModelState
from mlm.monitor.words import Line, fit, joined, rate, share, spread, spread_of, with_word
from mlm.units import format_duration, format_size

Order = Literal["name", "tokens/s", "queue", "requests", "memory"]
ORDERS: tuple[Order, ...] = ("name", "tokens/s", "queue", "requests", "memory")
_LEAST_NAME, _MOST_NAME = 12, 48
_MARKER = 2  # columns before the name


@dataclass(frozen=True, slots=True)
class Row:
    """A model with what is known of its speed now."""

    model: ModelState
    decode: float | None = None  # tokens per second


@dataclass(frozen=True, slots=True)
class Signs:
    """What states look like, so that nothing depends on colour."""

    ready: str
    starting: str
    stopping: str
    stopped: str
    trouble: str
    chosen: str


PRETTY = Signs("●", "◐", "◐", "○", "✕", "▸")
PLAIN = Signs("*", "~", "~", "-", "!", ">")


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    width: int
    read: Callable[[Row], str]
    is_left: bool = False


# As they stand from left to right; which of them are most wanted is in `_WANTED`.
_COLUMNS = {
    "slots": _Column("SLOTS", 5, lambda row: _slots(row.model)),
    "queue": _Column("WAIT", 4, lambda row: str(row.model.waiting)),
    "ttft": _Column("TTFT ms 50/95/99", 16, lambda row: spread(row.model.ttft) or "-"),
    "itl": _Column("ITL ms 50/95/99", 15, lambda row: spread(row.model.itl) or "-"),
    "tps": _Column("TOK/S", 6, lambda row: rate(row.decode) or "-"),
    "reused": _Column("REUSED", 6, lambda row: share(row.model.reused) or "-"),
    "memory": _Column("MEMORY", 9, lambda row: _memory(row.model) or "-"),
    "requests": _Column("REQUESTS", 8, lambda row: str(row.model.requests)),
    "ok": _Column("OK", 5, lambda row: share(row.model.success_rate) or "-"),
    "e2e": _Column("E2E ms 50/95/99", 16, lambda row: spread(row.model.e2e) or "-"),
}
_WANTED = ("ttft", "slots", "queue", "tps", "itl", "reused", "memory", "requests", "ok", "e2e")
_STATE = 12


def sort_models(rows: Sequence[Row], order: Order) -> list[Row]:
    """Return the models in use, then the others; by name, or those with most first."""
    keys: dict[Order, Callable[[Row], float]] = {
        "name": lambda row: 0,
        "tokens/s": lambda row: -(row.decode or 0),
        "queue": lambda row: -(row.model.waiting + row.model.active),
        "requests": lambda row: -row.model.requests,
        "memory": lambda row: -(row.model.memory or 0) * (row.model.state != "stopped"),
    }

    def rank(row: Row) -> tuple[bool, float, str]:
        is_idle = row.model.state == "stopped" and not row.model.requests
        return (is_idle, keys[order](row), row.model.name)

    return sorted(rows, key=rank)


def make_rows(models: Sequence[ModelState], installed: Sequence[str], pace: Pace) -> list[Row]:
    """Return a row for each model that the server has, or could load."""
    known = {model.name for model in models}
    everything = [*models, *(ModelState(name) for name in installed if name not in known)]
    speeds = {name: speed.decode for name, speed in pace.speeds.items()}
    return [Row(model, speeds.get(model.name)) for model in everything]


def draw_table(
    rows: Sequence[Row], chosen: str, order: Order, columns: int, signs: Signs
) -> list[Line]:
    """Return the head and a line for each model; that of the ``chosen`` one is marked."""
    shown = _choose_columns(columns)
    taken = sum(_COLUMNS[name].width + 1 for name in shown)
    width = max(1, min(_MOST_NAME, columns - _MARKER - _STATE - 1 - taken))
    titles = [fit(_COLUMNS[name].title, _COLUMNS[name].width, right=True) for name in shown]
    name = "MODEL" if order == "name" else f"MODEL by {order}"
    head = " ".join([fit("", _MARKER - 1), fit(name, width), fit("STATE", _STATE), *titles])
    lines: list[Line] = [[("class:head", fit(head, columns))]]
    for row in rows:
        is_chosen = row.model.name == chosen
        cells = [fit(_COLUMNS[n].read(row), _COLUMNS[n].width, right=True) for n in shown]
        mark = fit(signs.chosen if is_chosen else "", _MARKER)
        state = fit(describe_state(row.model, signs), _STATE)
        ground = "class:chosen " if is_chosen else ""
        rest = f" {' '.join(cells)}" if cells else ""
        name = f"{mark}{fit(row.model.name, width)} "
        used = _MARKER + width + 1 + _STATE + (len(rest))
        lines.append(
            [
                (ground, name),
                (f"{ground}class:{_style(row.model)}", state),
                (ground, rest + " " * (columns - used)),
            ]
        )
    return lines


def describe_state(model: ModelState, signs: Signs) -> str:
    """Return a sign and a word for how a model is."""
    if model.state == "ready":
        return f"{signs.ready} ready{' pin' if model.pinned else ''}"
    if model.state == "starting":
        so_far = "ing" if model.progress is None else f" {model.progress:.0%}"
        return f"{signs.starting} load{so_far}"
    if model.state == "stopping":
        return f"{signs.stopping} unloading"
    if model.state == "stopped":
        return f"{signs.trouble} trouble" if model.trouble else f"{signs.stopped} not loaded"
    return f"{signs.trouble} {model.state}"


def describe_model(row: Row, columns: int) -> str:
    """Return what the row of a model has no room for."""
    model, hidden = row.model, set(_COLUMNS) - set(_choose_columns(columns))
    figures = {
        "itl": spread_of(model.itl, "between tokens"),
        "reused": with_word(share(model.reused), "of prompts reused"),
        "memory": _memory(model),
        "requests": f"{model.requests} request{'s' if model.requests != 1 else ''}",
        "ok": with_word(share(model.success_rate), "answered"),
        "e2e": spread_of(model.e2e, "for an answer"),
        "slots": with_word(_slots(model), "slots"),
        "queue": with_word(str(model.waiting), "waiting"),
        "ttft": spread_of(model.ttft, "to the first token"),
        "tps": with_word(rate(row.decode), "tok/s"),
    }
    parts = [model.trouble] if model.trouble else []
    parts += [figures[name] for name in _WANTED if name in hidden and model.requests]
    if model.pinned:
        parts.append("pinned")
    elif model.state == "ready" and model.ttl_s:
        left = max(model.ttl_s - (model.idle_s or 0), 0)
        parts.append(f"unloads in {format_duration(left)}" if model.idle_s is not None else "")
    return f"{model.name}: {joined(parts)}" if any(parts) else ""


def _choose_columns(columns: int) -> list[str]:
    """Return the columns that fit beside name and state, in the order of the table."""
    left = columns - _MARKER - _LEAST_NAME - _STATE - 1
    chosen = set()
    for name in _WANTED:
        left -= _COLUMNS[name].width + 1
        if left < 0:
            break
        chosen.add(name)
    return [name for name in _COLUMNS if name in chosen]


def _style(model: ModelState) -> str:
    if model.state == "ready":
        return "good"
    if model.state == "stopped":
        return "bad" if model.trouble else "quiet"
    return "changing"


def _slots(model: ModelState) -> str:
    if model.state == "stopped":
        return "-"
    return f"{model.active}/{model.slots}" if model.slots else str(model.active)


def _memory(model: ModelState) -> str:
    return format_size(model.memory) if model.memory and model.state != "stopped" else ""
