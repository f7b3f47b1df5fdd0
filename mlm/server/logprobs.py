"""Log-probabilities of an answer's tokens, as OpenAI's two APIs write them."""

from collections.abc import Iterable, Sequence
from typing import Any

from mlm.engine.messages import ChosenToken, TokenProb


class TokenCursor:
    """Goes through the tokens of one answer; the sequence may grow meanwhile."""

    def __init__(self, tokens: Sequence[ChosenToken]) -> None:
        self._tokens = tokens
        self._next = 0

    def take(self, start: int, end: int) -> list[ChosenToken]:
        """Return the tokens with a part in the answer's text from ``start`` to ``end``.

        Each comes once, and what was passed over is markup and never comes.
        """
        taken = []
        while self._next < len(self._tokens) and self._tokens[self._next].start < end:
            token = self._tokens[self._next]
            self._next += 1
            if token.end > start or token.start >= start:
                taken.append(token)
        return taken


def chat_entries(tokens: Iterable[ChosenToken]) -> list[dict[str, Any]]:
    """Return the tokens as chat completions have them; ``id`` is llama.cpp's addition."""
    return [
        {**_chat_entry(token.chosen), "top_logprobs": list(map(_chat_entry, token.likeliest))}
        for token in tokens
    ]


def completion_logprobs(tokens: Sequence[ChosenToken]) -> dict[str, Any]:
    """Return the tokens as completions have them: four lists."""
    return {
        "tokens": [_spell(token.chosen) for token in tokens],
        "token_logprobs": [token.chosen.logprob for token in tokens],
        "top_logprobs": [_by_spelling(token) for token in tokens],
        "text_offset": [token.start for token in tokens],
    }


def _chat_entry(prob: TokenProb) -> dict[str, Any]:
    return {
        "id": prob.token,
        "token": prob.spelling.decode("utf-8", "backslashreplace"),
        "logprob": prob.logprob,
        "bytes": list(prob.spelling),
    }


def _by_spelling(token: ChosenToken) -> dict[str, float]:
    """Return the likeliest tokens and the chosen one; of two that look the same, the likelier."""
    probs: dict[str, float] = {}
    for prob in (*token.likeliest, token.chosen):
        probs.setdefault(_spell(prob), prob.logprob)
    return probs


def _spell(prob: TokenProb) -> str:
    try:
        return prob.spelling.decode("utf-8")
    except UnicodeDecodeError:  # a part of a character
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in prob.spelling)
