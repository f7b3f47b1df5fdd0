"""What OpenAI's two text APIs answer: one object, or a stream of chunks.

A chunk is built from bytes that are the same for the whole stream and the text between them,
because at 16 streams this is most of what the server itself costs.
"""

import secrets
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from mlm.server.sse import encode_event

_encode = msgspec.json.encode
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
    """One reply in the making."""

    model: str
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

    def opening(self) -> bytes:
        """Return the chunk that says who speaks."""
        delta = {"role": "assistant", "content": ""}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        return encode_event(self._chunk([choice]))

    def _choice(self, text: str, reason: str | None) -> dict[str, Any]:
        delta = {"content": text} if reason is None else {}
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}

    def _whole_choice(self, ending: Ending) -> dict[str, Any]:
        message = {"role": "assistant", "content": ending.text, "refusal": None}
        return {"index": 0, "message": message, "logprobs": None, "finish_reason": ending.reason}


class CompletionReply(Reply):
    """The reply of ``/v1/completions``."""

    prefix, whole, chunk = "cmpl", "text_completion", "text_completion"

    def _choice(self, text: str, reason: str | None) -> dict[str, Any]:
        return {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}

    def _whole_choice(self, ending: Ending) -> dict[str, Any]:
        return self._choice(ending.text, ending.reason)
