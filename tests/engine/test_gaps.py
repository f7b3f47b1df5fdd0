"""Stories of answers that end while their neighbours go on: one pass should be enough again."""

import random
from itertools import pairwise

import pytest
from fakes.fake_llama import PLENTY, SYSTEM, FakeLlama, Office, alone, question

from mlm.engine.gaps import PATIENCE, count_runs


def running_ids(office: Office) -> list[int]:
    return [part.seq_id for part in office.llama.batches[-1]]


def n_passes(office: Office) -> int:
    return 1 + sum(b - a > 1 for a, b in pairwise(running_ids(office)))


def steps(office: Office, n: int) -> None:
    for _ in range(n):
        office.scheduler.step()


def started(llama: FakeLlama, n_answers: int, prefix_cache: int = 0) -> Office:
    office = Office(llama, prefix_cache)
    for number in range(n_answers):
        office.submit(number, question(number, 40))
    steps(office, 3)
    return office


@pytest.mark.parametrize("kind", ["parts", "window", "whole"])
def test_answers_move_together_and_go_on_as_if_nothing_had_happened(kind: str):
    office = started(FakeLlama(n_slots=8, kind=kind), 8)
    for number in (1, 2, 5):
        office.scheduler.cancel(number)
    steps(office, 1)
    assert n_passes(office) == 3
    steps(office, 3 * PATIENCE)
    assert n_passes(office) == 1
    office.run()
    for number in (0, 3, 4, 6, 7):
        assert office.text(number) == alone(question(number, 40), 900)


def test_two_groups_become_one_by_as_many_moves_as_the_smaller_has_answers():
    office = started(FakeLlama(n_slots=8), 8)
    for number in (2, 3):
        office.scheduler.cancel(number)
    steps(office, 1 + 3 * PATIENCE)
    assert n_passes(office) == 1
    assert office.llama.memory.n_moves == 2 * 2  # out and in


def test_a_newcomer_takes_the_gap_before_anybody_moves():
    office = started(FakeLlama(n_slots=4), 4)
    office.scheduler.cancel(1)
    steps(office, PATIENCE - 1)
    office.submit(9, question(9, 40))
    steps(office, 3)
    assert running_ids(office) == [0, 1, 2, 3]
    assert office.llama.memory.n_moves == 0


def test_in_a_unified_cache_nobody_moves():
    office = started(FakeLlama(n_slots=4, is_unified=True), 4)
    office.scheduler.cancel(1)
    steps(office, 3 * PATIENCE)
    assert running_ids(office) == [0, 2, 3]


def test_what_lay_in_the_gap_is_not_lost():
    office = Office(FakeLlama(n_slots=3), PLENTY)
    talk = SYSTEM + question(7)
    office.submit(0, question(0))
    office.submit(1, talk, "ab")
    office.submit(2, question(2))
    steps(office, 10 + PATIENCE)
    assert office.is_ended(1) and n_passes(office) == 1
    again = office.submit(3, [*talk, ord("a"), *question(8)], "x")
    office.run()
    assert again.cached_tokens == len(talk) + 1


def test_an_answer_that_cannot_be_copied_stays_where_it_is():
    office = started(FakeLlama(n_slots=4), 4)
    office.llama.memory.fails_to_restore = True
    office.scheduler.cancel(1)
    steps(office, 3 * PATIENCE)
    assert running_ids(office) == [0, 2, 3]
    office.run()
    for number in (0, 2, 3):
        assert office.text(number) == alone(question(number, 40), 900)


def test_an_answer_that_has_moved_can_be_cancelled():
    office = started(FakeLlama(n_slots=4), 4)
    office.scheduler.cancel(1)
    steps(office, 1 + PATIENCE)
    office.scheduler.cancel(0)
    office.submit(9, question(9, 40))
    office.run()
    assert office.ending(0).reason == "cancelled"
    for number in (2, 3, 9):
        assert office.text(number) == alone(question(number, 40), 900)


@pytest.mark.parametrize("seed", range(20))
def test_whoever_comes_and_goes_answers_stay_what_they_are(seed: int):
    chance = random.Random(seed)
    office = started(FakeLlama(n_slots=6), 6, PLENTY if seed % 2 else 0)
    left: set[int] = set()
    for number in range(6, 60):
        if chance.random() < 0.4:
            office.submit(number, question(chance.randrange(4), 30) + question(number, 5))
        if chance.random() < 0.3:
            left.add(gone := chance.randrange(number))
            office.scheduler.cancel(gone)
        steps(office, chance.randrange(6))
    office.run()
    assert office.llama.memory.n_moves > 0
    for number, request in ((n, office.requests[n]) for n in office.samplers if n not in left):
        assert office.text(number) == alone(request.tokens, request.max_new_tokens)


def test_runs_are_counted():
    assert count_runs([]) == (1, 0)
    assert count_runs([4]) == (1, 1)
    assert count_runs({7, 0, 1, 3}) == (3, 1)
    assert count_runs([0, 1, 4, 5, 6]) == (2, 2)
