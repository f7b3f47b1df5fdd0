import queue
from typing import Any

import pytest
from fakes.fake_llama import Clock, FakeLlama, Office, question

from mlm.engine.intake import LEAST_LULL_S, LULL_S, Intake
from mlm.engine.messages import Cancel
from mlm.engine.pace import PATIENCE_LIMIT_S


class Inbox(queue.SimpleQueue[Any]):
    """What will come does so after ``wait_s`` each: to him who waits, and to nobody else."""

    def __init__(self, *coming: Any, clock: Clock | None = None, wait_s: float = 0.0) -> None:
        self.coming = list(coming)
        self.clock, self.wait_s = clock or Clock(), wait_s

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if not self.coming or (timeout is not None and timeout <= self.wait_s):
            self.clock.now += timeout or 0.0
            raise queue.Empty
        self.clock.now += self.wait_s
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


def open_at_rest() -> tuple[Office, Inbox, Intake]:
    """Return an office where nobody is, and what lets in whoever comes."""
    office = office_that_knows_its_pace()
    inbox = Inbox(clock=office.llama.clock)
    return office, inbox, Intake(inbox, office.scheduler, Desk(n_waiting=0), office.llama.clock)


def come_and_go(
    office: Office, inbox: Inbox, intake: Intake, *numbers: int, wait_s: float = 0.0
) -> float:
    """Let requests come ``wait_s`` apart, and leave; return how long the first one waited.

    A second after whatever was before.
    """
    office.llama.clock.now += 1.0
    inbox.coming, inbox.wait_s = requests(office, *numbers), wait_s
    came = office.llama.clock() + wait_s
    intake.take_in()
    waited = office.llama.clock() - came
    assert office.scheduler.n_waiting == len(numbers)
    for number in numbers:
        office.scheduler.cancel(number)
    return waited


def come_late(office: Office, inbox: Inbox, intake: Intake, number: int, late_s: float) -> None:
    """Let one come ``late_s`` after the others were let in, and leave."""
    (late,) = inbox.coming = requests(office, number)
    late.received_s = office.llama.clock() + late_s
    intake.take_in()
    office.scheduler.cancel(number)


def test_who_comes_to_a_worker_at_rest_waits_for_those_that_come_too():
    office = office_that_knows_its_pace()
    inbox = Inbox(*requests(office, 1, 2, 3))
    Intake(inbox, office.scheduler, Desk(n_waiting=2), office.llama.clock).take_in()
    assert (office.scheduler.n_waiting, inbox.coming) == (3, [])


def test_those_that_are_not_at_the_desk_yet_are_waited_for_while_they_follow_each_other():
    office = office_that_knows_its_pace()
    clock = office.llama.clock
    inbox = Inbox(*requests(office, 1, 2, 3), clock=clock, wait_s=LULL_S / 2)
    Intake(inbox, office.scheduler, Desk(n_waiting=0), clock).take_in()
    assert (office.scheduler.n_waiting, inbox.coming) == (3, [])


def test_who_comes_alone_hardly_waits():
    office = office_that_knows_its_pace()
    clock = office.llama.clock
    inbox = Inbox(*requests(office, 1, 2), clock=clock, wait_s=LULL_S)
    came = clock()
    Intake(inbox, office.scheduler, Desk(n_waiting=0), clock).take_in()
    assert (office.scheduler.n_waiting, len(inbox.coming)) == (1, 1)
    assert clock() - came == pytest.approx(2 * LULL_S), "until it came, and after that"


def test_nobody_waits_longer_than_a_little_of_what_its_prompt_takes():
    office = office_that_knows_its_pace()
    clock = office.llama.clock
    inbox = Inbox(*requests(office, *range(1, 40)), clock=clock, wait_s=LULL_S * 0.9)
    came = clock()
    Intake(inbox, office.scheduler, Desk(n_waiting=0), clock).take_in()
    assert inbox.coming
    assert clock() - came <= PATIENCE_LIMIT_S + LULL_S


def test_no_stream_waits_for_a_newcomer():
    office = office_that_knows_its_pace()
    office.submit(1, 30, "a" * 50)
    office.scheduler.step()
    office.submit(2, 90, "abc")
    inbox = Inbox(*requests(office, 3))
    Intake(inbox, office.scheduler, Desk(n_waiting=1), office.llama.clock).take_in()
    assert len(inbox.coming) == 1


def test_a_worker_at_rest_goes_on_resting_after_a_cancel():
    office = office_that_knows_its_pace()
    inbox = Inbox(Cancel(request_id=5), *requests(office, 1))
    Intake(inbox, office.scheduler, Desk(n_waiting=0), office.llama.clock).take_in()
    assert office.scheduler.n_waiting == 1 and not inbox.coming


def test_who_always_comes_alone_is_kept_ever_less():
    place = open_at_rest()
    waits = [come_and_go(*place, number) for number in range(1, 6)]
    assert waits == sorted(waits, reverse=True)
    assert (waits[0], waits[-1]) == (pytest.approx(LULL_S), pytest.approx(LEAST_LULL_S))


def test_those_that_were_missed_once_are_waited_for_the_next_time():
    place = open_at_rest()
    come_and_go(*place, 1)
    come_late(*place, 2, late_s=LULL_S / 5)
    come_and_go(*place, 3, 4, 5, wait_s=LULL_S * 1.1)


def test_whoever_comes_much_later_is_not_one_that_was_missed():
    place = open_at_rest()
    come_and_go(*place, 1)
    come_late(*place, 2, late_s=PATIENCE_LIMIT_S)
    assert come_and_go(*place, 3) < LULL_S
