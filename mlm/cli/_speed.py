"""How fast bytes come, and how long the rest of them will take."""

from collections import deque
from dataclasses import dataclass

from mlm.store.listener import Progress

_RATE_WINDOW_S = 5.0  # long enough to be readable, short enough to be of now
_ETA_WINDOW_S = 30.0  # longer, or the time left would jump with every breath of the network
_SAMPLE_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class Pace:
    """Bytes per second and seconds left; None where nothing can be said yet."""

    rate: float | None = None
    eta_s: float | None = None


class Speed:
    """Of one file in one phase. What was there when that began took no time and does not count."""

    def __init__(self, progress: Progress, now: float) -> None:
        self._phase = progress.phase
        self._samples = deque([(now, progress.done)])
        self._first = self._samples[0]

    def continues_with(self, progress: Progress) -> bool:
        """Return whether ``progress`` belongs to what is measured here."""
        return progress.phase == self._phase and progress.done >= self._samples[-1][1]

    def measure(self, progress: Progress, now: float) -> Pace:
        """Take ``progress`` as the state of now and return the pace of the last seconds.

        Of a file that has come to its end: the pace of all of it.
        """
        samples = self._samples
        if progress.done >= progress.total:
            return Pace(_rate(self._first, progress.done, now))
        if now - samples[-1][0] >= _SAMPLE_EVERY_S:
            samples.append((now, progress.done))
        while len(samples) > 1 and samples[1][0] <= now - _ETA_WINDOW_S:
            samples.popleft()
        rate = _rate(self._since(now - _RATE_WINDOW_S), progress.done, now)
        steady = _rate(samples[0], progress.done, now)
        return Pace(rate, (progress.total - progress.done) / steady if steady else None)

    def _since(self, then: float) -> tuple[float, int]:
        """Return the last sample that is not after ``then``, or the oldest there is."""
        chosen = self._samples[0]
        for sample in self._samples:
            if sample[0] > then:
                break
            chosen = sample
        return chosen


def _rate(sample: tuple[float, int], done: int, now: float) -> float | None:
    since, before = sample
    elapsed = now - since
    if elapsed <= 0 or (done == before and elapsed < _RATE_WINDOW_S):
        return None
    return (done - before) / elapsed


class Speeds:
    """A speed per file; a new phase, or a beginning from anew, starts a new measurement."""

    def __init__(self) -> None:
        self._speeds: dict[str, Speed] = {}

    def begin(self, progress: Progress, now: float) -> None:
        """Measure the file from here on."""
        self._speeds[progress.filename] = Speed(progress, now)

    def measure(self, progress: Progress, now: float) -> Pace:
        """Return the pace of the file that ``progress`` is about."""
        speed = self._speeds.get(progress.filename)
        if speed is None or not speed.continues_with(progress):
            self.begin(progress, now)
        return self._speeds[progress.filename].measure(progress, now)
