import threading

import pytest
from fakes.processes import wait_until

from mlm.engine.messages import Alive, Message
from mlm.engine.outbox import MOST_WAITING, Outbox


class Gateway:
    """Takes messages as soon as it may."""

    def __init__(self) -> None:
        self.may_read = threading.Event()
        self.heard: list[int] = []

    def take(self, message: Message) -> None:
        self.may_read.wait()
        assert isinstance(message, Alive)
        self.heard.append(message.n_active)


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def outbox(gateway: Gateway) -> Outbox:
    return Outbox(gateway.take)


def number(n: int) -> Alive:
    return Alive(n_active=n, n_waiting=0)


def test_messages_arrive_in_the_order_in_which_they_were_put(gateway: Gateway, outbox: Outbox):
    gateway.may_read.set()
    for n in range(2 * MOST_WAITING):
        outbox.put(number(n))
    wait_until(lambda: len(gateway.heard) == 2 * MOST_WAITING)
    assert gateway.heard == list(range(2 * MOST_WAITING))


def test_whoever_has_something_to_tell_goes_on_although_nobody_listens_yet(
    gateway: Gateway, outbox: Outbox
):
    for n in range(MOST_WAITING):
        outbox.put(number(n))
    assert not gateway.heard


def test_for_a_gateway_that_does_not_read_no_more_than_so_much_waits(
    gateway: Gateway, outbox: Outbox
):
    put: list[int] = []

    def tell() -> None:
        for n in range(2 * MOST_WAITING):
            outbox.put(number(n))
            put.append(n)

    telling = threading.Thread(target=tell)
    telling.start()
    wait_until(lambda: len(put) >= MOST_WAITING)
    telling.join(0.1)
    assert len(put) <= MOST_WAITING + 1, "and one is on its way"
    gateway.may_read.set()
    telling.join()
    wait_until(lambda: len(gateway.heard) == 2 * MOST_WAITING)
