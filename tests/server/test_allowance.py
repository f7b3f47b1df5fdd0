"""What a key may use, on a clock that the test turns."""

import msgspec
import pytest
from fakes.clock import Clock

from mlm.server.allowance import Allowances
from mlm.server.errors import ApiError
from mlm.server.keys_file import Key, new_key


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def allowances(clock: Clock) -> Allowances:
    return Allowances(clock)


def key(**limits: int) -> Key:
    return new_key("alice", "user", **limits)[0]


def refusal(allowances: Allowances, of: Key) -> ApiError:
    with pytest.raises(ApiError) as caught:
        allowances.begin(of)
    assert caught.value.status == 429
    return caught.value


def test_a_key_without_limits_is_never_refused(allowances: Allowances):
    alice = key()
    for _ in range(10_000):
        allowances.begin(alice)


def test_no_minute_has_more_requests_than_it_may(clock: Clock, allowances: Allowances):
    alice = key(requests_per_minute=10)
    passed: list[float] = []
    for _ in range(3000):  # ten times as fast as allowed, for five minutes
        clock.now += 0.1
        try:
            allowances.begin(alice)
        except ApiError:
            continue
        allowances.end(alice)
        passed.append(clock.now)
    for start in passed:
        assert sum(start <= moment < start + 59.99 for moment in passed) <= 10
    assert len(passed) >= 50  # and as many as may


def test_retry_after_is_when_the_next_one_passes(clock: Clock, allowances: Allowances):
    alice = key(requests_per_minute=2)
    allowances.begin(alice)
    clock.now += 20
    allowances.begin(alice)
    clock.now += 10
    wait_s = refusal(allowances, alice).retry_after_s
    assert wait_s == pytest.approx(30)
    clock.now += wait_s - 0.001
    refusal(allowances, alice)
    clock.now += 0.001
    allowances.begin(alice)


def test_so_many_at_once_and_no_more(allowances: Allowances):
    alice = key(concurrent=2)
    allowances.begin(alice)
    allowances.begin(alice)
    assert "2 requests at once" in refusal(allowances, alice).message
    allowances.end(alice)
    allowances.begin(alice)
    refusal(allowances, alice)


def test_what_is_refused_is_not_counted(clock: Clock, allowances: Allowances):
    alice = key(requests_per_minute=5, concurrent=1)
    allowances.begin(alice)
    for _ in range(100):
        refusal(allowances, alice)
    allowances.end(alice)
    for _ in range(4):
        allowances.begin(alice)
        allowances.end(alice)
    assert "5 requests a minute" in refusal(allowances, alice).message


def test_each_key_has_its_own_account(allowances: Allowances):
    alice, bob = key(concurrent=1), key(concurrent=1)
    allowances.begin(alice)
    allowances.begin(bob)
    refusal(allowances, alice)


def test_a_limit_that_was_lowered_holds_for_what_was_before(clock: Clock, allowances: Allowances):
    alice = key(requests_per_minute=100)
    for _ in range(100):
        allowances.begin(alice)
        clock.now += 0.1
    lowered = msgspec.structs.replace(alice, requests_per_minute=10)
    assert refusal(allowances, lowered).retry_after_s == pytest.approx(59, abs=0.2)
