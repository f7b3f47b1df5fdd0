"""OpenAI's fields: what is understood, what is refused, what is ignored and named."""

from typing import Any

import pytest

from mlm.engine.messages import SamplingParams
from mlm.pictures import to_data_uri
from mlm.server.errors import ApiError
from mlm.server.schema import read_chat, read_completion


def chat(**fields: Any):
    messages = [{"role": "user", "content": "hi"}]
    return read_chat({"model": "tiny", "messages": messages} | fields)


def completion(**fields: Any):
    return read_completion({"model": "tiny", "prompt": "hi"} | fields)


def test_a_plain_chat_has_openai_defaults():
    request = chat()
    assert request.model == "tiny"
    assert request.generate.messages == [{"role": "user", "content": "hi"}]
    assert request.generate.sampling == SamplingParams()
    assert request.generate.max_tokens is None
    assert request.generate.stop == []
    assert not request.stream
    assert request.ignored == ()


def test_every_sampling_field_reaches_the_engine():
    fields = {
        "temperature": 0.5,
        "top_k": 40,
        "top_p": 0.9,
        "min_p": 0.05,
        "typical_p": 0.8,
        "repeat_penalty": 1.1,
        "repeat_last_n": 32,
        "frequency_penalty": 0.1,
        "presence_penalty": -0.1,
        "dry_multiplier": 0.8,
        "dry_base": 1.5,
        "dry_allowed_length": 3,
        "dry_penalty_last_n": 64,
        "xtc_probability": 0.5,
        "xtc_threshold": 0.2,
        "mirostat": 2,
        "mirostat_tau": 4.0,
        "mirostat_eta": 0.2,
        "seed": 7,
        "logit_bias": {"42": -100},
        "grammar": 'root ::= "a"',
        "ignore_eos": True,
        "min_tokens": 4,
        "top_n_sigma": 1.5,
        "dynatemp_range": 0.5,
        "dynatemp_exponent": 2.0,
        "dry_sequence_breakers": ["|", "é"],
    }
    assert set(fields) == set(SamplingParams.__struct_fields__)
    request = chat(**fields)
    wanted = fields | {"logit_bias": {42: -100.0}, "dry_sequence_breakers": ("|", "é")}
    assert request.generate.sampling == SamplingParams(**wanted)
    assert request.ignored == ()


def test_null_means_not_given():
    nothing = dict.fromkeys(("temperature", "stop", "seed", "max_tokens", "tools", "n", "stream"))
    assert chat(**nothing).generate == chat().generate


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", "hot"),
        ("temperature", True),
        ("temperature", [1]),
        ("top_p", 1.5),
        ("top_k", -1),
        ("top_k", 1.5),
        ("repeat_penalty", 0),
        ("frequency_penalty", -3),
        ("presence_penalty", 3),
        ("mirostat", 3),
        ("seed", 2**63),
        ("seed", 1.5),
        ("max_tokens", 0),
        ("max_tokens", -1),
        ("max_tokens", 2**31),
        ("max_completion_tokens", 0),
        ("min_tokens", -1),
        ("n", 0),
        ("n", 17),
        ("n", "1"),
        ("stream", "yes"),
        ("stream", 1),
        ("ignore_eos", "no"),
        ("stop", 5),
        ("stop", [5]),
        ("stop", [""]),
        ("stop", ["x"] * 17),
        ("stop", "x" * 513),
        ("logit_bias", {"x": 1}),
        ("logit_bias", {"-1": 1}),
        ("logit_bias", {"9999999999": 1}),
        ("logit_bias", {"1": 101}),
        ("logit_bias", {"1": "a"}),
        ("logit_bias", {str(i): 1 for i in range(1025)}),
        ("logit_bias", "42"),
        ("logit_bias", [42]),
        ("logit_bias", [[42]]),
        ("logit_bias", [["hello", 1]]),
        ("logit_bias", [[True, 1]]),
        ("logit_bias", [[-1, 1]]),
        ("logit_bias", [[1, True]]),
        ("logit_bias", {"1": None}),
        ("top_n_sigma", -1.5),
        ("dynatemp_range", 3),
        ("dynatemp_exponent", -1),
        ("dry_sequence_breakers", "x"),
        ("dry_sequence_breakers", [1]),
        ("dry_sequence_breakers", [""]),
        ("dry_sequence_breakers", ["x"] * 17),
        ("dry_sequence_breakers", ["é" * 21]),
        ("dry_sequence_breakers", ["a\0"]),
        ("deterministic", "yes"),
        ("grammar", "x" * 70_000),
        ("grammar", 5),
        ("logprobs", 1),
        ("top_logprobs", 3),
        ("top_logprobs", 21),
        ("top_logprobs", -1),
        ("response_format", "json"),
        ("json_schema", "{}"),
        ("tools", {}),
        ("tool_choice", "sometimes"),
        ("parallel_tool_calls", "yes"),
        ("functions", [{"name": "f"}]),
        ("chat_template_kwargs", "no"),
        ("messages", []),
        ("messages", "hi"),
        ("messages", None),
        ("model", 5),
        ("model", None),
        ("cache_prompt", 1),
    ],
)
def test_a_known_field_out_of_range_is_refused_and_named(field: str, value: object):
    with pytest.raises(ApiError) as caught:
        chat(**{field: value})
    assert caught.value.status == 400
    assert caught.value.param == field
    assert f"'{field}" in caught.value.message


def test_a_number_out_of_range_is_told_the_range():
    for fields, range_ in (
        ({"temperature": 9}, "from 0 to 2"),
        ({"top_k": -1}, "from 0 to 214748"),
    ):
        with pytest.raises(ApiError, match=range_):
            chat(**fields)


def test_stream_options_are_checked():
    assert chat(stream_options={"include_usage": True}).include_usage
    assert not chat(stream_options={}).include_usage
    with pytest.raises(ApiError):
        chat(stream_options={"include_usage": "yes"})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", None),
        ("prompt", []),
        ("prompt", 5),
        ("prompt", [["a"]]),
        ("prompt", [[]]),
        ("prompt", ["a", 1]),
        ("prompt", [1, "a"]),
        ("prompt", [1, True]),
        ("prompt", [1.5]),
        ("prompt", [-1]),
        ("prompt", [2**31]),
        ("prompt", [1, [2]]),
        ("prompt", ["a"] * 129),
        ("prompt", [1] * (2**20 + 1)),
        ("echo", 1),
        ("best_of", 2),
        ("suffix", "x"),
        ("logprobs", 21),
        ("logprobs", -1),
        ("logprobs", True),
    ],
)
def test_a_completion_refuses_what_it_cannot_do(field: str, value: object):
    with pytest.raises(ApiError) as caught:
        completion(**{field: value})
    assert caught.value.param == field


def test_a_completion_has_at_most_so_many_answers_in_all():
    assert len(completion(prompt=["a"] * 8, n=16).generates) == 128
    with pytest.raises(ApiError) as caught:
        completion(prompt=["a"] * 9, n=16)
    assert caught.value.param == "n"


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [[1, 2]]),
        ([[1], [2, 3]], [[1], [2, 3]]),
        (["a", [4, 5]], ["a", [4, 5]]),
    ],
)
def test_prompts_may_be_several_and_may_be_tokens(given: object, understood: list[object]):
    generates = completion(prompt=given).generates
    assert [g.prompt if g.prompt is not None else g.prompt_tokens for g in generates] == understood
    assert all((g.prompt is None) != (g.prompt_tokens is None) for g in generates)


def test_each_choice_of_a_prompt_has_the_next_seed():
    request = completion(prompt=["a", "b"], n=3, seed=2**32 - 2)
    assert [g.prompt for g in request.generates] == ["a", "a", "a", "b", "b", "b"]
    assert [g.sampling.seed for g in request.generates] == [2**32 - 2, 0, 1] * 2
    assert {g.sampling.seed for g in chat(n=4).generates} == {None}


def test_best_of_is_fine_when_nothing_is_to_be_chosen():
    assert len(completion(n=3, best_of=3).generates) == 3
    assert len(completion(n=1, best_of=1).generates) == 1
    with pytest.raises(ApiError, match="does not choose"):
        completion(n=2, best_of=3)


@pytest.mark.parametrize(
    ("fields", "understood"),
    [
        ({}, None),
        ({"logprobs": False}, None),
        ({"logprobs": False, "top_logprobs": 0}, None),
        ({"logprobs": True}, 0),
        ({"logprobs": True, "top_logprobs": 20}, 20),
    ],
    ids=str,
)
def test_a_chat_says_in_two_fields_what_it_wants_to_know_of_tokens(
    fields: dict[str, Any], understood: int | None
):
    request = chat(**fields)
    assert request.generate.logprobs == understood
    assert request.wants_logprobs == (understood is not None)
    assert request.ignored == ()


@pytest.mark.parametrize(("given", "understood"), [(None, None), (False, None), (0, 0), (5, 5)])
def test_a_completion_says_it_in_one(given: object, understood: int | None):
    assert completion(logprobs=given, echo=understood is None).generate.logprobs == understood


def test_the_probabilities_of_a_prompt_are_refused_with_the_reason():
    with pytest.raises(ApiError, match="those of the prompt") as caught:
        completion(logprobs=1, echo=True)
    assert caught.value.param == "logprobs"


def test_one_prompt_in_a_list_is_one_prompt():
    assert completion(prompt=["a"]).generate.prompt == "a"
    assert completion(echo=True).generate.echo


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("hi", "messages[0]"),
        ({}, "messages[0].role"),
        ({"role": "root", "content": "x"}, "messages[0].role"),
        ({"role": ["user"], "content": "x"}, "messages[0].role"),
        ({"role": "user"}, "messages[0].content"),
        ({"role": "assistant"}, "messages[0].content"),
        ({"role": "user", "content": 5}, "messages[0].content"),
        ({"role": "user", "content": ["x"]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0].text"),
    ],
)
def test_a_malformed_message_is_refused_with_its_place(message: object, param: str):
    with pytest.raises(ApiError) as caught:
        chat(messages=[message])
    assert caught.value.param == param


def test_text_parts_are_joined_and_developers_are_systems():
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    request = chat(messages=[{"role": "developer", "content": parts, "evil": 1}])
    assert request.generate.messages == [{"role": "system", "content": "one\ntwo"}]


def shown(url: object) -> list[dict[str, Any]]:
    return [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": url}]


def test_a_picture_stays_among_the_parts_where_it_was():
    shows = {"url": to_data_uri(b"GIF89a cat"), "detail": "low"}
    parts = [*shown(shows), {"type": "text", "text": "Tell me."}]
    (message,) = chat(messages=[{"role": "user", "content": parts}]).generate.messages
    assert message["content"] == [
        {"type": "text", "text": "What is it?"},
        {"type": "image", "data": b"GIF89a cat"},
        {"type": "text", "text": "Tell me."},
    ]


@pytest.mark.parametrize(
    ("url", "param"),
    [
        (None, "image_url"),
        (to_data_uri(b"GIF89a"), "image_url"),
        ({}, "image_url.url"),
        ({"url": 5}, "image_url.url"),
        ({"url": "https://example.org/cat.png"}, "image_url.url"),
        ({"url": "http://169.254.169.254/latest/meta-data"}, "image_url.url"),
        ({"url": "file:///etc/passwd"}, "image_url.url"),
        ({"url": "/etc/passwd"}, "image_url.url"),
        ({"url": "data:image/png;base64,aGVsbG8="}, "image_url.url"),
    ],
)
def test_what_holds_no_picture_is_refused_with_its_place(url: object, param: str):
    with pytest.raises(ApiError) as caught:
        chat(messages=[{"role": "user", "content": shown(url)}])
    assert (caught.value.status, caught.value.param) == (400, f"messages[0].content[1].{param}")
    if "://" in str(url):
        assert "mlm fetches nothing" in str(caught.value.remedy)


@pytest.mark.parametrize("role", ["system", "developer", "assistant", "tool", "function"])
def test_only_users_show_pictures(role: str):
    with pytest.raises(ApiError, match="of the user") as caught:
        chat(messages=[{"role": role, "content": shown({"url": to_data_uri(b"GIF89a")})}])
    assert caught.value.param == "messages[0].content[1]"


def test_so_many_pictures_and_no_more_fit_into_a_request():
    message = {"role": "user", "content": 8 * shown({"url": to_data_uri(b"GIF89a")})}
    assert len(chat(messages=2 * [message]).generate.messages) == 2
    with pytest.raises(ApiError, match="16 pictures") as caught:
        chat(messages=3 * [message])
    assert caught.value.param == "messages"


def test_an_assistant_that_called_a_tool_needs_no_content():
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    request = chat(messages=[{"role": "assistant", "content": None, "tool_calls": calls}])
    assert request.generate.messages == [{"role": "assistant", "content": "", "tool_calls": calls}]


def test_fields_without_effect_are_named():
    request = chat(user="me", store=False, wibble=1)
    assert request.ignored == ("user", "store", "wibble")


def test_tools_are_fine_when_they_must_not_be_used():
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert chat(tools=tools, tool_choice="none").generate.tools is None


@pytest.mark.parametrize(
    ("given", "used"), [(0, 0), (-1, None), (2**32 - 1, 0), (2**32 + 5, 6), (-2, 2**32 - 3)]
)
def test_any_seed_becomes_one_that_llama_cpp_takes_literally(given: int, used: int | None):
    assert chat(seed=given).generate.sampling.seed == used


def test_biases_may_come_as_llama_cpp_has_them():
    given = chat(logit_bias=[[42, 1.5], ["7", -2], [9, False]]).generate.sampling.logit_bias
    assert given == {42: 1.5, 7: -2.0, 9: -100.0}
    assert chat(logit_bias={"9": False}).generate.sampling.logit_bias == {9: -100.0}


def test_a_deterministic_answer_is_asked_of_the_engine():
    assert chat(deterministic=True).generate.deterministic
    assert not chat().generate.deterministic


def test_the_newer_name_of_the_length_limit_wins():
    assert chat(max_tokens=5, max_completion_tokens=9).generate.max_tokens == 9
    assert chat(max_tokens=5).generate.max_tokens == 5
