"""Figures as the live view has them: short, and "" where nothing is known."""

from collections.abc import Iterable

from rich.cells import cell_len, set_cell_size

from mlm.monitor.types import Percentiles

Fragment = tuple[str, str]  # a style class of prompt_toolkit, and a text
Line = list[Fragment]


def percent(value: float | None) -> str:
    """Return a percentage; nearly all is not all: 99.97 is 99 %."""
    if value is None:
        return ""
    whole = int(value) if 99 < value < 100 else round(value)
    return f"{value:.1f} %" if 0 < value < 1 else f"{whole} %"


def share(value: float | None) -> str:
    """Return a share of 1 as a percentage."""
    return percent(None if value is None else value * 100)


def rate(value: float | None) -> str:
    """Return how many there are a second."""
    if value is None:
        return ""
    return f"{value:.1f}" if 0 < value < 99.95 else f"{value:.0f}"


def short_ms(ms: float | None) -> str:
    """Return milliseconds in four characters where that can be done: ``8.1``, ``210``, ``1.4s``."""
    if ms is None:
        return "-"
    if ms < 9.95:
        return f"{ms:.1f}"
    if ms < 999.5:
        return f"{ms:.0f}"
    return f"{ms / 1000:.1f}s" if ms < 99_950 else f"{ms / 1000:.0f}s"


def spread(durations: Percentiles) -> str:
    """Return the three percentiles: ``210/420/1.4s``; "" where nothing was measured."""
    if durations.p50 is None:
        return ""
    return "/".join(short_ms(ms) for ms in (durations.p50, durations.p95, durations.p99))


def spread_of(durations: Percentiles, what: str) -> str:
    """Return the three percentiles with their unit and what they are of: ``8.1/20/31 ms to …``."""
    text = spread(durations)
    if "s" in text:  # then each has its own
        text = "/".join(part if part.endswith("s") else f"{part}ms" for part in text.split("/"))
        return f"{text} {what}"
    return with_word(text, f"ms {what}")


def joined(parts: Iterable[str], width: int | None = None) -> str:
    """Return what there is of ``parts``, with commas between: the first, and those that fit."""
    text = ""
    for part in filter(None, parts):
        longer = f"{text}, {part}" if text else part
        if text and width is not None and cell_len(longer) > width:
            break
        text = longer
    return text


def with_word(text: str, words: str) -> str:
    """Return ``text`` and what it is of; "" without it."""
    return f"{text} {words}" if text else ""


def fit(text: str, width: int, *, right: bool = False, ellipsis: str = "…") -> str:
    """Return ``text`` in exactly ``width`` cells of a terminal."""
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + ellipsis if width > 1 else set_cell_size("", width)
    padding = " " * (width - length)
    return padding + text if right else text + padding


def cut(line: Line, width: int) -> Line:
    """Return ``line`` in at most ``width`` cells."""
    found: Line = []
    for style, text in line:
        room = width - sum(cell_len(kept) for _, kept in found)
        if cell_len(text) > room:
            return [*found, (style, set_cell_size(text, room))]
        found.append((style, text))
    return found
