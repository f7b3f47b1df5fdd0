"""What should be known before the ratios of a match are believed."""

from collections.abc import Iterator

from mlm.bench.match import Match, Play

_EQUAL_SHARE = 0.01  # a token or two around a prompt decide nothing


def remarks(match: Match) -> tuple[str, ...]:
    """Return sentences about what went wrong, or was not equal on both sides."""
    return (
        *(f"{name} is left out: {why}" for name, why in match.skipped.items()),
        *_ends(match),
        *_failures(match),
        *_lengths(match),
    )


def _ends(match: Match) -> Iterator[str]:
    for name, side in match.sides.items():
        if not side.knows_ignore_eos:
            yield f"{name.upper()} does not know ignore_eos: its answers may end early"


def _failures(match: Match) -> Iterator[str]:
    for name in match.sides:
        plays = [
            play for play in match.plays if play.side == name and play.scenario not in match.skipped
        ]
        runs = [run for play in plays for run in play.runs]
        failed = sum(not run.counts for run in runs)
        if failed:
            why = next((play.failure.message for play in plays if play.failure), "")
            yield (
                f"{name.upper()} failed {failed} of {len(runs)} requests; rounds with a failure "
                f"do not count: {why}"
            )


def _lengths(match: Match) -> Iterator[str]:
    """Say where answers or prompts were not equally long, which a ratio of times hides."""
    for scenario in match.scenarios:
        a, b = (
            [play for play in match.of(name) if play.scenario == scenario.name and play.figures]
            for name in match.sides
        )
        for what, of_a, of_b in (
            ("answers", _completion_tokens(a), _completion_tokens(b)),
            ("prompts", _prompt_tokens(a), _prompt_tokens(b)),
        ):
            if of_a and of_b and abs(of_a - of_b) > _EQUAL_SHARE * of_b:
                yield (
                    f"{scenario.name}: {what} were not equally long, {of_a} tokens a round in A "
                    f"and {of_b} in B"
                )


def _completion_tokens(plays: list[Play]) -> int:
    return round(sum(play.completion_tokens for play in plays) / max(1, len(plays)))


def _prompt_tokens(plays: list[Play]) -> int:
    return round(sum(play.prompt_tokens for play in plays) / max(1, len(plays)))
