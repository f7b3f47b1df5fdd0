"""How fast requests are completed."""

from mlm.server.service_rate import ServiceRate


def test_nothing_is_known_before_the_first_completion():
    rate = ServiceRate()
    rate.note_begin(0)
    assert rate.seconds_for(5) is None


def test_requests_that_run_side_by_side_are_completed_faster():
    alone, together = ServiceRate(), ServiceRate()
    for start in (0.0, 10.0):
        alone.note_begin(start)
        alone.note_end(start + 10, others=False)
    for _ in range(4):
        together.note_begin(0.0)
    for i in range(4):
        together.note_end(10.0, others=i < 3)
    assert alone.seconds_for(4) == 40
    assert together.seconds_for(4) == 10


def test_idle_time_does_not_count():
    rate = ServiceRate()
    for start in (0.0, 1000.0):
        rate.note_begin(start)
        rate.note_end(start + 2, others=False)
    assert rate.seconds_for(1) == 2


def test_what_was_long_ago_is_forgotten():
    rate = ServiceRate()
    rate.note_begin(0)
    rate.note_end(1000, others=True)
    for second in range(1001, 1050):
        rate.note_end(second, others=True)
    assert rate.seconds_for(1) == 1
