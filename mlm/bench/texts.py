"""Texts of a wanted length that no server has seen before: plain words, drawn at random."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

_WORDS = (
    "about above after again air along always answer apple around ask autumn back bake bank bird "
    "blue boat book bread bridge bright bring brown build call carry chair change child city clean "
    "clear cloud coat cold corner count cross dance dark day deep door draw dream drive dry early "
    "earth east edge egg evening farm fast field find fire fish floor flower fold forest friend "
    "garden gate glass gold grain grass green ground hand harbour hat hear hill hold home horse "
    "hour house island key kitchen lake lamp land late learn leave letter light line listen long "
    "market map meadow middle milk minute moon morning mountain music narrow near night north "
    "number ocean old open orange paper path pencil people picture plain plant price quiet rain "
    "reach read red rest river road roof room rope sail salt sand school sea season seed shelf "
    "ship shop short silver simple sister sky slow small smoke snow song sound south stair star "
    "stone store story street summer sun table tall thread time town train tree turn valley "
    "village wait walk wall warm watch water west wheel white wide wind window winter wood word"
)
_SAMPLES = (10, 110)  # words
_USUAL = (1.2, 12.0)  # tokens per word and around them, where a server does not count tokens


@dataclass(frozen=True, slots=True)
class Texts:
    """Draws words: the same ``key`` and ``tag`` give the same text, others another one."""

    tag: str
    tokens_per_word: float
    tokens_around: float  # what the chat template adds to a question

    def text(self, n_tokens: int, *key: object) -> str:
        """Return a text of about ``n_tokens``."""
        n_words = max(1, round(n_tokens / self.tokens_per_word))
        return _draw(n_words, self.tag, *key)

    def question(self, n_tokens: int, *key: object) -> str:
        """Return a text that makes a prompt of about ``n_tokens``, template and all."""
        return self.text(max(1, n_tokens - round(self.tokens_around)), *key)


def measure_texts(tag: str, count_tokens: Callable[[str], int | None]) -> Texts:
    """Find out how long words are for a model.

    ``count_tokens`` returns the length of the prompt that a question makes, None if unknown.
    """
    short, long = (count_tokens(_draw(n, tag, "sample", n)) for n in _SAMPLES)
    per_word, around = _USUAL
    if short and long and long > short:
        per_word = (long - short) / (_SAMPLES[1] - _SAMPLES[0])
        around = max(0.0, short - _SAMPLES[0] * per_word)
    return Texts(tag, per_word, around)


def _draw(n_words: int, *key: object) -> str:
    random = Random("/".join(map(str, key)))
    return " ".join(random.choices(_WORDS.split(), k=n_words))
