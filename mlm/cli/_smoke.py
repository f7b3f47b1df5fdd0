"""Asks a model something, as `mlm run` would, to see that this machine can really run it."""

from contextlib import closing
from typing import TYPE_CHECKING, Any

from mlm.errors import GateFailedError

if TYPE_CHECKING:
    from mlm.cli._session import Session
    from mlm.manifest.types import WantedModel

_SHOWN = 200  # characters of an answer in an error


class WrongAnswer(GateFailedError):
    """A model runs, but does not say what its manifest expects."""

    code = "wrong_answer"

    def __init__(self, name: str, answer: str, expected: str | None, *, cut: bool) -> None:
        said = f"'{answer[:_SHOWN]}'" if answer else "nothing"
        missing = f", which lacks '{expected}'" if expected and answer else ""
        remedy = f"see for yourself: mlm chat {name}; or expect something else in mlm.yaml"
        if cut:
            said += " before it is cut off"
            remedy = "allow it more tokens: smoke.max_tokens in mlm.yaml"
        super().__init__(f"{name} answers {said}{missing}", remedy=remedy)


def ask_model(run: "Session", wanted: "WantedModel") -> dict[str, Any]:
    """Return what the model said to its smoke prompt; an encoder has only to load.

    Raises:
        WrongAnswer: it is not what is expected, or nothing.
        MlmError: whatever keeps the model from being run.
    """
    from mlm.cli._serving import connect
    from mlm.client import Recording
    from mlm.planning.config_file import config_path, read_config

    smoke = wanted.smoke
    with connect(run, wanted.name) as (client, model):
        if read_config(config_path(run.settings.home.config, wanted.name)).embedding:
            return {"prompt": None, "answer": None, "completion_tokens": None, "decode_tps": None}
        messages = [{"role": "user", "content": smoke.prompt}]
        params = {"max_tokens": smoke.max_tokens, "temperature": 0}
        with closing(client.chat(messages, model=model, **params)) as events:
            answer = Recording(events)
            answer.wait()
    is_expected = (smoke.expect or "").casefold() in answer.text.casefold()
    if not is_expected or not (answer.text.strip() or answer.completion_tokens):
        cut = answer.finished is not None and answer.finished.reason == "length"
        raise WrongAnswer(wanted.name, answer.text.strip(), smoke.expect, cut=cut)
    return {
        "prompt": smoke.prompt,
        "answer": answer.text,
        "completion_tokens": answer.completion_tokens,
        "decode_tps": answer.decode_tps,
    }
