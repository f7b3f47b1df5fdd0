"""What OpenAI's two text APIs answer: one object, or a stream of chunks.

A chunk is built from bytes that are the same for the whole stream and the text between them,
because at 16 streams this is most of what the server itself costs.
"""

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import msgspec

from mlm.engine.messages import AnswerForm
from mlm.server.markup import MarkupReader, Part
from mlm.server.sse import encode_event

_encode = msgspec.json.encode
_PLAIN = AnswerForm()
_SLOT = "\0"  # stands where the text goes; JSON text never holds a bare NUL


@dataclass(frozen=True, slots=True)
class Ending:
    """How an answer ended. ``truth`` is what it really took: the object ``mlm``."""

    text: str
    reason: str  # stop, length
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    truth: dict[str, Any]

    @property
    def usage(self) -> dict[str, Any]:
        """Token counts as OpenAI writes them."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }


@dataclass
class Reply(ABC):
    """One reply in the making. ``names`` are those of the functions that may be called."""

    model: str
    form: AnswerForm = _PLAIN
    names: Collection[str] = ()
    reply_id: str = field(init=False)
    created: int = field(default_factory=lambda: int(time.time()))

    prefix: ClassVar[str]  # of the id
    whole: ClassVar[str]  # value of ``object`` in one piece
    chunk: ClassVar[str]  # … and in a stream

    def __post_init__(self) -> None:
        """Name the reply and prepare its chunks."""
        self.reply_id = f"{self.prefix}-{secrets.token_hex(12)}"
        head, tail = encode_event(self._chunk([self._choice(_SLOT, None)])).split(b'"\\u0000"')
        self._head, self._tail = head, tail

    def opening(self) -> bytes:
        """Return what comes before the first text."""
        return b""

    def piece(self, text: str) -> bytes:
        """Return the chunk with the next piece of text."""
        return self._head + _encode(text) + self._tail

    def closing(self, ending: Ending, *, include_usage: bool) -> bytes:
        """Return the last chunks; the very last one carries the object ``mlm``."""
        truth = {"mlm": ending.truth}
        last = self._chunk([self._choice("", ending.reason)])
        if not include_usage:
            return encode_event(last | truth)
        return encode_event(last) + encode_event(self._chunk([]) | {"usage": ending.usage} | truth)

    def document(self, ending: Ending) -> dict[str, Any]:
        """Return the whole reply."""
        return {
            "id": self.reply_id,
            "object": self.whole,
            "created": self.created,
            "model": self.model,
            "choices": [self._whole_choice(ending)],
            "usage": ending.usage,
            "mlm": ending.truth,
        }

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.reply_id,
            "object": self.chunk,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }

    @abstractmethod
    def _choice(self, text: str, reason: str | None) -> dict[str, Any]:
        """Return the one choice of a chunk."""

    @abstractmethod
    def _whole_choice(self, ending: Ending) -> dict[str, Any]:
        """Return the one choice of the whole reply."""


class ChatReply(Reply):
    """The reply of ``/v1/chat/completions``."""

    prefix, whole, chunk = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def __post_init__(self) -> None:
        """Prepare to take the answer apart, if there can be anything but text in it."""
        super().__post_init__()
        self._reader = self._new_reader() if self.form != _PLAIN else None
        self._n_calls = 0

    def opening(self) -> bytes:
        """Return the chunk that says who speaks."""
        return self._delta({"role": "assistant", "content": ""})

    def piece(self, text: str) -> bytes:
        """Return the chunks that the next piece of the answer makes certain."""
        if self._reader is None:
            return super().piece(text)
        return b"".join(map(self._part, self._reader.push(text)))

    def closing(self, ending: Ending, *, include_usage: bool) -> bytes:
        """Return what was held back, and the last chunks."""
        rest = b""
        if self._reader is not None:
            parts = self._reader.end(cut=ending.reason != "stop")
            rest = b"".join(map(self._part, parts))
            if self._n_calls and ending.reason == "stop":
                ending = replace(ending, reason="tool_calls")
        return rest + super().closing(ending, include_usage=include_usage)

    def _part(self, part: Part) -> bytes:
        """Return the chunk for a part of the answer."""
        match part.kind:
            case "text":
                return super().piece(part.text)
            case "thought":
                return self._delta({"reasoning_content": part.text})
            case "call":
                self._n_calls += 1
                call = {"index": self._n_calls - 1, **_new_call(part.text)}
            case "arguments":
                call = {"index": self._n_calls - 1, "function": {"arguments": part.text}}
        return self._delta({"tool_calls": [call]})

    def _delta(self, delta: dict[str, Any]) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        return encode_event(self._chunk([choice]))

    def _choice(self, text: str, reason: str | None) -> dict[str, Any]:
        delta = {"content": text} if reason is None else {}
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}

    def _whole_choice(self, ending: Ending) -> dict[str, Any]:
        reader, reason = self._new_reader(), ending.reason
        parts = [*reader.push(ending.text), *reader.end(cut=reason != "stop")]
        message: dict[str, Any] = {
            "role": "assistant",
            "content": _join(parts, "text"),
            "refusal": None,
        }
        if thoughts := _join(parts, "thought"):
            message["reasoning_content"] = thoughts
        if calls := _collect_calls(parts):
            message |= {"tool_calls": calls, "content": message["content"] or None}
            reason = "tool_calls" if reason == "stop" else reason
        return {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}

    def _new_reader(self) -> MarkupReader:
        return MarkupReader(self.form, self.names)


def _join(parts: Iterable[Part], kind: str) -> str:
    return "".join(part.text for part in parts if part.kind == kind)


def _collect_calls(parts: Iterable[Part]) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []
    for part in parts:
        if part.kind == "call":
            calls.append(_new_call(part.text))
        elif part.kind == "arguments":
            calls[-1]["function"]["arguments"] += part.text
    return calls


def _new_call(name: str) -> dict[str, Any]:
    """Return a call that has no arguments yet."""
    function = {"name": name, "arguments": ""}
    return {"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}


class CompletionReply(Reply):
    """The reply of ``/v1/completions``."""

    prefix, whole, chunk = "cmpl", "text_completion", "text_completion"

    def _choice(self, text: str, reason: str | None) -> dict[str, Any]:
        return {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}

    def _whole_choice(self, ending: Ending) -> dict[str, Any]:
        return self._choice(ending.text, ending.reason)
