"""One request's sampler: a chain of llama.cpp's samplers, perhaps under a grammar."""

import time
from collections.abc import Sequence

from mlm.engine.constraint import Constraint
from mlm.engine.llama.context import Context
from mlm.engine.llama.samplers import Grammar, SamplerChain
from mlm.engine.llama.vocabulary import Vocabulary
from mlm.engine.logprobs import Logprobs
from mlm.engine.messages import AnswerForm, SamplingParams
from mlm.engine.request import SamplingError
from mlm.engine.sampling import check_ranges, forbids_end, plan_stages, remembered_tokens
from mlm.engine.watch import Watch

# A grammar can grow its set of states with every character, without limit. Growth shows: the
# request ends at the first token that takes so long. Nothing can interrupt a single call into
# llama.cpp, though; for one that never returns there is `mlm.engine.worker.CHOICE_LIMIT_S`.
_GRAMMAR_STEP_LIMIT_S = 1.0


class Sampler:
    """Chooses the tokens of one answer."""

    def __init__(
        self, vocabulary: Vocabulary, params: SamplingParams, prompt: Sequence[int], n_ctx_slot: int
    ) -> None:
        """Build the chain. ``prompt`` counts for penalties, as in llama.cpp's server.

        The grammar in ``params`` is not looked at; see `hold_to`.

        Raises:
            ValueError: a parameter is out of range, or the grammar is not valid.
        """
        check_ranges(params, vocabulary.n_tokens)
        stages = plan_stages(
            params,
            end_tokens=vocabulary.end_tokens,
            suppressed_tokens=vocabulary.suppressed_tokens,
            n_ctx_slot=n_ctx_slot,
        )
        self._vocabulary = vocabulary
        self._grammar: Grammar | None = None
        self._later: tuple[Grammar, Watch] | None = None  # a grammar that does not hold yet
        self._chain = SamplerChain(vocabulary, stages)
        looks_back = remembered_tokens(params, n_ctx_slot)
        for token in prompt[len(prompt) - min(looks_back, len(prompt)) :]:
            self._chain.accept(token)
        # Tokens until the ban on ending, the first stage, is lifted; 0 = never.
        lifted = forbids_end(params) and not params.ignore_eos
        self._n_banned = params.min_tokens if lifted else 0
        self.logprobs: Logprobs | None = None  # told of each choice, if somebody wants to know

    def hold_to(self, constraint: Constraint, form: AnswerForm) -> None:
        """Allow only what ``constraint`` allows.

        Raises:
            ValueError: llama.cpp does not accept the grammar.
        """
        trigger = constraint.trigger
        pattern = trigger.pattern if trigger else ""
        grammar = Grammar(
            self._vocabulary, constraint.grammar, root=constraint.root, trigger=pattern
        )
        if trigger is None:
            self._grammar = grammar
        else:
            self._later = grammar, Watch(trigger, form)

    def sample(self, context: Context, row: int) -> int:
        """Choose the next token from the logits of ``row``.

        Raises:
            SamplingError: the grammar allows nothing here, or takes too long.
            ModelError: what the model makes of the tokens are no numbers.
        """
        if self._grammar is None:
            token = self._chain.sample(context, row)
            if self._later is not None:
                self._watch(*self._later, token)
        else:
            token = self._sample_within(self._grammar, context, row)
        if self._n_banned:
            self._n_banned -= 1
            if self._n_banned == 0:
                self._chain.drop_first()
        if self.logprobs is not None:
            self.logprobs.note(context.logits(row), token)
        return token

    def close(self) -> None:
        """Free what llama.cpp holds."""
        self._chain.close()
        for grammar in (self._grammar, self._later and self._later[0]):
            if grammar is not None:
                grammar.close()

    def _watch(self, grammar: Grammar, watch: Watch, token: int) -> None:
        """Look whether ``grammar`` holds from now on."""
        begun = watch.push(token, self._vocabulary.spelling(token))
        if begun is not None:
            for earlier in begun:
                grammar.accept(earlier)
            self._grammar, self._later = grammar, None

    def _sample_within(self, grammar: Grammar, context: Context, row: int) -> int:
        """Choose freely and check; only a forbidden choice pays for masking the vocabulary."""
        started = time.monotonic()
        token = self._chain.preview(context, row)
        if not grammar.allows(token):
            candidates = context.candidates(row)
            grammar.mask(candidates)
            if candidates.is_exhausted():
                raise SamplingError("the grammar allows no token here")
            token = self._chain.choose(candidates)
            if not grammar.allows(token):
                raise SamplingError("grammar and other sampling parameters leave no token")
        grammar.accept(token)
        self._chain.accept(token)
        if time.monotonic() - started > _GRAMMAR_STEP_LIMIT_S:
            raise SamplingError(f"the grammar takes over {_GRAMMAR_STEP_LIMIT_S:.0f} s per token")
        return token
