"""How many tokens a text is for a model: as its server counts them, or an estimate."""

from dataclasses import dataclass

from mlm.client import Client
from mlm.errors import MlmError, NetworkError, NotFoundError
from mlm.repl.conversation import Turn

_BYTES_PER_TOKEN = 3  # of prose and code in Latin script there are more: better too many tokens
_MAX_COUNTED_BYTES = 1024**2  # longer texts than the server counts are estimated
_MAX_REMEMBERED = 4096
_MOST_WRAPPING = 64  # tokens of a chat template around one message


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
    """Counts, and remembers what it has counted. A server that does not count is not asked again.

    A model's context may be unknown: None.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._counts: dict[tuple[str, str], Count] = {}
        self._wrappings: dict[str, Wrapping] = {}
        self._limits: dict[str, int] = {}
        self._is_counting = True

    def limit(self, model: str) -> int | None:
        """Return how many tokens a question, all that goes with it, and its answer may have."""
        if model not in self._limits:
            try:
                found = self._client.context_length(model)
            except MlmError:
                return None
            if found is not None:
                self._limits[model] = found
        return self._limits.get(model)

    def known_limit(self, model: str) -> int | None:
        """Return the same without asking anybody."""
        return self._limits.get(model)

    def count(self, model: str, text: str) -> Count:
        """Return what ``text`` is by itself."""
        key = (model, text)
        if key not in self._counts:
            counted = self._ask(model, text)
            if not counted.is_exact:
                return counted
            if len(self._counts) >= _MAX_REMEMBERED:
                del self._counts[next(iter(self._counts))]
            self._counts[key] = counted
        return self._counts[key]

    def count_turn(self, model: str, turn: Turn) -> Count:
        """Return what a turn is with what the template puts around it."""
        parts = [self.count(model, turn.question), self.count(model, turn.answer)]
        tokens = sum(part.tokens for part in parts) + 2 * self.wrapping(model).per_message
        return Count(tokens, all(part.is_exact for part in parts))

    def count_question(self, model: str, text: str) -> Count:
        """Return what a question is with what the template puts around it."""
        counted = self.count(model, text)
        return Count(counted.tokens + self.wrapping(model).per_message, counted.is_exact)

    def count_system(self, model: str, text: str) -> Count:
        """Return what a system prompt adds."""
        counted = self.count(model, text)
        return Count(max(0, counted.tokens + self.wrapping(model).system), counted.is_exact)

    def wrapping(self, model: str) -> Wrapping:
        """Return what the model's chat template adds, as short chats show it."""
        if model not in self._wrappings:
            try:
                self._wrappings[model] = self._measure(model)
            except MlmError as error:
                self._give_up(error)
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

    def _ask(self, model: str, text: str) -> Count:
        size = len(text.encode("utf-8", "replace"))
        if self._is_counting and size <= _MAX_COUNTED_BYTES:
            try:
                return Count(self._client.count_tokens(model, text=text))
            except MlmError as error:
                self._give_up(error)
        return Count(_estimate(text), is_exact=False)

    def _give_up(self, error: MlmError) -> None:
        """Remember a server that cannot count; one that is only busy is asked again."""
        self._is_counting = type(error) not in (NetworkError, NotFoundError)


def most_tokens(text: str) -> int:
    """Return more tokens than a message can have: no token is shorter than a byte."""
    return len(text.encode("utf-8", "replace")) + _MOST_WRAPPING


def estimate(turn: Turn) -> Count:
    """Return about what a turn is, without asking anybody."""
    tokens = _estimate(turn.question) + _estimate(turn.answer) + 2 * Wrapping().per_message
    return Count(tokens, is_exact=False)


def _estimate(text: str) -> int:
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)
