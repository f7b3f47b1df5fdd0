"""Answers a shell that asks what a word may become: ``_MLM_COMPLETE=zsh _MLM_WORD=d mlm``.

The finished words are arguments, the begun one is in ``_MLM_WORD``; bash, whose own idea of words
ends at colons, gives the line up to the cursor in ``_MLM_LINE``. The first line of the answer says
what fits: ``words`` (which follow, after a tab what each means), ``files`` or ``folders``.
"""

import os
import sys
from collections.abc import Mapping

from mlm.completion.grammar import Slot, find_slot, read_table
from mlm.completion.line import open_quote, split_line

_LIKE_A_PATH = ("/", "./", "../", "~", ".\\", "..\\")
_BASH_BREAKS = "\"'><=;|&(:"  # where bash begins a new word, unless it was told otherwise
_PLAIN = "-._/:=,+@%"  # besides letters and digits: what bash does not give a meaning to


def main(shell: str) -> None:
    """Print what the word at the cursor may become; say nothing where something is wrong."""
    answer = answer_bash(os.environ) if shell == "bash" else answer_words(sys.argv[1:], os.environ)
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    print("\n".join(answer))


def answer_words(finished: list[str], environ: Mapping[str, str]) -> list[str]:
    """Return the answer for a shell that knows what its words are."""
    kind, offers = _offer(find_slot(finished, environ.get("_MLM_WORD", ""), read_table()))
    return [kind, *(f"{word}\t{meaning}" if meaning else word for word, meaning in offers)]


def answer_bash(environ: Mapping[str, str]) -> list[str]:
    """Return the answer for bash: only what comes after the last break, with its special signs."""
    line = environ.get("_MLM_LINE", "")
    *finished, begun = split_line(line)
    kind, offers = _offer(find_slot(finished[1:], begun, read_table()))
    words = [word for word, _ in offers]
    if open_quote(line):
        return [kind, *words]
    breaks = environ.get("_MLM_BREAKS", _BASH_BREAKS)
    cut = max(begun.rfind(sign) for sign in breaks) + 1 if breaks else 0
    return [kind, *(_escape(word[cut:]) for word in words)]


def _offer(slot: Slot) -> tuple[str, list[tuple[str, str]]]:
    """Return the kind of answer, and the words that fit with what they mean."""
    if slot.kind in ("file", "folder"):
        return f"{slot.kind}s", []
    if slot.kind == "word":
        offers = [(word, why) for word, why in slot.offers if word.startswith(slot.begun)]
    elif slot.kind == "text":
        offers = []
    elif slot.begun.startswith(_LIKE_A_PATH):
        return "files", []
    else:
        offers = [(name, "") for name in _names(slot)]
    # What cannot be printed could command the terminal.
    return "words", [(slot.start + word, why) for word, why in offers if word.isprintable()]


def _names(slot: Slot) -> list[str]:
    from mlm.completion import names

    if slot.home is not None:
        os.environ["MLM_HOME"] = slot.home
    found: list[str] = getattr(names, f"complete_{slot.kind}")(slot.begun)
    return found


def _escape(word: str) -> str:
    return "".join(c if c.isalnum() or c in _PLAIN else f"\\{c}" for c in word)
