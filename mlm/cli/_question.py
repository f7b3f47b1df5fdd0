"""What a model is asked: files, stdin and words, put together as one question."""

import os
from collections.abc import Callable, Mapping, Sequence
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
    read_stdin,
)
from mlm.errors import MlmError, UsageError
from mlm.pictures import media_type

if TYPE_CHECKING:
    from mlm.cli._prompt_template import PromptTemplate
    from mlm.cli._session import Session
    from mlm.repl.attachment import Attachment
    from mlm.sessions.types import Picture

_PARAMS = ("temperature", "max_tokens", "seed")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and what its template wants of the answer."""

    prompt: str
    system: str | None = None
    schema: str | dict[str, Any] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)  # temperature, max_tokens, seed
    typed: str | None = None  # of the prompt, where it is not all of it
    pictures: "tuple[Picture, ...]" = ()


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
        UsageError: there is none, it is no text, too long for any model, or no template fits it;
            or the model takes no pictures.
        NotFoundError: a file is not there.
    """
    note = session.note
    template, variables = _read_template(sources, note)
    try:
        parts, pictures = _read_files(session, ref, sources.files)
        parts.append(_checked(sources.prompt or "", "the prompt", note))
        given = "\n\n".join(part for part in parts if part.strip())
        if len(given) > MAX_TEXT_BYTES:
            raise TooMuchText("files and stdin together are too long", remedy="send a part of it")
    except TooMuchText as error:
        raise TooMuchText(error.message + _room_in(session, ref), remedy=error.remedy) from error
    system = _checked(sources.system, "--system", note) if sources.system else None
    if template is not None:
        prompt, own_system = template.fill(given, variables, is_needed=not pictures)
        asked = _with_settings(template, Question(prompt, system or own_system))
        return replace(asked, typed=sources.prompt, pictures=pictures)
    if not given:
        about = f" about {pictures[0].name}" if pictures else ""
        raise UsageError(f"there is no question{about}", remedy='mlm run REF "your question"')
    typed = sources.prompt if sources.prompt != given else None
    return Question(given, system, typed=typed, pictures=pictures)


def _with_settings(template: "PromptTemplate", question: Question) -> Question:
    params = {name: template.settings[name] for name in _PARAMS if name in template.settings}
    return replace(question, schema=template.settings.get("schema"), params=params)


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


def _read_files(
    session: "Session", ref: str, names: Sequence[str]
) -> "tuple[list[str], tuple[Picture, ...]]":
    """Return what files and stdin hold: texts, and pictures for the model ``ref``."""
    from mlm.cli._serving import may_take_pictures
    from mlm.cli._waiting import waiting_for

    def sees() -> bool:
        return may_take_pictures(session, ref)

    files = [file for name in names for file in _read_attached(name, sees, session.note)]
    texts = [file.fenced for file in files if file.picture is None]
    if is_piped():
        with waiting_for(session, "reading stdin"):
            data = read_stdin()
        if media_type(data) is None:
            texts.append(decode(data, "stdin", session.note).rstrip("\r\n"))  # as `$(…)` does
        else:
            from mlm.repl.attachment import to_attachment

            files.append(_noted(to_attachment(data, "stdin", sees), session.note))
    return texts, tuple(file.picture for file in files if file.picture is not None)


def _read_attached(given: str, sees: Callable[[], bool], note: Note) -> "list[Attachment]":
    """Return files, texts in a fence under their names, as in a chat."""
    from mlm.repl.attachment import read_attachments

    try:
        attachments = read_attachments(given, sees, takes_pipes=True)
    except MlmError as error:
        words = (error.remedy or "").replace("/attach a ", "attach a ")  # as said in a chat
        error.remedy = words.replace("/attach", "-a") or None
        raise
    return [_noted(attachment, note) for attachment in attachments]


def _noted(attachment: "Attachment", note: Note) -> "Attachment":
    if attachment.remark:
        note(f"note: {attachment.name}: {attachment.remark}")
    return attachment


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
