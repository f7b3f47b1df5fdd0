"""What has been said so far. Nothing here changes in place: a failed turn leaves no trace."""

import json
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its answer, which may have been stopped half way."""

    question: str
    answer: str
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Conversation:
    """The turns that the model is reminded of with every question."""

    system: str | None = None
    turns: tuple[Turn, ...] = ()

    def with_turn(self, turn: Turn) -> "Conversation":
        """Return the conversation after ``turn``."""
        return replace(self, turns=(*self.turns, turn))

    def with_system(self, system: str | None) -> "Conversation":
        """Return the same turns under another system prompt; None for no prompt."""
        return replace(self, system=system)

    def cleared(self) -> "Conversation":
        """Return the conversation as it began."""
        return replace(self, turns=())

    def messages(self, question: str | None = None) -> list[dict[str, str]]:
        """Return everything said, and ``question``, as the messages of the chat API."""
        messages = [{"role": "system", "content": self.system}] if self.system else []
        for turn in self.turns:
            messages.append({"role": "user", "content": turn.question})
            messages.append({"role": "assistant", "content": turn.answer})
        if question is not None:
            messages.append({"role": "user", "content": question})
        return messages

    def to_markdown(self, model: str) -> str:
        """Return the conversation as a page to read."""
        parts = [f"# A conversation with {model}"]
        if self.system:
            parts += ["## System", self.system]
        for turn in self.turns:
            answer = turn.answer + (" *(stopped)*" if turn.stopped else "")
            parts += ["## Question", turn.question, "## Answer", answer]
        return "\n\n".join(parts) + "\n"

    def to_json(self, model: str) -> str:
        """Return the conversation as a body that the chat API takes."""
        body = {"model": model, "messages": self.messages()}
        return json.dumps(body, indent=2, ensure_ascii=False) + "\n"
