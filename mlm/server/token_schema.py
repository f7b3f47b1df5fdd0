"""The fields of requests about tokens, turned into the engine's terms."""

from dataclasses import dataclass
from typing import Any

from mlm.engine.messages import Tokenize
from mlm.server.conversation import read_messages
from mlm.server.errors import invalid
from mlm.server.fields import Fields, wrong_type
from mlm.server.strict_json import MAX_VALUES
from mlm.server.structure import read_tools

MAX_CONTENT_BYTES = 1024**2  # as much as a rendered chat may have
MAX_TOKENS = MAX_VALUES
MAX_TOKEN = 2**31 - 1


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request for the tokens of a text or a chat, or for the text of tokens."""

    model: str | None  # None = the first that is served
    ask: Tokenize  # its ``request_id`` is 0 until it is sent to a worker
    ignored: tuple[str, ...]  # fields that had no effect


def read_tokenize(body: dict[str, Any]) -> TokenRequest:
    """Return the request in the body of ``/tokenize``.

    Raises:
        ApiError: 400 with ``param``: a field is missing, has a wrong type or is out of range.
    """
    fields = Fields(body)
    content, messages = fields.any("content"), fields.any("messages")
    if (content is None) == (messages is None):
        raise invalid("give either 'content' or 'messages'", "content")
    if messages is not None:
        ask = Tokenize(
            request_id=0,
            messages=read_messages(messages),
            tools=read_tools(fields) or None,
            template_args=fields.mapping("chat_template_kwargs"),
            spell=fields.flag("with_pieces"),
        )
    else:
        ask = Tokenize(
            request_id=0,
            text=_read_content(content),
            add_special=fields.flag("add_special"),
            parse_special=fields.flag("parse_special", default=True),
            spell=fields.flag("with_pieces"),
        )
    return TokenRequest(_read_model(fields), ask, fields.unread)


def read_detokenize(body: dict[str, Any]) -> TokenRequest:
    """Return the request in the body of ``/detokenize``; raises as `read_tokenize`."""
    fields = Fields(body)
    tokens = fields.required("tokens")
    if not isinstance(tokens, list) or not all(map(_is_token, tokens)):
        raise wrong_type("tokens", "a list of the numbers of tokens")
    if len(tokens) > MAX_TOKENS:
        raise invalid(f"'tokens' holds more than {MAX_TOKENS}", "tokens")
    ask = Tokenize(request_id=0, tokens=tokens, spell=True)
    return TokenRequest(_read_model(fields), ask, fields.unread)


def _read_model(fields: Fields) -> str | None:
    model = fields.any("model")
    if not isinstance(model, str | None):
        raise wrong_type("model", "a string")
    return model


def _read_content(content: object) -> str:
    if not isinstance(content, str):
        raise wrong_type("content", "a string")
    if len(content.encode()) > MAX_CONTENT_BYTES:
        raise invalid(f"'content' is larger than {MAX_CONTENT_BYTES} bytes", "content")
    return content


def _is_token(token: object) -> bool:
    return type(token) is int and 0 <= token <= MAX_TOKEN
