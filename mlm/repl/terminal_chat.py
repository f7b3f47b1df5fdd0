"""A chat with a person at a terminal: everything that takes part in it, put together."""

from mlm.catalog.names import catalog_names
from mlm.errors import MlmError
from mlm.paths import Home
from mlm.repl import rendering
from mlm.repl.application import ChatApplication
from mlm.repl.chat import Chat
from mlm.repl.keyboard import ChatCompleter, open_history
from mlm.repl.live_screen import LiveScreen
from mlm.repl.loop import talk
from mlm.repl.output import open_output
from mlm.repl.paste import open_input
from mlm.repl.status import Speed, fit, status_parts
from mlm.repl.view import AnswerView
from mlm.repl.waiting import explain
from mlm.sessions.types import Session
from mlm.store.installed import installed_names

_PROBE_S = 2.0  # for a server to say something of itself


def chat_in_terminal(
    chat: Chat, home: Home, before: Session | None, *, is_vi: bool, has_colour: bool
) -> None:
    """Chat until the person leaves; what is typed is remembered at ``home``.

    The person is reminded of what was said ``before``.
    """

    def list_names() -> list[tuple[str, str]]:
        with chat.client.another(silence_s=_PROBE_S) as client:
            try:
                served = client.models()
            except MlmError:
                served = ()  # a server that is gone shows with the next question
        names = [
            *((name, "served") for name in served),
            *((name, "installed") for name in installed_names(home.index_db)),
            *((name, "to download") for name in catalog_names(home.catalog) if ":" not in name),
        ]
        found: dict[str, str] = {}
        for name, what in names:
            found.setdefault(name, what)
        return list(found.items())

    def ask_why() -> str:
        with chat.client.another(silence_s=_PROBE_S) as client:
            return explain(client.stats(), chat.model)

    application = ChatApplication(
        (open_input(), open_output(has_colour=has_colour)),
        open_history(home.chat_history),
        ChatCompleter(list_names),
        is_vi=is_vi,
        status=lambda width, view: _status(chat, width, view),
        hang_up=chat.client.hang_up,
    )
    screen = LiveScreen(application, ask_why)
    application.once_shown(rendering.load)
    application.run(lambda: talk(chat, application, screen, before))


def _status(chat: Chat, width: int, view: AnswerView | None) -> str:
    """Return the status line: of the answer that comes, else of the last one."""
    speed = None
    if view or chat.answers:
        speed = view.speed if view else Speed.of(chat.answers[-1])
    context = chat.context
    return fit(status_parts(chat.model, context.used, context.limit, speed), width)
