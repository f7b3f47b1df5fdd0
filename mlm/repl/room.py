"""Making room for a question: what is left out of what was said, and how that is told."""

from collections.abc import Sequence
from contextlib import closing

from mlm.client import Client, ContextLengthError, Recording
from mlm.repl.context import Plan
from mlm.repl.conversation import Conversation
from mlm.repl.measure import Sizes

_SUM_UP = (
    "Sum up our conversation so far for yourself, in at most {words} words: what I want, names,"
    " numbers and decisions, and what is still open. Write nothing else."
)
_MOST_SUMMARY_TOKENS = 512
_WORDS_PER_TOKEN = 0.5


def choose_summary_tokens(room: int) -> int:
    """Return how long a summary may be, of all the ``room`` that there is. In tokens."""
    return min(_MOST_SUMMARY_TOKENS, room // 6)


def sum_up(
    client: Client, model: str, conversation: Conversation, left_out: int, max_tokens: int
) -> str:
    """Return the model's own summary of what it was told before turn ``left_out`` (from 0).

    The request begins like the last question did, so that little of it must be read again.

    Raises:
        MlmError: the server fails.
    """
    turns = conversation.turns[:left_out]
    told = Conversation(conversation.system, turns, conversation.left_out, conversation.summary)
    question = _SUM_UP.format(words=int(max_tokens * _WORDS_PER_TOKEN))
    events = client.chat(
        told.messages(question),
        model=model,
        max_tokens=max_tokens,
        temperature=0,
        chat_template_kwargs={"enable_thinking": False},
    )
    with closing(events):
        recording = Recording(events)
        recording.wait()
    return recording.text.strip()


def describe_left_out(conversation: Conversation, left_out: int) -> str:
    """Return which turns go now that the first ``left_out`` are not sent: ``turns 1 to 3``.

    "": none does that did not before.
    """
    first = conversation.left_out + 1
    numbers = [
        number
        for number, turn in enumerate(conversation.turns[first - 1 : left_out], first)
        if not turn.pinned
    ]
    return name_turns(numbers) if numbers else ""


def name_turns(numbers: Sequence[int]) -> str:
    """Return ``turn 3``, or ``turns 1 to 3``, of the numbers from the first to the last."""
    if len(numbers) == 1:
        return f"turn {numbers[0]}"
    return f"turns {numbers[0]} to {numbers[-1]}"


def too_long(
    sizes: Sizes, plan: Plan, limit: int, *, is_off: bool, has_files: bool
) -> ContextLengthError:
    """Return the error for a question that cannot be sent."""
    about = "" if sizes.is_exact else "about "
    pinned = sum(turn.tokens for turn in sizes.turns if turn.pinned)
    others = [("the system prompt", sizes.system), ("the summary", sizes.summary)]
    others += [("pinned turns", pinned)] if not is_off else []
    needed = plan.tokens
    if is_off:
        needed = sizes.fixed + sum(turn.tokens for turn in sizes.turns)
        others.append(("what was said", needed - sizes.fixed))
    beside = [f"{tokens:,} of {name}" for name, tokens in others if tokens]
    with_others = f", {' and '.join(beside)} included," if beside else ""
    return ContextLengthError(
        f"the question needs {about}{needed:,} tokens{with_others} and {plan.room:,} are available:"
        f" the context of {limit:,} less {limit - plan.room:,} for the answer",
        remedy=_way_out(is_off, bool(pinned), has_files),
    )


def _way_out(is_off: bool, has_pins: bool, has_files: bool) -> str:
    if is_off:
        return "/context drop leaves older turns out; /clear forgets them"
    files = "/attach - takes the files off, or " if has_files else ""
    unpin = "/unpin what is not needed, or " if has_pins else ""
    return (
        f"{unpin}{files}shorten it; /set max_tokens N keeps less for the answer;"
        " `mlm chat REF --ctx N` makes the context larger"
    )
