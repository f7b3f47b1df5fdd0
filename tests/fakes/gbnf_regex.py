"""Grammars that do not refer to themselves, as regular expressions: tested without a model."""

import re

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|[a-z][a-z0-9-]*|\{[\d,]+\}|\S')


def to_regex(grammar: str) -> re.Pattern[str]:
    """Return what matches the texts that a grammar allows."""
    rules = dict(line.split(" ::= ", 1) for line in grammar.strip().split("\n"))

    def translate(rule: str) -> str:
        out = ""
        for token in _TOKEN.findall(rule):
            if token[0] == '"':
                out += f"(?:{_unescape(token[1:-1])})"
            elif token[0] == "[":
                out += token
            elif token in rules:
                out += f"(?:{translate(rules[token])})"
            else:
                out += "(?:" if token == "(" else token
        return out

    return re.compile(translate(rules["root"]), re.DOTALL)


def _unescape(text: str) -> str:
    def plain(found: re.Match[str]) -> str:
        escape = found[0]
        named = {"\\n": "\n", "\\t": "\t", "\\r": "\r"}
        if escape in named:
            return named[escape]
        return chr(int(escape[2:], 16)) if escape[1] == "x" else escape[1]

    return re.escape(re.sub(r"\\x[0-9a-f]{2}|\\.", plain, text))
