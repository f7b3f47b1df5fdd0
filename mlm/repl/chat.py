"""One chat: who is asked, what was said, how fast it came."""

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Literal

from mlm.client import Client, ContextLengthError, Delta, Recording
from mlm.errors import MlmError
from mlm.repl.attachment import Attachment, TakesNoPictures, read_attachments
from mlm.repl.context import choose_reserve, plan_context
from mlm.repl.conversation import Conversation, Turn
from mlm.repl.keeper import Keeper
from mlm.repl.measure import measure
from mlm.repl.mention import find_mentions
from mlm.repl.question import Question, about
from mlm.repl.room import choose_summary_tokens, describe_left_out, sum_up, too_long
from mlm.repl.sight import check, show
from mlm.repl.tokens import MOST_PICTURE_TOKENS, TokenCounter, most_tokens
from mlm.sessions.types import Picture
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
    _told_of_sight: tuple[str, str] | None = None  # the model, and what was said of its eyes

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
        try:
            files = read_attachments(name, self.sees)
        except TakesNoPictures as error:
            error.remedy = f"/model NAME asks another one; {error.remedy}"
            raise
        for file in files:
            remarks = [self._cost(file), file.remark]
            self.say(f"{file.name}: {'; '.join(remark for remark in remarks if remark)}")
        return files

    def _cost(self, file: Attachment) -> str:
        """Return what is to be said of the size of a file: tokens, where they are not guessed."""
        if file.picture is None:
            return str(self.tokens.count(self.model, file.fenced))
        size = "" if file.remark else file.picture.size  # which the remark tells
        cost = self.tokens.count_picture(self.model, file.picture)
        return ", ".join(part for part in (size, str(cost) if cost.is_exact else "") if part)

    def sees(self) -> bool:
        """Tell whether the model takes pictures. A server that does not say is sent them."""
        try:
            return self.client.takes_pictures(self.model)
        except MlmError:
            return True

    def shown(self, conversation: Conversation, pictures: Sequence[Picture] = ()) -> Conversation:
        """Return what was said as it goes with a question about ``pictures``: see `show`.

        What became of earlier pictures is said, once.
        """
        if not any(turn.pictures for turn in conversation.turns):
            return conversation
        shown, remark = show(conversation, pictures, sees=self.sees())
        if remark and self._told_of_sight != (self.model, remark):
            self._told_of_sight = (self.model, remark)
            self.say(remark)
        return shown

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
            elif kept := [p for p in draft.pictures if p.name == mention.name]:  # its file is gone
                files += [Attachment(picture.name, "", picture=picture) for picture in kept]
            elif mention.looks_like_one:
                self.say(f"@{mention.name} is no file: it is sent as text")
        return replace(about(typed, files, attached), replaces=draft.replaces)

    def ask(self, question: Question | str) -> Generator[Delta, None, None]:
        """Yield the answer as it comes, and remember the turn.

        What does not fit the model's context any more is left out before, and that is said. An
        answer that fails, or is closed before its end, counts as stopped: what came of it stays.
        Where nothing came, the conversation is as it was before, and what is attached stays so.
        """
        if isinstance(question, str):
            question = Question(question)
        self.unanswered, self.draft = question, None
        if question.pictures:
            check(question.pictures, sees=self.sees())
        before = self.conversation.without_last() if question.replaces else self.conversation
        before = self._make_room(before, question)
        messages = self.shown(before, question.pictures).messages(question.text, question.pictures)
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
        shown = self.shown(before, question.pictures)
        if self._most(before, shown, question) <= room:
            return before
        sizes = measure(self.tokens, self.model, shown, question, enough=room)
        plan = plan_context(sizes.turns, sizes.fixed, room, before.left_out)
        if plan.left_out == before.left_out and plan.fits:
            return before
        is_off = self.when_full == "off"
        has_pictures = question.pictures or any(turn.pictures for turn in shown.sent)
        if has_pictures and not sizes.is_exact:
            if is_off or not describe_left_out(before, plan.left_out):
                return before  # what pictures take was guessed; the server knows, and may refuse
        elif is_off or not plan.fits:
            raise too_long(sizes, plan, limit, is_off=is_off, has_files=bool(self.attached))
        summary = None
        if self.when_full == "summarise":
            budget = choose_summary_tokens(room)
            fixed = sizes.fixed - sizes.summary + budget
            plan = plan_context(sizes.turns, fixed, room, before.left_out)
            summary = self._sum_up(shown, plan.left_out, budget)
        if summary is None:
            gone = describe_left_out(before, plan.left_out)
            self.say(f"No longer sent, to make room: {gone} (/context shows what is, /pin N keeps)")
        summary = summary or before.summary
        self.conversation = self.conversation.leaving_out(plan.left_out, summary)
        return before.leaving_out(plan.left_out, summary)

    def _most(self, before: Conversation, shown: Conversation, question: Question) -> int:
        """Return more tokens than a question can have, with all that goes with it."""
        asked = most_tokens(question.text) + len(question.pictures) * MOST_PICTURE_TOKENS
        if before is self.conversation and self.measured is not None:
            return self.measured + asked
        said = [text for turn in shown.sent for text in (turn.question, turn.answer)]
        n_pictures = sum(len(turn.pictures) for turn in shown.sent)
        texts = sum(map(most_tokens, [*said, shown.system or ""]))
        return asked + texts + n_pictures * MOST_PICTURE_TOKENS

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
            pictures=question.pictures,
        )
        self.conversation = before.with_turn(turn)
        self.unanswered = None
        self.attached = tuple(file for file in self.attached if file not in question.attached)
        usage = recording.finished.usage if recording.finished else None
        if usage:
            tokens = usage.prompt_tokens + usage.completion_tokens
            self._measured = (self.conversation, self.model, tokens)
