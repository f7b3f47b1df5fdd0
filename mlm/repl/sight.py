"""Which pictures a question is asked with: models without eyes, and full requests, get names."""

from collections.abc import Sequence

from mlm.errors import UsageError
from mlm.pictures import MAX_PICTURES
from mlm.repl.attachment import TakesNoPictures
from mlm.repl.conversation import Conversation
from mlm.sessions.types import Picture

MOST_SENT_BYTES = 5 * 1024**2  # mlm's server takes 8 MiB, in which pictures are a third larger


def check(pictures: Sequence[Picture], *, sees: bool) -> None:
    """Return if a question can be asked with ``pictures``.

    Raises:
        TakesNoPictures: the model does not see.
        UsageError: they are too many for a request.
    """
    if pictures and not sees:
        raise TakesNoPictures(pictures[0].name)
    if len(pictures) > MAX_PICTURES or _size(pictures) > MOST_SENT_BYTES:
        raise UsageError(
            f"{len(pictures)} pictures are too many for one request, of {MAX_PICTURES} and"
            f" {MOST_SENT_BYTES // 1024**2} MiB at most",
            remedy="ask about some of them, or make them smaller",
        )


def show(
    conversation: Conversation, pictures: Sequence[Picture], *, sees: bool
) -> tuple[Conversation, str]:
    """Return what was said as it goes with a question about ``pictures``, and what to say of it.

    Where the model does not see, and where there is no room left, pictures are only named.
    """
    if not any(turn.pictures for turn in conversation.turns):
        return conversation, ""
    shown = conversation.showing(
        MAX_PICTURES - len(pictures) if sees else 0, MOST_SENT_BYTES - _size(pictures)
    )
    n_named = _count(conversation) - _count(shown)
    if not n_named:
        return shown, ""
    which = "earlier picture is" if n_named == 1 else f"{n_named} earlier pictures are"
    why = "To make room in the request" if sees else "This model takes no pictures"
    return shown, f"{why}: the {which} left out, and only named"


def _size(pictures: Sequence[Picture]) -> int:
    return sum(len(picture.data) for picture in pictures)


def _count(conversation: Conversation) -> int:
    return sum(len(turn.pictures) for turn in conversation.sent)
