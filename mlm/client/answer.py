"""What an answer is made of, and how it is read from the chunks of a stream."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlm.client.refusal import StreamCutError, engine_failure, understanding
from mlm.client.sse import ServerSentEvent


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of an answer, or of the thinking before it."""

    text: str
    thinking: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request; ``cached_tokens`` of the prompt came from a KV cache."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of every answer. What the server did not say is None or empty."""

    reason: str | None  # stop, length, tool_calls
    usage: Usage | None = None
    cache: str | None = None  # hit, miss, shared, bypass: the response cache of an mlm server
    truth: Mapping[str, Any] = field(default_factory=dict)  # the object ``mlm`` of our server


Event = Delta | Finished


@dataclass(frozen=True, slots=True)
class _Chunk:
    deltas: tuple[Delta, ...]
    reason: str | None
    usage: Usage | None
    truth: Mapping[str, Any]


def read_answer(events: Iterable[ServerSentEvent], cache: str | None) -> Iterator[Event]:
    """Yield the deltas of a chat or completion stream, and `Finished` at its end.

    Raises:
        EngineError: the server says in the stream that it failed.
        StreamCutError: the stream ends without ``[DONE]``.
        NetworkError: it is not a stream of OpenAI's chunks.
    """
    reason: str | None = None
    usage: Usage | None = None
    truth: Mapping[str, Any] = {}
    for event in events:
        if event.data == "[DONE]":
            yield Finished(reason, usage, cache, truth)
            return
        chunk = _parse_chunk(event)
        yield from chunk.deltas
        reason, usage, truth = chunk.reason or reason, chunk.usage or usage, chunk.truth or truth
    raise StreamCutError("the connection ended")


def _parse_chunk(event: ServerSentEvent) -> _Chunk:
    with understanding("a chunk of an answer"):
        document = dict(json.loads(event.data))
        if event.name == "error" or document.get("error"):
            raise engine_failure(document)
        choices = document.get("choices") or []
        return _Chunk(
            deltas=tuple(delta for choice in choices for delta in _deltas(choice)),
            reason=next((c["finish_reason"] for c in choices if c.get("finish_reason")), None),
            usage=_parse_usage(document.get("usage")),
            truth=dict(document.get("mlm") or {}),
        )


def _deltas(choice: Mapping[str, Any]) -> Iterator[Delta]:
    """Yield the text in one choice: ``delta`` in a chat, ``text`` in a completion."""
    delta = choice.get("delta") or {}
    if thought := delta.get("reasoning_content"):
        yield Delta(str(thought), thinking=True)
    if text := delta.get("content") or choice.get("text"):
        yield Delta(str(text))


def _parse_usage(usage: Mapping[str, Any] | None) -> Usage | None:
    if not usage:
        return None
    details = usage.get("prompt_tokens_details") or {}
    return Usage(
        prompt_tokens=int(usage["prompt_tokens"]),
        completion_tokens=int(usage.get("completion_tokens") or 0),
        cached_tokens=int(details.get("cached_tokens") or 0),
    )
