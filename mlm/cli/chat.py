"""``mlm chat``: talk with a model in the terminal."""

import os
import sys
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Annotated

import typer

from mlm.cli._options import MaxTokensOpt, SeedOpt, SystemOpt, TemperatureOpt
from mlm.cli._overrides import takes_overrides
from mlm.cli._session import session
from mlm.completion.names import complete_installed
from mlm.planning.types import Overrides

if TYPE_CHECKING:
    from mlm.settings import Settings


EXAMPLES = {
    "mlm chat qwen3-8b": "Talk with a model",
    "mlm chat": "The one that was used last",
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
    ref: Annotated[
        str | None,
        typer.Argument(
            metavar="[REF]",
            help="As for run; by default the model used last.",
            show_default=False,
            autocompletion=complete_installed,
        ),
    ] = None,
    system: SystemOpt = None,
    max_tokens: MaxTokensOpt = None,
    temperature: TemperatureOpt = None,
    seed: SeedOpt = None,
    *,
    overrides: Overrides,
) -> None:
    """Talk with a model. /help inside lists the commands; Ctrl-D leaves.

    From a pipe, each line is one question of the same conversation, and only the answers are
    printed.
    """
    from mlm.cli._editing import wants_vi
    from mlm.cli._screen import open_screen
    from mlm.cli._serving import connect
    from mlm.cli._stdin import is_piped, read_lines
    from mlm.engine import require_engine
    from mlm.repl.chat import Chat
    from mlm.repl.conversation import Conversation
    from mlm.repl.loop import PlainKeyboard, talk, talk_in_pipe

    require_engine()
    is_vi = wants_vi()
    settings = session(ctx).settings
    params = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    is_person = not is_piped() and sys.stdout.isatty()
    can_draw = is_person and os.environ.get("TERM") != "dumb" and os.name == "posix"
    if can_draw:  # imported while the model is looked for, or loaded
        Thread(target=import_module, args=("mlm.repl.terminal_chat",), daemon=True).start()
    with connect(session(ctx), ref or _find_latest(settings), overrides) as (client, model):
        state = Chat(client, model, Conversation(system), params)
        if not is_person:
            talk_in_pipe(state, read_lines(session(ctx).note), open_screen())
        elif not can_draw:
            talk(state, PlainKeyboard(), open_screen())
        else:
            from mlm.repl.terminal_chat import chat_in_terminal

            chat_in_terminal(
                state,
                settings.home,
                is_vi=is_vi,
                has_colour=not os.environ.get("NO_COLOR"),
            )


def _find_latest(settings: "Settings") -> str:
    """Return the REF of the model that was used last, or of the only one there is."""
    from mlm.errors import NotFoundError
    from mlm.store.store import Store

    with Store(settings.home, settings.hub_cache) as store:
        models = store.models()
    if not models:
        raise NotFoundError("no model is installed yet", remedy="mlm download mlm-demo")
    latest = max(models, key=lambda model: model.last_used_at or 0)
    return f"{latest.model}:{latest.quant}" if latest.model and latest.quant else latest.ref
