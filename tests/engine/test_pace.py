from mlm.engine.pace import FIRST_CHUNK, SMALLEST_CHUNK, STEP_LIMIT_S, Pace


def measured(decode_s: float, prefill_s_per_token: float) -> Pace:
    pace = Pace()
    for _ in range(30):
        pace.note(0, 4, decode_s)
        pace.note(64, 0, 64 * prefill_s_per_token)
    return pace


def test_before_anything_is_measured_the_chunk_is_small():
    assert Pace().choose_chunk() == FIRST_CHUNK


def test_a_chunk_takes_a_few_times_what_the_streams_own_step_takes():
    assert measured(0.02, 0.001).choose_chunk() == 120


def test_no_step_beside_streams_exceeds_the_limit():
    pace = measured(0.2, 0.005)
    assert 0.2 + pace.choose_chunk() * 0.005 <= STEP_LIMIT_S


def test_a_slow_machine_still_moves_forward():
    assert measured(2.0, 0.5).choose_chunk() == SMALLEST_CHUNK


def test_the_chunk_shrinks_when_the_machine_gets_slower():
    pace = measured(0.05, 0.001)
    before = pace.choose_chunk()
    for _ in range(10):
        pace.note(before, 4, 0.05 + before * 0.004)
    assert pace.choose_chunk() < before / 2
