"""A recording knows what was said and when."""

from mlm.client import Delta, Event, Finished, Recording, Usage


def recorded(*events: Event, at: tuple[float, ...]) -> Recording:
    times = iter(at)
    recording = Recording(iter(events), clock=lambda: next(times))
    assert list(recording) == [event for event in events if isinstance(event, Delta)]
    return recording


def test_times_are_taken_from_the_question_on():
    usage = Usage(prompt_tokens=9, completion_tokens=5, cached_tokens=0)
    answer = recorded(
        Delta("a"), Delta("b"), Delta("c"), Finished("stop", usage), at=(10, 12, 13, 16, 17)
    )
    assert answer.text == "abc"
    assert answer.ttft_s == 2
    assert answer.itl_s == (1, 3)
    assert answer.e2e_s == 7
    assert answer.decode_tps == 1  # four more tokens in four seconds


def test_the_first_thought_is_the_first_token_but_not_the_answer():
    answer = recorded(Delta("hm", thinking=True), Delta("a"), Finished("stop"), at=(0, 1, 2, 3))
    assert answer.ttft_s == 1
    assert answer.text == "a"
    assert answer.completion_tokens == 2  # no usage: pieces are counted


def test_an_answer_without_words_has_no_speed():
    answer = recorded(Finished("stop"), at=(0, 1))
    assert (answer.ttft_s, answer.decode_tps, answer.e2e_s) == (None, None, 1)


def test_an_answer_from_a_cache_was_not_decoded():
    answer = recorded(Delta("a"), Delta("b"), Finished("stop", cache="hit"), at=(0, 1, 2, 3))
    assert answer.decode_tps is None
    assert answer.e2e_s == 3


def test_an_answer_that_did_not_end_has_no_total_time():
    answer = recorded(Delta("a"), at=(0, 1))
    assert answer.e2e_s is None
    assert answer.finished is None
