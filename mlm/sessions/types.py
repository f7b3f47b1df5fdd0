"""What is kept of a conversation. Times are Unix time in seconds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as it was sent: ``data`` is the file that it is, a PNG or a JPEG."""

    name: str
    width: int  # in pixels, as the height
    height: int
    data: bytes = field(repr=False)

    @property
    def size(self) -> str:
        """Width and height, for people."""
        return f"{self.width}x{self.height} pixels"

    @property
    def caption(self) -> str:
        """What stands for it where there is only text."""
        return f"[picture: {' '.join(self.name.split())}, {self.size}]"


@dataclass(frozen=True, slots=True)
class Message:
    """One thing that was said."""

    role: Role
    text: str
    at: float
    typed: str | None = None  # a question without the files that went with it, if any did
    model: str | None = None  # who was asked, or answered
    thinking: str | None = None  # what the model thought before it answered
    stopped: bool = False  # the answer is not whole: it was stopped, or broke off
    pinned: bool = False  # is always sent, however full the context is
    figures: Mapping[str, float] = field(default_factory=dict)  # of an answer: tokens, seconds
    pictures: tuple[Picture, ...] = ()  # that were shown with a question

    @property
    def captioned(self) -> str:
        """The text, with what stands for its pictures before it."""
        return captioned(self.text, self.pictures)


def captioned(text: str, pictures: Iterable[Picture]) -> str:
    """Return ``text`` with what stands for ``pictures`` before it."""
    captions = "\n".join(picture.caption for picture in pictures)
    return f"{captions}\n\n{text}" if captions else text


@dataclass(frozen=True, slots=True)
class Summary:
    """A conversation as lists show it."""

    id: str  # any beginning of it that no other has will do
    title: str
    model: str  # the id of the last one asked
    ref: str  # what finds that model: a REF, or the path of a local file
    created_at: float
    updated_at: float
    n_messages: int
    forked_from: str | None  # the conversation that this one went on from on its own
    revision: int  # greater with every writing of any conversation; clocks go back, this does not


@dataclass(frozen=True, slots=True)
class Session:
    """A whole conversation."""

    summary: Summary
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: every word must occur in a message, and what is not None must hold."""

    words: str
    role: Role | None = None
    model: str | None = None  # a part of its name
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that was found. Every second of ``parts`` is what was looked for."""

    session: Summary
    position: int  # of the message in its conversation, from 0
    role: Role
    model: str | None
    at: float
    parts: tuple[str, ...]
