"""Noticing, token by token, where the grammar of an answer begins to hold."""

import re

from mlm.engine.constraint import Trigger
from mlm.engine.dialect import PYTHON_TAG
from mlm.engine.messages import AnswerForm

# Longer beginnings are no call. Also bounds what is searched again with each token.
_LONGEST_BEGINNING = 128
_BEFORE_FIRST = re.compile(rb"\s*(?:" + re.escape(PYTHON_TAG.encode()) + rb")?\s*")


class Watch:
    """Waits for the text of a `Trigger` outside the thoughts.

    llama.cpp can do the same, but searches the whole answer again with each token, thoughts
    included, and aborts when the token that completes the text goes on in a way that the grammar
    does not allow.
    """

    def __init__(self, trigger: Trigger, form: AnswerForm) -> None:
        self._pattern = re.compile(trigger.pattern.encode())
        self._openings = [opening.encode() for opening in trigger.openings]
        self._only_first = trigger.only_first
        self._think_open, self._think_close = form.think_open.encode(), form.think_close.encode()
        self._in_thoughts = form.begins_thinking
        self._may_think = bool(form.think_close) and not form.begins_thinking
        self._tokens: list[tuple[int, bytes]] = []  # the last ones, and …
        self._text = b""  # … what they spell
        self._start = 0  # where in it the thoughts have ended
        self._is_over = False

    def push(self, token: int, piece: bytes) -> list[int] | None:
        """Take one more token; return those from the one on in which the trigger's text begins.

        None as long as the grammar does not hold.
        """
        if self._is_over:
            return None
        self._tokens.append((token, piece))
        self._text += piece
        if self._may_think:
            self._look_for_thoughts()
        if self._in_thoughts:
            self._look_for_their_end()
        if self._in_thoughts or self._may_think:
            return None
        return self._look_for_a_call()

    def _look_for_thoughts(self) -> None:
        begun = self._text.lstrip()
        if begun.startswith(self._think_open):
            self._in_thoughts, self._may_think = True, False
        elif not self._think_open.startswith(begun):
            self._may_think = False

    def _look_for_their_end(self) -> None:
        end = self._text.find(self._think_close)
        if end < 0:
            self._keep(len(self._think_close) - 1)
        else:
            self._in_thoughts = False
            self._start = end + len(self._think_close)
            self._keep(len(self._text) - self._start)

    def _look_for_a_call(self) -> list[int] | None:
        if self._only_first:
            before = _BEFORE_FIRST.match(self._text, self._start)
            assert before is not None  # it matches nothing, too
            found = self._pattern.match(self._text, before.end())
        else:
            found = self._pattern.search(self._text, self._start)
        if found is None:
            if not self._only_first:
                self._keep(_LONGEST_BEGINNING)
            elif len(self._text) - self._start > _LONGEST_BEGINNING:
                self._is_over = True
            return None
        self._is_over = True
        rest = self._text[found.end() :]
        if not any(opening.startswith(rest) for opening in self._openings):
            return None
        self._keep(len(self._text) - found.start())
        return [token for token, _ in self._tokens]

    def _keep(self, n_bytes: int) -> None:
        """Forget tokens that have no part in the last ``n_bytes`` of the text."""
        while self._tokens and len(self._text) - len(self._tokens[0][1]) >= n_bytes:
            _, piece = self._tokens.pop(0)
            self._text = self._text[len(piece) :]
            self._start = max(0, self._start - len(piece))
