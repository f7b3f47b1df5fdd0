"""Two servers take turns in every scenario: A B, B A, A B … so that drift hits both alike."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from time import perf_counter

from mlm.bench.load import Measured, Run
from mlm.bench.ratios import Ratio, divide
from mlm.bench.scenarios import Figure, Scenario
from mlm.bench.side import Name, Side, Stage
from mlm.bench.texts import Texts
from mlm.errors import MlmError, UsageError

DROPPED = 1  # rounds at the beginning: caches, clocks and page tables warm up


@dataclass(frozen=True, slots=True)
class Play:
    """One round of a scenario at one side. If it failed, it has no figures."""

    scenario: str
    side: Name
    round: int
    figures: Mapping[str, float]
    runs: tuple[Run, ...]
    wall_s: float
    cpu_s: float  # of asking
    failure: MlmError | None

    @property
    def counts(self) -> bool:
        """Whether it is not one of the first rounds."""
        return self.round >= DROPPED

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompts whose answers came to their end, as far as the server says."""
        return sum(run.prompt_tokens or 0 for run in self.runs if run.finish_reason)

    @property
    def completion_tokens(self) -> int:
        """Tokens of the answers that came to their end."""
        return sum(run.completion_tokens for run in self.runs if run.finish_reason)


@dataclass(frozen=True, slots=True)
class Match:
    """All that two sides have shown."""

    sides: Mapping[Name, Side]
    scenarios: tuple[Scenario, ...]
    rounds: int  # that count
    plays: tuple[Play, ...]

    @property
    def ratios(self) -> tuple[Ratio, ...]:
        """Every figure that both sides have in a round, in the order of the scenarios."""
        return tuple(
            divide(scenario.name, figure.name, figure.is_better_higher, pairs)
            for scenario in self.scenarios
            for figure in scenario.figures
            if (pairs := [*self._pairs(scenario, figure)])
        )

    @property
    def skipped(self) -> dict[str, str]:
        """Scenarios that were left out because a server refuses their requests, and why."""
        return {
            play.scenario: play.failure.message
            for play in self.plays
            if not play.counts and isinstance(play.failure, UsageError)
        }

    @property
    def failure(self) -> MlmError | None:
        """What kept a scenario from being compared; a refusal only if none was compared."""
        compared = {ratio.scenario for ratio in self.ratios}
        for play in self.plays:
            if play.failure is None or play.scenario in compared:
                continue
            if not (compared and play.scenario in self.skipped):
                return play.failure
        return None

    def of(self, name: Name) -> tuple[Play, ...]:
        """Return the plays of one side that count."""
        return tuple(play for play in self.plays if play.side == name and play.counts)

    def measured(self, name: Name) -> Measured:
        """Return the requests of one side in the rounds that count."""
        plays = self.of(name)
        return Measured(
            tuple(run for play in plays for run in play.runs), sum(play.wall_s for play in plays)
        )

    def cpu_us_per_token(self, name: Name) -> float | None:
        """Return the microseconds of CPU that asking took for each token of an answer."""
        plays = self.of(name)
        tokens = sum(run.completion_tokens for play in plays for run in play.runs)
        return sum(play.cpu_s for play in plays) / tokens * 1e6 if tokens else None

    def _pairs(self, scenario: Scenario, figure: Figure) -> Iterator[tuple[float, float]]:
        """Yield a figure of A and B for each round in which both have it."""
        by_side = [
            {
                play.round: play.figures[figure.name]
                for play in self.of(name)
                if play.scenario == scenario.name and play.figures.get(figure.name, 0.0) > 0
            }
            for name in self.sides
        ]
        for number in sorted(by_side[0].keys() & by_side[1].keys()):
            yield by_side[0][number], by_side[1][number]


def play_match(
    sides: Mapping[Name, Side],
    scenarios: tuple[Scenario, ...],
    texts: Texts,
    rounds: int,
    on_play: Callable[[str], None] = lambda scenario: None,
) -> Match:
    """Let both sides play ``rounds`` rounds of each scenario, and `DROPPED` before them.

    ``on_play`` hears the scenario's name before each play. A scenario in whose first round a side
    answered nothing, or refused, is given up.
    """
    plays: list[Play] = []
    texts_of = {"a": texts, "b": texts}
    if sides["a"].client.base_url == sides["b"].client.base_url:
        # A server that plays against itself would have kept what it was asked as A.
        texts_of["b"] = replace(texts, tag=f"{texts.tag}/b")
    for scenario in scenarios:
        for number in range(rounds + DROPPED):
            for name in ("a", "b") if number % 2 == 0 else ("b", "a"):
                on_play(scenario.name)
                plays.append(
                    _play(scenario, Stage(sides[name], texts_of[name], scenario.name, number))
                )
            if number == 0 and any(map(_is_hopeless, plays[-2:])):
                break
    return Match(sides, scenarios, rounds, tuple(plays))


def _play(scenario: Scenario, stage: Stage) -> Play:
    figures: Mapping[str, float] = {}
    failure: MlmError | None = None
    started = perf_counter()
    try:
        figures = scenario.measure(stage)
    except MlmError as error:
        failure = error
    wall_s = perf_counter() - started
    return Play(
        scenario.name,
        stage.side.name,
        stage.round,
        figures,
        tuple(stage.runs),
        wall_s,
        stage.cpu_s,
        failure,
    )


def _is_hopeless(play: Play) -> bool:
    return isinstance(play.failure, UsageError) or not any(run.counts for run in play.runs)
