"""OpenAI's request fields, and llama.cpp's beside them, turned into the engine's terms.

This is an allow-list: only what is named here reaches the engine, and only within its range.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import msgspec

from mlm.engine.messages import Generate
from mlm.server.conversation import read_messages
from mlm.server.errors import invalid
from mlm.server.fields import Fields, wrong_type
from mlm.server.sampling_fields import read_sampling, read_stop
from mlm.server.structure import (
    name_of,
    read_json_schema,
    read_response_format,
    read_tool_choice,
    read_tools,
)

MAX_TOKENS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class TextRequest:
    """A request for text, whatever API it came through."""

    model: str
    generate: Generate  # its ``request_id`` is 0 until it is sent to a worker
    stream: bool
    include_usage: bool  # in the last chunk of a stream
    ignored: tuple[str, ...]  # fields that had no effect

    @property
    def names(self) -> frozenset[str]:
        """The functions that may be called."""
        return frozenset(map(name_of, self.generate.tools or ()))


def read_chat(body: dict[str, Any]) -> TextRequest:
    """Return the request in the body of ``/v1/chat/completions``.

    Raises:
        ApiError: 400 with ``param``: a field is missing, has a wrong type or is out of range.
    """
    fields = Fields(body)
    fields.only("logprobs", (False,), "log probabilities are not available")
    fields.only("top_logprobs", (0,), "log probabilities are not available")
    fields.only("functions", ([],), "functions are not available; see 'tools'")
    tools = read_tools(fields)
    choice = read_tool_choice(fields, tools)
    common = _read_common(fields, is_chat=True)
    if choice is not None and common["sampling"].grammar:
        raise invalid("'grammar': it cannot be combined with 'tools'", "grammar")
    generate = Generate(
        request_id=0,
        messages=read_messages(fields.required("messages")),
        template_args=fields.mapping("chat_template_kwargs"),
        **common,
    )
    if choice is not None:
        generate = msgspec.structs.replace(generate, tools=tools, tool_choice=choice)
    return _finish(fields, generate)


def read_completion(body: dict[str, Any]) -> TextRequest:
    """Return the request in the body of ``/v1/completions``; raises as `read_chat`."""
    fields = Fields(body)
    fields.only("logprobs", (0,), "log probabilities are not available")
    fields.only("best_of", (1,), "only one answer at a time is available")
    fields.only("suffix", ("",), "filling in the middle is not available")
    prompt = fields.required("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise wrong_type("prompt", "one string (several prompts and tokens are not available)")
    generate = Generate(
        request_id=0, prompt=prompt, echo=fields.flag("echo"), **_read_common(fields, is_chat=False)
    )
    return _finish(fields, generate)


def _finish(fields: Fields, generate: Generate) -> TextRequest:
    model = fields.required("model")
    if not isinstance(model, str):
        raise wrong_type("model", "a string")
    return TextRequest(
        model=model,
        generate=generate,
        stream=fields.flag("stream"),
        include_usage=_read_include_usage(fields),
        ignored=fields.unread,
    )


def _read_common(fields: Fields, *, is_chat: bool) -> dict[str, Any]:
    """Return the arguments of `Generate` that both endpoints share."""
    fields.only("n", (1,), "only one answer at a time is available")
    longest = fields.integer("max_tokens", 1, MAX_TOKENS)
    sampling = read_sampling(fields)
    formats = {
        "grammar": sampling.grammar,
        "json_schema": read_json_schema(fields),
        "response_format": read_response_format(fields) if is_chat else None,
    }
    for first, second in combinations((name for name in formats if formats[name]), 2):
        raise invalid(f"'{second}': it cannot be combined with '{first}'", second)
    return {
        "sampling": sampling,
        "json_format": formats["response_format"] or formats["json_schema"],
        "max_tokens": fields.integer("max_completion_tokens", 1, MAX_TOKENS) or longest,
        "stop": read_stop(fields),
        "cache_prompt": fields.flag("cache_prompt", default=True),
        "deterministic": fields.flag("deterministic"),
    }


def _read_include_usage(fields: Fields) -> bool:
    value = fields.mapping("stream_options").get("include_usage")
    if not isinstance(value, bool | None):
        raise wrong_type("stream_options.include_usage", "true or false")
    return bool(value)
