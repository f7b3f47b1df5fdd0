"""The bodies that are accepted, with the bounds of the tables by which they are read.

Whatever is not valid by one of these is refused. The reverse is not so: that two fields cannot be
combined, or that a grammar is none, a schema does not say.
"""

from typing import Any

import msgspec

from mlm.engine.messages import SamplingParams
from mlm.engine.ranges import (
    INTEGERS,
    MAX_STOP_CHARS,
    MAX_STOPS,
    MAX_TOKENS,
    NUMBERS,
    SEED_RANGE,
)
from mlm.engine.sampling import MAX_BREAKER_BYTES, MAX_BREAKERS
from mlm.server.conversation import EXTRAS, MAX_CALLS, ROLES
from mlm.server.openapi.shapes import (
    ANY,
    FLAG,
    MAPPING,
    TEXT,
    Shape,
    either,
    integer,
    number,
    one_of,
    or_null,
    record,
    ref,
    several,
    text,
)
from mlm.server.sampling_fields import MAX_BIAS, MAX_BIASES, MAX_GRAMMAR_CHARS
from mlm.server.schema import (
    MAX_ANSWERS,
    MAX_CHOICES,
    MAX_LIKELIEST,
    MAX_PROMPT_TOKENS,
)
from mlm.server.structure import MAX_TOOLS, NAME_PATTERN
from mlm.server.token_schema import MAX_CONTENT_BYTES, MAX_TOKEN
from mlm.server.token_schema import MAX_TOKENS as MAX_DETOKENIZED
from mlm.server.vector_schema import ENCODINGS, MAX_DIMENSIONS, MAX_INPUTS, MAX_TOP_N

_MODEL = TEXT | {"description": "An id from /v1/models."}
_TOKEN = integer(0, MAX_TOKEN)
_TOKENS = several(_TOKEN, 1, MAX_PROMPT_TOKENS)
_NAME = TEXT | {"pattern": f"^{NAME_PATTERN}$", "examples": ["look_up"]}
# A picture of one pixel.
_DOT = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mM4YWQEAALyAS2S"
    "l/RHAAAAAElFTkSuQmCC"
)
_EMPTY = {"type": "array", "maxItems": 0}


def request_shapes() -> dict[str, Shape]:
    """Return the schemas of request bodies and of their parts, by name."""
    return {
        "ChatRequest": _chat(),
        "CompletionRequest": _completion(),
        "EmbeddingsRequest": _embeddings(),
        "RerankRequest": _rerank(),
        "TokenizeRequest": _tokenize(),
        "ModelRequest": _body({"model": _MODEL}, {}),
        "DetokenizeRequest": _body(
            {"tokens": several(_TOKEN, 0, MAX_DETOKENIZED)}, {"model": _MODEL}
        ),
        "Message": _message(),
        "Content": either(TEXT, several(_text_part())),
        "UserContent": either(TEXT, several(either(_text_part(), _picture_part()))),
        "ToolCall": _call(),
        "Tool": _tool(),
        "ToolChoice": _tool_choice(),
        "ResponseFormat": _response_format(),
        "EmbeddingsInput": _input(),
    }


def _body(required: dict[str, Shape], optional: dict[str, Shape]) -> Shape:
    return record(required, {name: or_null(shape) for name, shape in optional.items()})


def _chat() -> Shape:
    return _body(
        {"model": _MODEL, "messages": several(ref("Message"), 1)},
        _text_fields()
        | {
            "tools": several(ref("Tool"), 0, MAX_TOOLS),
            "tool_choice": ref("ToolChoice"),
            "parallel_tool_calls": FLAG,
            "response_format": ref("ResponseFormat"),
            "chat_template_kwargs": MAPPING,
            "logprobs": FLAG,
            "top_logprobs": integer(0, MAX_LIKELIEST),
            "functions": _EMPTY | {"deprecated": True},
        },
    )


def _completion() -> Shape:
    prompt = either(TEXT, _TOKENS, several(either(TEXT, _TOKENS), 1, MAX_ANSWERS))
    return _body(
        {"model": _MODEL, "prompt": prompt},
        _text_fields()
        | {
            "echo": FLAG,
            "logprobs": either(integer(0, MAX_LIKELIEST), {"const": False}),
            "suffix": {"const": ""},
        },
    )


def _text_fields() -> dict[str, Shape]:
    """Return the optional fields that both text APIs have."""
    return {
        "stream": FLAG,
        "stream_options": record({}, {"include_usage": or_null(FLAG)}),
        "max_tokens": integer(1, MAX_TOKENS),
        "max_completion_tokens": integer(1, MAX_TOKENS),
        "stop": either(text(1, MAX_STOP_CHARS), several(text(1, MAX_STOP_CHARS), 0, MAX_STOPS)),
        "n": integer(1, MAX_CHOICES),
        "best_of": integer(1, MAX_CHOICES),
        "json_schema": MAPPING,
        "cache_prompt": FLAG,
        "deterministic": FLAG,
        **_sampling(),
    }


def _sampling() -> dict[str, Shape]:
    shapes: dict[str, Shape] = {
        **{name: number(*bounds) for name, bounds in NUMBERS.items()},
        **{name: integer(*bounds) for name, bounds in INTEGERS.items()},
        "seed": integer(*SEED_RANGE),
        "logit_bias": _logit_bias(),
        "grammar": text(0, MAX_GRAMMAR_CHARS),
        "ignore_eos": FLAG,
        "dry_sequence_breakers": several(text(1, MAX_BREAKER_BYTES), 0, MAX_BREAKERS),
    }
    defaults = {f.name: f.default for f in msgspec.structs.fields(SamplingParams)}
    given = {n: list(d) if isinstance(d, tuple) else d for n, d in defaults.items()}
    return {
        name: shape | ({"default": given[name]} if _is_plain(given[name]) else {})
        for name, shape in shapes.items()
    }


def _is_plain(default: Any) -> bool:
    return isinstance(default, int | float | list)


def _logit_bias() -> Shape:
    bias = either(number(-MAX_BIAS, MAX_BIAS), {"const": False})
    digits = TEXT | {"pattern": "^[0-9]{1,9}$", "examples": ["42"]}
    token = either(integer(0, 10**9 - 1), digits)
    pair = {"type": "array", "prefixItems": [token, bias], "minItems": 2, "maxItems": 2}
    by_token = {
        "type": "object",
        "propertyNames": digits,
        "additionalProperties": bias,
        "maxProperties": MAX_BIASES,
    }
    return either(by_token, several(pair, 0, MAX_BIASES))


def _message() -> Shape:
    extras = {name: or_null(TEXT) for name in EXTRAS}
    content, user_content = {"content": ref("Content")}, {"content": ref("UserContent")}
    calls = {"tool_calls": several(ref("ToolCall"), 1, MAX_CALLS)}
    nothing = {"content": or_null(ref("Content")), "tool_calls": or_null(_EMPTY)}
    assistant = {"role": {"const": "assistant"}}
    others = {"role": one_of([role for role in ROLES if role not in ("assistant", "user")])}
    return either(
        record({"role": {"const": "user"}} | user_content, extras),
        record(others | content, extras),
        record(assistant | content, extras | {"tool_calls": nothing["tool_calls"]}),
        record(assistant | calls, extras | {"content": nothing["content"]}),
    )


def _text_part() -> Shape:
    return record({"type": {"const": "text"}, "text": TEXT})


def _picture_part() -> Shape:
    url = TEXT | {
        "pattern": "^data:[^,]*;base64,",
        "description": "The picture itself, in base64: PNG, JPEG, GIF or WebP. Nothing is fetched.",
        "examples": [_DOT],
    }
    return record(
        {"type": {"const": "image_url"}, "image_url": record({"url": url}, {"detail": ANY})}
    )


def _call() -> Shape:
    function = record({"name": TEXT}, {"arguments": either(TEXT, MAPPING)})
    return record({"function": function}, {"id": TEXT})


def _tool() -> Shape:
    parameters = record({}, {"type": {"const": "object"}})
    function = record(
        {"name": _NAME},
        {
            "description": or_null(TEXT),
            "strict": or_null(FLAG),
            "parameters": or_null(parameters),
        },
    )
    return record({"type": {"const": "function"}, "function": function})


def _tool_choice() -> Shape:
    kind = {"type": {"const": "function"}}
    named = record({**kind, "function": record({"name": TEXT})})
    allowed = record(
        {
            "mode": one_of(["auto", "required"]),
            "tools": several(either(named, record({**kind, "name": TEXT})), 1),
        }
    )
    some = record({"type": {"const": "allowed_tools"}, "allowed_tools": allowed})
    return either(one_of(["none", "auto", "required"]), named, some)


def _response_format() -> Shape:
    described = record({}, {"name": ANY, "schema": MAPPING, "strict": or_null(FLAG)})
    return either(
        {"type": "object", "maxProperties": 0},
        record({"type": {"const": "text"}}),
        record({"type": {"const": "json_object"}}, {"schema": or_null(MAPPING)}),
        record({"type": {"const": "json_schema"}, "json_schema": described}),
    )


def _embeddings() -> Shape:
    return _body(
        {"model": _MODEL, "input": ref("EmbeddingsInput")},
        {"encoding_format": one_of(ENCODINGS), "dimensions": integer(1, MAX_DIMENSIONS)},
    )


def _input() -> Shape:
    mixed = several(either(TEXT, {"type": "integer"}), 1)
    parts = {"content": several(_text_part(), 1)}
    wrapped = either(record({"prompt_string": either(TEXT, mixed)}), record(parts))
    return either(TEXT, mixed, wrapped, several(either(TEXT, mixed, wrapped), 1, MAX_INPUTS))


def _rerank() -> Shape:
    documents = several(either(TEXT, record({"text": TEXT})), 1, MAX_INPUTS)
    return _body(
        {"model": _MODEL, "query": TEXT, "documents": documents},
        {"top_n": integer(1, MAX_TOP_N), "return_documents": FLAG},
    )


def _tokenize() -> Shape:
    both = {"model": _MODEL, "with_pieces": FLAG}
    return either(
        _body(
            {"content": text(0, MAX_CONTENT_BYTES)},
            {**both, "messages": {"type": "null"}, "add_special": FLAG, "parse_special": FLAG},
        ),
        _body(
            {"messages": several(ref("Message"), 1)},
            {
                **both,
                "content": {"type": "null"},
                "tools": several(ref("Tool"), 0, MAX_TOOLS),
                "chat_template_kwargs": MAPPING,
            },
        ),
    )
