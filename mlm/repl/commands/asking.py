"""Who is asked, and how: the model, the system prompt, parameters, and how fast answers came."""

from difflib import get_close_matches
from textwrap import fill

from mlm.errors import NotFoundError
from mlm.repl.chat import Chat
from mlm.repl.commands.command import Command
from mlm.repl.figures import summarise
from mlm.repl.params import COMMON, PARAMS, Param, find_param, parse_param


def _model(chat: Chat, name: str) -> str:
    offered = chat.client.models()
    if not name:
        return "\n".join(f"{'*' if model == chat.model else ' '} {model}" for model in offered)
    begun = [model for model in offered if model.casefold().startswith(name.casefold())]
    if name not in offered and len(begun) == 1:
        name = begun[0]
    if name not in offered:
        near = get_close_matches(name, offered, n=3, cutoff=0.4)
        raise NotFoundError(
            f"this server has no model '{name}'",
            remedy=" or ".join(f"/model {model}" for model in near)
            or f"`mlm download {name}` gets it if mlm knows it; /model lists what is here",
        )
    chat.model = name
    is_loaded = chat.tokens.limit(name) is not None
    later = "" if is_loaded else " It may have to be loaded first, with the next question."
    chat.shown(chat.conversation)  # which says what it cannot see
    return f"Now talking with {name}; it knows the conversation so far.{later}"


def _system(chat: Chat, text: str) -> str:
    if not text:
        return chat.conversation.system or "There is no system prompt; /system TEXT sets one."
    chat.conversation = chat.conversation.with_system(None if text == "-" else text)
    return "The system prompt is gone." if text == "-" else "The system prompt is set."


def _set(chat: Chat, argument: str) -> str:
    name, _, text = argument.partition(" ")
    if not name:
        return _list_params(chat)
    param = find_param(name)
    text = text.strip()
    if not text:
        return _describe(chat, param)
    others = {key: value for key, value in chat.params.items() if key != name}
    if text == "-":
        chat.params = others
        return f"{name} is the server's default again: {param.default}"
    value = parse_param(param, text)
    chat.params = {**others, name: value}
    return f"{name} is {_show(value)}"


def _list_params(chat: Chat) -> str:
    given = {name: value for name, value in chat.params.items() if value is not None}
    shown = [name for name in PARAMS if name in given or name in COMMON]
    width = max(map(len, shown))
    rows = []
    for name in shown:
        now = f"{_show(given[name])} (set)" if name in given else PARAMS[name].default
        rows.append(f"{name:<{width}}  {now:<12} {PARAMS[name].help}".rstrip())
    others = fill("also: " + ", ".join(name for name in PARAMS if name not in shown), 80)
    return "\n".join([*rows, "", others, "", "/set NAME VALUE sets one, /set NAME - unsets it."])


def _describe(chat: Chat, param: Param) -> str:
    value = chat.params.get(param.name)
    now = f"{param.default} by default" if value is None else _show(value)
    help_text = f"; {param.help}" if param.help else ""
    return f"{param.name} is {now}: {param.values}{help_text}"


def _show(value: object) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _stats(chat: Chat, _argument: str) -> str:
    return summarise(chat.model, chat.answers)


ASKING = (
    Command("model", "[NAME]", "show the models of this server, or talk with another", _model),
    Command("system", "[TEXT|-]", "show the system prompt, set it, or remove it with -", _system),
    Command(
        "set",
        "[NAME [VALUE|-]]",
        "show or set how answers are made, as temperature",
        _set,
        "/set temperature 0.2\n/set max_tokens 300\n"
        '/set stop ["END", "\\n\\n"]\n/set temperature -     as if it had never been set',
        tuple(PARAMS),
    ),
    Command("stats", "", "show tokens and speed so far", _stats),
)
