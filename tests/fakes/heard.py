"""A listener that keeps what it is told."""

from mlm.store.listener import Listener, Progress


class Heard(Listener):
    """``events`` are the progress, ``notes`` what a person should know."""

    def __init__(self) -> None:
        self.events: list[Progress] = []
        self.notes: list[str] = []

    def progress(self, progress: Progress) -> None:
        self.events.append(progress)

    def note(self, text: str) -> None:
        self.notes.append(text)
