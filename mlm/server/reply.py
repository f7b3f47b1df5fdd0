"""What OpenAI's text APIs answer: one object, or a stream of chunks; here the simpler of the two.

A chunk is built from bytes that are the same for the whole stream and the text between them,
because at 16 streams this is most of what the server itself costs.
"""

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from mlm.engine.messages import AnswerForm, ChosenToken
from mlm.server.logprobs import TokenCursor, completion_logprobs
from mlm.server.sse import encode_event

_encode = msgspec.json.encode
_SLOT = "\0"  # stands where the text goes; JSON text never holds a bare NUL


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts over all choices. ``truth`` is what they really took: the object ``mlm``."""

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


class Reply:
    """One reply in the making. ``names`` are those of the functions that may be called."""

    prefix: ClassVar[str]  # of the id
    whole: ClassVar[str]  # value of ``object`` in one piece
    chunk: ClassVar[str]  # … and in a stream
    writer: ClassVar["type[ChoiceWriter]"]

    def __init__(self, model: str, names: Collection[str] = ()) -> None:
        self.names = names
        self.reply_id = f"{self.prefix}-{secrets.token_hex(12)}"
        self._head = {"id": self.reply_id, "created": int(time.time()), "model": model}

    def event(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        """Return a chunk of a stream."""
        return encode_event({**self._head, "object": self.chunk, "choices": choices, **more})

    def document(self, choices: list[dict[str, Any]], totals: Totals) -> dict[str, Any]:
        """Return the whole reply."""
        return {
            **self._head,
            "object": self.whole,
            "choices": choices,
            "usage": totals.usage,
            "mlm": totals.truth,
        }


class ChoiceWriter(ABC):
    """Writes one choice of a reply, piece by piece or as a whole."""

    def __init__(
        self, reply: Reply, index: int, form: AnswerForm, tokens: Sequence[ChosenToken] | None
    ) -> None:
        """``tokens`` are told with the text; they may grow meanwhile. None: nobody wants them."""
        self._reply, self._index, self._form, self._tokens = reply, index, form, tokens
        self._cursor = TokenCursor(() if tokens is None else tokens)
        chunk = reply.event([self._chunk_of(_SLOT)])
        self._head, self._tail = chunk.split(b'"\\u0000"')

    def opening(self) -> bytes:
        """Return what comes before the first text."""
        return b""

    def piece(self, text: str) -> bytes:
        """Return the chunk with the next piece of text."""
        return self._head + _encode(text) + self._tail

    def closing(self, reason: str, **more: Any) -> bytes:
        """Return the last chunk of this choice, with ``more`` beside it."""
        return self._reply.event([self._last_chunk(reason)], **more)

    @abstractmethod
    def whole(self, text: str, reason: str) -> dict[str, Any]:
        """Return the choice of a whole reply."""

    @abstractmethod
    def _chunk_of(self, text: str) -> dict[str, Any]:
        """Return the choice of a chunk with text."""

    @abstractmethod
    def _last_chunk(self, reason: str) -> dict[str, Any]:
        """Return the choice of the last chunk."""


class CompletionWriter(ChoiceWriter):
    """A choice of ``/v1/completions``."""

    _n_chars = 0  # sent so far

    def piece(self, text: str) -> bytes:
        """Return the chunk with the next piece of text."""
        if self._tokens is None:
            return super().piece(text)
        start, self._n_chars = self._n_chars, self._n_chars + len(text)
        return self._reply.event([self._choice(text, None, (start, self._n_chars))])

    def whole(self, text: str, reason: str) -> dict[str, Any]:
        """Return the choice of a whole reply."""
        return self._choice(text, reason, (0, len(text)))

    def _chunk_of(self, text: str) -> dict[str, Any]:
        return self._choice(text, None, (0, 0))

    def _last_chunk(self, reason: str) -> dict[str, Any]:
        return self._choice("", reason, (0, 0))

    def _choice(self, text: str, reason: str | None, span: tuple[int, int]) -> dict[str, Any]:
        """Return a choice; ``span`` is where in the answer the text stands."""
        tokens = self._cursor.take(*span)
        logprobs = completion_logprobs(tokens) if tokens else None
        return {"index": self._index, "text": text, "logprobs": logprobs, "finish_reason": reason}


class CompletionReply(Reply):
    """The reply of ``/v1/completions``."""

    prefix, whole, chunk = "cmpl", "text_completion", "text_completion"
    writer = CompletionWriter
