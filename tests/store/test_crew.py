"""The connections of one file: who is dismissed does not come back."""

import threading
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from fakes.hub.tiny import NAME, TINY

from mlm.store.crew import Crew
from mlm.store.partial import Partial
from mlm.store.remote import RemoteSource
from mlm.store.types import RemoteFile

COMMIT, SHA256 = "c" * 40, "5" * 64


@dataclass
class LateSource:
    """Answers when it is told to: with another version of the file."""

    filename: str = NAME
    asked: threading.Event = field(default_factory=threading.Event)
    answers: threading.Event = field(default_factory=threading.Event)

    def open(self, start: int, **_: Any) -> "LateBody":
        self.asked.set()
        self.answers.wait()
        return LateBody(start)


@dataclass
class LateBody:
    start: int
    etag: str = '"new"'
    host: str = "late.example"
    total: int = len(TINY)

    def read_into(self, view: memoryview) -> int:
        return 0

    def abort(self) -> None: ...

    def close(self) -> None: ...

    def __enter__(self) -> "LateBody":
        return self

    def __exit__(self, *failure: object) -> None: ...


def test_an_answer_that_comes_after_the_dismissal_changes_nothing(tmp_path: Path):
    source = LateSource()
    with closing(Partial(tmp_path / "p", RemoteFile(NAME, len(TINY), SHA256), COMMIT)) as partial:
        piece = partial.get_piece()
        piece.fill(0, memoryview(TINY)[:1000])
        partial.write(piece)
        partial.note_etag('"old"')
        crew = Crew(cast(RemoteSource, source), partial, None, trickle_s=60)
        crew.hire()
        source.asked.wait()
        crew.dismiss()
        source.answers.set()
        assert crew.wait(timeout_s=60)
        assert (partial.size, partial.etag) == (1000, '"old"'), "the partial is not the crew's now"
