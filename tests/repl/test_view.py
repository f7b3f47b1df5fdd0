"""What an answer looks like at each moment, by a clock of the test's own."""

import pytest

from mlm.client import Delta
from mlm.repl.rendering import Line
from mlm.repl.view import AnswerView


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def view(clock: Clock) -> AnswerView:
    return AnswerView(clock)


def texts(lines: list[Line]) -> list[str]:
    return ["".join(text for _, text in line) for line in lines]


def live(view: AnswerView, height: int = 10, wait: str = "reading the prompt") -> list[str]:
    return texts(view.draw(80, height, wait).live)


def test_a_short_wait_is_not_explained_and_a_long_one_is(view, clock):
    assert live(view) == []
    clock.now += 3
    assert live(view) == ["reading the prompt … 3 s"]


def test_thinking_is_one_line_that_counts_and_then_one_that_stays(view, clock):
    for _ in range(340):
        view.feed(Delta("hm", thinking=True))
        clock.now += 12 / 340
    assert live(view) == ["thinking … 12 s, 340 tokens"]
    view.feed(Delta("So."))
    frame = view.draw(80, 10, "")
    assert texts(frame.finished) == ["thought for 12 s · 340 tokens · /thinking shows it"]
    assert texts(frame.live) == ["", "So."]
    assert texts(view.end(80)) == ["", "So."]


def test_an_answer_that_was_only_thought_says_so(view):
    view.feed(Delta("hm", thinking=True))
    assert texts(view.end(80)) == ["thought for 0.0 s · 1 token · /thinking shows it"]


def test_what_is_finished_is_told_once(view):
    view.feed(Delta("One.\n\nTwo."))
    frame = view.draw(80, 10, "")
    assert (texts(frame.finished), texts(frame.live)) == (["One."], ["", "Two."])
    assert texts(view.draw(80, 10, "").finished) == []
    assert texts(view.end(80)) == ["", "Two."]


def test_of_a_part_taller_than_the_screen_the_end_is_shown(view):
    view.feed(Delta("\n".join(f"line {number}" for number in range(50))))
    assert live(view, height=3) == ["line 47", "line 48", "line 49"]
    assert len(view.end(80)) == 50


def test_no_control_character_gets_through(view):
    for piece in ("a\x1b", "]0;t", "itle\x07b\x9b2", "Jc **d\x1b[1m** `e\x1b[2J`\u202ef"):
        view.feed(Delta(piece))
    assert texts(view.end(80)) == ["abc d ef"]


def test_the_speed_is_that_of_what_came_so_far(view, clock):
    clock.now += 0.5
    for _ in range(11):
        view.feed(Delta("a "))
        clock.now += 0.1
    view.draw(80, 10, "")
    assert view.speed.ttft_s == pytest.approx(0.5)
    assert view.speed.decode_tps == pytest.approx(10)


def test_joined_characters_are_taken_apart_only_while_they_are_redrawn(view):
    view.feed(Delta("\U0001f44d\U0001f3fd ok"))
    assert live(view) == ["\U0001f44d ok"]
    assert texts(view.end(80)) == ["\U0001f44d\U0001f3fd ok"]
