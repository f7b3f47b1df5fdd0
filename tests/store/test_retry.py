"""When to try again, and how long to wait before."""

import pytest

from mlm.store.retry import Retry, asked_wait

NOW = 1_445_412_420.0  # Wed, 21 Oct 2015 07:27:00 GMT


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": " 7 "}, 7),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 60),
        ({"Retry-After": "Wed, 21 Oct 2015 07:26:00 GMT"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "٣"}, None),
        ({"RateLimit": '"api";r=0;t=55'}, 55),
        ({"RateLimit": '"api";r=12;t=55'}, None),
        ({"RateLimit": "nonsense"}, None),
        ({"Retry-After": "9" * 5000}, 999_999_999),
    ],
)
def test_a_server_may_say_when_to_return(headers: dict[str, str], wait_s: float | None):
    assert asked_wait(headers, NOW) == wait_s


def test_waits_double_and_end():
    retry = Retry(limit=3, first_wait_s=1, random=lambda: 0.5)
    assert [retry.next_wait(None) for _ in range(4)] == [1, 2, 4, None]


def test_waits_are_spread():
    waits = {Retry(limit=1, first_wait_s=1).next_wait(None) for _ in range(20)}
    assert len(waits) > 1
    assert all(wait is not None and 0.5 <= wait <= 1.5 for wait in waits)


def test_progress_is_a_new_beginning():
    retry = Retry(limit=1, first_wait_s=1, random=lambda: 0.5)
    assert retry.next_wait(None) == 1
    retry.progressed()
    assert retry.next_wait(None) == 1
    assert retry.next_wait(None) is None


def test_the_server_is_obeyed_but_not_for_ever():
    retry = Retry(limit=3, first_wait_s=1)
    wait = retry.next_wait(100)
    assert wait is not None and 100 <= wait < 101
    assert retry.next_wait(301) is None
