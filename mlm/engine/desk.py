"""A worker's front desk: takes requests in the order of their arrival and prepares them.

That happens on a thread of its own, so that nothing slow holds up a decode step.
"""

import queue
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Generic, Protocol, TypeVar

from mlm.engine.llama.vocabulary import Vocabulary
from mlm.engine.messages import Cancel, Failed, Finished, Message, Tokenize, Tokens

Dicts = list[dict[str, object]]
NO_TOKEN = -1  # in the place of each token that a picture takes


class Refusal(Exception):
    """The request cannot be served. ``code`` and the rest are for `Failed`."""

    def __init__(
        self,
        code: str,
        reason: str,
        *,
        needed: int | None = None,
        available: int | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.code, self.needed, self.available, self.param = code, needed, available, param


class Asked(Protocol):
    """What a message from the gateway has."""

    @property
    def request_id(self) -> int:
        """Names the request in all that is said of it."""


class Prepared(Protocol):
    """What a request has that is ready to run."""

    request_id: int
    received_s: float

    @property
    def prompt_tokens(self) -> int:
        """Tokens to read."""

    def close(self) -> None:
        """Free what it holds."""


A = TypeVar("A", bound=Asked)
P = TypeVar("P", bound=Prepared)


class Desk(ABC, Generic[A, P]):
    """Takes requests of one kind, and hands them on when they are ready to run.

    What is asked about tokens is answered here: it needs no computing.
    """

    takes: type[A]  # the message …
    misplaced: ClassVar[str]  # and what to say to another

    def __init__(
        self,
        vocabulary: Vocabulary,
        send: Callable[[Message], None],
        hand_on: Callable[[P | Cancel], None],
    ) -> None:
        self._vocabulary = vocabulary
        self._send = send
        self._hand_on = hand_on
        self._inbox: queue.SimpleQueue[tuple[A | Tokenize, float]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._here: set[int] = set()  # requests that are here and have not been cancelled

    @property
    def n_waiting(self) -> int:
        """Requests that have not been handed on yet."""
        return len(self._here)

    def start(self) -> None:
        """Begin to work, on a thread of its own."""
        threading.Thread(target=self._work, name="reception", daemon=True).start()

    def receive(self, asked: Asked) -> None:
        """Queue a request. Called by the thread that reads the socket, like `cancel`."""
        if not isinstance(asked, (self.takes, Tokenize)):
            code = "invalid_request_error"
            self._send(Failed(asked.request_id, code, self.misplaced, param="model"))
            return
        self._here.add(asked.request_id)
        self._inbox.put((asked, time.monotonic()))

    def cancel(self, cancel: Cancel) -> None:
        """Cancel a request: here while it is here, otherwise wherever it went."""
        with self._lock:
            if cancel.request_id in self._here:
                self._here.discard(cancel.request_id)
            else:
                self._hand_on(cancel)

    @abstractmethod
    def _prepare(self, asked: A, received_s: float) -> P:
        """Return the request, known to fit.

        Raises:
            Refusal: it cannot be served.
        """

    @abstractmethod
    def _announce(self, request: P, asked: A) -> None:
        """Say that the request will run."""

    def _work(self) -> None:
        while True:
            asked, received_s = self._inbox.get()
            if asked.request_id not in self._here:
                self._confirm_cancel(asked.request_id, 0, received_s)
                continue
            try:
                self._serve(asked, received_s)
            except Refusal as no:
                self._here.discard(asked.request_id)
                failed = Failed(
                    asked.request_id, no.code, str(no), no.needed, no.available, no.param
                )
                self._send(failed)
            except Exception as bug:  # one request must not end the service of all others
                traceback.print_exc()
                self._here.discard(asked.request_id)
                self._send(Failed(asked.request_id, "engine_error", f"internal error: {bug!r}"))

    def _serve(self, asked: A | Tokenize, received_s: float) -> None:
        if isinstance(asked, Tokenize):
            tokens = self._find_tokens(asked)
            self._here.discard(asked.request_id)
            self._send(tokens)
        else:
            self._pass_on(self._prepare(asked, received_s), asked)

    def _find_tokens(self, asked: Tokenize) -> Tokens:
        vocabulary = self._vocabulary
        if asked.tokens is not None:
            tokens = self._check_tokens(asked.tokens, "tokens")
        elif asked.messages is not None:
            tokens = self._chat_tokens(asked.messages, asked.tools, asked.template_args)
        else:
            tokens = vocabulary.tokenize(
                asked.text or "",
                add_special=asked.add_special,
                parse_special=asked.parse_special,
            )
        if not asked.spell:
            return Tokens(asked.request_id, tokens)
        spellings = [b"" if t == NO_TOKEN else vocabulary.spelling(t) for t in tokens]
        return Tokens(asked.request_id, tokens, spellings)

    def _chat_tokens(
        self, messages: Dicts, tools: Dicts | None, template_args: dict[str, object]
    ) -> list[int]:
        """Return the tokens of a chat as the model is shown it; `NO_TOKEN` for those of pictures.

        Raises:
            Refusal: there is no chat with this model, or its template fails.
        """
        reason = "this model has no chats; ask for the tokens of a 'content'"
        raise Refusal("invalid_request_error", reason, param="messages")

    def _check_tokens(self, tokens: list[int], param: str) -> list[int]:
        """Return ``tokens``, all of which the model knows.

        Raises:
            Refusal: there is one that it does not.
        """
        n_tokens = self._vocabulary.n_tokens
        unknown = next((token for token in tokens if not 0 <= token < n_tokens), None)
        if unknown is not None:
            reason = f"there is no token {unknown}; this model has {n_tokens}"
            raise Refusal("invalid_request_error", reason, param=param)
        return tokens

    def _pass_on(self, request: P, asked: A) -> None:
        """Announce a request and hand it on, unless it has been cancelled meanwhile."""
        with self._lock:
            if request.request_id in self._here:
                self._here.discard(request.request_id)
                self._announce(request, asked)
                self._hand_on(request)
                return
        request.close()
        self._confirm_cancel(request.request_id, request.prompt_tokens, request.received_s)

    def _confirm_cancel(self, request_id: int, prompt_tokens: int, received_s: float) -> None:
        waited = time.monotonic() - received_s
        self._send(Finished(request_id, "cancelled", prompt_tokens, 0, 0, waited, 0.0, 0.0))
