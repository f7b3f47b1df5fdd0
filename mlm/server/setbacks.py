"""How long to leave a model alone after it failed to load, or its worker died. Pure bookkeeping."""

from dataclasses import dataclass, field

CRASH_WINDOW_S = 300.0
MAX_CRASHES = 3  # in the window; then the model is quarantined until the window has passed
MAX_BACKOFF_S = 60.0
FIRST_COOLDOWN_S, MAX_COOLDOWN_S = 5.0, 300.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a model is not tried now, and for how long."""

    code: str
    reason: str
    retry_after_s: float


@dataclass(slots=True)
class Setbacks:
    """What went wrong with one model lately. All times are on one monotonic clock, in seconds."""

    crashed_at: list[float] = field(default_factory=list)
    load_failures: int = 0  # in a row
    failed_at: float = 0.0
    reason: str = ""

    def note_crash(self, now: float, reason: str) -> None:
        """A worker that was ready has died."""
        self.crashed_at = [t for t in self.crashed_at if now - t < CRASH_WINDOW_S] + [now]
        self.reason = reason

    def note_load_failure(self, now: float, reason: str) -> None:
        """The model could not be loaded."""
        self.load_failures += 1
        self.failed_at, self.reason = now, reason

    def note_loaded(self) -> None:
        """The model was loaded; only crashes still count."""
        self.load_failures = 0

    def refusal(self, now: float) -> Refusal | None:
        """Return why requests are refused now, without trying; None when they are not."""
        if self.load_failures:
            longest = min(FIRST_COOLDOWN_S * 2 ** (self.load_failures - 1), MAX_COOLDOWN_S)
            if (left := self.failed_at + longest - now) > 0:
                return Refusal("load_failed", self.reason, left)
        recent = [t for t in self.crashed_at if now - t < CRASH_WINDOW_S]
        if len(recent) >= MAX_CRASHES:
            left = recent[-MAX_CRASHES] + CRASH_WINDOW_S - now
            reason = f"its worker died {len(recent)} times in {CRASH_WINDOW_S / 60:.0f} minutes"
            return Refusal("worker_quarantined", f"{reason}; the last time: {self.reason}", left)
        return None

    def restart_at(self, now: float) -> float:
        """Return when the next worker may be started: at once, then ever later, from 1 to 60 s."""
        recent = [t for t in self.crashed_at if now - t < CRASH_WINDOW_S]
        if len(recent) < 2:
            return now
        return max(now, recent[-1] + min(2.0 ** (len(recent) - 2), MAX_BACKOFF_S))
