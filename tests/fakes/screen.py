"""A terminal's screen, as far as a progress block can tell: cursor, rows, wrapping, scrolling."""

import re

_PIECES = re.compile(r"\x1b\[(\??)(\d*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)|(\x1b)")


class Screen:
    """What was written to it is in ``lines``; what has scrolled out at the top is in ``gone``."""

    def __init__(self, columns: int, rows: int = 24) -> None:
        self.columns = columns
        self.rows = rows
        self.gone: list[str] = []
        self._cells = [""]
        self._row = self._column = 0
        self._wraps = True

    @property
    def lines(self) -> list[str]:
        """Everything that was ever written and not erased, without blanks at the ends."""
        return [line.rstrip() for line in [*self.gone, *self._cells]]

    @property
    def cursor(self) -> tuple[int, int]:
        """Row, counted from the first line ever, and column."""
        return len(self.gone) + self._row, self._column

    def size(self) -> tuple[int, int]:
        return self.columns, self.rows

    def write(self, text: str) -> None:
        for private, number, command, control, plain, strange in _PIECES.findall(text):
            assert not strange, f"an escape sequence that this screen does not know: {text!r}"
            if command:
                self._obey(private + command, int(number or 0))
            elif control == "\r":
                self._column = 0
            elif control == "\n":
                self._feed()
            for char in plain:
                self._put(char)

    def resize(self, columns: int) -> None:
        """Fold what is longer than a row, as most terminals do; the cursor stays on its text."""
        folded: list[str] = []
        for index, line in enumerate(self._cells):
            if index == self._row:
                row = len(folded) + self._column // columns
            length = max(1, len(line))
            folded += [line[start : start + columns] for start in range(0, length, columns)]
        self._cells, self._row, self._column = folded, row, self._column % columns
        self.columns = columns

    def _obey(self, command: str, number: int) -> None:
        if command == "A":
            self._row = max(0, self._row - max(1, number))
        elif command == "K" and number == 0:
            self._cells[self._row] = self._cells[self._row][: self._column]
        elif command == "J" and number == 0:
            self._cells[self._row] = self._cells[self._row][: self._column]
            del self._cells[self._row + 1 :]
        elif command in ("?h", "?l") and number == 7:
            self._wraps = command == "?h"
        else:
            raise AssertionError(f"a command that this screen does not know: {command} {number}")

    def _put(self, char: str) -> None:
        if self._column >= self.columns:
            if not self._wraps:
                self._column = self.columns - 1
            else:
                self._column = 0
                self._feed()
        line = self._cells[self._row].ljust(self._column)
        self._cells[self._row] = line[: self._column] + char + line[self._column + 1 :]
        self._column += 1

    def _feed(self) -> None:
        self._row += 1
        if self._row == len(self._cells):
            self._cells.append("")
        if len(self._cells) > self.rows:
            self.gone.append(self._cells.pop(0))
            self._row -= 1
