"""Ten times as many clients as there is room for, and then all requests at once.

Each of them gets an answer, or is told at once when to come back; no connection is reset.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from soak.asker import Answer
from soak.place import Figures, Place, with_fakes

UNIT = "requests"
NEVER = ("lost", "other answers", "without Retry-After", "wrong text", "still busy")
LIMITS = {"refused after s (most)": 2}  # by the crowd; all at once keep the client busy, too
_N_TOKENS = 5


@dataclass(frozen=True, slots=True)
class Size:
    """So many requests, twice: by ``times`` as many clients as may be there, and all at once."""

    requests: int = 5000
    slots: int = 4
    queue: int = 32
    times: int = 10
    max_connections: int = 1024


FULL, SHORT = Size(), Size(requests=300, slots=2, queue=4, max_connections=64)


async def endure(folder: Path, size: Size) -> Figures:
    """Ask and ask, and look at every answer."""
    slots = {"config": {"n_parallel": size.slots}}
    limits = {"max_queue": size.queue, "max_connections": size.max_connections}
    with with_fakes(folder, {"alpha": slots}, **limits) as place:
        place.wait_loaded()
        crowd = size.times * (size.slots + size.queue)
        crowded = await _ask_by(place, min(crowd, size.requests), size.requests)
        at_once = await _ask_by(place, size.requests, size.requests)
        busy = await place.busy()
    answers = crowded + at_once
    expected = "".join(f"t{number} " for number in range(_N_TOKENS))
    seen = Counter(answer.outcome for answer in answers)
    refused = [answer for answer in answers if answer.outcome == "refused"]
    served = [answer for answer in answers if answer.outcome == "served"]
    return {
        "requests": len(answers),
        "served": seen["served"],
        "refused with 429": sum(answer.status == 429 for answer in refused),
        "refused with 503": sum(answer.status == 503 for answer in refused),
        "lost": seen["lost"],
        "other answers": seen["failed"] + sum(a.status not in (429, 503) for a in refused),
        "without Retry-After": sum("retry-after" not in answer.headers for answer in refused),
        "wrong text": sum("".join(a.texts) != expected for a in served),
        "still busy": busy,
        "refused after s (most)": _longest(crowded),
        "all at once: refused after s": _longest(at_once),
    }


def _longest(answers: list[Answer]) -> float:
    """Return for how long one has waited to be told to come back."""
    return max((answer.took_s for answer in answers if answer.outcome == "refused"), default=0.0)


async def _ask_by(place: Place, n_clients: int, n_requests: int) -> list[Answer]:
    """Have so many clients ask so many requests, each one after the other."""
    numbers = iter(range(n_requests))
    clients = [_ask_on(place, numbers) for _ in range(n_clients)]
    return [answer for answers in await asyncio.gather(*clients) for answer in answers]


async def _ask_on(place: Place, numbers: Iterator[int]) -> list[Answer]:
    answers = []
    for number in numbers:
        prompt = f"n={_N_TOKENS} pace=0.02 {number}"
        answers.append(await place.asker.complete("alpha", prompt, stream=number % 2 == 0))
    return answers
