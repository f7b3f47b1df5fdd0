"""What two servers are made to do: each scenario is one small function that plays one round.

A scenario gets a `Stage` and returns its figures. Both sides get the same texts in a round, and no
text comes twice to a server unless that is the point.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mlm.bench.side import Answers, Stage
from mlm.client import Recording
from mlm.errors import EngineError, UsageError
from mlm.stats.summary import percentile

NEW_TOKENS = 48
_QUESTION_TOKENS, _ANSWER_TOKENS = 64, 24  # of a question everywhere; of an answer in a chat
_STREAM_TOKENS = 800  # more than are ever waited for
_EVENTS_BEFORE = 9  # of each stream, before the long prompt comes


@dataclass(frozen=True, slots=True)
class Figure:
    """What a scenario measures; its unit is in its name."""

    name: str
    is_better_higher: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """Something that clients do, and how well a server does at it."""

    name: str
    meaning: str
    figures: tuple[Figure, ...]
    play: Callable[[Stage], Sequence[float]]  # the figures' values; raises MlmError

    def measure(self, stage: Stage) -> dict[str, float]:
        """Play one round; return the figures by name."""
        values = self.play(stage)
        return {figure.name: value for figure, value in zip(self.figures, values, strict=True)}


def distinct(n_clients: int, new_tokens: int = NEW_TOKENS) -> Scenario:
    """Clients at once with different prompts: what the kernels and the batching are worth.

    Fewer than four clients ask several times, so that a round measures more than one answer.
    """

    def play(stage: Stage) -> Sequence[float]:
        waves = [
            stage.ask(
                stage.scenario,
                [stage.question(_QUESTION_TOKENS, wave, client) for client in range(n_clients)],
                new_tokens,
            )
            for wave in range(max(1, 4 // n_clients))
        ]
        seconds = sum(wave.wall_s for wave in waves)
        return [sum(wave.tokens for wave in waves) / seconds]

    each = f"{_QUESTION_TOKENS}-token prompts, {new_tokens} new tokens"
    return Scenario(
        f"distinct-{n_clients}",
        f"{n_clients} at once, {each} each, all different"
        if n_clients > 1
        else f"one after the other, {each} each, all different",
        (Figure("total_tps", is_better_higher=True),),
        play,
    )


def shared_prefix(
    n_clients: int = 8, n_tokens: int = 850, new_tokens: int = NEW_TOKENS
) -> Scenario:
    """Clients at once with one new system prompt, then the same clients with new questions."""

    def play(stage: Stage) -> Sequence[float]:
        system = {"role": "system", "content": stage.text(n_tokens, "system")}

        def ask(part: str) -> Answers:
            questions = [[system, *stage.question(24, part, i)] for i in range(n_clients)]
            return stage.ask(f"{stage.scenario}/{part}", questions, new_tokens)

        return [ask("cold").wall_s, ask("warm").wall_s]

    return Scenario(
        "shared-prefix",
        f"{n_clients} at once with the same new {n_tokens}-token system prompt (cold), then again "
        f"with other questions (warm), {new_tokens} new tokens each: until the last answer",
        (Figure("cold_s"), Figure("warm_s")),
        play,
    )


def long_prompt(n_streams: int = 4, n_tokens: int = 2000) -> Scenario:
    """A long prompt comes while others are being answered: how long they stand still, and it waits.

    Of the streams only the gaps count that touch the time from the long question to its first
    token. They are hung up on when it has been answered.
    """

    def play(stage: Stage) -> Sequence[float]:
        questions = [stage.question(_QUESTION_TOKENS, "stream", i) for i in range(n_streams)]
        streams = [stage.side.tape(question, _STREAM_TOKENS) for question in questions]
        newcomer = stage.side.tape(stage.question(n_tokens, "long"), 8)
        with stage.wave() as wave:
            wave.ask(streams)
            wave.take_in(lambda: all(s.is_over or s.n_events >= _EVENTS_BEFORE for s in streams))
            wave.ask([newcomer])
            wave.take_in(lambda: newcomer.is_over)
        stage.settle()
        heard = stage.keep(f"{stage.scenario}/streams", streams)
        (answer,) = stage.keep(stage.scenario, [newcomer])
        ttft_s = _ttft_s(answer)
        gaps = gaps_within(heard, newcomer.asked_s, newcomer.asked_s + ttft_s)
        p99_s = percentile(sorted(gaps), 99)
        if p99_s is None:
            raise EngineError("the streams ended before the long prompt came")
        return [p99_s * 1000, ttft_s * 1000]

    return Scenario(
        "long-prompt",
        f"{n_streams} streams are being decoded when a {n_tokens}-token prompt comes: the gaps "
        "between their tokens until it has its first, and how long it waits for that",
        (Figure("itl_p99_ms"), Figure("ttft_ms")),
        play,
    )


def chat(n_turns: int = 10) -> Scenario:
    """One conversation that grows: how soon the last answer begins."""

    def play(stage: Stage) -> Sequence[float]:
        messages: list[dict[str, str]] = []
        for turn in range(n_turns):
            (question,) = stage.question(_QUESTION_TOKENS, turn)
            messages.append(dict(question))
            (answer,) = stage.ask(stage.scenario, [messages], _ANSWER_TOKENS).recordings
            messages.append({"role": "assistant", "content": answer.text})
        return [_ttft_s(answer) * 1000]

    return Scenario(
        "chat",
        f"a chat of {n_turns} turns with {_QUESTION_TOKENS} tokens each and answers of "
        f"{_ANSWER_TOKENS}: the first token of the last answer",
        (Figure("ttft_ms"),),
        play,
    )


def gaps_within(recordings: Sequence[Recording], begin_s: float, end_s: float) -> list[float]:
    """Return the seconds between two pieces of an answer, where they touch a span of time."""
    return [
        later - earlier
        for recording in recordings
        for earlier, later in pairwise(recording.arrivals_s)
        if later > begin_s and earlier < end_s
    ]


def _ttft_s(answer: Recording) -> float:
    if answer.ttft_s is None:
        raise EngineError("an answer ended without a single token")
    return answer.ttft_s


def all_scenarios(new_tokens: int = NEW_TOKENS) -> tuple[Scenario, ...]:
    """Return every scenario. Answers have ``new_tokens``, where their length is not the point."""
    crowds = (distinct(n_clients, new_tokens) for n_clients in (1, 4, 8, 16))
    return (*crowds, shared_prefix(new_tokens=new_tokens), long_prompt(), chat())


def find_scenarios(names: Sequence[str], new_tokens: int = NEW_TOKENS) -> tuple[Scenario, ...]:
    """Return the scenarios of these names, all of them for no name.

    Raises:
        UsageError: there is none of a name.
    """
    known = {scenario.name: scenario for scenario in all_scenarios(new_tokens)}
    if unknown := [name for name in names if name not in known]:
        raise UsageError(
            f"there is no scenario '{unknown[0]}'", remedy=f"take one of {', '.join(known)}"
        )
    return tuple(known[name] for name in dict.fromkeys(names or known))
