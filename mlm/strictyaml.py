"""YAML that means what it looks like: data only, no surprises, every error with line and column.

Left out on purpose: aliases and anchors (a few lines can unfold into gigabytes), tags, directives,
several documents in one file, merge keys, keys that are not text, duplicate keys (elsewhere the
last one silently wins). Plain words follow YAML 1.2: ``no``, ``on``, ``12:30:45`` and
``2024-01-01`` are text. Numbers are finite and integers fit into 64 bits, as in JSON documents.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from mlm.errors import NotFoundError, UsageError

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 20

KeyPath = tuple[str | int, ...]  # from the top of a document: ("models", 3, "license")

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MAX_INT_DIGITS = 22  # of 64 bits in octal, the longest spelling; more is not worth converting

# libyaml reads the same language ten times faster; it is missing only in builds from source.
_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlError(UsageError):
    """A YAML file is not what it should be; the message begins with file, line and column."""

    code = "bad_yaml"


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds, and where in the file each part of it stands."""

    value: Any  # dict, list, str, int, float, bool or None
    source: str
    positions: Mapping[KeyPath, tuple[int, int]]  # line and column, both from 1

    def where(self, path: KeyPath) -> str:
        """Return ``file:line:column`` of the part at ``path``, or of the nearest part around it."""
        while path and path not in self.positions:
            path = path[:-1]
        line, column = self.positions.get(path, (1, 1))
        return f"{self.source}:{line}:{column}"


def load(text: str, *, source: str) -> object:
    """Return the value of one YAML document; ``source`` names it in errors.

    Raises:
        YamlError: the text is not YAML, or holds what is left out on purpose.
    """
    return parse(text, source=source).value


def read(path: Path) -> Document:
    """Return the document in the file ``path``.

    Raises:
        YamlError: as `load`; also when the file is too large, or not UTF-8.
        NotFoundError: there is no such file, or it cannot be read.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise NotFoundError(
            f"cannot read {path}: {error.strerror or error}", remedy=f"ls -l {path}"
        ) from error
    try:
        text = raw[: MAX_BYTES + 1].decode("utf-8")
    except UnicodeDecodeError as error:
        if len(raw) > MAX_BYTES:
            _refuse_size(str(path))
        line = raw.count(b"\n", 0, error.start) + 1
        raise YamlError(f"{path}:{line}:1: not UTF-8 text") from error
    return parse(text, source=str(path))


def parse(text: str, *, source: str) -> Document:
    """Return the document in ``text`` with the position of every part. Raises as `load`."""
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise YamlError(f"{source}:{line}:1: half a character (a lone surrogate)") from error
    if size > MAX_BYTES:
        _refuse_size(source)
    composer = _Composer(source)
    try:
        return composer.compose(yaml.parse(text, Loader=_PARSER))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise YamlError(f"{source}:{line}:{column}: {error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(f"{source}:{line}:1: a character that YAML does not allow") from error


def _refuse_size(source: str) -> NoReturn:
    raise YamlError(f"{source}:1:1: longer than {MAX_BYTES // 1024} KiB")


class _Composer:
    """Builds values from parser events and refuses what this dialect leaves out."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._positions: dict[KeyPath, tuple[int, int]] = {}

    def compose(self, events: Iterator[yaml.Event]) -> Document:
        value = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._refuse(event, "a second document in one file")
                if event.version or event.tags:
                    self._refuse(event, "directives (lines with %) are not allowed")
            elif isinstance(event, yaml.NodeEvent):
                value = self._node(event, events, ())
        return Document(value, self._source, self._positions)

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], path: KeyPath) -> Any:
        self._refuse_references(event)
        if len(path) > MAX_DEPTH:
            self._refuse(event, f"nested deeper than {MAX_DEPTH} levels")
        self._positions[path] = _position(event)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, path)
        return self._mapping(events, path)

    def _sequence(self, events: Iterator[yaml.Event], path: KeyPath) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self._node(event, events, (*path, len(items))))
        return items

    def _mapping(self, events: Iterator[yaml.Event], path: KeyPath) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self._key(event)
            if key in items:
                line, column = self._positions[(*path, key)]
                self._refuse(event, f"'{key}' is here twice; first at {line}:{column}")
            items[key] = self._node(next(events), events, (*path, key))
            self._positions[(*path, key)] = _position(event)
        return items

    def _key(self, event: yaml.Event) -> str:
        self._refuse_references(event)
        if not isinstance(event, yaml.ScalarEvent):
            self._refuse(event, "a key must be text, not a list or a mapping")
        key = self._scalar(event)
        if not isinstance(key, str):
            self._refuse(event, f"a key must be text: write '{event.value}' in quotes")
        if key == "<<" and event.implicit[0]:
            self._refuse(event, "merge keys (<<) are not allowed")
        return key

    def _scalar(self, event: yaml.ScalarEvent) -> str | int | float | bool | None:
        text: str = event.value
        if not event.implicit[0]:  # quoted, or a block of text
            return text
        if text in _NULL:
            return None
        if text in _BOOL:
            return _BOOL[text]
        if _INT.fullmatch(text):
            return self._integer(event, text)
        if _NOT_FINITE.fullmatch(text):
            self._refuse(event, f"{text} is not a finite number")
        if _FLOAT.fullmatch(text):
            number = float(text)
            if not math.isfinite(number):
                self._refuse(event, f"{text} is not a finite number")
            return number
        return text

    def _integer(self, event: yaml.ScalarEvent, text: str) -> int:
        if len(text.lstrip("+-0ox")) > _MAX_INT_DIGITS:
            self._refuse(event, "an integer of more than 64 bits")
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        number = int(text, base)
        if not -(2**63) <= number < 2**63:
            self._refuse(event, "an integer of more than 64 bits")
        return number

    def _refuse_references(self, event: yaml.Event) -> None:
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, f"aliases (*{anchor}) are not allowed: write the value again")
        if anchor is not None:
            self._refuse(event, f"anchors (&{anchor}) are not allowed")
        if (tag := getattr(event, "tag", None)) is not None:
            self._refuse(event, f"tags ({tag}) are not allowed")

    def _refuse(self, event: yaml.Event, problem: str) -> NoReturn:
        line, column = _position(event)
        raise YamlError(f"{self._source}:{line}:{column}: {problem}")


def _position(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)
