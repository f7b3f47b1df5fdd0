"""OpenAI's request fields, and llama.cpp's beside them, turned into the engine's terms.

This is an allow-list: only what is named here reaches the engine, and only within its range.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import msgspec

from mlm.engine.messages import Generate
from mlm.engine.ranges import MAX_TOKENS
from mlm.server.conversation import read_messages
from mlm.server.errors import invalid
from mlm.server.fields import Fields, wrong_type
from mlm.server.sampling_fields import next_seed, read_sampling, read_stop
from mlm.server.structure import (
    name_of,
    read_json_schema,
    read_response_format,
    read_tool_choice,
    read_tools,
)

MAX_CHOICES, MAX_ANSWERS = 16, 128  # of one prompt; of all prompts of a request
MAX_PROMPT_TOKENS = 2**20
MAX_LIKELIEST = 20  # tokens with their log-probabilities, for each of the answer


@dataclass(frozen=True, slots=True)
class TextRequest:
    """A request for text, whatever API it came through."""

    model: str
    generates: tuple[Generate, ...]  # each is answered by a choice, those of one prompt together
    n: int  # choices of each prompt
    stream: bool
    include_usage: bool  # in the last chunk of a stream
    ignored: tuple[str, ...]  # fields that had no effect

    @property
    def generate(self) -> Generate:
        """The first of them; but for prompt and seed, all are the same."""
        return self.generates[0]

    @property
    def wants_logprobs(self) -> bool:
        """Whether the answers come with the log-probabilities of their tokens."""
        return self.generate.logprobs is not None

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
        logprobs=_read_chat_logprobs(fields),
        **common,
    )
    if choice is not None:
        generate = msgspec.structs.replace(generate, tools=tools, tool_choice=choice)
    return _finish(fields, [generate])


def read_completion(body: dict[str, Any]) -> TextRequest:
    """Return the request in the body of ``/v1/completions``; raises as `read_chat`."""
    fields = Fields(body)
    fields.only("suffix", ("",), "filling in the middle is not available")
    prompts = _read_prompts(fields.required("prompt"))
    echo, logprobs = fields.flag("echo"), None
    if fields.any("logprobs") is not False:  # some clients send the other API's
        logprobs = fields.integer("logprobs", 0, MAX_LIKELIEST)
    if echo and logprobs is not None:
        raise invalid(
            "'logprobs': with 'echo' they would be those of the prompt, which are not available",
            "logprobs",
        )
    common = _read_common(fields, is_chat=False)
    first = Generate(request_id=0, echo=echo, logprobs=logprobs, **common)
    generates = [_ask(first, prompt) for prompt in prompts]
    return _finish(fields, generates)


def _finish(fields: Fields, generates: Sequence[Generate]) -> TextRequest:
    """Return the request; ``generates`` are those of its prompts."""
    model = fields.required("model")
    if not isinstance(model, str):
        raise wrong_type("model", "a string")
    n = fields.integer("n", 1, MAX_CHOICES) or 1
    if (fields.integer("best_of", 1, MAX_CHOICES) or 1) not in (1, n):
        raise invalid(
            "'best_of': it must be 1 or n, for this server does not choose among answers", "best_of"
        )
    if n * len(generates) > MAX_ANSWERS:
        raise invalid(f"'n': {len(generates)} prompts make more than {MAX_ANSWERS} answers", "n")
    return TextRequest(
        model=model,
        generates=tuple(_vary(generate, i) for generate in generates for i in range(n)),
        n=n,
        stream=fields.flag("stream"),
        include_usage=_read_include_usage(fields),
        ignored=fields.unread,
    )


def _vary(generate: Generate, number: int) -> Generate:
    """Return the request for another choice: with the next seed, if there is one."""
    seed = generate.sampling.seed
    if seed is None or number == 0:
        return generate
    sampling = msgspec.structs.replace(generate.sampling, seed=next_seed(seed, number))
    return msgspec.structs.replace(generate, sampling=sampling)


def _ask(generate: Generate, prompt: str | list[int]) -> Generate:
    name = "prompt" if isinstance(prompt, str) else "prompt_tokens"
    return msgspec.structs.replace(generate, **{name: prompt})


def _read_prompts(given: Any) -> list[str | list[int]]:
    """Return one or several prompts: texts, or the numbers of tokens."""
    is_several = isinstance(given, list) and not _is_tokens(given)
    prompts: list[str | list[int]] = given if is_several else [given]
    if not 0 < len(prompts) <= MAX_ANSWERS:
        raise invalid(f"'prompt' must hold 1 to {MAX_ANSWERS} prompts", "prompt")
    if not all(isinstance(prompt, str) or _is_tokens(prompt) for prompt in prompts):
        raise wrong_type("prompt", "a string, a list of tokens, or a list of these")
    return prompts


def _is_tokens(value: Any) -> bool:
    """Tell whether a prompt is a list of numbers of tokens."""
    is_list = isinstance(value, list) and 0 < len(value) <= MAX_PROMPT_TOKENS
    return is_list and all(type(token) is int and 0 <= token < 2**31 for token in value)


def _read_chat_logprobs(fields: Fields) -> int | None:
    """Return for how many likely tokens the probability is wanted; None for none at all."""
    wanted = fields.flag("logprobs")
    n_likeliest = fields.integer("top_logprobs", 0, MAX_LIKELIEST) or 0
    if n_likeliest and not wanted:
        raise invalid("'top_logprobs': it needs 'logprobs': true beside it", "top_logprobs")
    return n_likeliest if wanted else None


def _read_common(fields: Fields, *, is_chat: bool) -> dict[str, Any]:
    """Return the arguments of `Generate` that both endpoints share."""
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
