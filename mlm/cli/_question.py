"""What a model is asked: files, stdin and words, put together as one question."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlm.cli._stdin import (
    MAX_TEXT_BYTES,
    Note,
    TooMuchText,
    decode,
    is_piped,
    read_file,
    read_text,
)
from mlm.errors import MlmError, UsageError

if TYPE_CHECKING:
    from mlm.cli._prompt_template import PromptTemplate
    from mlm.cli._session import Session

_PARAMS = ("temperature", "max_tokens", "seed")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and what its template wants of the answer."""

    prompt: str
    system: str | None = None
    schema: str | dict[str, Any] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)  # temperature, max_tokens, seed
    typed: str | None = None  # of the prompt, where it is not all of it


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the words of a question come from, beside stdin."""

    prompt: str | None
    system: str | None = None
    files: Sequence[str] = ()  # or folders, or patterns
    template: Path | None = None
    variables: Sequence[str] = ()


def read_question(session: "Session", ref: str, sources: Sources) -> Question:
    """Return the question to the model ``ref``: files, then stdin, then the prompt.

    Raises:
        UsageError: there is none, it is no text, too long for any model, or no template fits it.
        NotFoundError: a file is not there.
    """
    from mlm.cli._waiting import waiting_for

    note = session.note
    template, variables = _read_template(sources, note)
    try:
        parts = [text for name in sources.files for text in _read_attached(name, note)]
        if is_piped():
            with waiting_for(session, "reading stdin"):
                parts.append(read_text(note).rstrip("\r\n"))  # as `$(…)` does
        parts.append(_checked(sources.prompt or "", "the prompt", note))
        given = "\n\n".join(part for part in parts if part.strip())
        if len(given) > MAX_TEXT_BYTES:
            raise TooMuchText("files and stdin together are too long", remedy="send a part of it")
    except TooMuchText as error:
        raise TooMuchText(error.message + _room_in(session, ref), remedy=error.remedy) from error
    system = _checked(sources.system, "--system", note) if sources.system else None
    if template is not None:
        return replace(_filled(template, given, variables, system), typed=sources.prompt)
    if not given:
        raise UsageError("there is no question", remedy='mlm run REF "your question"')
    return Question(given, system, typed=sources.prompt if sources.prompt != given else None)


def _filled(
    template: "PromptTemplate", given: str, variables: Mapping[str, str], system: str | None
) -> Question:
    prompt, own_system = template.fill(given, variables)
    params = {name: template.settings[name] for name in _PARAMS if name in template.settings}
    return Question(prompt, system or own_system, template.settings.get("schema"), params)


def _read_template(
    sources: Sources, note: Note
) -> "tuple[PromptTemplate | None, Mapping[str, str]]":
    if sources.template is None:
        if sources.variables:
            raise UsageError("--var is for templates", remedy="add --template FILE")
        return None, {}
    from mlm.cli._prompt_template import parse_template, parse_variables

    words = [_checked(word, "--var", note) for word in sources.variables]
    text = decode(read_file(sources.template), str(sources.template), note)
    return parse_template(text, sources.template), parse_variables(words)


def _checked(words: str, source: str, note: Note) -> str:
    """Return what was typed; in a locale of the wrong kind that may be no text."""
    return words if words.isascii() else decode(os.fsencode(words), source, note)


def _read_attached(given: str, note: Note) -> list[str]:
    """Return the texts of files, each in a fence under its name, as in a chat."""
    from mlm.repl.attachment import read_attachments

    try:
        attachments = read_attachments(given, takes_pipes=True)
    except MlmError as error:
        words = (error.remedy or "").replace("/attach a ", "attach a ")  # as said in a chat
        error.remedy = words.replace("/attach", "-a") or None
        raise
    for attachment in attachments:
        if attachment.remark:
            note(f"note: {attachment.name}: {attachment.remark}")
    return [attachment.fenced for attachment in attachments]


def _room_in(session: "Session", ref: str) -> str:
    """Return what a message about too long a text says of the model, if that is on this machine."""
    from mlm.cli._serving import find_path
    from mlm.gguf.reader import read_metadata
    from mlm.units import format_size

    if (path := find_path(session, ref)) is None:
        return ""
    try:
        n_ctx = read_metadata(path).n_ctx_train
    except (MlmError, OSError):
        return ""
    return f"; the context of {ref} has room for {n_ctx:,} tokens, some {format_size(4 * n_ctx)}"
