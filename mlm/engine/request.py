"""A request inside the worker: rendered, tokenised, known to fit, with its sampler ready."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mlm.engine.detokenize import Utf8Stream
from mlm.engine.image import Image
from mlm.engine.logprobs import Logprobs
from mlm.engine.messages import AnswerForm, ChosenToken
from mlm.engine.stop import StopStrings


class TokenChooser(Protocol):
    """What the scheduler asks of a sampler."""

    def sample(self, context: Any, row: int) -> int:
        """Choose the next token from the logits of ``row``.

        Raises:
            SamplingError: there is none, for a reason that lies in the request.
            ModelError: there are no numbers to choose by.
        """

    def close(self) -> None:
        """Free what it holds."""


class SamplingError(Exception):
    """No token can be chosen, for a reason that lies in the request."""


class AnswerText:
    """Tokens of one answer to text that may be sent: whole characters, no stop string."""

    def __init__(self, stops: Iterable[str] = (), logprobs: Logprobs | None = None) -> None:
        self._characters = Utf8Stream()
        self._stops = StopStrings(stops)
        self._logprobs = logprobs

    @property
    def is_stopped(self) -> bool:
        """Whether a stop string has come."""
        return self._stops.matched

    def push(self, piece: bytes) -> str:
        """Return the text that is safe to send after one more token."""
        characters = self._characters.push(piece)
        if self._logprobs is not None:
            self._logprobs.place(piece, len(characters))
        return self._stops.push(characters)

    def flush(self) -> str:
        """Return the rest, when the answer has ended without a stop string."""
        return self._stops.push(self._characters.flush()) + self._stops.flush()

    def take_logprobs(self, text: str) -> list[ChosenToken]:
        """Return what is to be told with ``text``, which is sent now, if that is wanted."""
        return self._logprobs.take(len(text)) if self._logprobs is not None else []


@dataclass(slots=True)
class Request:
    """One accepted request and how far it has come. Times are seconds on the worker's clock."""

    request_id: int
    tokens: list[int]  # the prompt; never empty
    max_new_tokens: int  # at most what the slot has left
    sampler: TokenChooser
    images: Mapping[int, Image] = field(default_factory=dict)  # by how many tokens are before each
    text: AnswerText = field(default_factory=AnswerText)
    form: AnswerForm = field(default_factory=AnswerForm)
    markers: Mapping[int, bytes] = field(default_factory=dict)  # control tokens to spell out
    tenant: str = ""
    reuses_prefix: bool = True  # uses what others computed, and leaves what it computed to them
    is_deterministic: bool = False  # computed in batches of its own, in equal chunks
    received_s: float = 0.0
    admitted_s: float | None = None
    first_token_s: float | None = None
    cached_tokens: int = 0
    n_generated: int = 0
    n_unsent: int = 0  # tokens chosen since text was last sent

    @property
    def prompt_tokens(self) -> int:
        """Tokens to read."""
        return len(self.tokens)

    def has_image_between(self, start: int, end: int) -> bool:
        """Return whether an image begins there in the prompt: encoding it takes long."""
        return any(start <= place < end for place in self.images)

    def close(self) -> None:
        """Free the sampler."""
        self.sampler.close()
