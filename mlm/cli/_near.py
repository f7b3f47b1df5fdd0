"""What somebody meant who typed a word that does not exist."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from mlm.cli._help import describe_range
from mlm.errors import UsageError

# What other tools call it; each is a name that people try first.
_ELSEWHERE = {
    "add": "download", "ask": "run", "benchmark": "bench", "check": "doctor", "delete": "rm",
    "disk": "df", "fetch": "download", "find": "search", "generate": "run", "get": "download",
    "info": "show", "install": "download", "kill": "stop", "logs": "stats", "ls": "list",
    "models": "list", "prompt": "run", "pull": "download", "remove": "rm", "repl": "chat",
    "server": "serve", "specs": "hardware", "start": "serve", "status": "ps", "talk": "chat",
    "suggest": "recommend", "uninstall": "rm", "update": "outdated", "upgrade": "outdated",
}  # fmt: skip
_PLAINER = (
    (re.compile(r"is not a valid int( range)?\.$"), "is not a whole number"),
    (re.compile(r"is not a valid float( range)?\.$"), "is not a number"),
    (re.compile(r"Choose from:\s+"), "It is one of "),
    (re.compile(r",\s+"), ", "),
)
_CHOICE = re.compile(r"'([^']*)' is not one of ")


def nearest(word: str, there: Iterable[str], n: int = 3) -> list[str]:
    """Return up to ``n`` of ``there`` that ``word`` may have been meant to be, best first."""
    if not word:
        return []
    most = max(1, round(0.4 * len(word)))
    slips = {name: 1 if name.startswith(word) else _count_slips(word, name) for name in there}
    fewest = min(slips.values(), default=0)
    close = [name for name, count in slips.items() if count <= min(most, fewest + 1)]
    return sorted(close, key=lambda name: slips[name])[:n]


def _count_slips(typed: str, meant: str) -> int:
    """Return how many letters are missing, too many, wrong, or swapped with their neighbour."""
    before: list[int] = []
    row = list(range(len(meant) + 1))
    for i, letter in enumerate(typed, 1):
        above, row = row, [i]
        for j, wanted in enumerate(meant, 1):
            count = min(row[j - 1] + 1, above[j] + 1, above[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and (letter, typed[i - 2]) == (meant[j - 2], wanted):
                count = min(count, before[j - 2] + 1)
            row.append(count)
        before = above
    return row[-1]


def unknown_command(where: str, word: str, there: Sequence[str]) -> UsageError:
    """Return the error for a command that ``where`` (``mlm``, ``mlm config``) does not have."""
    near = nearest(word, there)
    elsewhere = _ELSEWHERE.get(word)
    if elsewhere is not None and elsewhere in there:
        near = [elsewhere]
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    remedy = f"{where} {near[0]} --help" if near else f"{where} --help"
    return UsageError(f"{where} has no command '{word}'{meant}", remedy=remedy)


def unknown_option(error: Any, where: str) -> UsageError:
    """Return the error for an option that the command ``where`` does not have."""
    params = error.ctx.command.params
    there = (name for param in params for name in param.opts if name.startswith("--"))
    near = nearest(error.option_name, there)
    message = f"{where} has no option {error.option_name}"
    if near:
        message += f"; did you mean {' or '.join(near)}?"
    elif any(param.param_type_name == "argument" for param in params):
        remedy = f"{where} --help, or -- before a word that begins with a dash"
        return UsageError(message, remedy=remedy)
    return UsageError(message, remedy=f"{where} --help")


def unknown_choice(where: str, message: str, choices: Sequence[str]) -> UsageError:
    """Return the error for a value that is none of ``choices``, with the nearest one."""
    found = _CHOICE.search(message)
    near = nearest(found[1].lower(), choices, n=1) if found else []
    meant = f"; did you mean {near[0]}?" if near else ""
    return UsageError(message.rstrip(".") + meant, remedy=f"{where} --help")


def explain(error: Any, where: str) -> UsageError:
    """Return what is wrong with the words of a command line, and what was perhaps meant."""
    message = describe_range(error.format_message())
    for pattern, words in _PLAINER:
        message = pattern.sub(words, message)
    if type(error).__name__ == "NoSuchOption":
        return unknown_option(error, where)
    choices = getattr(getattr(getattr(error, "param", None), "type", None), "choices", None)
    if choices and _CHOICE.search(message):
        return unknown_choice(where, message, [str(getattr(c, "value", c)) for c in choices])
    return UsageError(message, remedy=f"{where} --help")
