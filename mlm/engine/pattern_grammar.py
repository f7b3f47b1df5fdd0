"""Regular expressions of JSON schemas, as grammars. They are only taken apart, never matched."""

import re
import re._constants as codes  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
import warnings
from typing import Any

from mlm.engine.gbnf import MAX_REPEAT, Grammar, either, escape

MAX_PATTERN_CHARS = 1000
_CLASSES = {
    codes.CATEGORY_DIGIT: [(48, 57)],
    codes.CATEGORY_WORD: [(48, 57), (65, 90), (95, 95), (97, 122)],
    codes.CATEGORY_SPACE: [(32, 32)],  # others would have to be escaped in a JSON string
}
# What may stand in a JSON string as it is.
_PLAIN = [(32, 33), (35, 91), (93, 126), (128, 0xD7FF), (0xE000, 0x10FFFF)]
_ESCAPED = {'"': r'"\\\""', "\\": r'"\\\\"', "\n": r'"\\n"', "\t": r'"\\t"', "\r": r'"\\r"'}

Ranges = list[tuple[int, int]]


class PatternError(Exception):
    """A pattern that no grammar can stand for."""


def pattern_rule(grammar: Grammar, pattern: str) -> str:
    """Return what stands for a JSON string that ``pattern`` matches, quotes included.

    As in JSON schema, a pattern without ``^`` and ``$`` may match anywhere in the string.

    Raises:
        PatternError: the pattern is not valid, or is more than a regular expression.
    """
    if len(pattern) > MAX_PATTERN_CHARS:
        raise PatternError(f"it is longer than {MAX_PATTERN_CHARS} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that [[ may mean something else one day
            tree = parser.parse(pattern)
        parts: list[Any] = list(tree)
        anything = f"{grammar.json('char')}*"
        begins = bool(parts) and parts[0] == (codes.AT, codes.AT_BEGINNING)
        ends = bool(parts) and parts[-1] == (codes.AT, codes.AT_END)
        inner = parts[begins : len(parts) - ends]
        if tree.state.flags & ~re.UNICODE:
            raise PatternError("flags are not available")
        body = _Translation(grammar).sequence(inner)[0]
    except (re.error, OverflowError) as error:
        raise PatternError(f"it is not a regular expression: {error}") from None
    except RecursionError:
        raise PatternError("it is nested too deeply") from None
    return rf'"\"" {"" if begins else anything} {body} {"" if ends else anything} "\""'


class _Translation:
    """Takes a parsed pattern apart. Each part becomes a rule, and whether it can be empty."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar

    def sequence(self, parts: list[Any]) -> tuple[str, bool]:
        """Return the grammar of parts that follow each other."""
        made = [self._part(*part) for part in parts]
        return " ".join(text for text, _ in made) or '""', all(empty for _, empty in made)

    def _part(self, code: Any, value: Any) -> tuple[str, bool]:
        if code is codes.LITERAL:
            return _one_of([(value, value)]), False
        if code is codes.NOT_LITERAL:
            return _one_of(_outside([(value, value)])), False
        if code is codes.ANY:
            return _one_of(_outside([])), False
        if code is codes.IN:
            return _one_of(_members(value)), False
        if code is codes.SUBPATTERN and not any(value[1:3]):  # these are flags
            return self._group(list(value[-1]))
        if code is codes.BRANCH:
            branches = [self.sequence(list(branch)) for branch in value[1]]
            rule = self._grammar.add(" | ".join(dict.fromkeys(text for text, _ in branches)))
            return rule, any(empty for _, empty in branches)
        if code in (codes.MAX_REPEAT, codes.MIN_REPEAT):
            return self._repeat(*value)
        raise PatternError(f"{str(code).lower()} is not available")

    def _group(self, parts: list[Any]) -> tuple[str, bool]:
        text, empty = self.sequence(parts)
        return self._grammar.add(text), empty

    def _repeat(self, least: int, most: Any, parts: Any) -> tuple[str, bool]:
        rule, empty = self._group(list(parts))
        if empty:  # llama.cpp would follow every way of repeating nothing
            raise PatternError("it repeats what may be empty")
        limit = None if most is codes.MAXREPEAT else int(most)
        if max(least, limit or 0) > MAX_REPEAT:
            raise PatternError(f"it repeats something more than {MAX_REPEAT} times")
        if limit == 0:
            return '""', True
        return self._grammar.repeat(rule, least, limit), least == 0


def _members(parts: list[Any]) -> Ranges:
    negated = bool(parts) and parts[0][0] is codes.NEGATE
    found: Ranges = []
    for code, value in parts[negated:]:
        if code is codes.LITERAL:
            found.append((value, value))
        elif code is codes.RANGE:
            found.append(value)
        elif code is codes.CATEGORY and value in _CLASSES:
            found += _CLASSES[value]
        else:
            raise PatternError(f"{str(value).lower()} is not available")
    return _outside(found) if negated else found


def _outside(ranges: Ranges) -> Ranges:
    """Return the plain characters that are in none of ``ranges``."""
    left = _PLAIN
    for low, high in ranges:
        left = [
            part
            for start, end in left
            for part in ((start, min(end, low - 1)), (max(start, high + 1), end))
            if part[0] <= part[1]
        ]
    return left


def _one_of(ranges: Ranges) -> str:
    """Return what stands for one character of ``ranges``, written as in a JSON string."""
    plain = [
        (max(low, start), min(high, end))
        for low, high in ranges
        for start, end in _PLAIN
        if max(low, start) <= min(high, end)
    ]
    choices = [text for char, text in _ESCAPED.items() if _holds(ranges, ord(char))]
    if plain:
        choices.insert(0, f"[{''.join(_spell(*part) for part in dict.fromkeys(plain))}]")
    if not choices:
        raise PatternError("a character that cannot be written in JSON")
    return either(choices)


def _holds(ranges: Ranges, code: int) -> bool:
    return any(low <= code <= high for low, high in ranges)


def _spell(low: int, high: int) -> str:
    return escape(chr(low)) if low == high else f"{escape(chr(low))}-{escape(chr(high))}"
