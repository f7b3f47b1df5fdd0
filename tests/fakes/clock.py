"""A time that only passes when told to."""


class Clock:
    """Call it for the time, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
