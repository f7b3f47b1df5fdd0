"""How many connections a file gets, on a clock of its own."""

from collections.abc import Callable

from mlm.store.growth import MOST_CONNECTIONS, Growth

MB = 10**6
SIZE = 20_000 * MB


class Line:
    """A network whose speed depends on the number of connections."""

    def __init__(
        self, rate: Callable[[int], float], size: int = SIZE, answer_s: float = 0.01
    ) -> None:
        self.answer_s = answer_s
        self.changed_at = 100.0
        self.now, self.fetched, self.size, self.rate = 100.0, 0.0, size, rate
        self.growth = Growth(self.now)
        self.counts = [1]

    def run(self, seconds: float) -> list[int]:
        """Let time go by; return the numbers of connections there were."""
        end = self.now + seconds
        while self.now < end:
            self.now += 0.1
            waited_s = self.now - self.changed_at
            at_work = self.growth.wanted  # new ones are as fast as others some answers later
            if waited_s < 3 * self.answer_s and len(self.counts) > 1:
                at_work = min(at_work, self.counts[-2])
            self.fetched += 0.1 * self.rate(at_work)
            answer_s = self.answer_s if waited_s > self.answer_s else None
            missing = self.size - int(self.fetched)
            self.growth.watch(self.now, int(self.fetched), missing, answer_s)
            if self.growth.wanted != self.counts[-1]:
                self.counts.append(self.growth.wanted)
                self.changed_at = self.now
        return self.counts


def test_a_server_that_caps_each_connection_gets_many():
    assert Line(lambda n: n * 20 * MB).run(3) == [1, 4, MOST_CONNECTIONS]


def test_a_line_that_is_full_gets_one():
    assert Line(lambda n: 50 * MB).run(20) == [1, 4, 1]


def test_they_are_as_many_as_help():
    assert Line(lambda n: min(n, 4) * 20 * MB).run(20) == [1, 4, 16, 4]


def test_more_are_tried_again_later():
    line = Line(lambda n: 50 * MB)
    line.run(20)
    line.rate = lambda n: n * 20 * MB
    assert line.run(40)[-1] == MOST_CONNECTIONS


def test_what_is_done_in_a_moment_needs_no_help():
    assert Line(lambda n: 20 * MB, size=22 * MB).run(3) == [1]


def test_a_line_faster_than_a_disk_needs_no_help():
    assert Line(lambda n: 500 * MB).run(10) == [1]


def test_a_line_that_stands_still_is_no_reason_to_press():
    assert Line(lambda n: 0.0).run(10) == [1]


def test_a_refusal_is_taken_for_an_answer():
    line = Line(lambda n: n * 20 * MB)
    line.run(2)
    line.growth.lose(line.now, 3, None)
    assert line.growth.wanted == 3
    assert line.run(20)[-1] == 3
    assert line.run(20)[-1] == MOST_CONNECTIONS, "but not for ever"


def test_a_server_is_left_alone_as_long_as_it_asks():
    line = Line(lambda n: n * 20 * MB)
    line.growth.lose(line.now, 1, 120.0)
    assert line.run(100) == [1]
    assert line.run(60)[-1] > 1


def test_on_a_long_line_new_connections_are_given_time():
    assert Line(lambda n: n * 5 * MB, answer_s=0.6).run(10) == [1, 4, MOST_CONNECTIONS]
