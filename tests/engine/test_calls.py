"""A real worker with tools: calls that must be made, calls that may be, thoughts before them."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from fakes.chat_templates import FAMILIES
from fakes.json_schema import faults
from fakes.real_worker import Answer, ask, working
from fakes.tiny_models import FIRST_CONTROL_TOKEN, write_tiny_model

from mlm.engine.messages import Accepted, Failed, Finished, JsonFormat, ToolChoice
from mlm.engine.process import Worker
from mlm.server.markup import MarkupReader

CHAT = [{"role": "user", "content": "hello"}]
FINAL = "<|channel|>final<|message|>"  # a token only here, so that a bias can make it likely
CONTROL_TOKENS = (
    "<tool_call>", "[TOOL_CALLS]", "<|python_tag|>", "<think>", "</think>", FINAL
)  # fmt: skip
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Rome"]}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
}
SCHEMAS: dict[str, Any] = {
    "weather": PARAMETERS,
    "clock": {"type": "object", "properties": {}},
}
TOOLS: Any = [
    {"type": "function", "function": {"name": name, "parameters": schema}}
    for name, schema in SCHEMAS.items()
]
# Random models seldom end anything, and write bytes that are no characters.
WRITING = {ord(character) + 228: 4.0 for character in '"]}'} | {
    5 + b: -100.0 for b in range(128, 256)
}
WRITING[2] = 6.0  # </s>
FIELDS: Any = {
    "messages": CHAT, "tools": TOOLS, "max_tokens": 200, "temperature": 1.0, "logit_bias": WRITING,
}  # fmt: skip
ModelOf = Callable[[str], Path]


@pytest.fixture(scope="session")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> ModelOf:
    """Return the path of a tiny model with the template of a family."""
    folder = tmp_path_factory.mktemp("families")

    def path(family: str) -> Path:
        file = folder / f"{family}.gguf"
        if not file.exists():
            template = FAMILIES[family]
            write_tiny_model(file, chat_template=template, control_tokens=CONTROL_TOKENS)
        return file

    return path


def bias(text: str, strength: float = 100.0) -> dict[int, float]:
    """Return a bias that makes a control token come whenever it may."""
    return WRITING | {FIRST_CONTROL_TOKEN + CONTROL_TOKENS.index(text): strength}


def tell(path: Path, story: Callable[[Worker], Coroutine[Any, Any, Any]]) -> Any:
    async def told() -> Any:
        async with working(path, n_ctx=8192) as worker:
            return await story(worker)

    return asyncio.run(told())


def parts_of(answer: Answer) -> list[tuple[str, str]]:
    """Return the parts of an answer as the gateway reads them."""
    accepted = answer.events[0]
    assert isinstance(accepted, Accepted), answer.ending
    reader = MarkupReader(accepted.form, SCHEMAS)
    parts = [*reader.push(answer.text), *reader.end(cut=answer.ending.reason != "stop")]
    return [(part.kind, part.text) for part in parts]


def check_calls(answer: Answer) -> list[str]:
    """Return the names of the functions that were called, with valid arguments and nothing else."""
    parts = parts_of(answer)
    assert {kind for kind, _ in parts} == {"call", "arguments"}, answer.text
    names = [text for kind, text in parts if kind == "call"]
    written = [text for kind, text in parts if kind == "arguments"]
    assert len(names) == len(written) > 0
    for name, arguments in zip(names, written, strict=True):
        if answer.ending.reason == "stop":
            assert faults(json.loads(arguments), SCHEMAS[name]) == []
    return names


@pytest.mark.parametrize(
    ("family", "marker"),
    [
        ("hermes", "<tool_call>"),
        ("mistral list", "[TOOL_CALLS]"),
        pytest.param("plain", "<tool_call>", marks=pytest.mark.slow),
        pytest.param("mistral named", "[TOOL_CALLS]", marks=pytest.mark.slow),
        pytest.param("llama3", "<|python_tag|>", marks=pytest.mark.slow),
    ],
)
def test_calls_are_valid_where_they_must_be_made_and_where_they_may_be(
    family: str, marker: str, model_of: ModelOf
):
    must = [
        ToolChoice(required=True, parallel=False),
        ToolChoice(required=True, names=["clock"], parallel=False),
        ToolChoice(required=True, names=["weather"]),
    ]

    async def story(worker: Worker) -> tuple[list[list[Answer]], list[Answer], Answer]:
        made = [
            await asyncio.gather(
                *(ask(worker, **FIELDS, tool_choice=choice, seed=seed) for seed in range(3))
            )
            for choice in must
        ]
        begins = FIELDS | {"logit_bias": bias(marker)}
        may = await asyncio.gather(*(ask(worker, **begins, seed=seed) for seed in range(3)))
        never = FIELDS | {"logit_bias": bias(marker, -100.0), "min_tokens": 5, "max_tokens": 20}
        return made, may, await ask(worker, **never, seed=1)

    (some, clocks, weathers), may, free = tell(model_of(family), story)
    for answer in (*some, *clocks, *weathers, *may, free):
        assert isinstance(answer.ending, Finished), answer.ending
    assert [len(check_calls(answer)) for answer in some] == [1, 1, 1]
    assert [check_calls(answer) for answer in clocks] == [["clock"]] * 3
    assert all(answer.ending.reason == "stop" for answer in clocks)
    assert all(set(check_calls(answer)) == {"weather"} for answer in weathers)
    if family != "llama3":  # whose calls begin with no token that a bias could make likely
        assert all(check_calls(answer) for answer in may)
    assert [kind for kind, _ in parts_of(free)] == ["text"]


@pytest.mark.parametrize("family", ["qwen3", "always thinking"])
def test_json_and_calls_come_after_the_thoughts(family: str, model_of: ModelOf):
    wanted = JsonFormat(schema=PARAMETERS)
    thinking = bias("</think>", 20.0) | bias("<think>", 20.0)
    off = {"enable_thinking": False}

    async def story(worker: Worker) -> list[Answer]:
        fields = FIELDS | {"logit_bias": thinking}
        return [
            await ask(worker, **fields | {"tools": None}, json_format=wanted, seed=1),
            await ask(worker, **fields, tool_choice=ToolChoice(required=True), seed=2),
            await ask(worker, **fields, tool_choice=ToolChoice(required=True), json_format=wanted),
            await ask(
                worker, **fields | {"tools": None}, grammar='root ::= "{" root2\nroot2 ::= "}"'
            ),
            await ask(worker, **fields | {"tools": None}, template_args=off, json_format=wanted),
        ]

    tagged, called, both, client, off_at_once = tell(model_of(family), story)
    for answer in (tagged, called, both, client):
        assert isinstance(answer.ending, Finished), answer.ending
        assert "</think>" in answer.text
        kinds = [kind for kind, _ in parts_of(answer) if kind != "thought"]
        assert kinds[0] == ("call" if answer in (called, both) else "text"), answer.text
        if answer.ending.reason == "stop":
            json.loads(dict(parts_of(answer)).get("text", "{}"))
    if family == "qwen3":  # the other template does not ask
        assert off_at_once.text.startswith("{")
        assert [kind for kind, _ in parts_of(off_at_once)] == ["text"]


def test_json_comes_in_the_final_channel(model_of: ModelOf):
    async def story(worker: Worker) -> Answer:
        wanted = JsonFormat(schema={"const": {"answer": 1}})
        fields = FIELDS | {"tools": None, "logit_bias": bias(FINAL)}
        return await ask(worker, **fields, json_format=wanted)

    answer = tell(model_of("channels"), story)
    assert answer.text.startswith(FINAL)
    assert parts_of(answer) == [("text", '{"answer": 1}')]


def test_an_answer_may_be_json_or_a_call_when_both_are_offered(model_of: ModelOf):
    async def story(worker: Worker) -> list[Answer]:
        wanted = JsonFormat(schema={"const": {"answer": 1}})
        pushed = [bias("<tool_call>", strength) for strength in (100.0, -100.0)]
        return [
            await ask(worker, **FIELDS | {"logit_bias": one}, json_format=wanted) for one in pushed
        ]

    called, said = tell(model_of("hermes"), story)
    assert called.text.startswith("<tool_call>")
    # "<tool_call>" can be spelled with letters, too
    assert said.text == '{"answer": 1}' or check_calls(said)


def test_broken_schemas_of_tools_are_named_and_cost_one_request(model_of: ModelOf):
    async def story(worker: Worker) -> tuple[Answer, Answer]:
        bad = {"type": "object", "properties": {"a": {"$ref": "https://example.com"}}}
        tools = [*TOOLS, {"type": "function", "function": {"name": "bad", "parameters": bad}}]
        lost = await ask(worker, **FIELDS | {"tools": tools})
        return lost, await ask(worker, **FIELDS, tool_choice=ToolChoice(required=True))

    lost, after = tell(model_of("hermes"), story)
    assert isinstance(lost.ending, Failed)
    assert lost.ending.param == "tools[2].function.parameters.properties.a.$ref"
    check_calls(after)
