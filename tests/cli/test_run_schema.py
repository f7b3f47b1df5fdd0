"""Answers that are JSON by a schema, or an exit code that says they are not."""

import json
import os
import sys
from pathlib import Path

import pytest
from fakes.openai_server import OpenAIServer

from mlm.cli._answer_schema import read_schema
from mlm.errors import ExitCode, MlmError

pytestmark = pytest.mark.usefixtures("warm_home", "no_stdin")
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}


@pytest.fixture
def server(openai_server: OpenAIServer, home: Path) -> OpenAIServer:
    openai_server.announce(home)
    return openai_server


def test_the_answer_is_held_to_the_schema_told_of_it_and_printed_as_json(mlm, server):
    server.says('{\n "name":', ' "Zoë\u009b", "age": 7 }\n')
    result = mlm("run", "tiny", "Who?", "--schema", "name, age int", "--system", "Be brief.")
    assert (result.exit_code, result.stderr) == (ExitCode.OK, "")
    assert result.stdout == '{"name": "Zoë\\u009b", "age": 7}\n'
    body = server.asked[-1].body
    assert body["response_format"]["json_schema"]["schema"] == PERSON
    assert body["messages"][0]["content"].startswith("Be brief.\n\nAnswer in JSON")
    assert json.dumps(PERSON) in body["messages"][0]["content"]


def test_a_document_has_the_text_and_the_value(mlm, server):
    server.says('{"name":"Bo","age":7}')
    document = mlm("run", "tiny", "Who?", "--schema", "name, age int", "--json").json
    assert document["answer"] == '{"name":"Bo","age":7}'
    assert document["value"] == {"name": "Bo", "age": 7}


@pytest.mark.parametrize(
    ("answer", "reason", "code", "said"),
    {
        "cut off": ('{"name": "B', "length", "answer_cut_off", "--max-tokens"),
        "cut off where it could end": ("{}", "length", "answer_cut_off", "--max-tokens"),
        "no JSON": ("Bo is seven.", "stop", "answer_invalid", "not JSON"),
        "not a number": ('{"name": "Bo", "age": NaN}', "stop", "answer_invalid", "NaN"),
        "other type": ('{"name": "Bo", "age": "7"}', "stop", "answer_invalid", "$.age"),
        "missing": ('{"name": "Bo"}', "stop", "answer_invalid", "required"),
        "too large": ('{"name": "Bo", "age": 1e999}', "stop", "answer_invalid", "1e999"),
        "much too large": (f'{{"name": "", "age": {"9" * 5000}}}', "stop", "answer_invalid", "999"),
        "one of two": ('{"name": "", "age": 1, "age": 2}', "stop", "answer_invalid", "twice"),
        "deep": ("[" * 65 + "]" * 65, "stop", "answer_invalid", "deeper than 64"),
        "deeper": ("[" * 1000 + "]" * 1000, "stop", "answer_invalid", "deeper than 64"),
        "deepest": ("[" * 100_000, "stop", "answer_invalid", "deeper than 64"),
    }.values(),
)
def test_what_is_not_valid_never_looks_like_an_answer(mlm, server, answer, reason, code, said):
    server.says(answer, reason=reason)
    words = ("run", "tiny", "Who?", "--schema", "name, age int")
    result = mlm(*words)
    assert (result.exit_code, result.stdout) == (ExitCode.GATE_FAILED, "")
    assert said in result.stderr
    document = mlm(*words, "--json").json
    assert document["error"]["code"] == code
    assert document["answer"] == answer


@pytest.mark.parametrize(
    ("text", "schema"),
    {
        "fields": ("name, age int", PERSON),
        "lines": ("\n name \n\n age integer\n", PERSON),
        "JSON": (json.dumps(PERSON), PERSON),
        "described": (
            "bio: in a line, at most\nage int: in years",
            {
                "type": "object",
                "properties": {
                    "bio": {"type": "string", "description": "in a line, at most"},
                    "age": {"type": "integer", "description": "in years"},
                },
                "required": ["bio", "age"],
            },
        ),
        "lists": (
            "[tags str[], ok bool, x float]",
            {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "tags": {"type": "array", "items": {"type": "string"}},
                        "ok": {"type": "boolean"},
                        "x": {"type": "number"},
                    },
                    "required": ["tags", "ok", "x"],
                },
            },
        ),
    }.values(),
)
def test_a_schema_can_be_written_in_short(text: str, schema: object):
    assert read_schema(text) == schema


def test_a_schema_can_be_a_file(tmp_path: Path):
    path = tmp_path / "person.json"
    path.write_text(json.dumps(PERSON))
    assert read_schema(str(path)) == PERSON


def _nested(depth: int) -> str:
    return '{"not":' * (depth - 1) + "{}" + "}" * (depth - 1)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    {
        "nothing": ("", ExitCode.USAGE, "neither"),
        "prose": ("a list of all people", ExitCode.USAGE, "neither"),
        "unknown type": ("age date", ExitCode.USAGE, "neither"),
        "twice": ("name, name", ExitCode.USAGE, "neither"),
        "no file": ("people.json", ExitCode.NOT_FOUND, "no file people.json"),
        "no folder": ("./people", ExitCode.NOT_FOUND, "no file"),
        "broken JSON": ('{"type": ', ExitCode.USAGE, "not JSON"),
        "deep JSON": (_nested(65), ExitCode.USAGE, "deeper than 64"),
        "deeper JSON": (_nested(500), ExitCode.USAGE, "deeper than 64"),
        "deepest JSON": (_nested(10_000), ExitCode.USAGE, "deeper than 64"),
        "endless JSON": (_nested(100_000), ExitCode.USAGE, "longer than 256 KiB"),
        "no number": ('{"maximum": NaN}', ExitCode.USAGE, "NaN"),
        "too large a number": ('{"maximum": 1e999}', ExitCode.USAGE, "1e999"),
        "cannot be checked": (
            '{"type": "object", "unevaluatedProperties": false}',
            ExitCode.USAGE,
            "unevaluatedProperties",
        ),
        "endless": ("x" * 100_000, ExitCode.OK, ""),
    }.values(),
)
def test_what_is_no_schema_is_said_at_once(text: str, code: ExitCode, said: str):
    if code == ExitCode.OK:
        assert read_schema(text)["required"] == [text]
        return
    with pytest.raises(MlmError, match=said) as failure:
        read_schema(text)
    assert failure.value.exit_code == code
    assert failure.value.remedy


@pytest.mark.skipif(sys.platform != "linux", reason="has no such file")
@pytest.mark.parametrize("option", ["--schema", "--template"])
def test_a_file_that_cannot_be_read_is_not_said_to_be_missing(mlm, server, option: str):
    result = mlm("run", "tiny", "Hi", option, "/proc/self/mem")  # not even by root
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr.startswith("error: cannot read /proc/self/mem: Input/output error")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_schema_in_a_folder_that_is_closed(mlm, server, tmp_path: Path):
    (tmp_path / "closed").mkdir(mode=0o000)
    result = mlm("run", "tiny", "Hi", "--schema", tmp_path / "closed" / "person.json")
    assert result.exit_code == ExitCode.USAGE
    assert "Permission denied" in result.stderr


@pytest.mark.parametrize(
    "content", [b"[1]", b"\xff\xfe", b"x" * 300_000, b"", b'{"description": "gr\xfc\xdfe an alle"}']
)
def test_a_file_that_holds_no_schema(tmp_path: Path, content: bytes):
    path = tmp_path / "person.json"
    path.write_bytes(content)
    with pytest.raises(MlmError, match=r"person\.json"):
        read_schema(str(path))


def test_the_demo_model_is_held_to_a_schema_for_real(mlm):
    assert mlm("download", "mlm-demo").exit_code == ExitCode.OK
    words = ("run", "mlm-demo", "Is it on?", "--schema", "on bool", "--temperature", "0")
    result = mlm(*words)
    assert result.exit_code == ExitCode.OK, result.stderr
    assert json.loads(result.stdout).keys() == {"on"}
    assert sys.stdout.isatty() is False and result.stdout.count("\n") == 1


def test_a_schema_that_allows_nothing_is_refused_for_real(mlm):
    assert mlm("download", "mlm-demo").exit_code == ExitCode.OK
    schema = '{"type": "object", "properties": {"a": false}, "required": ["a"]}'
    result = mlm("run", "mlm-demo", "Hi", "--schema", schema)
    assert result.exit_code == ExitCode.USAGE
    assert "allows nothing" in result.stderr
