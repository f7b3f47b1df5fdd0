"""Workers are killed by every signal, in every phase of what they do, and nobody is left waiting.

Whoever had a request with the worker is told within a second; the model's next request is served;
another model, which is asked all the time, notices nothing.
"""

import asyncio
import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from soak.asker import Answer
from soak.place import Figures, Place, end, until, with_demos, with_fakes

UNIT = "kills"
NEVER = ("silent ends", "other errors", "not recovered", "errors of the other model", "still busy")
LIMITS = {"told after s (most)": 1}
SIGNALS = ("SIGKILL", "SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGTERM")
PHASES = ("loading", "queued", "prefill", "decode")
_SLOTS = 2
_BYSTANDER = "bystander"
_SPARE = "spare"  # is loaded at the start, and makes room for the first victim
# The fake worker does what the words with "=" say; for the real one they are a prompt like others.
_PROMPTS = {
    "loading": "n=3",
    "queued": "n=60 pace=0.02",
    "prefill": "n=3 prefill=5 " + "word " * 300,
    "decode": "n=60 pace=0.02",
}
# Those beyond what the worker is given wait in the gateway, and get the next worker.
_CLIENTS = {"loading": 2, "queued": 2 * _SLOTS + 2, "prefill": 2, "decode": 2}


@dataclass(frozen=True, slots=True)
class Size:
    """So many kills, and of these so many of real workers."""

    kills: int = 200
    real: int = 24  # each signal in each phase
    seed: int = 0


FULL, SHORT = Size(), Size(kills=4, real=0)


@dataclass(frozen=True, slots=True)
class Kill:
    """The number-th; after 24, every signal has come in every phase."""

    number: int

    @property
    def phase(self) -> str:
        """What the worker does meanwhile."""
        return PHASES[self.number % len(PHASES)]

    @property
    def signal(self) -> signal.Signals:
        """What ends it."""
        turn, phase = divmod(self.number, len(PHASES))
        return signal.Signals[SIGNALS[(turn + phase) % len(SIGNALS)]]

    @property
    def victim(self) -> str:
        """The model, which no other kill has: three crashes are a quarantine."""
        return f"victim-{self.number}"


@dataclass(slots=True)
class _Seen:
    """What became of everybody."""

    counts: Counter[str] = field(default_factory=Counter)
    told_s: list[float] = field(default_factory=list)  # from a kill to the end of an answer
    recovery_s: list[float] = field(default_factory=list)


async def endure(folder: Path, size: Size) -> Figures:
    """Kill fake workers, then real ones."""
    seen, chance = _Seen(), random.Random(size.seed)
    n_real = min(size.real, size.kills)
    kills = [Kill(number) for number in range(size.kills - n_real)]
    if kills:
        victims = {kill.victim: {"config": {"n_parallel": _SLOTS}} for kill in kills}
        for kill in kills:
            victims[kill.victim]["load_s"] = 1.0 if kill.phase == "loading" else 0.0
        models = {_BYSTANDER: {}, _SPARE: {}, **victims}
        with with_fakes(folder / "fake", models, max_models=2, pinned=[_BYSTANDER]) as place:
            await _endure_all(place, kills, seen, chance)
    if n_real:
        kills = [Kill(number) for number in range(n_real)]
        names = [_BYSTANDER, _SPARE, *(kill.victim for kill in kills)]
        words = ("--ctx", "1024", "--parallel", str(_SLOTS), "--response-cache", "off")
        with with_demos(folder / "real", names, *words) as place:
            await _endure_all(place, kills, seen, chance)
    names = ("kills", "told", "served all the same", *NEVER)
    return {name: seen.counts[name] for name in names} | {
        "told after s (median)": statistics.median(seen.told_s),
        "told after s (most)": max(seen.told_s),
        "served again after s (most)": max(seen.recovery_s, default=0.0),
    }


async def _endure_all(
    place: Place, kills: Sequence[Kill], seen: _Seen, chance: random.Random
) -> None:
    place.wait_loaded()
    await place.order("pin", _BYSTANDER)
    over = asyncio.Event()
    others = [asyncio.create_task(_keep_asking(place, over)) for _ in range(2)]
    try:
        for kill in kills:
            await _endure_one(place, kill, seen, chance)
    finally:
        over.set()
    for outcomes in await asyncio.gather(*others):
        seen.counts["errors of the other model"] += sum(outcomes.values()) - outcomes["served"]
    seen.counts["still busy"] += await place.busy()


async def _keep_asking(place: Place, over: asyncio.Event) -> Counter[str]:
    """Use the other model until it is over; return what became of each request."""
    outcomes: Counter[str] = Counter()
    while not over.is_set():
        answer = await place.asker.complete(_BYSTANDER, "n=20 pace=0.01", max_tokens=20)
        outcomes[answer.outcome] += 1
        await asyncio.sleep(0.05)
    return outcomes


async def _endure_one(place: Place, kill: Kill, seen: _Seen, chance: random.Random) -> None:
    """Have somebody ask, kill, and see what they are told."""
    answers = [Answer() for _ in range(_CLIENTS[kill.phase])]
    if kill.phase == "loading":
        before = place.workers()
        asking = _ask(place, kill, answers)
        assert await until(lambda: place.workers() - before), "no worker was started"
        (pid,) = place.workers() - before
        await asyncio.sleep(chance.uniform(0, 0.3))
    else:
        loaded = await place.order("load", kill.victim)
        assert loaded.status == 200, loaded
        pid = loaded.document["pid"]
        asking = _ask(place, kill, answers)
        assert await until(lambda: _has_come_so_far(kill, answers[0])), answers[0]
    end(pid, kill.signal)
    killed_at = time.monotonic()
    await asking
    seen.counts["kills"] += 1
    for answer in answers:
        _note(answer, killed_at, seen)
    if kill.phase != "loading":  # what cannot be loaded is left alone for a while
        again = await place.asker.complete(kill.victim, "n=2", max_tokens=2)
        seen.counts["not recovered"] += again.outcome != "served"
        seen.recovery_s.append(again.took_s)


def _ask(place: Place, kill: Kill, answers: list[Answer]) -> "asyncio.Future[list[Answer]]":
    """Begin to ask, the first one for a stream."""
    prompt = _PROMPTS[kill.phase]
    return asyncio.gather(
        *(
            place.asker.complete(
                kill.victim, prompt, into=answer, stream=number % 2 == 0, max_tokens=400
            )
            for number, answer in enumerate(answers)
        )
    )


def _has_come_so_far(kill: Kill, first: Answer) -> bool:
    """Tell whether the worker does what it is to be killed in: a head means that it has begun."""
    return bool(first.status) if kill.phase == "prefill" else len(first.texts) > 2


def _note(answer: Answer, killed_at: float, seen: _Seen) -> None:
    if answer.outcome == "lost":
        seen.counts["silent ends"] += 1
    elif answer.outcome == "served":  # before the kill, or by the next worker
        seen.counts["served all the same"] += 1
    else:
        seen.counts["told"] += 1
        seen.told_s.append(answer.ended_at - killed_at)
        expected = {502: "worker_crashed", 503: "load_failed", 200: "worker_crashed"}
        seen.counts["other errors"] += expected.get(answer.status) != answer.error
