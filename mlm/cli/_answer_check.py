"""Whether an answer is the JSON that was asked for."""

import json
from typing import TYPE_CHECKING, Any

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
        value = json.loads(answer.text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise AnswerInvalid(f"the answer is not JSON: {error}", remedy=_SEE_ANSWER) from error
    if fault := find_fault(value, schema):
        raise AnswerInvalid(f"the answer breaks its schema: {fault}", remedy=_SEE_ANSWER)
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
