"""What the server tells of its machine."""

import asyncio
import os
import threading
from collections.abc import Callable

import pytest
from fakes.processes import wait_until

from mlm.hardware.gpu_load import GpuLoad
from mlm.server import vitals
from mlm.server.vitals import Lookout, Vitals


def test_the_machine_and_the_server_are_looked_at():
    machine, _ = asyncio.run(Vitals(lambda: []).read())
    assert machine is not None
    own = machine.processes[os.getpid()]
    assert own.rss_bytes > 1_000_000
    assert own.threads >= 1
    assert own.cpu_percent is not None and own.cpu_percent >= 0
    assert machine.host.cpu_percent is not None and 0 <= machine.host.cpu_percent <= 100
    assert 0 < machine.host.memory_available <= machine.host.memory_total
    assert machine.host.cores >= 1


def test_what_a_busy_process_takes_is_seen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(vitals, "MAX_AGE_S", 0.0)

    async def watch() -> float | None:
        watching = Vitals(lambda: [])
        await watching.read()
        await asyncio.to_thread(sum, range(10_000_000))
        machine, _ = await watching.read()
        assert machine is not None
        return machine.processes[os.getpid()].cpu_percent

    percent = asyncio.run(watch())
    assert percent is not None and percent > 1


def test_processes_that_have_gone_are_left_out():
    machine, _ = asyncio.run(Vitals(lambda: [2**22 + 1]).read())
    assert machine is not None
    assert list(machine.processes) == [os.getpid()]


def test_nobody_waits_for_a_driver_that_does_not_answer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(vitals, "PATIENCE_S", 0.01)
    answer = threading.Event()
    card = GpuLoad("card", 5.0, 1, 2, 3.0, 4.0)
    asked = 0

    def read() -> GpuLoad:
        nonlocal asked
        asked += 1
        answer.wait(30)
        return card

    async def look(lookout: Lookout[GpuLoad], n: int) -> list[GpuLoad | None]:
        return [await lookout.look() for _ in range(n)]

    lookout = Lookout(read)
    assert asyncio.run(look(lookout, 5)) == [None] * 5
    assert asked == 1, "one question at a time is enough"
    answer.set()
    wait_until(lambda: lookout._reading is not None and lookout._reading.done())
    assert asyncio.run(look(lookout, 5)) == [card] * 5
    assert asked == 1, "what is a second old is shown to all"


def test_a_reading_that_fails_leaves_the_last_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(vitals, "MAX_AGE_S", 0.0)
    readings: list[Callable[[], int]] = [lambda: 7, lambda: int(open("/nowhere").read())]  # noqa: SIM115, PTH123

    async def look() -> list[int | None]:
        lookout = Lookout(lambda: readings.pop(0)())
        return [await lookout.look(), await lookout.look()]

    assert asyncio.run(look()) == [7, 7]
