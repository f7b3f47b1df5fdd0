"""A server in a line now and then, for terminals that cannot move the cursor."""

import time
from collections.abc import Callable

from mlm.client import Client
from mlm.monitor.pace import Pace
from mlm.monitor.types import Reading
from mlm.monitor.watcher import Sight, Watcher
from mlm.monitor.words import joined, percent, rate, spread, with_word
from mlm.units import format_size

_EVERY_S = 5.0


def follow(
    dial: Callable[[float], Client], say: Callable[[str], object], every_s: float = _EVERY_S
) -> None:
    """Say every few seconds how the server is, until a person interrupts.

    ``dial`` is that of `mlm.monitor.watcher.Watcher`.

    Raises:
        MlmError: the server cannot be asked even once.
    """
    watcher = Watcher(dial, lambda: None)
    watcher.look()
    while True:
        say(describe_sight(watcher.sight))
        time.sleep(every_s)
        watcher.try_look()


def describe_sight(sight: Sight) -> str:
    """Return how things are, on one line without anything but letters and figures."""
    now = time.strftime("%H:%M:%S")
    if sight.trouble or sight.reading is None:
        return f"{now}  no answer, trying again: {sight.trouble}"
    return f"{now}  {joined(_describe(sight.reading, sight.pace))}"


def _describe(reading: Reading, pace: Pace) -> list[str]:
    machine = reading.machine
    parts = [
        with_word(percent(machine.cpu_percent), "CPU"),
        with_word("" if machine.memory_used is None else format_size(machine.memory_used), "used"),
    ]
    parts += [
        with_word(percent(gpu.busy_percent), f"GPU {n}") for n, gpu in enumerate(machine.gpus)
    ]
    active = sum(model.active for model in reading.models)
    waiting = sum(model.waiting for model in reading.models)
    parts += [f"{active} running", f"{waiting} waiting", f"{rate(pace.decode)} tok/s"]
    for model in reading.models:
        if model.state == "stopped" and not model.trouble:
            continue
        state = "trouble" if model.state == "stopped" else model.state
        ttft = with_word(spread(model.ttft), "ms to the first token")
        parts.append(joined([f"{model.name} {state}", ttft]).replace(", ", " "))
    return parts
