"""A question as it is asked: what was typed, and the files that go with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlm.repl.attachment import Attachment


@dataclass(frozen=True, slots=True)
class Question:
    """What is sent, and what becomes of it."""

    text: str  # with the files
    typed: str | None = None  # without them, if there are any
    attached: tuple[Attachment, ...] = ()  # those that ``typed`` does not name
    replaces: bool = False  # its turn takes the place of the last one
    params: Mapping[str, object] = field(default_factory=dict)  # for this once

    @property
    def editable(self) -> str:
        """The question as a person would change it."""
        return self.text if self.typed is None else self.typed


def fence(typed: str, files: Sequence[Attachment]) -> str:
    """Return what is sent for a question about ``files``: first these, then what to do."""
    return "\n\n".join([*(file.fenced for file in files), typed])
