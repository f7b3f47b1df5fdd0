"""One of two servers that are compared, and the stage on which it plays a scenario once."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Literal

from mlm.bench.load import Run, describe_run
from mlm.bench.texts import Texts
from mlm.bench.wave import Wave
from mlm.client import Client, Recording, Tape
from mlm.errors import EngineError, MlmError, UsageError

Name = Literal["a", "b"]
Messages = Sequence[Mapping[str, str]]
_SETTLING_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Side:
    """A server and how it is asked. Not every server knows how to go on beyond the end of a text.

    Everything else is OpenAI's API.
    """

    name: Name
    client: Client
    model: str
    knows_ignore_eos: bool = True

    @classmethod
    def open(cls, name: Name, client: Client, model: str) -> "Side":
        """Let a server load its model, and find out what it knows.

        Raises:
            MlmError: it does not answer one short question.
        """
        side = cls(name, client, model)
        try:
            side.count_prompt_tokens("Hello")
        except UsageError:
            side = cls(name, client, model, knows_ignore_eos=False)
            side.count_prompt_tokens("Hello")
        return side

    def tape(self, messages: Messages, max_tokens: int) -> Tape:
        """Prepare a question, to be asked greedily."""
        return self.client.tape_chat(messages, model=self.model, **self._params(max_tokens))

    def count_prompt_tokens(self, text: str) -> int | None:
        """Ask for one token; return the length of the prompt, None if the server does not say."""
        events = self.client.chat(user(text), model=self.model, **self._params(1))
        with closing(events):
            answer = Recording(events)
            answer.wait()
        usage = answer.finished.usage if answer.finished else None
        return usage.prompt_tokens if usage else None

    def _params(self, max_tokens: int) -> dict[str, object]:
        return {
            "max_tokens": max_tokens,
            "temperature": 0,
            "ignore_eos": True if self.knows_ignore_eos else None,
        }


@dataclass(slots=True)
class Stage:
    """One side in one round of one scenario: it asks, and keeps every run."""

    side: Side
    texts: Texts
    scenario: str
    round: int
    runs: list[Run] = field(default_factory=list)
    cpu_s: float = 0.0  # that asking took
    failure: MlmError | None = None  # the first one

    def text(self, n_tokens: int, *key: object) -> str:
        """Return a text that this round has for both sides, and no other round for any."""
        return self.texts.text(n_tokens, self.scenario, self.round, *key)

    def question(self, n_tokens: int, *key: object) -> Messages:
        """Return the same as a question whose prompt is about ``n_tokens`` long."""
        return user(self.texts.question(n_tokens, self.scenario, self.round, *key))

    def ask(self, part: str, questions: Sequence[Messages], max_tokens: int) -> "Answers":
        """Ask all questions at once and return the answers when the last one is over.

        Raises:
            MlmError: one of them failed; the others are counted all the same.
        """
        tapes = [self.side.tape(question, max_tokens) for question in questions]
        with self.wave() as wave:
            wave.ask(tapes)
            wave.take_in()
        return Answers(self.keep(part, tapes), wave.wall_s)

    @contextmanager
    def wave(self) -> Iterator[Wave]:
        """Yield a wave, and count what it costs; `keep` its tapes afterwards."""
        with Wave() as wave:
            yield wave
        self.cpu_s += wave.cpu_s

    def keep(self, part: str, tapes: Sequence[Tape]) -> tuple[Recording, ...]:
        """Read the tapes of a wave that is over, and count them; see `ask`."""
        recordings = [self._play(part, number, tape) for number, tape in enumerate(tapes)]
        if self.failure is not None:
            raise self.failure
        return tuple(recordings)

    def settle(self) -> None:
        """Wait until the server has noticed who hung up: it computes a few tokens for nobody."""
        with Wave() as wave:
            wave.ask([self.side.tape(self.question(8, "settle"), _SETTLING_TOKENS)])
            wave.take_in()

    def _play(self, part: str, number: int, tape: Tape) -> Recording:
        recording = tape.play()
        error: MlmError | None = None
        try:
            recording.wait()
        except MlmError as caught:
            error = caught
        run = describe_run(part, number, self.round, recording)
        if error is None and not run.counts:
            error = EngineError(
                f"a cache answered at {self.side.client.base_url}, not the model",
                remedy="serve the model with --response-cache off",
            )
        self.runs.append(run if error is None else Run(part, number, self.round, error=error.code))
        self.failure = self.failure or error
        return recording


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of one wave, and how long all of them took."""

    recordings: tuple[Recording, ...]
    wall_s: float

    @property
    def tokens(self) -> int:
        """Tokens of all answers."""
        return sum(recording.completion_tokens for recording in self.recordings)


def user(text: str) -> Messages:
    """Return a conversation that begins with ``text``."""
    return [{"role": "user", "content": text}]
