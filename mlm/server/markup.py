"""Taking an answer apart as it comes in: thoughts, text for the reader, calls of tools.

Whatever the pieces it comes in, the parts joined are the same, and no markup is among them:
text that might be the beginning of markup is held back until more text decides.
"""

import json
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from mlm.engine.dialect import (
    CHANNEL_MARK,
    LIST_MARK,
    MESSAGE_END,
    MESSAGE_MARK,
    MESSAGE_START,
    PYTHON_TAG,
    TAG_CLOSE,
    TAG_OPEN,
)
from mlm.engine.messages import AnswerForm

Kind = Literal["text", "thought", "call", "arguments"]

_MAX_HEAD_CHARS = 1024  # a call whose name is not known by then is none
_MAX_ODD_CHARS = 64 * 1024  # of a call that has to be complete before it can be read
_STRUCTURE = re.compile(r'["\\{}\[\]]')
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NAMED_HEAD = re.compile(r"([^\s\[{]+)\s*(?:\[CALL_ID\]\w*\s*)?(?:\[ARGS\]\s*)?(?={)")
_MESSAGE_HEADS = (CHANNEL_MARK, MESSAGE_START, MESSAGE_END, "to=")
_ADDRESSEE = re.compile(r"\bto=functions\.([\w.-]+)")
_FINAL = re.compile(re.escape(CHANNEL_MARK) + r"\s*final\b")
_NAME = ""  # stands for any string in what `_follow` expects
_PLAIN_HEAD = (("{",), ('"name"',), (":",), (_NAME,), (",",),
               ('"arguments"', '"parameters"'), (":",), ("{",))  # fmt: skip
_TYPED_HEAD = (("{",), ('"type"',), (":",), ('"function"',), (",",), *_PLAIN_HEAD[1:])


@dataclass(slots=True)
class Part:
    """A part of an answer: text, a thought, the name of a called function, or its arguments.

    Text and thoughts are the answer's characters from ``start`` on.
    """

    kind: Kind
    text: str
    start: int


class MarkupReader:
    """Reads one answer. ``names`` are those of the functions that may be called."""

    def __init__(self, form: AnswerForm, names: Collection[str] = ()) -> None:
        self._form, self._names = form, names
        self._n_chars = 0  # how many have come
        self._held = ""  # what has come and is not decided yet
        self._parts: list[Part] = []
        self._markup = ""  # what has been taken as the beginning of a call whose name is unknown
        self._in_list = False  # calls stand in a list
        self._kind: Kind = "text"  # of a message in a channel
        self._object = _ObjectScan()
        self._marker = {"tags": TAG_OPEN, "bare": PYTHON_TAG}.get(form.calls, LIST_MARK)
        self._state: Callable[[bool], bool] = self._at_start

    def push(self, text: str) -> list[Part]:
        """Return the parts that ``text`` makes certain."""
        self._n_chars += len(text)
        self._held += text
        return self._advance(last=False)

    def end(self, *, cut: bool) -> list[Part]:
        """Return the rest. ``cut``: the answer ended in the middle, so half a call is no text."""
        parts = self._advance(last=True)
        if self._markup and not cut:
            self._give("text", self._markup + self._held)
            parts += self._taken()
        return parts

    def _advance(self, *, last: bool) -> list[Part]:
        while self._state(last):
            pass
        return self._taken()

    def _taken(self) -> list[Part]:
        parts, self._parts = self._parts, []
        return parts

    def _give(self, kind: Kind, text: str) -> None:
        if text or kind == "call":
            start = self._n_chars - len(self._held) - len(self._markup)
            last = self._parts[-1] if self._parts else None
            if last and last.kind == kind != "call" and last.start + len(last.text) == start:
                last.text += text
            else:
                self._parts.append(Part(kind, text, start))

    def _go(self, state: Callable[[bool], bool]) -> bool:
        self._state = state
        return True

    def _skip_to(self, state: Callable[[bool], bool]) -> bool:
        """Go on with ``state`` after white space."""

        def skip(last: bool) -> bool:
            self._held = self._held.lstrip()
            return self._go(state) if self._held else False

        return self._go(skip)

    def _drop(self, n_chars: int) -> None:
        self._held = self._held[n_chars:]

    # Each state takes what it can of `_held`; false means that it needs more text.

    def _at_start(self, last: bool) -> bool:
        if self._form.channels:
            return self._go(self._in_head_of_message)
        begun = self._held.lstrip()
        opening = self._form.think_open
        if self._form.begins_thinking:
            return self._skip_to(self._in_thought)
        if opening and begun.startswith(opening):
            self._held = begun[len(opening) :]
            return self._skip_to(self._in_thought)
        if opening and opening.startswith(begun) and not last:
            return False
        return self._go(self._before_text)

    def _in_head_of_message(self, last: bool) -> bool:
        """Read what stands before a message: its channel, and who is addressed."""
        begun = self._held.lstrip()
        if not any(begun.startswith(mark[: len(begun)]) for mark in _MESSAGE_HEADS):
            return self._go(self._before_text)
        head, mark, rest = begun.partition(MESSAGE_MARK)
        if not mark:
            if len(begun) > _MAX_HEAD_CHARS:
                return self._go(self._before_text)
            if last:
                self._held = ""  # half a head is for nobody
            return False
        self._held = rest
        addressee = _ADDRESSEE.search(head)
        if addressee and addressee[1] in self._names:
            self._give("call", addressee[1])
            self._object = _ObjectScan()
            return self._go(self._in_call_message)
        self._kind = "text" if _FINAL.search(head) else "thought"
        may_call = self._kind == "text" and self._form.calls
        return self._skip_to(self._before_text if may_call else self._in_message)

    def _in_message(self, last: bool) -> bool:
        said, end, rest = self._held.partition(MESSAGE_END)
        if not end:
            self._release(self._kind, MESSAGE_END, last)
            return False
        self._give(self._kind, said.rstrip())
        self._held = rest
        return self._go(self._in_head_of_message)

    def _in_call_message(self, last: bool) -> bool:
        end = self._object.find_end(self._held)
        self._give("arguments", self._held[:end])
        self._drop(len(self._held) if end is None else end)
        return False if end is None else self._go(self._in_head_of_message)

    def _in_thought(self, last: bool) -> bool:
        thought, closing, rest = self._held.partition(self._form.think_close)
        if closing:
            self._give("thought", thought.rstrip())
            self._held = rest
            return self._skip_to(self._before_text)
        self._release("thought", self._form.think_close, last)
        return False

    def _before_text(self, last: bool) -> bool:
        if self._form.calls != "bare":
            return self._go(self._in_text)
        if (begun := self._held.lstrip()).startswith("{"):
            head = read_head(begun)
            if isinstance(head, Head) and head.name in self._names:
                self._held = begun
                return self._begin_arguments(head)
            undecided = head is None
        else:
            undecided = not begun
        return False if undecided and not last else self._go(self._in_text)

    def _in_text(self, last: bool) -> bool:
        if not self._form.calls:
            self._give("text", self._held)
            self._held = ""
            return False
        text, marker, rest = self._held.partition(self._marker)
        if not marker:
            self._release("text", self._marker, last)
            return False
        self._give("text", text.rstrip())
        self._markup, self._held = text[len(text.rstrip()) :] + marker, rest
        return self._go(self._after_marker)

    def _release(self, kind: Kind, marker: str, last: bool) -> None:
        """Give what is held, but for white space and what may be the beginning of ``marker``."""
        sizes = range(min(len(self._held), len(marker) - 1), 0, -1)
        overlap = next((n for n in sizes if self._held.endswith(marker[:n])), 0)
        sure = self._held[: len(self._held) - overlap].rstrip()
        if last:
            sure = self._held.rstrip() if kind == "thought" else self._held
        self._give(kind, sure)
        self._drop(len(sure))

    def _after_marker(self, last: bool) -> bool:
        begun = self._held.lstrip()
        if not begun:
            return False
        if self._marker == LIST_MARK and not self._in_list:
            if begun[0] != "[":
                return self._go(self._in_named_head)
            self._in_list = True
            self._markup += self._held[: len(self._held) - len(begun) + 1]
            self._held = begun[1:]
        return self._go(self._in_head)

    def _in_named_head(self, last: bool) -> bool:
        begun = self._held.lstrip()
        if found := _NAMED_HEAD.match(begun):
            self._held = begun
            return self._begin_arguments(Head(found[1], found.end()))
        if "{" in begun or len(begun) > _MAX_HEAD_CHARS:
            return self._is_no_call()
        return False

    def _in_head(self, last: bool) -> bool:
        begun = self._held.lstrip()
        head = read_head(begun)
        if isinstance(head, Head):
            self._held = begun
            return self._begin_arguments(head)
        if head is None and len(begun) <= _MAX_HEAD_CHARS:
            return False
        if self._marker == TAG_OPEN:
            return self._go(self._in_odd_call)
        return self._is_no_call()

    def _in_odd_call(self, last: bool) -> bool:
        """Read a call in tags that is not in the usual order, once it is complete."""
        body, closing, rest = self._held.partition(TAG_CLOSE)
        if not closing and not last and len(body) <= _MAX_ODD_CHARS:
            return False
        call = parse_call(body)
        if call is None:
            self._markup += body + closing
            self._held = rest
            return self._is_no_call()
        self._give("call", call[0])
        self._give("arguments", call[1])
        self._markup, self._held = "", rest
        return self._go(self._after_call)

    def _is_no_call(self) -> bool:
        self._give("text", self._markup)
        self._markup, self._in_list = "", False
        return self._go(self._in_text)

    def _begin_arguments(self, head: "Head") -> bool:
        self._markup = ""
        self._give("call", head.name)
        self._drop(head.size)
        self._object = _ObjectScan()
        return self._go(self._in_arguments)

    def _in_arguments(self, last: bool) -> bool:
        end = self._object.find_end(self._held)
        self._give("arguments", self._held[:end])
        self._drop(len(self._held) if end is None else end)
        if end is None:
            return False
        if self._marker == LIST_MARK and not self._in_list:
            return self._go(self._after_call)
        self._object = _ObjectScan(depth=1)  # the object around the arguments
        return self._go(self._behind_arguments)

    def _behind_arguments(self, last: bool) -> bool:
        end = self._object.find_end(self._held)
        self._drop(len(self._held) if end is None else end)
        return False if end is None else self._go(self._after_call)

    def _after_call(self, last: bool) -> bool:
        self._held = self._held.lstrip()
        if not self._held:
            return False
        between = {"tags": (TAG_CLOSE,), "bare": (";", ",")}.get(self._form.calls, ())
        if self._in_list:
            between = (",", "]")
        for mark in between:
            if self._held.startswith(mark):
                self._drop(len(mark))
                if mark == "]":
                    self._in_list = False
                return self._go(self._in_head if mark == "," and self._in_list else self._state)
        if last and any(mark.startswith(self._held) for mark in between):
            self._held = ""  # half a closing tag is for nobody
            return False
        waits = any(mark.startswith(self._held) for mark in (*between, self._marker))
        if waits and not last and self._held != self._marker:
            return False
        return self._go(self._before_text)


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of a call: all before its arguments."""

    name: str
    size: int


def read_head(text: str) -> Head | Literal[False] | None:
    """Return the head of a call that ``text`` begins with; None when more text has to decide."""
    heads = [_follow(text, expected) for expected in (_PLAIN_HEAD, _TYPED_HEAD)]
    return next((head for head in heads if head), None if None in heads else False)


def _follow(text: str, expected: Sequence[tuple[str, ...]]) -> Head | Literal[False] | None:
    """Return a head if ``text`` is one of the expected words after the other."""
    position, name = 0, ""
    for words in expected:
        rest = text[position:].lstrip()
        position = len(text) - len(rest)
        if words == (_NAME,):
            string = _STRING.match(rest)
            if string is None:
                return None if len(rest) <= _MAX_HEAD_CHARS and rest[:1] in ('"', "") else False
            try:
                name = json.loads(string[0])
            except ValueError:
                return False
            position += string.end()
            continue
        word = next((word for word in words if rest.startswith(word)), None)
        if word is None:
            return None if any(word.startswith(rest) for word in words) else False
        position += len(word)
    return Head(name, position - 1)  # the last word is the brace of the arguments


def parse_call(text: str) -> tuple[str, str] | None:
    """Return name and arguments of a whole call, however its members are ordered."""
    try:
        call = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return None
    arguments = call.get("arguments", call.get("parameters", {}))
    written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return call["name"], written or "{}"


class _ObjectScan:
    """Finds the end of a JSON object that comes in pieces."""

    def __init__(self, depth: int = 0) -> None:
        self._depth = depth
        self._in_string = self._is_escaped = False

    def find_end(self, text: str) -> int | None:
        """Return where in ``text`` the object ends; None when it goes on."""
        position = 0
        if self._is_escaped and text:
            position, self._is_escaped = 1, False
        while found := _STRUCTURE.search(text, position):
            position = found.end()
            match found[0]:
                case "\\" if self._in_string:
                    self._is_escaped = position == len(text)
                    position += 1
                case '"':
                    self._in_string = not self._in_string
                case "{" | "[" if not self._in_string:
                    self._depth += 1
                case "}" | "]" if not self._in_string:
                    self._depth -= 1
                    if self._depth == 0:
                        return position
        return None
