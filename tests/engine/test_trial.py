"""Small things are measured in turns, so that all of them see the same machine."""

import time

from mlm.engine.trial import Trial, take_turns


def test_trials_take_turns_and_each_goes_through_its_parts():
    done: list[str] = []
    first = Trial([lambda: done.append("a"), lambda: done.append("b")], 1)
    second = Trial([lambda: done.append("c")], 1)
    take_turns([first, second], 0.0)
    assert done == ["a", "c", "b", "c", "a", "c"]


def test_the_middle_round_counts_and_the_time_is_that_of_a_unit():
    waits = [0.2, 0.01, 0.01]
    trial = Trial([lambda wait=wait: time.sleep(wait) for wait in waits], 10)
    take_turns([trial], 0.0)
    assert 0.001 <= trial.seconds < 0.02


def test_who_does_not_work_had_no_cpu():
    def work() -> None:
        given = time.process_time()
        while time.process_time() - given < 0.01:
            pass

    idle = take_turns([Trial([lambda: time.sleep(0.01)], 1)], 0.0)
    busy = take_turns([Trial([work], 1)], 0.0)
    assert idle < busy < 1.5
