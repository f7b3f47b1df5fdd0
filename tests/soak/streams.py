"""A thousand streams at once, for minutes: every token arrives, in order, and nobody else waits."""

import asyncio
import statistics
from dataclasses import dataclass
from pathlib import Path

from soak.asker import Answer
from soak.place import Figures, Place, with_fakes

UNIT = "seconds"
NEVER = ("dropped", "out of order", "health failed")
LIMITS = {"gateway RSS MiB (most)": 200, "health ms (p99)": 200}
_PROBE_S = 0.05  # from one question after its health to the next


@dataclass(frozen=True, slots=True)
class Size:
    """So many streams for so long, each with a token per ``pace_s``."""

    streams: int = 1000
    seconds: float = 120
    pace_s: float = 0.5


FULL, SHORT = Size(), Size(streams=100, seconds=1.5, pace_s=0.1)


async def endure(folder: Path, size: Size) -> Figures:
    """Open the streams, read them to their end, and ask after the server's health meanwhile."""
    n_tokens = round(size.seconds / size.pace_s)
    slots = {"n_parallel": size.streams, "n_ctx": 1024 * size.streams}
    with with_fakes(folder, {"alpha": {"config": slots}}) as place:
        place.wait_loaded()
        prompts = [f"n={n_tokens} pace={size.pace_s} {number}" for number in range(size.streams)]
        reading = asyncio.gather(*(place.asker.complete("alpha", prompt) for prompt in prompts))
        probes, rss_mib = await _probe(place, reading)
        answers = await reading
    expected = [f"t{number} " for number in range(n_tokens)]
    served = [answer for answer in answers if answer.outcome == "served"]
    health_ms = [1000 * probe.took_s for probe in probes]
    return {
        "streams": size.streams,
        "tokens": sum(len(answer.texts) for answer in answers),
        "dropped": size.streams - len(served),
        "out of order": sum(answer.texts != expected for answer in served),
        "health failed": sum(probe.outcome != "served" for probe in probes),
        "health ms (median)": statistics.median(health_ms),
        "health ms (p99)": statistics.quantiles(health_ms, n=100)[98],
        "gateway RSS MiB (most)": max(rss_mib),
    }


async def _probe(
    place: Place, reading: "asyncio.Future[list[Answer]]"
) -> tuple[list[Answer], list[float]]:
    """Ask after its health again and again, as long as anybody reads; and see what it takes."""
    probes, rss_mib = [], []
    while not reading.done():
        probes.append(await place.asker.get("/health"))
        rss_mib.append(place.weigh().rss_mib)
        await asyncio.sleep(_PROBE_S)
    return probes, rss_mib
