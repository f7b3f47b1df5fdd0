import pytest

from mlm.engine.pace import FIRST_CHUNK, PATIENCE_LIMIT_S, SMALLEST_CHUNK, STEP_LIMIT_S, Pace


def measured(decode_s: float, prefill_s_per_token: float) -> Pace:
    pace = Pace()
    for _ in range(30):
        pace.note(0, 4, decode_s)
        pace.note(64, 0, 64 * prefill_s_per_token)
    return pace


def test_before_anything_is_measured_the_chunk_is_small():
    assert Pace().choose_chunk(1, 4) == (FIRST_CHUNK, FIRST_CHUNK)


def test_a_chunk_takes_a_few_times_what_the_streams_own_step_takes():
    assert measured(0.02, 0.001).choose_chunk(1, 4)[0] == 200


def test_a_chunk_is_larger_when_more_wait_than_run():
    pace = measured(0.02, 0.001)
    assert pace.choose_chunk(2, 2) == pace.choose_chunk(2, 8) == (200, 250)
    assert pace.choose_chunk(4, 2) == (400, 500)
    slow = measured(0.2, 0.005)
    assert slow.choose_chunk(2, 2)[0] * 2 == slow.choose_chunk(4, 2)[0], "so is the limit of a step"


def test_no_step_beside_streams_exceeds_the_limit():
    pace = measured(0.1, 0.005)
    assert 0.1 + pace.choose_chunk(1, 4)[0] * 0.005 <= STEP_LIMIT_S


def test_where_the_streams_own_step_is_slow_a_newcomer_still_gets_several_times_as_long():
    assert measured(2.0, 0.2).choose_chunk(1, 4)[0] == 40
    assert measured(2.0, 5.0).choose_chunk(1, 4)[0] == SMALLEST_CHUNK


def test_what_a_step_takes_is_known_for_each_number_of_streams():
    pace = measured(0.02, 0.001)  # with four streams
    for _ in range(30):
        pace.note(0, 1, 0.005)
    assert [pace.choose_chunk(1, n)[0] for n in (1, 2, 4, 8)] == [50, 50, 200, 200]


def test_what_holds_the_machine_up_for_a_while_does_not_make_chunks_small():
    pace = measured(0.02, 0.001)
    before, _ = pace.choose_chunk(1, 4)
    for _ in range(10):
        pace.note(before, 4, 5 * (0.02 + before * 0.001))
    pace.note(8, 4, 0.02 + 8 * 0.003)  # nor does a small one, which is a pass over the weights
    assert pace.choose_chunk(1, 4)[0] > 0.75 * before


def test_the_chunk_shrinks_when_the_machine_stays_slow():
    pace = measured(0.05, 0.001)
    before = pace.choose_chunk(1, 4)[0]
    for _ in range(60):
        pace.note(before, 4, 0.05 + before * 0.004)
    assert pace.choose_chunk(1, 4)[0] < before / 2


def test_a_step_that_is_shorter_than_the_streams_own_was_does_not_make_prompts_free():
    pace = measured(0.5, 0.01)
    pace.note(100, 4, 0.4)  # the streams' own took no half second here
    assert pace.choose_chunk(1, 4)[0] <= 1000


def test_a_prompt_waits_for_company_for_a_small_share_of_what_it_takes_itself():
    pace = measured(0.02, 0.01)
    assert pace.choose_patience_s(64) == pytest.approx(0.05 * 64 * 0.01)
    assert pace.choose_patience_s(10_000) == PATIENCE_LIMIT_S
    assert Pace().choose_patience_s(64) == 0
