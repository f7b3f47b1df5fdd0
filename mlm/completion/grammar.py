"""What may stand where the cursor is: the commands, options and arguments of ``words.tsv``.

That file is generated from the parsers (``make docs``). A row has four columns: the command it
belongs to (empty: mlm itself), the word, what comes in its place or after it, and a line of help.
The third is ``command`` (the word is one), ``flag`` (an option without value), ``a|b|c`` (one of
these), ``file``, ``folder``, ``text`` (anything), or a kind of name that ``names.py`` knows.
A word that does not begin with a dash stands for an argument; ``...`` takes all that follow.
"""

import os

_TABLE = os.path.join(os.path.dirname(__file__), "words.tsv")  # noqa: PTH118, PTH120 - pathlib is slow

Row = tuple[str, str, str]  # word, kind, help
Table = dict[str, list[Row]]


class Slot:
    """Where the cursor is: one of ``offers`` fits there, or a name or file of the kind ``kind``."""

    def __init__(self, kind: str, begun: str) -> None:
        self.kind = kind  # "word": one of the offers
        self.begun = begun  # what has been typed of it
        self.start = ""  # what stands before it in the same word: ``--use=``
        self.home: str | None = None  # what ``--home`` says
        self.offers: list[tuple[str, str]] = []  # words and what they mean


def read_table(path: str = _TABLE) -> Table:
    """Return the rows of every command."""
    table: Table = {}
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        for line in file:
            command, word, kind, meaning = line.rstrip("\n").split("\t")
            table.setdefault(command, []).append((word, kind, meaning))
    return table


def find_slot(finished: list[str], begun: str, table: Table) -> Slot:
    """Return what may stand after the words ``finished``, where ``begun`` has been typed."""
    if finished[:1] == ["help"]:
        finished = finished[1:]  # what it explains is what could be typed
    walk = _Walk(table)
    for word in finished:
        walk.pass_by(word)
    slot = _fill(walk, begun)
    slot.home = walk.home
    if "|" in slot.kind:
        slot.offers = [(choice, "") for choice in slot.kind.split("|")]
        slot.kind = "word"
    return slot


def _fill(walk: "_Walk", begun: str) -> Slot:
    name, equals, value = begun.partition("=")
    if walk.waiting is not None:
        return Slot(walk.waiting, begun)
    if equals and begun.startswith("--") and not walk.only_arguments:
        slot = Slot(walk.options.get(name, "text"), value)
        slot.start = f"{name}="
        return slot
    slot = Slot("word", begun)
    if begun.startswith("-") and not walk.only_arguments:
        slot.offers = walk.unused_options()
    elif walk.commands:
        slot.offers = walk.commands
    elif argument := walk.argument():
        slot.kind = argument
    else:
        slot.offers = walk.unused_options()
    return slot


class _Walk:
    """Follows a command line word by word."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.home: str | None = None
        self.only_arguments = False  # after --
        self._enter("")

    def _enter(self, path: str) -> None:
        rows = self._table.get(path, [])
        self._path, self._option, self._n_arguments = path, "", 0
        self._used: set[str] = set()
        self.waiting: str | None = None  # the kind of value that an option waits for
        self.commands = [(word, meaning) for word, kind, meaning in rows if kind == "command"]
        self._options = [row for row in rows if row[0].startswith("-")]
        self.options = {word: kind for word, kind, _ in self._options}
        self._arguments = [row for row in rows if row[1] != "command" and row[0][0] != "-"]

    def pass_by(self, word: str) -> None:
        """Go behind ``word``."""
        if self.waiting is not None:
            if self._option == "--home":
                self.home = word
            self.waiting = None
        elif word == "--" and not self.only_arguments:
            self.only_arguments = True
        elif word.startswith("-") and word != "-" and not self.only_arguments:
            self._pass_option(*word.partition("="))
        elif any(word == command for command, _ in self.commands):
            self._enter(f"{self._path} {word}".strip())
        else:
            self._n_arguments += 1

    def _pass_option(self, name: str, equals: str, value: str) -> None:
        self._used.add(name)
        if name == "--home" and equals:
            self.home = value
        elif self.options.get(name, "flag") != "flag" and not equals:
            self.waiting, self._option = self.options[name], name

    def unused_options(self) -> list[tuple[str, str]]:
        """Return the options that have not been typed yet."""
        return [(word, meaning) for word, _, meaning in self._options if word not in self._used]

    def argument(self) -> str | None:
        """Return the kind of the next argument, or None if there can be none."""
        if self._n_arguments < len(self._arguments):
            return self._arguments[self._n_arguments][1]
        if self._arguments and "..." in self._arguments[-1][0]:
            return self._arguments[-1][1]
        return None
