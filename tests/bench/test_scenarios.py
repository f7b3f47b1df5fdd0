"""Each scenario asks what its name says, of a scripted server and of two real ones."""

import json
from collections.abc import Iterator

import pytest
from fakes.mlm_serve import mlm_serve

from mlm.bench.match import play_match
from mlm.bench.remarks import remarks
from mlm.bench.scenarios import Scenario, chat, distinct, gaps_within, long_prompt, shared_prefix
from mlm.bench.side import Side, Stage
from mlm.bench.texts import Texts, measure_texts
from mlm.client import Client, Delta, Recording
from mlm.errors import EngineError

TEXTS = Texts("tag", 1, 0)


@pytest.fixture
def side(openai_server) -> Iterator[Side]:
    with Client(openai_server.url) as client:
        yield Side("a", client, "tiny")


def play(side: Side, scenario: Scenario, round_number: int = 0) -> Stage:
    stage = Stage(side, TEXTS, scenario.name, round_number)
    scenario.measure(stage)
    return stage


def conversations(server) -> list[list[dict[str, str]]]:
    return [asked.body["messages"] for asked in server.asked]


@pytest.mark.parametrize(("n_clients", "n_questions"), [(1, 4), (4, 4), (8, 8)])
def test_distinct_prompts_are_distinct(openai_server, side, n_clients, n_questions):
    play(side, distinct(n_clients))
    contents = {messages[0]["content"] for messages in conversations(openai_server)}
    assert len(contents) == n_questions
    assert len({content[:20] for content in contents}) == n_questions
    for asked in openai_server.asked:
        assert (asked.body["max_tokens"], asked.body["temperature"]) == (48, 0)
        assert asked.body["ignore_eos"] is True


def test_a_server_that_refuses_ignore_eos_is_asked_without(openai_server):
    def reply(connection):
        if "ignore_eos" in openai_server.asked[-1].body:
            connection.document({"error": {"message": "unknown field ignore_eos"}}, 400)
        else:
            answer(connection)

    answer = openai_server.told
    openai_server.does(reply)
    with Client(openai_server.url) as client:
        side = Side.open("a", client, "tiny")
        play(side, distinct(1))
    assert not side.knows_ignore_eos
    assert all("ignore_eos" not in asked.body for asked in openai_server.asked[1:])


def test_a_shared_prefix_is_one_for_both_waves_of_a_round_and_another_one_in_the_next(
    openai_server, side
):
    stage = play(side, shared_prefix(n_clients=3, n_tokens=90))
    first = conversations(openai_server)
    assert {messages[0]["role"] for messages in first} == {"system"}
    assert len({messages[0]["content"] for messages in first}) == 1
    assert len({messages[1]["content"] for messages in first}) == 6
    assert [run.prompt for run in stage.runs] == [
        *["shared-prefix/cold"] * 3,
        *["shared-prefix/warm"] * 3,
    ]

    play(side, shared_prefix(n_clients=3, n_tokens=90), round_number=1)
    second = conversations(openai_server)[6:]
    assert second[0][0]["content"] != first[0][0]["content"]


def test_a_chat_goes_on_with_what_the_server_said(openai_server, side):
    openai_server.says("Fine", ", thanks")
    play(side, chat(n_turns=3))
    last = conversations(openai_server)[-1]
    assert [message["role"] for message in last] == ["user", "assistant"] * 2 + ["user"]
    assert last[1]["content"] == last[3]["content"] == "Fine, thanks"
    assert len({message["content"] for message in last[::2]}) == 3


def test_streams_that_end_before_the_long_prompt_comes_measure_nothing(openai_server, side):
    with pytest.raises(EngineError, match="before the long prompt"):
        play(side, long_prompt(n_streams=2, n_tokens=90))


def test_an_answer_from_a_cache_is_no_measurement(openai_server, side):
    openai_server.cache = "hit"
    with pytest.raises(EngineError, match="a cache answered"):
        play(side, distinct(1))


def test_gaps_count_where_they_touch_the_time():
    times = iter([0.0, 1.0, 2.0, 5.0, 6.0, 7.0])
    recording = Recording(iter([Delta("x")] * 5), clock=lambda: next(times))
    recording.wait()
    assert gaps_within([recording], begin_s=2.5, end_s=5.5) == [3, 1]
    assert gaps_within([recording], begin_s=7.5, end_s=9) == []


@pytest.fixture(scope="module")
def two_servers(tmp_path_factory) -> Iterator[dict[str, Side]]:
    """Two real servers with the demo model."""
    home = tmp_path_factory.mktemp("two-servers")
    with (
        mlm_serve(home / "a") as a,
        mlm_serve(home / "b") as b,
        Client(a.url) as client_a,
        Client(b.url) as client_b,
    ):
        yield {
            "a": Side.open("a", client_a, "mlm-demo"),
            "b": Side.open("b", client_b, "mlm-demo"),
        }


@pytest.mark.parametrize(
    "scenario",
    [
        distinct(4),
        shared_prefix(n_clients=3, n_tokens=120),
        long_prompt(n_streams=2, n_tokens=300),
        chat(n_turns=3),
    ],
    ids=lambda scenario: scenario.name,
)
def test_two_real_servers_play_it(two_servers, scenario: Scenario):
    texts = measure_texts(scenario.name, two_servers["a"].count_prompt_tokens)
    match = play_match(two_servers, (scenario,), texts, rounds=1)
    assert match.failure is None
    assert remarks(match) == ()
    assert [ratio.figure for ratio in match.ratios] == [f.name for f in scenario.figures]
    assert all(ratio.ratio > 0 for ratio in match.ratios)
    assert all(run.error is None for play in match.plays for run in play.runs)
    assert json.dumps([ratio.fields() for ratio in match.ratios])


def test_prompts_have_the_wanted_length_on_a_real_server(two_servers):
    texts = measure_texts("lengths", two_servers["a"].count_prompt_tokens)
    stage = Stage(two_servers["a"], texts, "distinct-4", 0)
    distinct(4).measure(stage)
    for run in stage.runs:
        assert run.prompt_tokens == pytest.approx(64, rel=0.25)
        assert run.completion_tokens == 48
