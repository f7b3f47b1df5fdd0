"""What ``/v1/chat/completions`` answers: text, thoughts and calls of tools, each in its place."""

import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from mlm.engine.messages import AnswerForm, ChosenToken
from mlm.server.logprobs import chat_entries
from mlm.server.markup import MarkupReader, Part
from mlm.server.reply import ChoiceWriter, Reply

_PLAIN = AnswerForm()
_FIELDS = {"text": "content", "thought": "reasoning_content"}  # by the kind of a part


class ChatWriter(ChoiceWriter):
    """A choice of ``/v1/chat/completions``."""

    def __init__(
        self, reply: Reply, index: int, form: AnswerForm, tokens: Sequence[ChosenToken] | None
    ) -> None:
        """Prepare to take the answer apart, if there can be anything but text in it."""
        super().__init__(reply, index, form, tokens)
        is_plain = form == _PLAIN and tokens is None
        self._reader = None if is_plain else MarkupReader(form, reply.names)
        self._n_calls = 0

    def opening(self) -> bytes:
        """Return the chunk that says who speaks."""
        return self._delta({"role": "assistant", "content": ""})

    def piece(self, text: str) -> bytes:
        """Return the chunks that the next piece of the answer makes certain."""
        if self._reader is None:
            return super().piece(text)
        return b"".join(map(self._part, self._reader.push(text)))

    def closing(self, reason: str, **more: Any) -> bytes:
        """Return what was held back, and the last chunk."""
        rest = b""
        if self._reader is not None:
            rest = b"".join(map(self._part, self._reader.end(cut=reason != "stop")))
            if self._n_calls and reason == "stop":
                reason = "tool_calls"
        return rest + super().closing(reason, **more)

    def whole(self, text: str, reason: str) -> dict[str, Any]:
        """Return the choice of a whole reply."""
        reader = MarkupReader(self._form, self._reply.names)
        parts = [*reader.push(text), *reader.end(cut=reason != "stop")]
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
        return {
            "index": self._index,
            "message": message,
            "logprobs": self._logprobs(parts) if self._tokens is not None else None,
            "finish_reason": reason,
        }

    def _part(self, part: Part) -> bytes:
        """Return the chunk for a part of the answer."""
        match part.kind:
            case "text" if self._tokens is None:
                return super().piece(part.text)
            case "text" | "thought":
                logprobs = self._logprobs([part]) if self._tokens is not None else {}
                told = logprobs if any(logprobs.values()) else None
                return self._delta({_FIELDS[part.kind]: part.text}, told)
            case "call":
                self._n_calls += 1
                call = {"index": self._n_calls - 1, **_new_call(part.text)}
            case "arguments":
                call = {"index": self._n_calls - 1, "function": {"arguments": part.text}}
        return self._delta({"tool_calls": [call]})

    def _logprobs(self, parts: Iterable[Part]) -> dict[str, Any]:
        """Return what is told of the tokens of ``parts``: each list goes with its text."""
        logprobs: dict[str, Any] = {"content": [], "refusal": None}
        for part in parts:
            if part.kind in _FIELDS:
                tokens = self._cursor.take(part.start, part.start + len(part.text))
                logprobs.setdefault(_FIELDS[part.kind], []).extend(chat_entries(tokens))
        return logprobs

    def _delta(self, delta: dict[str, Any], logprobs: dict[str, Any] | None = None) -> bytes:
        return self._reply.event([self._choice(delta, None, logprobs)])

    def _chunk_of(self, text: str) -> dict[str, Any]:
        return self._choice({"content": text}, None)

    def _last_chunk(self, reason: str) -> dict[str, Any]:
        return self._choice({}, reason)

    def _choice(
        self, delta: dict[str, Any], reason: str | None, logprobs: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        return {
            "index": self._index,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": reason,
        }


class ChatReply(Reply):
    """The reply of ``/v1/chat/completions``."""

    prefix, whole, chunk = "chatcmpl", "chat.completion", "chat.completion.chunk"
    writer = ChatWriter


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
