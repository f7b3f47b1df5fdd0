"""The commands as their parsers know them, for everything that is generated from them."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import typer

from mlm.cli._help import describe_range
from mlm.cli.app import app


@dataclass(frozen=True, slots=True)
class Entry:
    """A command or a group of commands, and the context that its help is made in."""

    path: str  # ``mlm config show``
    command: Any
    context: Any

    @property
    def usage(self) -> str:
        """What is typed, in general."""
        return f"{self.path} {' '.join(self.command.collect_usage_pieces(self.context))}"

    @property
    def text(self) -> str:
        """What it does; paragraphs are separated by empty lines."""
        return (self.command.help or "").strip()

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Its arguments and options, each with what it means."""
        records = [p.get_help_record(self.context) for p in self.parameters]
        return [(row[0], describe_range(row[1])) for row in records if row and row[1]]

    @property
    def parameters(self) -> list[Any]:
        """Its arguments and options, without ``--help`` and what is hidden."""
        found = self.command.params
        return [p for p in found if p.name != "help" and not getattr(p, "hidden", False)]

    @property
    def children(self) -> list[tuple[str, str]]:
        """The names of its commands, each with what it does."""
        if not hasattr(self.command, "list_commands"):
            return []
        names = self.command.list_commands(self.context)
        return [(n, self.command.get_command(self.context, n).help or "") for n in names]


def walk() -> Iterator[Entry]:
    """Yield mlm itself and every command below it, in the order of ``mlm --help``."""
    root = typer.main.get_command(app)
    with root.make_context("mlm", [], resilient_parsing=True) as context:
        yield Entry("mlm", root, context)
        yield from _below("mlm", root, context)


def _below(path: str, group: Any, context: Any) -> Iterator[Entry]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        with command.make_context(name, [], parent=context, resilient_parsing=True) as inner:
            yield Entry(f"{path} {name}", command, inner)
            if hasattr(command, "list_commands"):
                yield from _below(f"{path} {name}", command, inner)


def completion_words() -> str:
    """Return ``mlm/completion/words.tsv``, which says what its columns are in ``grammar.py``."""
    lines = []
    for entry in walk():
        path = entry.path.removeprefix("mlm").strip()
        for name, text in entry.children:
            lines.append((path, name, "command", _first_sentence(text)))
        for parameter in entry.parameters:
            kind = _kind(parameter, entry.context)
            if parameter.param_type_name == "argument":
                many = "..." if parameter.nargs == -1 else ""
                words = [parameter.name.upper() + many]
            else:
                words = sorted(parameter.opts, key=len, reverse=True)
            lines += [(path, word, kind, _first_sentence(parameter.help or "")) for word in words]
    return "".join("\t".join(line) + "\n" for line in lines)


def _kind(parameter: Any, context: Any) -> str:
    """Return what a value is completed with."""
    if getattr(parameter, "is_flag", False):
        return "flag"
    if parameter._custom_shell_complete is not None:  # typer has wrapped the function of ours
        inner = inspect.getclosurevars(parameter._custom_shell_complete).nonlocals
        return str(inner["autocompletion"].__name__).removeprefix("complete_")
    if hasattr(parameter.type, "choices"):
        return "|".join(str(getattr(c, "value", c)) for c in parameter.type.choices)
    metavar = (parameter.metavar or "").strip("[].")
    if metavar in ("COMMAND", "DIR"):
        return {"COMMAND": "text", "DIR": "folder"}[metavar]
    return "file" if metavar in ("FILE", "PATH", "FILE|URL") else "text"


def _first_sentence(text: str) -> str:
    """Return the first sentence, or the part before a colon, in one line of 60 characters."""
    line = " ".join(text.split("\n\n")[0].split())
    short = line.split(". ")[0].removesuffix(".")
    return short if len(short) <= 60 else f"{short[:59].rsplit(' ', 1)[0]} …"
