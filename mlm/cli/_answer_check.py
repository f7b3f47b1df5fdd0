"""Whether an answer is the JSON that was asked for."""

from typing import TYPE_CHECKING, Any

from mlm import strictjson
from mlm.errors import GateFailedError

if TYPE_CHECKING:
    from mlm.client import Recording

_SEE_ANSWER = "ask again, perhaps in other words; --json shows what came"


class AnswerCutOff(GateFailedError):
    """The answer ended before its JSON did."""

    code = "answer_cut_off"


class AnswerInvalid(GateFailedError):
    """The answer is not valid by the schema that was asked for."""

    code = "answer_invalid"


def parse_answer(answer: "Recording", schema: dict[str, Any]) -> Any:
    """Return the value that an answer is the JSON of.

    Raises:
        AnswerCutOff: it ends too early.
        AnswerInvalid: it is not valid by ``schema``.
    """
    from mlm.cli._json_check import find_fault

    if answer.finished is None or answer.finished.reason == "length":
        raise AnswerCutOff(
            f"the answer was cut off after {answer.completion_tokens} tokens, within its JSON",
            remedy="allow more with --max-tokens or --ctx; --json shows what came",
        )
    try:
        value = strictjson.load(answer.text)
    except ValueError as error:
        raise AnswerInvalid(f"the answer {error}", remedy=_SEE_ANSWER) from error
    if fault := find_fault(value, schema):
        raise AnswerInvalid(f"the answer breaks its schema: {fault}", remedy=_SEE_ANSWER)
    return value
