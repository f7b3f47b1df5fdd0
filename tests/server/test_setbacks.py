"""How long a model is left alone after it failed."""

from mlm.server.setbacks import CRASH_WINDOW_S, Setbacks


def test_nothing_wrong_nothing_refused():
    assert Setbacks().refusal(0) is None
    assert Setbacks().restart_at(5) == 5


def test_the_first_restart_is_immediate_and_each_further_one_waits_twice_as_long():
    setbacks = Setbacks()
    setbacks.note_crash(100, "SIGSEGV")
    assert setbacks.restart_at(100) == 100
    assert setbacks.refusal(100) is None
    setbacks.note_crash(102, "SIGSEGV")
    assert setbacks.restart_at(102) == 103
    setbacks.note_crash(104, "SIGSEGV")
    assert setbacks.restart_at(104) == 106
    assert setbacks.restart_at(110) == 110


def test_three_crashes_in_five_minutes_are_a_quarantine_that_ends():
    setbacks = Setbacks()
    for now in (0, 10, 20):
        setbacks.note_crash(now, "killed by SIGSEGV")
    refusal = setbacks.refusal(21)
    assert refusal is not None
    assert refusal.code == "worker_quarantined"
    assert "3 times" in refusal.reason
    assert "SIGSEGV" in refusal.reason
    assert refusal.retry_after_s == CRASH_WINDOW_S - 21
    assert setbacks.refusal(CRASH_WINDOW_S + 1) is None


def test_crashes_far_apart_are_no_quarantine():
    setbacks = Setbacks()
    for i in range(10):
        setbacks.note_crash(i * CRASH_WINDOW_S / 2 + i, "SIGKILL")
    assert setbacks.refusal(9 * CRASH_WINDOW_S / 2 + 10) is None


def test_a_load_that_fails_again_is_tried_ever_more_rarely():
    setbacks = Setbacks()
    waits = []
    now = 0.0
    for _ in range(10):
        setbacks.note_load_failure(now, "out of memory")
        refusal = setbacks.refusal(now)
        assert refusal is not None
        assert refusal.code == "load_failed"
        waits.append(refusal.retry_after_s)
        now += refusal.retry_after_s
        assert setbacks.refusal(now) is None
    assert waits[:4] == [5, 10, 20, 40]
    assert waits[-1] == 300


def test_a_load_that_succeeds_clears_the_failures():
    setbacks = Setbacks()
    setbacks.note_load_failure(0, "no")
    setbacks.note_loaded()
    assert setbacks.refusal(1) is None
