"""Plain tables: columns of text, aligned. Rich ones cost more start-up time than some commands."""

from collections.abc import Sequence

from mlm.terminal import printable

_GAP = "  "


def align(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Return ``rows`` as lines with aligned columns; those with an index in ``right`` end there.

    Text from outside has its control characters taken out.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        padded = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(_GAP.join(padded).rstrip())
    return "\n".join(lines)


def one_line(text: str) -> str:
    """Return ``text`` without what could command a terminal or begin a line of its own."""
    return " ".join(printable(text).split())


def wrap(text: str, *, indent: str = "", width: int = 80) -> str:
    """Return ``text`` in lines of at most ``width`` columns, later ones under ``indent``."""
    from textwrap import fill

    clean = printable(text)
    return fill(clean, width, initial_indent=indent, subsequent_indent=" " * len(indent))
