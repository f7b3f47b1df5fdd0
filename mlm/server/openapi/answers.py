"""What is answered: documents, chunks of streams, errors."""

from typing import get_args

from mlm.engine.messages import FinishReason
from mlm.planning.residency import State
from mlm.server.answers import CacheWord
from mlm.server.openapi.shapes import (
    ANY,
    COUNT,
    FLAG,
    MAPPING,
    NUMBER,
    TEXT,
    Shape,
    either,
    growing,
    integer,
    number,
    one_of,
    or_null,
    record,
    ref,
    several,
)

_BYTE = integer(0, 255)
_WHY = one_of([*(r for r in get_args(FinishReason) if r != "cancelled"), "tool_calls"])
_LISTED = {"object": {"const": "list"}}
_MS = NUMBER | {"minimum": 0}


def answer_shapes() -> dict[str, Shape]:
    """Return the schemas of answers and of their parts, by name."""
    return {
        "Error": _error(),
        "ModelList": record(_LISTED | {"data": several(ref("Model"))}),
        "Model": _model(),
        "Chat": _whole("chat.completion", _chat_choice()),
        "ChatChunk": _chunk("chat.completion.chunk", _chat_piece()),
        "Completion": _whole("text_completion", _completion_choice(_WHY)),
        "CompletionChunk": _chunk("text_completion", _completion_choice(or_null(_WHY))),
        "ChatLogprobs": _chat_logprobs(),
        "CompletionLogprobs": _completion_logprobs(),
        "Usage": _usage(),
        "Truth": _truth(),
        "VectorTruth": _vector_truth(),
        "Embeddings": _embeddings(),
        "Ranking": _ranking(),
        "TokenList": _token_list(),
        "Text": record({"content": TEXT, "model": TEXT}),
        "Health": record({"status": {"const": "ok"}}),
        "Readiness": record({"status": one_of(["ready", "loading", "draining"])}),
        "Metrics": TEXT,
        "Statistics": growing({"schema": {"const": "mlm.stats/1"}, "models": several(MAPPING)}),
        "Resident": _resident(),
        "Cleared": record({"cleared": COUNT}),
        "OpenAPI": growing({"openapi": TEXT, "info": MAPPING, "paths": MAPPING}),
    }


def _resident() -> Shape:
    return growing(
        {
            "model": TEXT,
            "state": one_of(get_args(State)),
            "progress": number(0, 1),
            "active": COUNT,
            "waiting": COUNT,
            "memory_bytes": COUNT,
            "pinned": FLAG,
            "ttl_s": or_null(_MS),
            "idle_s": or_null(_MS),
        }
    )


def _error() -> Shape:
    said = {"message": TEXT, "type": TEXT, "param": or_null(TEXT), "code": TEXT}
    return record({"error": record(said, {"remedy": TEXT})})


def _model() -> Shape:
    meta = {name: COUNT for name in ("n_ctx", "n_ctx_slot", "n_ctx_train", "n_parallel")}
    fixed = {"object": {"const": "model"}, "owned_by": {"const": "mlm"}}
    return growing(
        {"id": TEXT, "created": COUNT, "state": one_of(get_args(State)), **fixed}
        | {"input_modalities": several(one_of(["text", "image"]), 1)},
        {"meta": growing({**meta, "n_params": COUNT, "engine": TEXT})},
    )


def _head(kind: str) -> dict[str, Shape]:
    return {"id": TEXT, "object": {"const": kind}, "created": COUNT, "model": TEXT}


def _whole(kind: str, choice: Shape) -> Shape:
    rest = {"choices": several(choice, 1), "usage": ref("Usage"), "mlm": ref("Truth")}
    return record(_head(kind) | rest)


def _chunk(kind: str, choice: Shape) -> Shape:
    """Return a chunk of a stream; the last one says what it took, and the usage if asked for."""
    last = {"usage": ref("Usage"), "mlm": ref("Truth")}
    return record(_head(kind) | {"choices": several(choice)}, last)


def _chat_choice() -> Shape:
    function = record({"name": TEXT, "arguments": TEXT})
    call = record({"id": TEXT, "type": {"const": "function"}, "function": function})
    message = record(
        {"role": {"const": "assistant"}, "content": or_null(TEXT), "refusal": {"type": "null"}},
        {"reasoning_content": TEXT, "tool_calls": several(call, 1)},
    )
    logprobs = or_null(ref("ChatLogprobs"))
    return record({"index": COUNT, "message": message, "logprobs": logprobs, "finish_reason": _WHY})


def _chat_piece() -> Shape:
    function = record({"arguments": TEXT}, {"name": TEXT})
    call = record(
        {"index": COUNT, "function": function}, {"id": TEXT, "type": {"const": "function"}}
    )
    delta = record(
        {},
        {
            "role": {"const": "assistant"},
            "content": TEXT,
            "reasoning_content": TEXT,
            "tool_calls": several(call, 1),
        },
    )
    logprobs = or_null(ref("ChatLogprobs"))
    return record(
        {"index": COUNT, "delta": delta, "logprobs": logprobs, "finish_reason": or_null(_WHY)}
    )


def _completion_choice(reason: Shape) -> Shape:
    logprobs = or_null(ref("CompletionLogprobs"))
    return record({"index": COUNT, "text": TEXT, "logprobs": logprobs, "finish_reason": reason})


def _chat_logprobs() -> Shape:
    token = {"id": COUNT, "token": TEXT, "logprob": or_null(NUMBER), "bytes": several(_BYTE)}
    entries = several(record({**token, "top_logprobs": several(record(token))}))
    return record({"content": entries, "refusal": {"type": "null"}}, {"reasoning_content": entries})


def _completion_logprobs() -> Shape:
    by_token = {"type": "object", "additionalProperties": or_null(NUMBER)}
    return record(
        {
            "tokens": several(TEXT),
            "token_logprobs": several(or_null(NUMBER)),
            "top_logprobs": several(by_token),
            "text_offset": several(COUNT),
        }
    )


def _usage() -> Shape:
    totals = {name: COUNT for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    return record(totals | {"prompt_tokens_details": record({"cached_tokens": COUNT})})


def _truth() -> Shape:
    times = ("queue_ms", "load_ms", "ttft_ms", "prefill_ms", "decode_ms", "e2e_ms")
    counts = ("prompt_tokens", "cached_tokens", "completion_tokens")
    return growing(
        {
            "cache": one_of(get_args(CacheWord)),
            **dict.fromkeys(times, _MS),
            **dict.fromkeys(counts, COUNT),
            "config": TEXT,
            "engine": TEXT,
        }
    )


def _vector_truth() -> Shape:
    times = dict.fromkeys(("queue_ms", "load_ms", "prefill_ms", "e2e_ms"), _MS)
    return growing({**times, "prompt_tokens": COUNT, "config": TEXT, "engine": TEXT})


def _vector_usage() -> Shape:
    return record({"prompt_tokens": COUNT, "total_tokens": COUNT})


def _embeddings() -> Shape:
    vector = either(several(NUMBER), TEXT | {"contentEncoding": "base64"})
    item = record({"object": {"const": "embedding"}, "index": COUNT, "embedding": vector})
    told = {"model": TEXT, "usage": _vector_usage(), "mlm": ref("VectorTruth")}
    return record(_LISTED | {"data": several(item, 1)} | told)


def _ranking() -> Shape:
    result = record(
        {"index": COUNT, "relevance_score": NUMBER}, {"document": record({"text": ANY})}
    )
    told = {"model": TEXT, "usage": _vector_usage(), "mlm": ref("VectorTruth")}
    return record(_LISTED | {"results": several(result, 1)} | told)


def _token_list() -> Shape:
    spelled = record({"id": COUNT, "piece": either(TEXT, several(_BYTE))})
    tokens = either(several(COUNT), several(spelled))
    return record({"tokens": tokens, "count": COUNT, "model": TEXT, "n_ctx_slot": COUNT})
