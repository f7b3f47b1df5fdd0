"""One chat: who is asked, what was said, how fast it came."""

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Literal

from mlm.client import Client, ContextLengthError, Delta, Recording
from mlm.errors import MlmError
from mlm.repl.attachment import Attachment, read_attachments
from mlm.repl.context import choose_reserve, plan_context
from mlm.repl.conversation import Conversation, Turn
from mlm.repl.keeper import Keeper
from mlm.repl.measure import measure
from mlm.repl.mention import find_mentions
from mlm.repl.question import Question, fence
from mlm.repl.room import choose_summary_tokens, describe_left_out, sum_up, too_long
from mlm.repl.tokens import TokenCounter, most_tokens
from mlm.terminal import printable

WhenFull = Literal["drop", "summarise", "off"]


@dataclass(frozen=True, slots=True)
class ContextUse:
    """Tokens that the conversation takes, and those that there are; None is unknown."""

    used: int | None
    limit: int | None


def _say_aside(text: str) -> None:
    print(printable(text), file=sys.stderr)


@dataclass
class Chat:
    """The state that commands change and answers grow."""

    client: Client
    model: str
    conversation: Conversation = field(default_factory=Conversation)
    params: Mapping[str, object] = field(default_factory=dict)  # temperature, max_tokens …
    answers: list[Recording] = field(default_factory=list)
    say: Callable[[str], None] = _say_aside  # remarks that belong to no answer
    keeper: Keeper | None = None  # None: nothing is saved, and nothing saved is known
    when_full: WhenFull = "drop"  # what becomes of older turns when the context is full
    reads_files: bool = False  # that a question names with an @: for people, not for programs
    attached: tuple[Attachment, ...] = ()  # these go with the next question
    unanswered: Question | None = None  # the last question, if nothing came of it
    draft: Question | None = None  # the next line is a new version of it
    tokens: TokenCounter = field(init=False)
    _measured: tuple[Conversation, str, int] | None = None  # what the model made of it, in tokens

    def __post_init__(self) -> None:
        self.tokens = TokenCounter(self.client)

    @property
    def context(self) -> ContextUse:
        """How full the model's context is, as far as that is known. Nobody is asked."""
        return ContextUse(self.measured, self.tokens.known_limit(self.model))

    @property
    def measured(self) -> int | None:
        """Tokens of the whole conversation as the last answer counted them; None if it changed."""
        if self._measured is None:
            return None
        conversation, model, tokens = self._measured
        return tokens if conversation is self.conversation and model == self.model else None

    def reserve(self, limit: int, params: Mapping[str, object]) -> int:
        """Return how much of a context is kept for an answer with ``params`` of its own."""
        longest = {**self.params, **params}.get("max_tokens")
        return choose_reserve(limit, longest if isinstance(longest, int) else None)

    def attach(self, name: str) -> list[Attachment]:
        """Read files for a question, say what they cost, and return them.

        Raises:
            NotFoundError, UsageError: see `read_attachments`.
        """
        files = read_attachments(name)
        for file in files:
            cost = self.tokens.count(self.model, file.fenced)
            self.say(f"{file.name}: {cost}" + (f"; {file.remark}" if file.remark else ""))
        return files

    def read_question(self, typed: str) -> Question:
        """Return the question ``typed`` with the files that it names, and those attached before.

        Raises:
            NotFoundError, UsageError: a file cannot be read; see `read_attachments`.
        """
        draft = self.draft or Question("")
        attached = (*draft.attached, *self.attached)
        files = list(attached)
        for mention in find_mentions(typed) if self.reads_files else ():
            if mention.is_file:
                files += [file for file in self.attach(mention.name) if file not in files]
            elif mention.looks_like_one:
                self.say(f"@{mention.name} is no file: it is sent as text")
        if not files:
            return Question(typed, replaces=draft.replaces)
        return Question(fence(typed, files), typed, attached, draft.replaces)

    def ask(self, question: Question | str) -> Generator[Delta, None, None]:
        """Yield the answer as it comes, and remember the turn.

        What does not fit the model's context any more is left out before, and that is said. An
        answer that fails, or is closed before its end, counts as stopped: what came of it stays.
        Where nothing came, the conversation is as it was before, and what is attached stays so.
        """
        if isinstance(question, str):
            question = Question(question)
        self.unanswered, self.draft = question, None
        before = self.conversation.without_last() if question.replaces else self.conversation
        before = self._make_room(before, question)
        messages = before.messages(question.text)
        params = {**self.params, **question.params}
        with closing(self.client.chat(messages, model=self.model, **params)) as events:
            recording = Recording(events)
            try:
                yield from recording
            except (GeneratorExit, KeyboardInterrupt, MlmError) as end:
                if isinstance(end, ContextLengthError) and before.turns:
                    end.remedy = f"/clear forgets what was said, which makes room; or {end.remedy}"
                self.tokens.doubt_limit(self.model)
                self._remember(before, question, recording)
                raise
            self._remember(before, question, recording)

    def keep(self) -> None:
        """Save what has changed, where chats are saved."""
        if self.keeper is not None:
            answer = self.answers[-1] if self.answers else None
            self.keeper.keep(self.conversation, self.model, answer)

    def _make_room(self, before: Conversation, question: Question) -> Conversation:
        """Return ``before`` without the turns that do not fit any more; say which they are.

        Raises:
            ContextLengthError: the question does not fit even so.
        """
        limit = self.tokens.limit(self.model)
        if limit is None:
            return before
        room = limit - self.reserve(limit, question.params)
        if self._most(before, question) <= room:
            return before
        sizes = measure(self.tokens, self.model, before, question.text, enough=room)
        plan = plan_context(sizes.turns, sizes.fixed, room, before.left_out)
        if plan.left_out == before.left_out and plan.fits:
            return before
        if self.when_full == "off" or not plan.fits:
            raise too_long(
                sizes, plan, limit, is_off=self.when_full == "off", has_files=bool(self.attached)
            )
        summary = None
        if self.when_full == "summarise":
            budget = choose_summary_tokens(room)
            fixed = sizes.fixed - sizes.summary + budget
            plan = plan_context(sizes.turns, fixed, room, before.left_out)
            summary = self._sum_up(before, plan.left_out, budget)
        if summary is None:
            gone = describe_left_out(before, plan.left_out)
            self.say(f"No longer sent, to make room: {gone} (/context shows what is, /pin N keeps)")
        summary = summary or before.summary
        self.conversation = self.conversation.leaving_out(plan.left_out, summary)
        return before.leaving_out(plan.left_out, summary)

    def _most(self, before: Conversation, question: Question) -> int:
        """Return more tokens than a question can have, with all that goes with it."""
        if before is self.conversation and self.measured is not None:
            return self.measured + most_tokens(question.text)
        return sum(most_tokens(said["content"]) for said in before.messages(question.text))

    def _sum_up(self, before: Conversation, left_out: int, max_tokens: int) -> str | None:
        """Return the model's summary of the first turns; None if it has none to give."""
        gone = describe_left_out(before, left_out)
        self.say(f"Summing up {gone} to make room; they stay here, /context shows what is sent")
        try:
            return sum_up(self.client, self.model, before, left_out, max_tokens) or None
        except MlmError as error:
            self.say(f"They could not be summed up: {error.message}")
            return None

    def _remember(self, before: Conversation, question: Question, recording: Recording) -> None:
        if recording.finished or recording.arrivals_s:
            self.answers.append(recording)
        if not recording.text:
            return
        turn = Turn(
            question.text,
            recording.text,
            stopped=recording.finished is None,
            pinned=question.replaces and self.conversation.turns[-1].pinned,
            typed=question.typed,
            attached=question.attached,
        )
        self.conversation = before.with_turn(turn)
        self.unanswered = None
        self.attached = tuple(file for file in self.attached if file not in question.attached)
        usage = recording.finished.usage if recording.finished else None
        if usage:
            tokens = usage.prompt_tokens + usage.completion_tokens
            self._measured = (self.conversation, self.model, tokens)
