"""Samplers and grammars of llama.cpp."""

import ctypes
from collections.abc import Iterable
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as C

from mlm.engine.llama.context import Context
from mlm.engine.llama.vocabulary import Vocabulary
from mlm.engine.sampling import Stage

_GREEDY: Stage = ("greedy", ())
_TOKEN_DATA = np.dtype([("id", "<i4"), ("logit", "<f4"), ("p", "<f4")])  # llama_token_data


class SamplerChain:
    """Samplers in the order of ``stages``; the last one chooses the token."""

    def __init__(self, vocabulary: Vocabulary, stages: Iterable[Stage]) -> None:
        self._handle = C.llama_sampler_chain_init(C.llama_sampler_chain_default_params())
        self._stages = list(stages)
        for stage in self._stages:
            C.llama_sampler_chain_add(self._handle, _init_sampler(vocabulary, stage))

    @property
    def _is_greedy(self) -> bool:
        """Whether the highest logit is all that counts, the first one of equals.

        numpy finds it in a tenth of the time that llama.cpp takes for a list of all candidates.
        """
        return self._stages == [_GREEDY]

    def sample(self, context: Context, row: int) -> int:
        """Choose a token from the logits of ``row`` and remember it."""
        if self._is_greedy:
            return int(context.logits(row).argmax())
        return int(C.llama_sampler_sample(self._handle, context.handle, row))

    def preview(self, context: Context, row: int) -> int:
        """Choose a token from the logits of ``row`` without remembering it."""
        logits = context.logits(row)
        return int(logits.argmax()) if self._is_greedy else self.choose(Candidates(logits))

    def choose(self, candidates: "Candidates") -> int:
        """Choose a token from ``candidates`` without remembering it."""
        C.llama_sampler_apply(self._handle, ctypes.byref(candidates.array))
        return int(candidates.array.data[candidates.array.selected].id)

    def accept(self, token: int) -> None:
        """Remember a token, for the samplers that look back."""
        C.llama_sampler_accept(self._handle, token)

    def drop_first(self) -> None:
        """Take the first sampler out of the chain."""
        del self._stages[0]
        C.llama_sampler_free(C.llama_sampler_chain_remove(self._handle, 0))

    def close(self) -> None:
        """Free the chain and its samplers."""
        C.llama_sampler_free(self._handle)


class Grammar:
    """A compiled GBNF grammar and how far a text has come in it."""

    def __init__(
        self, vocabulary: Vocabulary | None, text: str, *, root: str = "root", trigger: str = ""
    ) -> None:
        """Without a vocabulary the grammar is only checked; it must not be used then.

        With ``trigger``, a regular expression, the text that the grammar allows begins with what
        matches it; the first tokens to be accepted may hold something before that.

        Raises:
            ValueError: llama.cpp does not accept the grammar.
        """
        if "\0" in text:
            raise ValueError("the grammar holds a NUL, where llama.cpp would stop reading")
        handle = vocabulary.handle if vocabulary else None
        source = text.encode("utf-8")
        if trigger:
            patterns = (ctypes.c_char_p * 1)(trigger.encode("utf-8"))
            self._handle = C.llama_sampler_init_grammar_lazy_patterns(
                handle, source, root.encode(), patterns, 1, None, 0
            )
        else:
            self._handle = C.llama_sampler_init_grammar(handle, source, root.encode())
        if not self._handle:
            raise ValueError("the grammar is not valid GBNF, or has no rule 'root'")

    def mask(self, candidates: "Candidates") -> None:
        """Rule out every candidate that the grammar forbids next."""
        C.llama_sampler_apply(self._handle, ctypes.byref(candidates.array))

    def allows(self, token: int) -> bool:
        """Return whether ``token`` may come next."""
        one = C.llama_token_data(token, 1.0, 0.0)
        array = C.llama_token_data_array(ctypes.pointer(one), 1, -1, False)
        C.llama_sampler_apply(self._handle, ctypes.byref(array))
        return float(one.logit) != -np.inf

    def accept(self, token: int) -> None:
        """Step over ``token``, which must be allowed: llama.cpp aborts otherwise."""
        C.llama_sampler_accept(self._handle, token)

    def close(self) -> None:
        """Free the grammar."""
        C.llama_sampler_free(self._handle)


class Candidates:
    """All tokens with their logits, in the form that samplers work on."""

    def __init__(self, logits: np.ndarray[Any, Any]) -> None:
        self._rows = np.zeros(len(logits), _TOKEN_DATA)
        self._rows["id"] = np.arange(len(logits), dtype=np.int32)
        self._rows["logit"] = logits
        data = self._rows.ctypes.data_as(ctypes.POINTER(C.llama_token_data))
        self.array = C.llama_token_data_array(data, len(logits), -1, False)

    def is_exhausted(self) -> bool:
        """Return whether every candidate has been ruled out."""
        return bool(np.isneginf(self._rows["logit"]).all())


def _init_sampler(vocabulary: Vocabulary, stage: Stage) -> object:
    """Return one sampler of llama.cpp; ``stage`` is its name there and its arguments."""
    name, arguments = stage
    if name == "logit_bias":
        (biases,) = arguments
        array = (C.llama_logit_bias * len(biases))(*biases)
        return C.llama_sampler_init_logit_bias(vocabulary.n_tokens, len(biases), array)
    if name == "dry":
        *numbers, breakers = arguments
        spelled = (ctypes.c_char_p * len(breakers))(*(text.encode() for text in breakers))
        return C.llama_sampler_init_dry(vocabulary.handle, *numbers, spelled, len(breakers))
    if name in ("penalties", "mirostat"):
        arguments = (vocabulary.n_tokens, *arguments)
    return getattr(C, f"llama_sampler_init_{name}")(*arguments)
