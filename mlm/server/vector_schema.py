"""The fields of requests for vectors and for scores, turned into the engine's terms."""

from dataclasses import dataclass
from typing import Any, Literal

from mlm.engine.messages import Embed
from mlm.server.errors import ApiError, invalid
from mlm.server.fields import Fields, wrong_type

MAX_INPUTS = 2048  # as OpenAI has it; documents too
MAX_DIMENSIONS = 2**20
MAX_TOP_N = 2**31 - 1
ENCODINGS = ("float", "base64")
Input = str | list[str | int]


@dataclass(frozen=True, slots=True)
class VectorRequest:
    """A request for vectors or scores."""

    model: str
    embed: Embed  # its ``request_id`` is 0 until it is sent to a worker
    ignored: tuple[str, ...]  # fields that had no effect
    encoding: Literal["float", "base64"] = "float"
    top_n: int | None = None  # of the scores, only the best so many
    shows_documents: bool = False


def read_embeddings(body: dict[str, Any]) -> VectorRequest:
    """Return the request in the body of ``/v1/embeddings``.

    Raises:
        ApiError: 400 with ``param``: a field is missing, has a wrong type or is out of range.
    """
    fields = Fields(body)
    encoding: Any = fields.any("encoding_format")
    if encoding is None:
        encoding = "float"
    if encoding not in ENCODINGS:
        raise wrong_type("encoding_format", "float or base64")
    embed = Embed(
        request_id=0,
        inputs=_read_inputs(fields.required("input")),
        dimensions=fields.integer("dimensions", 1, MAX_DIMENSIONS),
    )
    return VectorRequest(_read_model(fields), embed, fields.unread, encoding)


def read_rerank(body: dict[str, Any]) -> VectorRequest:
    """Return the request in the body of ``/v1/rerank``; raises as `read_embeddings`."""
    fields = Fields(body)
    query, documents = fields.required("query"), fields.required("documents")
    if not isinstance(query, str):
        raise wrong_type("query", "a string")
    if not isinstance(documents, list):
        raise wrong_type("documents", "a list of strings")
    _check_count(documents, "documents")
    texts: list[Any] = [each.get("text") if isinstance(each, dict) else each for each in documents]
    if not all(isinstance(text, str) for text in texts):
        raise wrong_type("documents", 'a list of strings, or of objects like {"text": "…"}')
    top_n = fields.integer("top_n", 1, MAX_TOP_N)
    shows = fields.flag("return_documents")
    embed = Embed(request_id=0, inputs=texts, query=query)
    model = _read_model(fields)
    return VectorRequest(model, embed, fields.unread, top_n=top_n, shows_documents=shows)


def _read_model(fields: Fields) -> str:
    model = fields.required("model")
    if not isinstance(model, str):
        raise wrong_type("model", "a string")
    return model


def _read_inputs(given: Any) -> list[Input]:
    """Return the inputs; a list with a bare token in it is one input, any other a list of them."""
    several = isinstance(given, list) and not any(map(_is_token, given))
    inputs = given if several else [given]
    _check_count(inputs, "input")
    return [_read_input(each) for each in inputs]


def _read_input(given: Any) -> Input:
    """Return one input: text, tokens, or both; as an object too, as llama.cpp's server has it."""
    if isinstance(given, dict):
        given = given["prompt_string"] if "prompt_string" in given else _join(given.get("content"))
    if isinstance(given, str):
        return given
    if isinstance(given, list) and all(_is_token(part) or isinstance(part, str) for part in given):
        if not given:
            raise invalid("'input': one of the inputs is empty", "input")
        return given
    raise _wrong_input()


def _join(parts: Any) -> str:
    """Return the text in a list of OpenAI's parts of content."""
    if not isinstance(parts, list) or not parts:
        raise _wrong_input()
    texts: list[Any] = [part.get("text") for part in parts if isinstance(part, dict)]
    are_text = all(isinstance(part, dict) and part.get("type") == "text" for part in parts)
    if not are_text or not all(isinstance(text, str) for text in texts):
        raise _wrong_input()
    return "".join(texts)


def _is_token(part: Any) -> bool:
    return isinstance(part, int) and not isinstance(part, bool)


def _check_count(inputs: list[Any], name: str) -> None:
    if not inputs:
        raise invalid(f"'{name}' is empty", name)
    if len(inputs) > MAX_INPUTS:
        raise invalid(f"'{name}' holds {len(inputs)}; at most {MAX_INPUTS} are possible", name)


def _wrong_input() -> ApiError:
    return wrong_type("input", "a string, a list of strings, a list of tokens, or a list of those")
