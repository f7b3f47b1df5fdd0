"""The thinking before an answer, folded into one line."""


class Thought:
    """Counts the thinking of one answer. Times are seconds of one clock, whichever."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._latest = 0.0
        self._tokens = 0
        self._is_answering = False
        self._is_told = False

    def note(self, at: float) -> None:
        """Count a token that was thought."""
        self._began = at if self._began is None else self._began
        self._latest = at
        self._tokens += 1

    def answer(self) -> None:
        """Note that the answer itself has begun."""
        self._is_answering = True

    @property
    def is_going_on(self) -> bool:
        """Whether it thinks, and has not said anything."""
        return self._began is not None and not self._is_answering

    def so_far(self, now: float) -> str:
        """Return what to say while it thinks."""
        assert self._began is not None
        return f"thinking … {now - self._began:.0f} s, {self._count()}"

    def tell(self) -> str | None:
        """Return, once, what to say of the thinking that is over; None if there was none."""
        if self._began is None or self._is_told:
            return None
        self._is_told = True
        seconds = self._latest - self._began
        places = 1 if seconds < 10 else 0
        return f"thought for {seconds:.{places}f} s · {self._count()} · /thinking shows it"

    def _count(self) -> str:
        return "1 token" if self._tokens == 1 else f"{self._tokens:,} tokens"
