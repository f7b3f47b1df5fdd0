"""Models come and go under clients of all kinds, for half an hour: what the gateway takes stays.

It is weighed at rest, between two rounds, when no client is connected and as many models are
loaded as ever: what is more by then than it was is a leak. The twenty minutes before do not count:
caches and sliding windows fill, and a table of CPython's grows by a mebibyte, once, after ten.
"""

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from pathlib import Path

from soak.asker import Answer
from soak.place import Figures, Place, Weight, with_demos, with_fakes

UNIT = "seconds"
NEVER = ("lost", "other answers", "still busy")
LIMITS = {
    "RSS growth MiB": 8,
    "RSS surely grows": 0,
    "fds off by (most)": 2,
    "threads off by (most)": 2,
}
_MODELS = ["alpha", "beta", "gamma"]
_ROOM = 2
_CLIENTS = 8
_WARM_UP = 0.4  # of the time
_N_KINDS = 50  # of questions that are asked again and again, for the response cache
_PAGES = ("/admin/stats", "/metrics", "/v1/models", "/ready", "/")
_Z = 1.959964  # of 95 %


@dataclass(frozen=True, slots=True)
class Size:
    """So long, with a rest after each round; the favourite model changes every ``turn_s``."""

    seconds: float = 3000
    round_s: float = 20
    turn_s: float = 4
    is_real: bool = True
    seed: int = 0


FULL, SHORT = Size(), Size(seconds=2.4, round_s=0.6, turn_s=0.8, is_real=False)


@dataclass(frozen=True, slots=True)
class Slope:
    """A line through the points, and how sure that is."""

    per_hour: float
    margin: float  # of 95 %

    @property
    def is_zero(self) -> bool:
        """Whether it may be level."""
        return abs(self.per_hour) <= self.margin


async def endure(folder: Path, size: Size) -> Figures:
    """Ask, rest, weigh, and again."""
    counts: Counter[str] = Counter()
    if size.is_real:
        words = ("--max-models", str(_ROOM), "--ctx", "1024", "--parallel", "4")
        with with_demos(folder, _MODELS, *words) as place:
            weights = await _endure_all(place, size, counts)
    else:
        with with_fakes(folder, {name: {} for name in _MODELS}, max_models=_ROOM) as place:
            weights = await _endure_all(place, size, counts)
    settled = weights[int(_WARM_UP * len(weights)) :]
    rss = [(at_s / 3600, weight.rss_mib) for at_s, weight in settled]
    slope = fit(rss)
    fifth = max(1, len(rss) // 5)
    first, last = (statistics.mean(y for _, y in part) for part in (rss[:fifth], rss[-fifth:]))
    return {name: counts[name] for name in ("served", "refused", "left", "loads", *NEVER)} | {
        "weighed": len(settled),
        "gateway RSS MiB (most)": max(y for _, y in rss),
        "RSS growth MiB": last - first,
        "RSS slope MiB per hour": slope.per_hour,
        "RSS slope margin of 95 %": slope.margin,
        "RSS surely grows": int(slope.per_hour > 0 and not slope.is_zero),
        "fds off by (most)": _spread([weight.fds for _, weight in settled]),
        "threads off by (most)": _spread([weight.threads for _, weight in settled]),
    }


def fit(points: Sequence[tuple[float, float]]) -> Slope:
    """Return the slope of the line of least squares, with the margin of Student's t.

    What a process weighs now is nearly what it weighed before, so that points that follow each
    other tell little more than one. They count as so many as their residuals are worth by their
    correlation with the next one (Santer et al. 2000, doi:10.1029/1999JD901105). Without that, what
    wanders with a correlation of 0.87, as gateways do, and leads nowhere has a slope for sure in 60
    of 100 half hours; with it in 11.
    """
    n = len(points)
    if n < 4:
        return Slope(0.0, float("inf"))
    mean_x, mean_y = (statistics.fmean(axis) for axis in zip(*points, strict=True))
    sum_xx = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum_xx
    residuals = [y - mean_y - slope * (x - mean_x) for x, y in points]
    total = sum(residual**2 for residual in residuals)
    correlation = sum(a * b for a, b in pairwise(residuals)) / total if total else 0.0
    worth = n * (1 - correlation) / (1 + correlation) if correlation > 0 else n
    free = max(worth - 2, 1.0)
    t = _Z + (_Z**3 + _Z) / 4 / free + (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / 96 / free**2
    return Slope(slope, t * sqrt(total / free / sum_xx))


async def _endure_all(place: Place, size: Size, counts: Counter[str]) -> list[tuple[float, Weight]]:
    """Return what the gateway took at each rest, with the seconds since the start."""
    place.wait_loaded()
    weights, began = [], time.monotonic()
    chances = [random.Random(f"{size.seed} {number}") for number in range(_CLIENTS)]
    while (now := time.monotonic()) < began + size.seconds:
        until = now + size.round_s
        clients = (_Client(place, size, counts, chance).ask_until(until) for chance in chances)
        await asyncio.gather(*clients)
        counts["still busy"] += await place.busy()
        weights.append((time.monotonic() - began, await _weigh_at_rest(place)))
    counts["loads"] = sum(resident["loads"] for resident in (await place.stats())["resident"])
    return weights


async def _weigh_at_rest(place: Place) -> Weight:
    """Weigh the gateway with as many models as have room, and no passing threads."""
    for model in _MODELS:
        if len(place.workers()) < _ROOM:
            await place.order("load", model)
    await asyncio.sleep(0.2)
    return place.weigh()


def _spread(values: Sequence[int]) -> float:
    middle = statistics.median(values)
    return max(abs(value - middle) for value in values)


@dataclass(frozen=True, slots=True)
class _Client:
    """Somebody who asks for this and that."""

    place: Place
    size: Size
    counts: Counter[str]
    chance: random.Random

    async def ask_until(self, at: float) -> None:
        """Ask one thing after the other until then."""
        while time.monotonic() < at:
            deed = self.chance.choices(
                (self._stream, self._ask, self._repeat, self._leave, self._look, self._err),
                (45, 15, 10, 15, 10, 5),
            )[0]
            await deed()

    async def _stream(self) -> None:
        self._note(await self._complete(stream=True), 200)

    async def _ask(self) -> None:
        messages = [{"role": "user", "content": self._question()}]
        body = {"model": self._model(), "messages": messages, "max_tokens": 20}
        self._note(await self.place.asker.post("/v1/chat/completions", body), 200)

    async def _repeat(self) -> None:
        kind = f"n=10 kind {self.chance.randrange(_N_KINDS)}"
        stream = self.chance.random() < 0.5
        answer = await self.place.asker.complete(
            self._model(), kind, stream=stream, temperature=0, max_tokens=10
        )
        self._note(answer, 200)

    async def _leave(self) -> None:
        asking = asyncio.create_task(self._complete(stream=self.chance.random() < 0.7))
        await asyncio.wait([asking], timeout=self.chance.uniform(0, 0.5))
        asking.cancel()
        await asyncio.wait([asking])
        self.counts["left"] += 1

    async def _look(self) -> None:
        self._note(await self.place.asker.get(self.chance.choice(_PAGES)), 200)

    async def _err(self) -> None:
        if self.chance.random() < 0.5:
            self._note(await self.place.asker.complete("nobody", "x"), 404)
        else:
            self._note(await self._complete(temperature=-1), 400)

    async def _complete(self, **params: object) -> Answer:
        n_tokens = self.chance.randrange(1, 60)
        return await self.place.asker.complete(
            self._model(), self._question(), max_tokens=n_tokens, **params
        )

    def _question(self) -> str:
        return f"n=60 pace=0.005 {self.chance.random()} " + "word " * self.chance.randrange(100)

    def _model(self) -> str:
        """Return the favourite of the moment, mostly."""
        favourite = _MODELS[int(time.monotonic() / self.size.turn_s) % len(_MODELS)]
        return favourite if self.chance.random() < 0.9 else self.chance.choice(_MODELS)

    def _note(self, answer: Answer, expected: int) -> None:
        if answer.outcome == "lost":
            self.counts["lost"] += 1
        elif answer.status == expected and answer.outcome != "failed":
            self.counts["served"] += 1
        elif answer.status in (429, 503):
            self.counts["refused"] += 1
        else:
            self.counts["other answers"] += 1
