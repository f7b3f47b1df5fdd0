"""Clients that leave at any moment: while a model is loaded, in the queue, in prefill, in decode.

Nothing goes on for them, no slot stays taken, and no memory is kept.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from soak.asker import Answer
from soak.place import Figures, Place, with_demos, with_fakes

UNIT = "aborts"
NEVER = ("still busy", "went on", "slots lost", "lost though nobody left")
LIMITS = {"RSS growth MiB": 8}
_SLOTS, _CLIENTS = 4, 12
_HEARTBEATS_S = 2.2  # by then every worker has told twice what it does
_MODELS = ["alpha", "beta"]  # the second one is unloaded now and then


@dataclass(frozen=True, slots=True)
class Size:
    """So many clients that leave, half of them while real workers answer."""

    aborts: int = 1000
    is_real: bool = True
    seed: int = 0


FULL, SHORT = Size(), Size(aborts=40, is_real=False)


async def endure(folder: Path, size: Size) -> Figures:
    """Come and go, and look at what is left."""
    counts: Counter[str] = Counter()
    growth_mib = []
    chance = random.Random(size.seed)
    n_real = size.aborts // 2 if size.is_real else 0
    slots = {"n_parallel": _SLOTS}
    models = {"alpha": {"config": slots}, "beta": {"config": slots, "load_s": 0.3}}
    with with_fakes(folder / "fake", models) as place:
        growth_mib.append(await _endure_all(place, size.aborts - n_real, counts, chance))
    if n_real:
        words = ("--ctx", "1024", "--parallel", str(_SLOTS))
        with with_demos(folder / "real", _MODELS, *words) as place:
            growth_mib.append(await _endure_all(place, n_real, counts, chance))
    left = ("before the head", "before the first token", "in the answer", "after it")
    return {name: counts[name] for name in (*left, *NEVER)} | {"RSS growth MiB": max(growth_mib)}


async def _endure_all(
    place: Place, n_aborts: int, counts: Counter[str], chance: random.Random
) -> float:
    """Return by how many MiB the gateway has grown since the first fifth."""
    place.wait_loaded()
    first = n_aborts // 5
    rss_mib = []
    for n_leave in (first, n_aborts - first):
        numbers = iter(range(n_leave))
        clients = (_come_and_go(place, numbers, counts, chance) for _ in range(_CLIENTS))
        await asyncio.gather(*clients)
        counts["still busy"] += await place.busy()
        rss_mib.append(place.weigh().rss_mib)
    before = await _tokens_so_far(place)
    await asyncio.sleep(_HEARTBEATS_S / 2)
    counts["went on"] += await _tokens_so_far(place) != before
    # All slots at once, and once more: what a leaver may have kept would be missing.
    prompts = [f"n=3 {number}" for number in range(2 * _SLOTS)]
    asked = [place.asker.complete(_MODELS[0], prompt, max_tokens=3) for prompt in prompts]
    counts["slots lost"] += sum(a.outcome != "served" for a in await asyncio.gather(*asked))
    return rss_mib[1] - rss_mib[0]


async def _come_and_go(
    place: Place, numbers: Iterator[int], counts: Counter[str], chance: random.Random
) -> None:
    for number in numbers:
        if number % 20 == 0:
            await place.order("unload", "beta")  # 409 while it is busy
        model = "beta" if number % 4 == 0 else "alpha"
        prefill = chance.choice(("", "prefill=0.1 ", "think=0.1 "))
        prompt = f"n=100 pace=0.01 {prefill}{number} " + "word " * chance.randrange(200)
        answer = Answer()
        asking = asyncio.create_task(
            place.asker.complete(model, prompt, into=answer, stream=number % 3 > 0, max_tokens=400)
        )
        await asyncio.wait([asking], timeout=chance.expovariate(1 / 0.4))
        asking.cancel()
        await asyncio.wait([asking])
        counts[_where(answer, left=asking.cancelled())] += 1


def _where(answer: Answer, *, left: bool) -> str:
    """Tell what a client had seen when it left."""
    if not left:
        return "lost though nobody left" if answer.outcome == "lost" else "after it"
    if answer.texts:
        return "in the answer"
    return "before the first token" if answer.status else "before the head"


async def _tokens_so_far(place: Place) -> list[int]:
    """Return what each worker has computed, once it has told so after all was quiet."""
    await asyncio.sleep(_HEARTBEATS_S / 2)
    work = [resident["work"] or {} for resident in (await place.stats())["resident"]]
    return [w.get("decode_tokens", 0) + w.get("prefill_tokens", 0) for w in work]
