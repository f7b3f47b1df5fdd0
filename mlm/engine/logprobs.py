"""Log-probabilities of the tokens of an answer, kept until the text of those tokens is sent."""

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from mlm.engine.logits import find_highest
from mlm.engine.messages import ChosenToken, TokenProb

_LEAST = -9999.0  # what OpenAI writes for "next to impossible"; JSON knows no infinity


class Logprobs:
    """What one answer tells of its tokens.

    For each token first `note`, then `place` unless the token ends the answer; `take` when text
    is sent. The probabilities are those of the model itself, before any sampler or grammar.
    """

    def __init__(self, n_likeliest: int, spell: Callable[[int], bytes]) -> None:
        self._n_likeliest, self._spell = n_likeliest, spell
        self._noted: tuple[int, float, list[tuple[int, float]]] | None = None
        self._placed: deque[ChosenToken] = deque()  # whose text has not been sent
        self._n_chars = 0  # of the answer so far
        self._n_sent = 0

    def note(self, logits: np.ndarray[Any, Any], token: int) -> None:
        """Remember how likely ``token``, which has just been chosen, and the others were."""
        highest = float(logits.max())
        total = highest + float(np.log(np.exp(logits - highest).sum(dtype=np.float64)))
        likeliest = [(i, float(logits[i]) - total) for i in find_highest(logits, self._n_likeliest)]
        self._noted = token, float(logits[token]) - total, likeliest

    def place(self, piece: bytes, n_chars: int) -> None:
        """Tell that the noted token has added ``piece``, which has completed ``n_chars``."""
        assert self._noted is not None
        token, logprob, likeliest = self._noted
        start, self._n_chars = self._n_chars, self._n_chars + n_chars
        if piece:  # a token without any text is no part of the answer
            others = [TokenProb(i, self._spell(i), _bounded(p)) for i, p in likeliest]
            chosen = TokenProb(token, piece, _bounded(logprob))
            self._placed.append(ChosenToken(chosen, others, start, self._n_chars))

    def take(self, n_chars: int) -> list[ChosenToken]:
        """Return the tokens that are due when ``n_chars`` more are sent: each comes once.

        Of a token that is cut by a stop string, the first character counts.
        """
        self._n_sent += n_chars
        due = []
        while self._placed and self._placed[0].start < self._n_sent:
            due.append(self._placed.popleft())
        return due


def _bounded(logprob: float) -> float:
    return logprob if logprob > _LEAST else _LEAST  # NaN, of a broken model, too
