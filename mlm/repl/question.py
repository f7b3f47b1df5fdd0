"""A question as it is asked: what was typed, and the files that go with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlm.repl.attachment import Attachment
from mlm.sessions.types import Picture


@dataclass(frozen=True, slots=True)
class Question:
    """What is sent, and what becomes of it."""

    text: str  # with the text files
    typed: str | None = None  # without them, if there are any
    attached: tuple[Attachment, ...] = ()  # files of any kind that it does not name
    pictures: tuple[Picture, ...] = ()  # all that are sent with it
    replaces: bool = False  # its turn takes the place of the last one
    params: Mapping[str, object] = field(default_factory=dict)  # for this once

    @property
    def editable(self) -> str:
        """The question as a person would change it."""
        return self.text if self.typed is None else self.typed


def about(typed: str, files: Sequence[Attachment], attached: tuple[Attachment, ...]) -> Question:
    """Return the question ``typed`` about ``files``: first these, then what to do.

    ``attached`` are those of them that are not named in it.
    """
    pictures = tuple(file.picture for file in files if file.picture is not None)
    fenced = [file.fenced for file in files if file.picture is None]
    if not fenced:
        return Question(typed, attached=attached, pictures=pictures)
    return Question("\n\n".join([*fenced, typed]), typed, attached, pictures)
