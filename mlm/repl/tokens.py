"""How many tokens a text is for a model: as its server counts them, or an estimate."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from mlm.client import Client
from mlm.errors import MlmError
from mlm.pictures import to_content
from mlm.repl.conversation import Turn
from mlm.repl.question import Question
from mlm.sessions.types import Picture

P = TypeVar("P", str, Picture)

_BYTES_PER_TOKEN = 3  # of prose and code in Latin script there are more: better too many tokens
_MAX_COUNTED_BYTES = 1024**2  # longer texts than the server counts are estimated
_MAX_REMEMBERED = 4096
_MOST_WRAPPING = 64  # tokens of a chat template around one message
# What a picture takes, a model's projector decides: 256 whatever it is (Gemma 3), up to 4096 by its
# size (Qwen3-VL: one for 32x32 pixels).
_FEWEST_PICTURE_TOKENS, MOST_PICTURE_TOKENS = 256, 4096
_PIXELS_PER_TOKEN = 32 * 32


@dataclass(frozen=True, slots=True)
class Count:
    """A number of tokens."""

    tokens: int
    is_exact: bool = True

    def __str__(self) -> str:
        return f"{self.tokens:,} tokens" if self.is_exact else f"about {self.tokens:,} tokens"


@dataclass(frozen=True, slots=True)
class Wrapping:
    """What a chat template adds: once, around each message, for a system prompt. In tokens.

    The latter may be negative, where it takes the place of a longer one of the template's own.
    """

    once: int = 8
    per_message: int = 8
    system: int = 8


class TokenCounter:
    """Counts, and remembers what it has counted.

    Only a server that tells a model's context is asked: others cannot count, or would have to
    load the model for it.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._counts: dict[tuple[str, str | Picture], Count] = {}
        self._wrappings: dict[str, Wrapping] = {}
        self._limits: dict[str, int] = {}
        self._doubted: set[str] = set()

    def limit(self, model: str) -> int | None:
        """Return how many tokens a question, all that goes with it, and its answer may have.

        None: nobody knows, as long as the model is not loaded.
        """
        if model not in self._limits or model in self._doubted:
            with suppress(MlmError):
                if (found := self._client.context_length(model)) is not None:
                    self._limits[model] = found
                self._doubted.discard(model)
        return self._limits.get(model)

    def known_limit(self, model: str) -> int | None:
        """Return the same without asking anybody."""
        return self._limits.get(model)

    def doubt_limit(self, model: str) -> None:
        """Ask for it again before the next question: the server may be another one by now."""
        self._doubted.add(model)

    def count(self, model: str, text: str) -> Count:
        """Return what ``text`` is by itself."""
        return self._remembered(model, text, self._ask)

    def count_picture(self, model: str, picture: Picture) -> Count:
        """Return what a picture adds to a question."""
        return self._remembered(model, picture, self._ask_of_picture)

    def count_turn(self, model: str, turn: Turn) -> Count:
        """Return what a turn is with what the template puts around it."""
        parts = [self.count(model, turn.question), self.count(model, turn.answer)]
        parts += [self.count_picture(model, picture) for picture in turn.pictures]
        tokens = sum(part.tokens for part in parts) + 2 * self.wrapping(model).per_message
        return Count(tokens, all(part.is_exact for part in parts))

    def count_question(self, model: str, question: Question) -> Count:
        """Return what a question is with what the template puts around it."""
        parts = [self.count(model, question.text)]
        parts += [self.count_picture(model, picture) for picture in question.pictures]
        tokens = sum(part.tokens for part in parts) + self.wrapping(model).per_message
        return Count(tokens, all(part.is_exact for part in parts))

    def count_system(self, model: str, text: str) -> Count:
        """Return what a system prompt adds."""
        counted = self.count(model, text)
        return Count(max(0, counted.tokens + self.wrapping(model).system), counted.is_exact)

    def wrapping(self, model: str) -> Wrapping:
        """Return what the model's chat template adds, as short chats show it."""
        if model not in self._wrappings:
            if self.limit(model) is None:
                return Wrapping()
            try:
                self._wrappings[model] = self._measure(model)
            except MlmError:
                self._wrappings[model] = Wrapping()
        return self._wrappings[model]

    def _measure(self, model: str) -> Wrapping:
        def count(*roles: str) -> int:
            messages = [{"role": role, "content": "x"} for role in roles]
            return self._client.count_tokens(model, messages=messages)

        word = self._client.count_tokens(model, text="x")
        short = count("user")
        per_message = max(0, -(-(count("user", "assistant", "user") - short - 2 * word) // 2))
        try:
            system = count("system", "user") - short - word
        except MlmError:  # there are templates that know none
            system = per_message
        return Wrapping(short - word - per_message, per_message, system)

    def _remembered(self, model: str, part: P, ask: Callable[[str, P], Count]) -> Count:
        key = (model, part)
        if key not in self._counts:
            counted = ask(model, part)
            if not counted.is_exact:
                return counted
            if len(self._counts) >= _MAX_REMEMBERED:
                del self._counts[next(iter(self._counts))]
            self._counts[key] = counted
        return self._counts[key]

    def _ask_of_picture(self, model: str, picture: Picture) -> Count:
        if self.limit(model) is not None:
            with suppress(MlmError):  # not every server counts them
                with_it, without = (
                    self._client.count_tokens(
                        model, messages=[{"role": "user", "content": to_content("x", shown)}]
                    )
                    for shown in ([picture.data], [])
                )
                return Count(with_it - without)
        return _estimate_picture(picture)

    def _ask(self, model: str, text: str) -> Count:
        size = len(text.encode("utf-8", "replace"))
        if size <= _MAX_COUNTED_BYTES and self.limit(model) is not None:
            with suppress(MlmError):
                return Count(self._client.count_tokens(model, text=text))
        return Count(_estimate(text), is_exact=False)


def most_tokens(text: str) -> int:
    """Return more tokens than a message can have: no token is shorter than a byte."""
    return len(text.encode("utf-8", "replace")) + _MOST_WRAPPING


def estimate(turn: Turn) -> Count:
    """Return about what a turn is, without asking anybody."""
    tokens = _estimate(turn.question) + _estimate(turn.answer) + 2 * Wrapping().per_message
    pictures = sum(_estimate_picture(picture).tokens for picture in turn.pictures)
    return Count(tokens + pictures, is_exact=False)


def _estimate_picture(picture: Picture) -> Count:
    """Return about what a picture is to a model that takes it by its size."""
    tokens = -(-picture.width * picture.height // _PIXELS_PER_TOKEN)
    tokens = min(max(tokens, _FEWEST_PICTURE_TOKENS), MOST_PICTURE_TOKENS)
    return Count(tokens, is_exact=False)


def _estimate(text: str) -> int:
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)
