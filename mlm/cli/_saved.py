"""The saved conversations, as commands get at them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlm.cli._session import Session
from mlm.completion.names import complete_session
from mlm.errors import NotFoundError

if TYPE_CHECKING:
    from mlm.sessions.store import Sessions
    from mlm.sessions.types import Session as SavedSession
    from mlm.sessions.types import Summary

SAVING_WAIT_S = 1.0  # for another process that writes; a person who asked waits as long

SessionArg = Annotated[
    str | None,
    typer.Argument(
        metavar="[ID]",
        help="As `mlm sessions list` shows it, or its beginning; the last one by default.",
        show_default=False,
        autocompletion=complete_session,
    ),
]
ContinueOpt = Annotated[
    bool, typer.Option("--continue", "-c", help="Go on with the last conversation and its model.")
]
SessionOpt = Annotated[
    str | None,
    typer.Option(
        "--session",
        metavar="ID",
        help="Go on with that one, as `mlm sessions list` shows it.",
        show_default=False,
        autocompletion=complete_session,
    ),
]
SaveOpt = Annotated[
    bool | None,
    typer.Option(
        "--save/--no-save",
        help="Save what is said; by default what is answered at a terminal (MLM_SAVE_CHATS).",
        show_default=False,
    ),
]


@contextmanager
def saved_sessions(run: Session, *, wait_s: float = 5.0) -> Iterator["Sessions"]:
    """Yield the saved conversations; it is said when their file is found damaged."""
    from mlm.sessions.store import Sessions

    def tell(aside: Path) -> None:
        run.note(f"The saved conversations were damaged; the file is now {aside}")

    with Sessions(run.settings.home.sessions_db, wait_s=wait_s, on_put_aside=tell) as sessions:
        yield sessions


def is_saving(run: Session, wanted: bool | None, *, is_asked: bool) -> bool:
    """Tell whether to save what is said: as options and environment have it.

    By default that is what a person sees at a terminal, and what continues something saved
    (``is_asked``). What programs ask through pipes is theirs to keep.
    """
    if wanted is not None:
        return wanted
    if run.settings.save_chats is not None:
        return run.settings.save_chats
    return is_asked or sys.stdout.isatty()


def find_session(
    run: Session, sessions: "Sessions", wanted: str | None, *, go_on: bool
) -> "SavedSession | None":
    """Return the conversation to go on with; None for a new one.

    Raises:
        NotFoundError: there is none that is ``wanted``.
    """
    if wanted is not None:
        return sessions.read(sessions.find(wanted))
    if not go_on:
        return None
    if (latest := sessions.latest()) is None:
        run.note("No conversation is saved yet; this is the first.")
        return None
    return sessions.read(latest)


def choose_session(sessions: "Sessions", wanted: str | None) -> "Summary":
    """Return the conversation ``wanted``; the last one for None.

    Raises:
        NotFoundError: there is none.
    """
    if wanted is not None:
        return sessions.find(wanted)
    if (latest := sessions.latest()) is None:
        raise NotFoundError("no conversation is saved yet", remedy="mlm chat")
    return latest


def describe_session(known: "Summary") -> dict[str, Any]:
    """Return what JSON documents tell of a conversation."""
    return {
        "id": known.id,
        "title": known.title,
        "model": known.model,
        "created_at": known.created_at,
        "updated_at": known.updated_at,
        "n_messages": known.n_messages,
        "forked_from": known.forked_from,
    }
