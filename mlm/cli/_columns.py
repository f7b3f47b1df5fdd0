"""Plain tables: columns of text, aligned. Rich ones cost more start-up time than some commands."""

from collections.abc import Sequence

from mlm.terminal import printable

_GAP = "  "


def align(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Return ``rows`` as lines with aligned columns; those with an index in ``right`` end there.

    Text from outside has its control characters taken out.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(width_of, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        padded = []
        for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
            rest = " " * (width - width_of(cell))
            padded.append(rest + cell if index in right else cell + rest)
        lines.append(_GAP.join(padded).rstrip())
    return "\n".join(lines)


def width_of(text: str) -> int:
    """Return how many columns of a terminal ``text`` takes: a Chinese character two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def cut(line: str, width: int) -> str:
    """Return a printable ``line`` in at most ``width`` columns: what has no room becomes "…"."""
    if width_of(line) <= width:
        return line
    from rich.cells import set_cell_size

    return set_cell_size(line, width - 1).rstrip() + "…"


def one_line(text: str) -> str:
    """Return ``text`` without what could command a terminal or begin a line of its own."""
    return " ".join(printable(text).split())


def wrap(text: str, *, indent: str = "", width: int = 80) -> str:
    """Return ``text`` in lines of at most ``width`` columns, later ones under ``indent``."""
    from textwrap import fill

    clean = printable(text)
    return fill(clean, width, initial_indent=indent, subsequent_indent=" " * len(indent))
