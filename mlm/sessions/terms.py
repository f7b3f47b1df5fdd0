"""What people type to find a message, as questions that SQLite understands.

Full-text search finds words; it cannot find signs, and takes a sentence without spaces for one
word. Those are looked for letter by letter.
"""

import re
from dataclasses import dataclass

from mlm.errors import UsageError

OPEN, CLOSE = "\x02", "\x03"  # around what was found, in a snippet
_SNIPPET_CHARS = 60  # before and after a hit

_TERM = re.compile(r'"([^"]+)"|(\S+)')
# Scripts without spaces: Thai to Tibetan, Burmese, Khmer, Chinese, Japanese.
_UNSPACED = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


@dataclass(frozen=True, slots=True)
class Terms:
    """``match`` is for FTS5, None for nothing; each of ``literal`` must occur as it is."""

    match: str | None
    literal: tuple[str, ...]


def parse_terms(words: str) -> Terms:
    """Return what ``words`` looks for: each word, or its beginning; ``"two words"`` together.

    Raises:
        UsageError: nothing is looked for.
    """
    matches, literal = [], []
    for phrase, word in _TERM.findall(words):
        term = (phrase or word).strip()
        has_words = any(char.isalnum() for char in term) and not _UNSPACED.search(term)
        if has_words:
            matches.append(f'"{term.replace(chr(34), chr(34) * 2)}"' + ("" if phrase else "*"))
        if term and not (has_words and (phrase or term.isalnum())):
            literal.append(term)
    if not matches and not literal:
        raise UsageError("nothing is looked for", remedy="mlm sessions search WORDS")
    return Terms(" AND ".join(matches) or None, tuple(literal))


def like(term: str) -> str:
    """Return the pattern of LIKE, with ``\\`` as its escape, for texts that hold ``term``."""
    return "%" + re.sub(r"([\\%_])", r"\\\1", term) + "%"


def mark(text: str, term: str) -> str:
    """Return where ``term`` occurs in ``text`` first, marked, with a little of what is around."""
    found = re.search(re.escape(term), text, re.IGNORECASE)
    if found is None:
        return text[: 2 * _SNIPPET_CHARS]
    start, end = found.span()
    before, after = text[max(0, start - _SNIPPET_CHARS) : start], text[end : end + _SNIPPET_CHARS]
    head = "…" if start > _SNIPPET_CHARS else ""
    tail = "…" if end + _SNIPPET_CHARS < len(text) else ""
    return f"{head}{before}{OPEN}{found[0]}{CLOSE}{after}{tail}"


def split_marked(snippet: str) -> tuple[str, ...]:
    """Return the pieces of a marked snippet: what was found is every second one."""
    return tuple(re.split(f"[{OPEN}{CLOSE}]", snippet))
