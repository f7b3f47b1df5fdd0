"""`kill -9` of the gateway, again and again on one port and in one home.

No worker outlives it for long, the port is free at once, and the next server starts as if nothing
had been, and sweeps up.
"""

import asyncio
import random
import socket
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from soak.asker import HERE, Answer
from soak.place import Figures, Place, until, with_demos, with_fakes, workers_of

UNIT = "kills"
NEVER = ("workers left", "port not free", "not served", "files left", "left in the end")
LIMITS = {"workers gone after s (most)": 2}
MOMENTS = ("streaming", "loading", "idle")
_MODELS = ["alpha", "beta"]
_PATIENCE_S = 5.0  # for what should take two seconds


@dataclass(frozen=True, slots=True)
class Size:
    """So many kills."""

    kills: int = 100
    is_real: bool = True
    seed: int = 0


FULL, SHORT = Size(), Size(kills=2, is_real=False)


async def endure(folder: Path, size: Size) -> Figures:
    """Start, kill, look, and start again."""
    port, chance = _free_port(), random.Random(size.seed)
    counts: Counter[str] = Counter()
    gone_s: list[float] = []
    gateways: set[int] = set()
    for number in range(size.kills + 1):  # the last one is only to see that it starts
        moment = MOMENTS[number % len(MOMENTS)] if number < size.kills else "the end"
        with _serving(folder, port, is_real=size.is_real) as place:
            gateways.add(place.process.pid)
            asked, streams = await _come_to(moment, place, chance)
            counts["not served"] += sum(answer.outcome != "served" for answer in asked)
            if moment == "the end":
                left = {path.name.partition(".")[0] for path in (folder / "home" / "run").iterdir()}
                counts["files left"] = len(left - {str(place.process.pid)})
                break
            place.kill()
            gone_s.append(await _time_workers(place))
            await asyncio.gather(*streams)  # the kernel ends them
            counts["kills"] += 1
            counts["workers left"] += len(workers_of({place.process.pid}))
            counts["port not free"] += not _is_free(port)
    counts["left in the end"] = len(workers_of(gateways))
    return {name: counts[name] for name in ("kills", *NEVER)} | {
        "workers gone after s (median)": statistics.median(gone_s),
        "workers gone after s (most)": max(gone_s),
    }


@contextmanager
def _serving(folder: Path, port: int, *, is_real: bool) -> Iterator[Place]:
    if is_real:
        words = ("--ctx", "1024", "--parallel", "2", "--port", str(port))
        with with_demos(folder, _MODELS, *words) as place:
            yield place
    else:
        with with_fakes(folder, {name: {} for name in _MODELS}, port=port) as place:
            yield place


async def _come_to(
    moment: str, place: Place, chance: random.Random
) -> tuple[list[Answer], list["asyncio.Task[Answer]"]]:
    """Bring the server to where it is to be killed.

    Return answers that should have been given, and streams that are still coming.
    """
    if moment == "loading":
        await asyncio.sleep(chance.uniform(0, 0.5))
        return [], []
    place.wait_loaded()
    served = [await place.asker.complete(model, "n=2", max_tokens=2) for model in _MODELS]
    if moment != "streaming":
        return served, []
    answers = [Answer() for _ in range(4)]
    streams = [
        asyncio.create_task(
            place.asker.complete(model, "n=9999 pace=0.01", into=answer, max_tokens=900)
        )
        for model, answer in zip(_MODELS * 2, answers, strict=True)
    ]
    assert await until(lambda: any(answer.texts for answer in answers)), answers
    return served, streams


async def _time_workers(place: Place) -> float:
    """Return how long it took until no worker was left, or `_PATIENCE_S`."""
    killed_at = time.monotonic()
    await until(lambda: not workers_of({place.process.pid}), _PATIENCE_S)
    return time.monotonic() - killed_at


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((HERE, 0))
        return int(free.getsockname()[1])


def _is_free(port: int) -> bool:
    try:
        with socket.create_server((HERE, port)):
            return True
    except OSError:
        return False
