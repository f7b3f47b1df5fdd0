"""Parameters have the names, types and ranges of the API."""

import pytest

from mlm.errors import UsageError
from mlm.repl.params import PARAMS, find_param, parse_param
from mlm.server.schema import read_chat


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("temperature", "0.2", 0.2),
        ("temperature", "0,2", 0.2),
        ("top_k", "40", 40),
        ("seed", "-1", -1),
        ("max_tokens", "300", 300),
        ("stop", "END", "END"),
        ("stop", '["a", "\\n"]', ["a", "\n"]),
        ("deterministic", "on", True),
        ("chat_template_kwargs", '{"enable_thinking": false}', {"enable_thinking": False}),
    ],
)
def test_a_value_is_read_as_the_api_wants_it(name: str, text: str, value: object):
    assert parse_param(find_param(name), text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("temperature", "hot"),
        ("temperature", "2.5"),
        ("temperature", "nan"),
        ("top_k", "1.5"),
        ("top_k", "-1"),
        ("max_tokens", "0"),
        ("max_tokens", "9" * 30),
        ("seed", "1" * 5000),
        ("stop", "[]"),
        ("stop", "[1]"),
        ("stop", '["a'),
        ("deterministic", "perhaps"),
        ("chat_template_kwargs", "[" * 10_000),
    ],
)
def test_any_other_value_is_refused_with_what_would_do(name: str, text: str):
    with pytest.raises(UsageError, match=name) as caught:
        parse_param(find_param(name), text)
    assert f"/set {name}" in str(caught.value.remedy)


def test_a_wrong_name_is_met_with_the_nearest():
    with pytest.raises(UsageError) as caught:
        find_param("temprature")
    assert caught.value.remedy == "/set temperature"


@pytest.mark.parametrize("name", PARAMS)
def test_the_server_takes_what_the_chat_takes(name: str):
    param = PARAMS[name]
    texts = {"on or off": ["on", "off"], "text": ["END"], "JSON": ["{}"]}.get(param.kind)
    for text in texts or [f"{param.low}", f"{param.high}"]:
        value = parse_param(param, text)
        body = {"model": "m", "messages": [{"role": "user", "content": "x"}], name: value}
        assert read_chat(body).ignored == ()
