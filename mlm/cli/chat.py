"""``mlm chat``: talk with a model in the terminal."""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from mlm.cli._options import MaxTokensOpt, SeedOpt, SystemOpt, TemperatureOpt
from mlm.cli._overrides import takes_overrides
from mlm.cli._saved import (
    SAVING_WAIT_S,
    ContinueOpt,
    SaveOpt,
    SessionOpt,
    find_session,
    is_saving,
    saved_sessions,
)
from mlm.cli._session import Session, session
from mlm.completion.names import complete_installed
from mlm.planning.overrides import Overrides

if TYPE_CHECKING:
    from mlm.repl.chat import Chat
    from mlm.sessions.types import Session as Saved
    from mlm.settings import Settings

OptionalRefArg = Annotated[
    str | None,
    typer.Argument(
        metavar="[REF]",
        help="As for run; by default the model used last.",
        show_default=False,
        autocompletion=complete_installed,
    ),
]

EXAMPLES = {
    "mlm chat qwen3-8b": "Talk with a model",
    "mlm chat -c": "Go on with the last conversation",
    'mlm chat qwen3-8b --system "Answer in one sentence." --temperature 0': (
        "Short answers, and the same ones each time"
    ),
    "printf 'hello\\nand now in French\\n' | mlm chat qwen3-8b": (
        "Two questions of one conversation, from a script"
    ),
}


@takes_overrides
def chat(
    ctx: typer.Context,
    ref: OptionalRefArg = None,
    system: SystemOpt = None,
    max_tokens: MaxTokensOpt = None,
    temperature: TemperatureOpt = None,
    seed: SeedOpt = None,
    go_on: ContinueOpt = False,
    wanted: SessionOpt = None,
    save: SaveOpt = None,
    *,
    overrides: Overrides,
) -> None:
    """Talk with a model. /help inside lists the commands; Ctrl-D leaves.

    What is said at a terminal is saved on this machine. From a pipe, each line is one question of
    the same conversation, and only the answers are printed.
    """
    from mlm.cli._editing import wants_vi
    from mlm.cli._serving import connect
    from mlm.cli._stdin import is_piped
    from mlm.engine import require_engine

    require_engine()
    is_vi = wants_vi()
    run = session(ctx)
    is_person = not is_piped() and sys.stdout.isatty()
    can_draw = is_person and os.environ.get("TERM") != "dumb" and os.name == "posix"
    before = _find_before(run, wanted, go_on=go_on)
    ref = ref or (before.summary.ref if before else _find_latest(run.settings))
    needed = "mlm.repl.terminal_chat" if can_draw else "mlm.repl.keeper"
    with (
        connect(run, ref, overrides, lambda: import_module(needed)) as (client, model),
        saved_sessions(run, wait_s=SAVING_WAIT_S) as sessions,
    ):
        # Not before a server is on its way; what they need was imported while it loaded the model.
        from mlm.cli._screen import open_screen
        from mlm.cli._stdin import read_lines
        from mlm.repl.chat import Chat
        from mlm.repl.keeper import Keeper
        from mlm.repl.loop import PlainKeyboard, talk, talk_in_pipe
        from mlm.store.ref import definite

        params = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
        state, screen = Chat(client, model, params=params), open_screen()
        is_kept = is_saving(run, save, is_asked=before is not None)
        refs = {model: definite(ref)}
        state.keeper = Keeper(sessions, lambda text: state.say(text), refs, is_saving=is_kept)
        if before:
            state.conversation = state.keeper.go_on(before)
        if system:
            state.conversation = state.conversation.with_system(system)
        if not is_person:
            talk_in_pipe(state, read_lines(run.note), screen)
        elif can_draw:
            _draw(run, state, before, is_vi=is_vi)
        else:
            talk(state, PlainKeyboard(), screen, before)


def _find_before(run: Session, wanted: str | None, *, go_on: bool) -> "Saved | None":
    """Return the conversation to go on with, if any is asked for; raises as `find_session`."""
    if wanted is None and not go_on:
        return None
    with saved_sessions(run, wait_s=SAVING_WAIT_S) as sessions:
        return find_session(run, sessions, wanted, go_on=go_on)


def _draw(run: Session, state: "Chat", before: "Saved | None", *, is_vi: bool) -> None:
    """Talk with a person whose terminal can be drawn on."""
    from mlm.repl.terminal_chat import chat_in_terminal

    has_colour = not os.environ.get("NO_COLOR")
    chat_in_terminal(state, run.settings.home, before, is_vi=is_vi, has_colour=has_colour)


def _find_latest(settings: "Settings") -> str:
    """Return the REF of the model that was used last, or of the only one there is."""
    from mlm.errors import NotFoundError
    from mlm.store.store import Store

    with Store(settings.home, settings.hub_cache) as store:
        models = store.models()
    if not models:
        raise NotFoundError("no model is installed yet", remedy="mlm download mlm-demo")
    return max(models, key=lambda model: model.last_used_at or 0).short_ref
