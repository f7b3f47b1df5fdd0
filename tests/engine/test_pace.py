from mlm.engine.pace import FIRST_CHUNK, SMALLEST_CHUNK, STEP_LIMIT_S, Pace


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
    assert slow.choose_chunk(2, 2)[0] * 2 < slow.choose_chunk(4, 2)[0], "so is the limit of a step"


def test_no_step_beside_streams_exceeds_the_limit():
    pace = measured(0.2, 0.005)
    assert 0.2 + pace.choose_chunk(1, 4)[0] * 0.005 <= STEP_LIMIT_S


def test_a_slow_machine_still_moves_forward():
    assert measured(2.0, 0.5).choose_chunk(1, 4)[0] == SMALLEST_CHUNK


def test_what_a_step_takes_is_known_for_each_number_of_streams():
    pace = measured(0.02, 0.001)  # with four streams
    for _ in range(30):
        pace.note(0, 1, 0.005)
    assert [pace.choose_chunk(1, n)[0] for n in (1, 2, 4, 8)] == [50, 50, 200, 200]


def test_small_pieces_do_not_make_the_next_ones_smaller():
    pace = measured(0.02, 0.001)
    before, _ = pace.choose_chunk(1, 4)
    for _ in range(10):
        pace.note(8, 4, 0.02 + 8 * 0.003)  # a pass over the weights for eight tokens
    assert pace.choose_chunk(1, 4)[0] > before / 2


def test_the_chunk_shrinks_when_the_machine_gets_slower():
    pace = measured(0.05, 0.001)
    before = pace.choose_chunk(1, 4)[0]
    for _ in range(10):
        pace.note(before, 4, 0.05 + before * 0.004)
    assert pace.choose_chunk(1, 4)[0] < before / 2
