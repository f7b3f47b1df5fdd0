"""Two sides take turns, and what they show is told with all that is wrong with it."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from mlm.bench.load import Run
from mlm.bench.match import Match, play_match
from mlm.bench.remarks import remarks
from mlm.bench.scenarios import Figure, Scenario, find_scenarios
from mlm.bench.side import Side, Stage
from mlm.bench.texts import Texts
from mlm.client import Client
from mlm.errors import EngineError, NetworkError, UsageError

TEXTS = Texts("tag", 1, 0)
FINE = Run("s", 0, 0, completion_tokens=10, prompt_tokens=5, finish_reason="length")
Act = Callable[[Stage], float]


@pytest.fixture
def sides() -> Iterator[dict[str, Side]]:
    with Client("http://a:1") as a, Client("http://b:2") as b:
        yield {"a": Side("a", a, "tiny"), "b": Side("b", b, "tiny")}


def scenario(act: Act, name: str = "s") -> Scenario:
    return Scenario(name, "", (Figure("x_s"),), lambda stage: [act(stage)])


def played(sides: dict[str, Side], act: Act, rounds: int = 3) -> Match:
    return play_match(sides, (scenario(act),), TEXTS, rounds)


def fails(stage: Stage, error: Exception, run: Run = FINE) -> float:
    stage.runs.append(run)
    raise error


def answers(stage: Stage, value: float = 1.0, run: Run = FINE) -> float:
    stage.runs.append(run)
    return value


def test_who_begins_alternates_and_the_first_round_does_not_count(sides):
    seen: list[tuple[str, int]] = []

    def act(stage: Stage) -> float:
        seen.append((stage.side.name, stage.round))
        slow = 100 if stage.round == 0 else 1
        return answers(stage, slow * (2.0 if stage.side.name == "a" else 4.0))

    match = played(sides, act, rounds=2)
    assert seen == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2)]
    (ratio,) = match.ratios
    assert (ratio.a, ratio.b, ratio.rounds) == (2, 4, (0.5, 0.5))
    assert len(match.measured("a").runs) == 2


def test_both_sides_get_the_same_texts_in_a_round_and_new_ones_in_the_next(sides):
    texts: dict[int, set[str]] = {}

    def act(stage: Stage) -> float:
        texts.setdefault(stage.round, set()).add(stage.text(20, "x"))
        return answers(stage)

    played(sides, act, rounds=2)
    assert [len(of_round) for of_round in texts.values()] == [1, 1, 1]
    assert len(set.union(*texts.values())) == 3


def test_a_server_that_plays_against_itself_does_not_know_the_texts_already(sides):
    texts: list[str] = []

    def act(stage: Stage) -> float:
        texts.append(stage.text(20, "x"))
        return answers(stage)

    twice = {"a": sides["a"], "b": replace(sides["a"], name="b")}
    played(twice, act, rounds=2)
    assert len(set(texts)) == len(texts) == 6


def test_a_round_in_which_one_side_failed_does_not_count(sides):
    def act(stage: Stage) -> float:
        if stage.side.name == "b" and stage.round == 2:
            return fails(stage, NetworkError("cut off"), Run("s", 0, 2, error="stream_cut"))
        return answers(stage)

    match = played(sides, act)
    assert len(match.ratios[0].rounds) == 2
    assert match.failure is None
    (remark,) = remarks(match)
    assert "B failed 1 of 4 requests" in remark
    assert "cut off" in remark


def test_where_one_side_answers_nothing_the_scenario_is_given_up_and_that_is_a_failure(sides):
    error = EngineError("broken")
    plays = []

    def act(stage: Stage) -> float:
        plays.append(stage.side.name)
        if stage.side.name == "b":
            return fails(stage, error, Run("s", 0, 0, error="engine"))
        return answers(stage)

    match = played(sides, act)
    assert plays == ["a", "b"]
    assert match.ratios == ()
    assert match.failure is error


def test_a_scenario_that_a_server_refuses_is_left_out_and_only_that_is_no_failure(sides):
    refusal = UsageError("too long")
    good = scenario(answers, "good")
    bad = scenario(lambda stage: fails(stage, refusal, Run("s", 0, 0, error="usage")), "bad")
    match = play_match(sides, (good, bad), TEXTS, 3)
    assert match.skipped == {"bad": "too long"}
    assert remarks(match) == ("bad is left out: too long",)
    assert match.failure is None
    assert play_match(sides, (bad,), TEXTS, 3).failure is refusal


def test_answers_that_are_not_equally_long_are_told(sides):
    def act(stage: Stage) -> float:
        tokens = 10 if stage.side.name == "a" else 7
        return answers(stage, run=Run("s", 0, 1, completion_tokens=tokens, finish_reason="length"))

    assert remarks(played(sides, act)) == (
        "s: answers were not equally long, 10 tokens a round in A and 7 in B",
    )


def test_a_figure_of_nothing_is_no_ratio(sides):
    match = played(sides, lambda stage: answers(stage, 0.0))
    assert match.ratios == ()


def test_what_asking_costs_is_told_per_token(sides):
    def act(stage: Stage) -> float:
        stage.cpu_s = 0.001
        return answers(stage)

    assert played(sides, act).cpu_us_per_token("a") == pytest.approx(100)
    assert played(sides, lambda stage: 1.0).cpu_us_per_token("a") is None


def test_scenarios_are_found_by_name():
    assert [s.name for s in find_scenarios(["chat", "distinct-4", "chat"])] == [
        "chat",
        "distinct-4",
    ]
    assert len(find_scenarios([])) == 7
    with pytest.raises(UsageError, match="'chess'"):
        find_scenarios(["chess"])
