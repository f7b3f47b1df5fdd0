"""Computes a model's quality from its published scores, by the rule in catalog/README.md.

A number from 0 to 100 per use case, so that models can be ranked; it compares models, it is not a
grade. Each part that has a published score lies on a straight line of its own, cut off at 0 and at
the top; quality is the mean of the parts.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlm.catalog.types import Score, UseCase


@dataclass(frozen=True, slots=True)
class _Line:
    """From a benchmark's score to a part: ``start`` gives 0, ``end`` gives ``top``, the most."""

    pattern: str  # what the names of the benchmark look like, without regard to case
    start: float
    end: float
    top: float
    only: str = ""  # of models whose `use_cases` hold this
    never: str = ""

    def part(self, score: Score) -> float:
        """Return what ``score`` counts."""
        share = (score.value - self.start) / (self.end - self.start)
        return min(max(share * self.top, 0.0), self.top)


_Part = Sequence[_Line]  # the first line that has a score counts

_CODE_PREFERENCE = _Line(r"LMArena text \(coding\)", 1100, 1500, 85)
# The lines are the table in catalog/README.md, which says how they were chosen.
_PARTS: Mapping[UseCase, Sequence[_Part]] = {
    "chat": (
        (_Line(r"LMArena text style-controlled", 1050, 1450, 100),),
        (
            _Line(r"MMLU-Pro(?!, Open)", 10, 95, 92),
            _Line(r"MMLU-Pro, Open LLM Leaderboard", 0, 65, 85, never="reasoning"),
        ),
        (_Line(r"IFEval", 50, 95, 80),),
    ),
    "code": (
        (
            _Line(r"LiveCodeBench v6", 0, 85, 100),
            _Line(r"LiveCodeBench v5", 0, 85, 100),
            _Line(r"LiveCodeBench", 0, 85, 100),
            _Line(r"SWE-Bench Verified", 0, 77, 100),
        ),
    ),
    "reasoning": (
        (
            _Line(r"GPQA[ -]?\(?Diamond", 20, 90, 100),
            _Line(r"GPQA", 20, 90, 100),
        ),
        (_Line(r"MATH-500", 20, 100, 80), _Line(r"MATH( \(|$)", 20, 100, 80)),
        (_Line(r"AIME 2024(?! \(non-thinking)", 0, 100, 100, only="reasoning"),),
    ),
    "embedding": (
        (
            _Line(r"MTEB English v2", 47, 77, 100),
            _Line(r"MTEB English average \(v1", 45, 75, 100),
        ),
    ),
    "vision": (
        (_Line(r"LMArena vision", 900, 1300, 100),),
        (_Line(r"MMMU(?!-Pro)", 30, 85, 90), _Line(r"MMMU-Pro", 10, 80, 90)),
        (_Line(r"MathVista", 35, 90, 85),),
    ),
}
# Where a model has neither: answers that people liked, and easy tests, say less of code.
_CODE_ELSE: Sequence[_Part] = (
    (_Line(r"HumanEval\b", 50, 100, 50), _Line(r"HumanEval\+", 50, 100, 50)),
    (_CODE_PREFERENCE,),
)


def compute_quality(scores: Iterable[Score], use_cases: Sequence[UseCase]) -> dict[UseCase, int]:
    """Return the quality per use case; one without a published score is not in it."""
    known = tuple(scores)
    found: dict[UseCase, int] = {}
    for use, parts in _PARTS.items():
        values = _values(parts, known, use_cases)
        if use == "code" and not values:
            values = _values(_CODE_ELSE, known, use_cases)
        if values:
            found[use] = round(sum(values) / len(values))
    return found


def _values(
    parts: Sequence[_Part], scores: Sequence[Score], uses: Sequence[UseCase]
) -> list[float]:
    values = (_value(part, scores, uses) for part in parts)
    return [value for value in values if value is not None]


def _value(part: _Part, scores: Sequence[Score], uses: Sequence[UseCase]) -> float | None:
    for line in part:
        if (line.only and line.only not in uses) or (line.never and line.never in uses):
            continue
        fitting = [s for s in scores if re.match(line.pattern, s.benchmark, re.IGNORECASE)]
        if fitting:
            return line.part(min(fitting, key=_by_thought))
    return None


def _by_thought(score: Score) -> int:
    """Put the score of a model that thinks before one that does not say, and that before one that
    does not think."""
    if "non-thinking" in score.benchmark:
        return 2
    return 0 if "thinking" in score.benchmark else 1
