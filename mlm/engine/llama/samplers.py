"""Samplers and grammars of llama.cpp."""

import ctypes
from collections.abc import Iterable

import numpy as np
from llama_cpp import llama_cpp as C

from mlm.engine.llama.candidates import Candidates
from mlm.engine.llama.context import Context
from mlm.engine.llama.vocabulary import Vocabulary
from mlm.engine.logits import Array, Biases, check_highest, find_contenders
from mlm.engine.sampling import Stage


class SamplerChain:
    """Samplers in the order of ``stages``; the last one chooses the token."""

    def __init__(self, vocabulary: Vocabulary, stages: Iterable[Stage]) -> None:
        self._handle = C.llama_sampler_chain_init(C.llama_sampler_chain_default_params())
        self._stages = list(stages)
        for stage in self._stages:
            C.llama_sampler_chain_add(self._handle, _init_sampler(vocabulary, stage))
        self._look_ahead()

    def sample(self, context: Context, row: int) -> int:
        """Choose a token from the logits of ``row`` and remember it.

        Raises:
            ModelError: what is highest there is no number.
        """
        token = self.preview(context, row)
        if not self._is_greedy:  # nothing in such a chain remembers anything
            self.accept(token)
        return token

    def preview(self, context: Context, row: int) -> int:
        """Choose a token like `sample`, without remembering it."""
        logits = context.logits(row)
        token = self._find_highest(logits) if self._is_greedy else self._take_short_way(logits)
        return self.choose(context.candidates(row)) if token is None else token

    def _take_short_way(self, logits: Array) -> int | None:
        """Choose a token if what ``top_k`` leaves comes first: it is found sooner here.

        llama.cpp would look through all tokens, which takes three times as long.
        """
        name, arguments = self._first
        if name != "top_k":
            return None
        with self._biases.added_to(logits):
            places = find_contenders(logits, *arguments)
        if places is None:
            return None
        return self.choose(Candidates(len(places)).fill(logits[places], places))

    def _find_highest(self, logits: Array) -> int:
        """Choose the token for a chain that is greedy; llama.cpp would take ten times as long."""
        token = int(logits.argmax())  # the first of equals, as in llama.cpp
        if not self._biases.spare(token):
            with self._biases.added_to(logits):
                token = int(logits.argmax())
        check_highest(logits.item(token))  # without its bias, which may be too large for a float
        return token

    def choose(self, candidates: Candidates) -> int:
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
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Note the biases that the chain begins with, and the stage that follows them."""
        n_biases = next(i for i, (name, _) in enumerate(self._stages) if name != "logit_bias")
        self._biases = Biases(bias for _, (biases,) in self._stages[:n_biases] for bias in biases)
        self._first = self._stages[n_biases]
        self._is_greedy = self._first[0] == "greedy"

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

    def mask(self, candidates: Candidates) -> None:
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
