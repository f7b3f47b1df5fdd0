"""The manual: a page for mlm and one for each of its commands, as roff that any ``man`` reads."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from command_tree import Entry, walk

import mlm
from mlm import errors
from mlm.errors import ExitCode

ROOT = Path(__file__).parents[1]
_DATE = "2026-11-27"  # readers complain of a page without one
_ROW = re.compile(r"^\| (.+?) \| (.+) \|$", re.MULTILINE)
_FIXED = {
    ExitCode.OK: "It worked.",
    ExitCode.BUG: "A bug in mlm: please report it.",
    ExitCode.INTERRUPTED: "It was interrupted with Ctrl-C, or the answer to a question was no.",
}


def man_pages() -> dict[str, str]:
    """Return every page by the name of its file."""
    entries = {entry.path: entry for entry in walk()}
    return {
        f"{_page(path)}.1": "\n".join(_write(entry, list(entries))) + "\n"
        for path, entry in entries.items()
    }


def _page(path: str) -> str:
    return path.replace(" ", "-")


def _write(entry: Entry, paths: list[str]) -> Iterator[str]:
    title = _page(entry.path).upper()
    summary, *more = entry.text.split("\n\n")
    yield f'.TH "{title}" "1" "{_DATE}" "mlm {mlm.__version__}" "User Commands"'
    yield from ('.SH "NAME"', f"{_text(_page(entry.path))} \\- {_text(summary.rstrip('.'))}")
    yield '.SH "SYNOPSIS"'
    usage = _text(entry.usage.removeprefix(entry.path))
    yield f"\\fB{_text(entry.path)}\\fR {usage}"
    yield '.SH "DESCRIPTION"'
    for number, paragraph in enumerate([summary, *more]):
        yield from ([".PP"] if number else [])
        yield _text(paragraph)
    yield from _list("COMMANDS", ((f"\\fB{_text(n)}\\fR", d) for n, d in entry.children))
    yield from _list("OPTIONS", ((f"\\fB{_text(n)}\\fR", m) for n, m in entry.rows))
    yield from _examples(entry)
    codes = ((f"\\fB{int(code)}\\fR", meaning) for code, meaning in exit_codes().items())
    yield from _list("EXIT STATUS", codes)
    yield from _list("ENVIRONMENT", _environment())
    yield '.SH "SEE ALSO"'
    yield ",\n".join(f"\\fB{_text(_page(path))}\\fR(1)" for path in _related(entry.path, paths))


def _list(title: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    lines = [f".TP\n{name}\n{_text(meaning.split(chr(10) * 2)[0])}" for name, meaning in rows]
    if lines:
        yield from (f'.SH "{title}"', *lines)


def _examples(entry: Entry) -> Iterator[str]:
    yield '.SH "EXAMPLES"'
    for number, (command, meaning) in enumerate(entry.command.examples.items()):
        yield from ([".PP"] if number else [])
        yield f"{_text(meaning)}:\n.PP\n.RS 4\n.nf\n{_text(command)}\n.fi\n.RE"


def exit_codes() -> dict[ExitCode, str]:
    """Return what each exit code means: what the family of errors says that has it."""
    families = [found for found in vars(errors).values() if isinstance(found, type)]
    meanings = {
        found.exit_code: str(found.__doc__).splitlines()[0]
        for found in families
        if issubclass(found, errors.MlmError)
    }
    return {code: (meanings | _FIXED)[code] for code in ExitCode}


def _environment() -> Iterator[tuple[str, str]]:
    """Yield the variables as ``docs/reference/environment.md`` describes them."""
    page = (ROOT / "docs" / "reference" / "environment.md").read_text(encoding="utf-8")
    for names, meaning in _ROW.findall(page):
        if names.startswith("`"):
            plain = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", meaning)
            yield f"\\fB{_text(names.replace('`', ''))}\\fR", plain.replace("`", "")


def _related(path: str, paths: list[str]) -> list[str]:
    """Return the group of a command, its commands, and those beside it."""
    if path == "mlm":
        return [other for other in paths if other.count(" ") == 1]
    group = path.rsplit(" ", 1)[0]
    beside = [p for p in paths if group != "mlm" and p.rsplit(" ", 1)[0] == group and p != path]
    below = [p for p in paths if p.startswith(f"{path} ")]
    return [group, *below, *beside]


def _text(text: str) -> str:
    """Return ``text`` as roff takes it literally."""
    escaped = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    escaped = escaped.replace("`", "\\(ga").replace("^", "\\(ha").replace("~", "\\(ti")
    escaped = escaped.replace("…", "...").replace("\u00d7", "x").replace("\u2265", ">=")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped
