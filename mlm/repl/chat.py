"""One chat: who is asked, what was said, how fast it came."""

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field

from mlm.client import Client, Delta, Recording
from mlm.repl.conversation import Conversation, Turn


@dataclass
class Chat:
    """The state that commands change and answers grow."""

    client: Client
    model: str
    conversation: Conversation = field(default_factory=Conversation)
    params: Mapping[str, object] = field(default_factory=dict)  # temperature, max_tokens …
    answers: list[Recording] = field(default_factory=list)

    def ask(self, question: str) -> Generator[Delta, None, None]:
        """Yield the answer as it comes, and remember the turn when it is whole.

        An answer that is closed before its end counts as stopped: what was said stays. One that
        fails raises, and the conversation is as it was before.
        """
        messages = self.conversation.messages(question)
        with closing(self.client.chat(messages, model=self.model, **self.params)) as events:
            recording = Recording(events)
            try:
                yield from recording
            except (GeneratorExit, KeyboardInterrupt):
                self._remember(question, recording, stopped=True)
                raise
            self._remember(question, recording)

    def _remember(self, question: str, recording: Recording, *, stopped: bool = False) -> None:
        self.answers.append(recording)
        if recording.text:
            turn = Turn(question, recording.text, stopped)
            self.conversation = self.conversation.with_turn(turn)
