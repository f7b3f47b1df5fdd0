"""The document and the server are of one mind about what may be asked."""

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.asgi import no_models
from fakes.json_schema import faults
from starlette.routing import Route

from mlm.engine.messages import SamplingParams
from mlm.pictures import to_data_uri
from mlm.server.admin import read_model_request
from mlm.server.app import make_router
from mlm.server.errors import ApiError
from mlm.server.fields import Fields
from mlm.server.guard import SESSION_PATH
from mlm.server.openapi.document import OPERATIONS, make_document
from mlm.server.schema import read_chat, read_completion
from mlm.server.token_schema import read_detokenize, read_tokenize
from mlm.server.vector_schema import read_embeddings, read_rerank

DOCUMENT = make_document()
SCHEMAS = DOCUMENT["components"]["schemas"]
PICTURE = to_data_uri(b"GIF89a")
MESSAGES = [{"role": "user", "content": "hi"}]
Reader = Callable[[dict[str, Any]], object]
# What reads a body, what the document calls that body, and one that is no longer than needed.
READERS: dict[str, tuple[Reader, dict[str, Any], dict[str, Any]]] = {
    "chat": (read_chat, SCHEMAS["ChatRequest"], {"model": "m", "messages": MESSAGES}),
    "completion": (read_completion, SCHEMAS["CompletionRequest"], {"model": "m", "prompt": "x"}),
    "embeddings": (read_embeddings, SCHEMAS["EmbeddingsRequest"], {"model": "m", "input": "x"}),
    "rerank": (
        read_rerank,
        SCHEMAS["RerankRequest"],
        {"model": "m", "query": "x", "documents": ["y"]},
    ),
    "content": (read_tokenize, SCHEMAS["TokenizeRequest"]["anyOf"][0], {"content": "x"}),
    "messages": (read_tokenize, SCHEMAS["TokenizeRequest"]["anyOf"][1], {"messages": MESSAGES}),
    "action": (read_model_request, SCHEMAS["ModelRequest"], {"model": "m"}),
    "tokens": (read_detokenize, SCHEMAS["DetokenizeRequest"], {"tokens": [1]}),
}
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 1.5, "", "x", "5", [], [1], ["x"], [[]], [None], [[1, 2]], {},
    {"x": 1}, {"1": 1}, {"1": "x"}, {"type": "x"}, {"type": "text"}, {"type": "json_object"},
    {"type": "json_schema"}, {"type": "json_schema", "json_schema": {"schema": {}}}, {"name": "x"},
    {"type": "function", "function": {"name": "f"}}, [{"type": "function", "function": {}}],
    [{"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}],
    [{"type": "function", "function": {"name": "f!", "strict": 1}}], {"include_usage": 1},
    {"include_usage": None}, [[1, 2], ["3", False]], [[1, 2, 3]], [["x", 1]], "x" * 600, "auto",
    ["x"] * 17, "float", {"text": "x"}, [{"text": 1}], {"prompt_string": "x"}, {"content": []},
    *([{"role": "assistant", **rest}] for rest in (
        {}, {"content": None}, {"content": None, "tool_calls": []}, {"tool_calls": 0},
        {"tool_calls": [{"function": {"name": "f"}}]}, {"content": "x", "tool_calls": {}},
        {"tool_calls": [{"function": {"name": "f", "arguments": 1}}]},
        {"tool_calls": [{"id": None, "function": {"name": "f"}}]},
    )),
    *([{"role": role, "content": content}] for role in ("user", "tool", "root", None)
      for content in ("x", None, 5, [], ["x"], [{"type": "text", "text": "x"}], [{"type": "x"}])),
    *([{"role": role, "content": [{"type": "image_url", "image_url": picture}]}]
      for role in ("user", "system", "assistant")
      for picture in (None, PICTURE, {}, {"url": 5}, {"url": PICTURE}, {"url": "http://x/x.png"})),
    [{"role": "user", "content": "x", "name": 5}],
)  # fmt: skip


def is_accepted(read: Reader, body: dict[str, Any]) -> bool:
    try:
        read(body)
    except ApiError as refusal:
        assert refusal.status == 400
        return False
    return True


@pytest.mark.parametrize("name", READERS)
def test_it_names_the_fields_that_are_read_and_no_others(
    name: str, monkeypatch: pytest.MonkeyPatch
):
    read, schema, least = READERS[name]
    seen: set[str] = set()
    real = Fields.any

    def spy(fields: Fields, field: str) -> Any:
        seen.add(field)
        return real(fields, field)

    monkeypatch.setattr(Fields, "any", spy)
    read(least)
    assert seen == set(schema["properties"])
    assert set(schema["required"]) == set(least)


@pytest.mark.parametrize("name", READERS)
def test_null_is_the_same_as_nothing_where_a_field_is_not_needed(name: str):
    read, schema, least = READERS[name]
    nothing = dict.fromkeys(schema["properties"]) | least
    assert read(nothing) == read(least)
    assert not faults(nothing, schema, DOCUMENT)


@pytest.mark.parametrize("name", READERS)
def test_what_it_calls_invalid_is_refused(name: str):
    read, schema, least = READERS[name]
    accepted = [
        (field, value)
        for field, value in itertools.product(schema["properties"], VALUES)
        if faults({**least, field: value}, schema, DOCUMENT)
        and is_accepted(read, {**least, field: value})
    ]
    assert accepted == []


@pytest.mark.parametrize("name", READERS)
def test_every_bound_of_a_number_is_where_the_server_draws_it(name: str):
    read, schema, least = READERS[name]
    # What the bounds of one field ask of another.
    beside = {"top_logprobs": {"logprobs": True}, "best_of": {"n": 16}}
    n_bounds = 0
    for field, shape in schema["properties"].items():
        if "minimum" not in shape or (name, field) == ("completion", "logprobs"):
            continue
        step = 1 if "integer" in shape["type"] else 0.001
        low, high = shape["minimum"], shape["maximum"]
        for inside, outside in ((low, low - step), (high, high + step)):
            others = {**least, **beside.get(field, {})}
            inner = 16 if (field, inside) == ("best_of", 1) else inside
            assert is_accepted(read, {**others, field: inner}), (field, inside)
            assert not is_accepted(read, {**others, field: outside}), (field, outside)
            n_bounds += 1
    expected = {"chat": 50, "completion": 48, "embeddings": 2, "rerank": 2}
    assert n_bounds >= expected.get(name, 0)


def test_every_way_to_choose_a_token_is_there_with_its_default():
    described = SCHEMAS["ChatRequest"]["properties"]
    for name in SamplingParams.__struct_fields__:
        default = getattr(SamplingParams(), name)
        told = described[name].get("default")
        assert told == (list(default) if isinstance(default, tuple) else default) or told is None
    assert described["temperature"]["default"] == 0.8


def test_every_part_is_used_and_every_name_leads_somewhere():
    names = set(re.findall(r"'#/components/schemas/(\w+)'", str(DOCUMENT)))
    assert names == set(SCHEMAS)


def test_examples_are_valid_by_their_schemas():
    for operation in OPERATIONS:
        for example in operation.examples:
            assert not faults(example, SCHEMAS[operation.body], DOCUMENT), operation.path


def test_operations_can_be_told_apart_and_say_what_their_paths_need():
    methods = [each for path in DOCUMENT["paths"].values() for each in path.values()]
    assert len({method["operationId"] for method in methods}) == len(methods) == len(OPERATIONS)
    for path, described in DOCUMENT["paths"].items():
        for method in described.values():
            named = [p["name"] for p in method.get("parameters", ())]
            assert named == re.findall(r"{(\w+)}", path)
            assert {"200", "400", "401", "500"} <= method["responses"].keys()


@pytest.fixture
def routes(tmp_path: Path) -> Iterator[set[tuple[str, str]]]:
    """Method and path of all there is."""
    with no_models(tmp_path) as services:
        found = [route for route in make_router(services).routes if isinstance(route, Route)]
        yield {
            (method, route.path.replace(":path}", "}"))
            for route in found
            for method in (route.methods or {"POST"}) - {"HEAD"}
        }


def test_there_is_an_operation_for_every_route(routes: set[tuple[str, str]]):
    """Whoever adds a route adds it to `OPERATIONS`."""
    for_browsers = ("/dashboard/", SESSION_PATH)
    pages = {route for route in routes if route[1] == "/" or route[1].startswith(for_browsers)}
    assert {(operation.method, operation.path) for operation in OPERATIONS} == routes - pages
