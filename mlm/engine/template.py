"""Chat templates: from messages to the one text that a model was trained to continue.

A template comes from the model file, that is from a stranger. It is rendered only in
`mlm.engine.sandbox`, a process that can be killed.
"""

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_OUTPUT_CHARS = 1024**2

# For a model without a template. With ChatML's own tokens in the vocabulary it was trained on
# ChatML; otherwise a plain transcript, which even a base model continues sensibly.
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")
TRANSCRIPT = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}\n\n"
    "{% else %}{{ m.role | capitalize }}: {{ m.content }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
TRANSCRIPT_STOPS = ("\nUser:",)

Messages = Sequence[Mapping[str, Any]]


class TemplateError(Exception):
    """The template is broken or writes too much."""


class TemplateRefusal(TemplateError):
    """The template does not take these messages."""


class _GenerationTag(Extension):
    """Hugging Face's ``{% generation %}``, which marks text for training: here it just passes."""

    tags = {"generation"}  # noqa: RUF012  # jinja2 declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class ChatTemplate:
    """A compiled template with the names that Hugging Face's templates rely on."""

    def __init__(self, source: str, *, bos_text: str = "", eos_text: str = "") -> None:
        """Compile ``source``.

        Raises:
            TemplateError: the text is not a template.
        """
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _GenerationTag]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = _strftime_now
        self._special = {"bos_token": bos_text, "eos_token": eos_text}
        try:
            self._template = environment.from_string(source)
        except (jinja2.TemplateError, RecursionError) as error:
            raise TemplateError(f"the model's chat template is broken: {error}") from None

    def render(
        self,
        messages: Messages,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the prompt for ``messages``.

        A template that refuses a system message gets it as the beginning of the first user
        message instead, as in llama.cpp.

        Raises:
            TemplateRefusal: these messages are not what the template takes.
            TemplateError: the template fails, or writes more than a mebibyte.
        """
        plain = [_flatten(message) for message in messages]
        names = {
            "add_generation_prompt": True,
            **(arguments or {}),
            "messages": plain,
            "tools": tools,
            **self._special,
        }
        try:
            return self._write(names)
        except TemplateRefusal:
            folded = _fold_system(plain)
            if folded is None:
                raise
            return self._write({**names, "messages": folded})

    def _write(self, names: Mapping[str, Any]) -> str:
        pieces: list[str] = []
        room = MAX_OUTPUT_CHARS
        try:
            for piece in self._template.generate(names):
                room -= len(piece)
                if room < 0:
                    raise TemplateError("the model's chat template writes over a mebibyte")
                pieces.append(piece)
        except TemplateError:
            raise
        except Exception as error:  # a template can raise anything that Python can
            reason = str(error) or type(error).__name__
            raise TemplateError(f"the model's chat template fails: {reason[:300]}") from None
        text = "".join(pieces)
        if not text.isascii() and _SURROGATE.search(text):
            raise TemplateError("the model's chat template writes half of a surrogate pair")
        return text


def uses_date(source: str) -> bool:
    """Return whether a template may ask for today's date."""
    return "strftime_now" in source


def _flatten(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message whose content is a string: most templates cannot take a list of parts.

    Raises:
        TemplateRefusal: a part is not text.
    """
    content = message.get("content")
    if isinstance(content, list):
        if any(not isinstance(part, dict) or part.get("type") != "text" for part in content):
            raise TemplateRefusal("this model takes only text in messages")
        content = "\n".join(str(part.get("text", "")) for part in content)
    return {**message, "content": "" if content is None else content}


def _fold_system(messages: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """Return the messages with the system text put before the first user's; None if impossible."""
    if len(messages) < 2 or [m.get("role") for m in messages[:2]] != ["system", "user"]:
        return None
    text = f"{messages[0]['content']}\n\n{messages[1]['content']}"
    return [{**messages[1], "content": text}, *messages[2:]]


def _raise_exception(message: object) -> None:
    raise TemplateRefusal(f"the model's chat template refuses this chat: {str(message)[:300]}")


def _strftime_now(format: str) -> str:
    return datetime.datetime.now().strftime(format)


def _to_json(
    value: Any,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
    ensure_ascii: bool = False,
) -> str:
    """jinja2's own filter escapes for HTML, which models have not been trained on."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )
