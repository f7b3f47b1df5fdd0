"""OpenAI's request fields, and llama.cpp's beside them, turned into the engine's terms.

This is an allow-list: only what is named here reaches the engine, and only within its range.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import msgspec

from mlm.engine.messages import Generate, SamplingParams
from mlm.server.conversation import read_messages
from mlm.server.errors import invalid
from mlm.server.fields import Fields, wrong_type
from mlm.server.structure import (
    name_of,
    read_json_schema,
    read_response_format,
    read_tool_choice,
    read_tools,
)

MAX_STOPS, MAX_STOP_CHARS = 16, 512
MAX_BIASES = 1024
MAX_GRAMMAR_CHARS = 64 * 1024
MAX_TOKENS = 2**31 - 1

# Ranges: OpenAI's API reference where it has the field, else where llama.cpp's samplers make sense.
_NUMBERS: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "min_p": (0, 1),
    "typical_p": (0, 1),
    "repeat_penalty": (0.01, 10),
    "dry_multiplier": (0, 100),
    "dry_base": (1, 100),
    "xtc_probability": (0, 1),
    "xtc_threshold": (0, 1),
    "mirostat_tau": (0, 100),
    "mirostat_eta": (0, 1),
}
_INTEGERS: dict[str, tuple[int, int]] = {
    "top_k": (0, 2**31 - 1),
    "repeat_last_n": (-1, 2**20),
    "dry_allowed_length": (0, 2**20),
    "dry_penalty_last_n": (-1, 2**20),
    "mirostat": (0, 2),
    "min_tokens": (0, MAX_TOKENS),
}
_SEEDS = 2**32 - 1  # llama.cpp reads a seed of 2**32 - 1 as "different every time"


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
    sampling = _read_sampling(fields)
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
        "stop": _read_stop(fields.any("stop")),
        "cache_prompt": fields.flag("cache_prompt", default=True),
    }


def _read_sampling(fields: Fields) -> SamplingParams:
    given: dict[str, Any] = {
        **{name: fields.number(name, *bounds) for name, bounds in _NUMBERS.items()},
        **{name: fields.integer(name, *bounds) for name, bounds in _INTEGERS.items()},
        "grammar": fields.text("grammar", MAX_GRAMMAR_CHARS) or None,
        "seed": _read_seed(fields),
        "logit_bias": _read_logit_bias(fields.mapping("logit_bias")),
        "ignore_eos": fields.flag("ignore_eos"),
    }
    return SamplingParams(**{name: value for name, value in given.items() if value is not None})


def _read_seed(fields: Fields) -> int | None:
    """Return the seed folded into llama.cpp's 32 bits; -1 means there as here "any"."""
    seed = fields.integer("seed", -(2**63), 2**63 - 1)
    return None if seed in (None, -1) else seed % _SEEDS


def _read_logit_bias(given: dict[str, Any]) -> dict[int, float]:
    if len(given) > MAX_BIASES:
        raise invalid(f"'logit_bias' names more than {MAX_BIASES} tokens", "logit_bias")
    biases = {}
    for token, bias in given.items():
        if not (token.isascii() and token.isdigit() and len(token) <= 9):
            raise invalid(
                f"'logit_bias': '{token[:20]}' is not the number of a token", "logit_bias"
            )
        if isinstance(bias, bool) or not isinstance(bias, int | float) or not -100 <= bias <= 100:
            raise invalid("'logit_bias': a bias must be from -100 to 100", "logit_bias")
        biases[int(token)] = float(bias)
    return biases


def _read_stop(stop: object) -> list[str]:
    stops = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(text, str) for text in stops):
        raise wrong_type("stop", "a string or a list of strings")
    if len(stops) > MAX_STOPS:
        raise invalid(f"'stop' holds more than {MAX_STOPS} strings", "stop")
    if not all(0 < len(text) <= MAX_STOP_CHARS for text in stops):
        raise invalid(f"'stop': a string must have 1 to {MAX_STOP_CHARS} characters", "stop")
    return stops


def _read_include_usage(fields: Fields) -> bool:
    value = fields.mapping("stream_options").get("include_usage")
    if not isinstance(value, bool | None):
        raise wrong_type("stream_options.include_usage", "true or false")
    return bool(value)
