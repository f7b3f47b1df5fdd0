"""Grammars in llama.cpp's GBNF, built rule by rule: the parts that JSON is made of. Pure."""

import json
import re
from collections.abc import Iterable

MAX_REPEAT = 2000  # MAX_REPETITION_THRESHOLD in llama.cpp's grammar parser
MAX_RULES = 20_000
_DIGITS = 15  # what a double holds exactly
_PART = re.compile("<([a-z0-9-]+)>")

# JSON (RFC 8259); <name> is another part. Control characters must be escaped: a grammar that
# forgets it lets models write documents that no parser takes. White space is bounded: without it
# a model that has lost its way writes white space for ever.
_JSON = {
    "value": "<object> | <array> | <string> | <number> | <boolean> | <null>",
    "object": '"{" <space> (<pair> (<comma> <pair>)* <space>)? "}"',
    "pair": "<string> <colon> <value>",
    "array": '"[" <space> (<value> (<comma> <value>)* <space>)? "]"',
    "string": r'"\"" <char>* "\""',
    "char": r'[^"\\\x00-\x1f\x7f] | "\\" (["\\/bfnrt] | "u" <unit>)',
    "unit": "[0-9a-cefA-CEF] <hex>{3} | [dD] [0-7] <hex>{2}",  # no half of a surrogate pair
    "number": "<integer> <fraction>? <exponent>?",
    "positive": "<whole> <fraction>? <exponent>?",
    "integer": '"-"? <whole>',
    "whole": f'"0" | [1-9] [0-9]{{0,{_DIGITS}}}',
    "fraction": f'"." [0-9]{{1,{_DIGITS}}}',
    "exponent": "[eE] [-+]? [0-9]{1,2}",
    "boolean": '"true" | "false"',
    "null": '"null"',
    "comma": '<space> "," <space>',
    "colon": '<space> ":" <space>',
    "space": r'| " " | "\n" [ \t]{0,20}',
    "date": '[0-9]{4} "-" (("0" [13578] | "1" [02]) "-" <day31> | ("0" [469] | "11") "-" <day30>'
    ' | "02-" <day29>)',
    "day31": '<day29> | "3" [01]',
    "day30": '<day29> | "30"',
    "day29": '"0" [1-9] | [12] [0-9]',
    "time": '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,6})? '
    '("Z" | [-+] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9])',
    "date-time": '<date> "T" <time>',
    "uuid": '<hex>{8} "-" <hex>{4} "-" <hex>{4} "-" <hex>{4} "-" <hex>{12}',
    "hex": "[0-9a-fA-F]",
}


class GrammarTooLarge(Exception):
    """More rules than any sensible grammar has."""


class Grammar:
    """Rules by name. Equal rules have one name, so that no text can be read in two equal ways."""

    def __init__(self, prefix: str = "r") -> None:
        self._prefix = prefix
        self._rules: dict[str, str] = {}
        self._names: dict[str, str] = {}  # by what the rule says
        self._n_made = 0

    def add(self, rule: str) -> str:
        """Return the name of a rule that says ``rule``."""
        if rule not in self._names:
            self._names[rule] = self.reserve()
            self._rules[self._names[rule]] = rule
        return self._names[rule]

    def reserve(self) -> str:
        """Return a new name whose rule comes later: it may refer to itself."""
        self._count(1)
        return f"{self._prefix}{self._n_made}"

    def define(self, name: str, rule: str) -> None:
        """Say what a reserved name stands for."""
        self._rules[name] = rule

    def json(self, part: str) -> str:
        """Return the name of the rule for a part of JSON: value, object, string, number …"""
        name = f"json-{part}"
        if name not in self._rules:
            self._rules[name] = _PART.sub(r"json-\1", _JSON[part])
            for other in _PART.findall(_JSON[part]):
                self.json(other)
        return name

    def repeat(self, item: str, least: int, most: int | None) -> str:
        """Return ``item`` as often as that; None is without limit."""
        if (least, most) == (1, 1):
            return item
        signs = {(0, None): "*", (1, None): "+", (0, 1): "?"}
        if (least, most) in signs:
            return item + signs[least, most]
        self._count(max(least, most or 0))  # llama.cpp makes a rule for each
        return f"{item}{{{least},{'' if most is None else most}}}"

    def _count(self, n_rules: int) -> None:
        self._n_made += n_rules
        if self._n_made > MAX_RULES:
            raise GrammarTooLarge

    def text(self, root: str, name: str = "root") -> str:
        """Return the whole grammar, whose first rule is called ``name`` and says ``root``."""
        rules = {name: root, **self._rules}
        return "\n".join(f"{name} ::= {rule}" for name, rule in rules.items()) + "\n"


def literal(text: str) -> str:
    """Return what stands for exactly ``text``."""
    return f'"{"".join(map(escape, text))}"'


def json_literal(value: object) -> str:
    """Return what stands for ``value`` as JSON."""
    return literal(json.dumps(value, ensure_ascii=False))


def escape(character: str) -> str:
    """Return a character as it may stand in a literal or in brackets."""
    if character in '"\\[]-':
        return "\\" + character
    if character < " " or character in "\x7f^":
        return f"\\x{ord(character):02x}"
    return character


def either(alternatives: Iterable[str]) -> str:
    """Return a group of which one alternative comes true; equal ones count once."""
    distinct = list(dict.fromkeys(alternatives))
    return distinct[0] if len(distinct) == 1 else f"({' | '.join(distinct)})"


def until(grammar: Grammar, end: str) -> str:
    """Return what stands for any text up to and including the first ``end``."""
    names = [grammar.reserve() for _ in end]
    for matched, name in enumerate(names):  # one rule for each beginning of ``end`` that was read
        following: dict[str, int] = {}
        for character in dict.fromkeys(end):
            read = end[:matched] + character
            following[character] = next(
                n for n in range(len(read), -1, -1) if read.endswith(end[:n])
            )
        others = "".join(map(escape, following))
        steps = [f"[^{others}] {names[0]}"]
        for character, state in following.items():
            last = state == len(end)
            steps.append(literal(character) if last else f"{literal(character)} {names[state]}")
        grammar.define(name, " | ".join(steps))
    return names[0]


def json_list(grammar: Grammar, item: str, least: int, most: int | None) -> str:
    """Return a JSON array of ``least`` to ``most`` items."""
    space, comma = grammar.json("space"), grammar.json("comma")
    if most == 0:
        return f'"[" {space} "]"'
    following = grammar.add(f"{comma} {item}")
    rest = grammar.repeat(following, max(least - 1, 0), None if most is None else most - 1)
    filled = f"{item} {rest} {space}" if most != 1 else f"{item} {space}"
    inner = filled if least > 0 else f"({filled})?"
    return f'"[" {space} {inner} "]"'


def integers(least: int | None, most: int | None) -> list[str]:
    """Return alternatives that together stand for the whole numbers from ``least`` to ``most``."""
    if least is None and most is None:
        return [f'"-"? ("0" | [1-9] [0-9]{{0,{_DIGITS}}})']
    found = []
    if least is None or least < 0:
        low = max(1, -most) if most is not None else 1
        high = -least if least is not None else None
        found += [f'"-" {part}' for part in _positive(low, high)]
    if most is None or most >= 0:
        found += _positive(max(least, 0) if least is not None else 0, most)
    return found


def _positive(low: int, high: int | None) -> list[str]:
    """Return alternatives for ``low`` to ``high``, both at least 0 and without leading zeros."""
    if high is None:  # the rest of this length, then everything that is longer
        size = len(str(low))
        longer = f"[1-9] [0-9]{{{size},{max(_DIGITS, size + 1)}}}"
        return [*_same_length(str(low), "9" * size), longer]
    found = []
    for size in range(len(str(low)), len(str(high)) + 1):
        first = max(low, 10 ** (size - 1) if size > 1 else 0)
        last = min(high, 10**size - 1)
        if first <= last:
            found += _same_length(str(first), str(last))
    return found


def _same_length(low: str, high: str) -> list[str]:
    """Return alternatives for the numbers from ``low`` to ``high``, which are of one length."""
    size = len(low)
    if low == high:
        return [f'"{low}"']
    if low == "0" * size and high == "9" * size:
        return [f"[0-9]{{{size}}}"]
    if low[0] == high[0]:
        return [f'"{low[0]}" {rest}' for rest in _same_length(low[1:], high[1:])]
    found = []
    first, last = int(low[0]), int(high[0])
    if size == 1:
        return [f"[{first}-{last}]"]
    if low[1:] != "0" * (size - 1):
        found += [f'"{first}" {rest}' for rest in _same_length(low[1:], "9" * (size - 1))]
        first += 1
    if high[1:] != "9" * (size - 1):
        found += [f'"{last}" {rest}' for rest in _same_length("0" * (size - 1), high[1:])]
        last -= 1
    if first <= last:
        found.append(f"[{first}-{last}] [0-9]{{{size - 1}}}")
    return found
