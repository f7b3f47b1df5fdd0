import queue
from typing import Any

from fakes.fake_llama import FakeLlama, Office, question

from mlm.engine.intake import take_in
from mlm.engine.messages import Cancel


class Inbox(queue.SimpleQueue[Any]):
    """Whatever will come comes to him who waits, and to nobody else."""

    def __init__(self, *coming: Any) -> None:
        self.coming = list(coming)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if timeout == 0 or not self.coming:
            raise queue.Empty
        return self.coming.pop(0)


class Desk:
    def __init__(self, n_waiting: int) -> None:
        self.n_waiting = n_waiting


def office_that_knows_its_pace() -> Office:
    office = Office(FakeLlama(n_slots=4))
    office.submit(99, 60, "a")
    office.run()
    return office


def requests(office: Office, *numbers: int) -> list[Any]:
    """Make requests without submitting them."""
    made = [office.submit(number, question(number, 90), "abc") for number in numbers]
    for number in numbers:
        office.scheduler.cancel(number)
    return made


def test_who_comes_to_a_worker_at_rest_waits_for_those_that_come_too():
    office = office_that_knows_its_pace()
    inbox = Inbox(*requests(office, 1, 2, 3))
    take_in(inbox, office.scheduler, Desk(n_waiting=2), office.llama.clock)
    assert (office.scheduler.n_waiting, inbox.coming) == (3, [])


def test_who_comes_alone_does_not_wait():
    office = office_that_knows_its_pace()
    inbox = Inbox(*requests(office, 1, 2))
    take_in(inbox, office.scheduler, Desk(n_waiting=0), office.llama.clock)
    assert (office.scheduler.n_waiting, len(inbox.coming)) == (1, 1)


def test_no_stream_waits_for_a_newcomer():
    office = office_that_knows_its_pace()
    office.submit(1, 30, "a" * 50)
    office.scheduler.step()
    office.submit(2, 90, "abc")
    inbox = Inbox(*requests(office, 3))
    take_in(inbox, office.scheduler, Desk(n_waiting=1), office.llama.clock)
    assert len(inbox.coming) == 1


def test_a_worker_at_rest_goes_on_resting_after_a_cancel():
    office = office_that_knows_its_pace()
    inbox = Inbox(Cancel(request_id=5), *requests(office, 1))
    take_in(inbox, office.scheduler, Desk(n_waiting=0), office.llama.clock)
    assert office.scheduler.n_waiting == 1 and not inbox.coming
