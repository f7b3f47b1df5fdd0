"""The parameters of a request that a person can set in a chat, by the names of the API."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from mlm.engine.ranges import (
    INTEGERS,
    MAX_STOP_CHARS,
    MAX_STOPS,
    MAX_TOKENS,
    NUMBERS,
    SEED_RANGE,
)
from mlm.errors import UsageError

Kind = Literal["a number", "a whole number", "on or off", "text", "JSON"]


@dataclass(frozen=True, slots=True)
class Param:
    """What values a parameter takes, and what the server does without one."""

    name: str
    kind: Kind
    low: float | None = None
    high: float | None = None
    otherwise: str | None = None  # what it is without one; None: as `SamplingParams` has it
    help: str = ""

    @property
    def default(self) -> str:
        """What the server does without a value, in a word."""
        from mlm.engine.messages import SamplingParams  # not before somebody wants to know

        return self.otherwise or f"{getattr(SamplingParams(), self.name):g}"

    @property
    def values(self) -> str:
        """What can be set, in words."""
        if self.low is None or self.high is None:
            return self.kind
        if self.high >= 2**31 - 1:
            low = "" if self.low < -(2**31) else f", {self.low:g} or more"
            return f"{self.kind}{low}"
        return f"{self.kind} from {self.low:g} to {self.high:g}"


_HELP = {
    "temperature": "0 takes the likeliest token; more varies more",
    "top_p": "the likeliest tokens of this probability together",
    "top_k": "so many of the likeliest tokens; 0: all",
    "min_p": "tokens at least this likely, beside the likeliest",
    "repeat_penalty": "over 1: what was said just now is less likely",
    "max_tokens": "longest answer",
    "seed": "same seed, same answer",
    "stop": 'ends the answer; several: ["a", "b"]',
}


def _known() -> dict[str, Param]:
    numbers = [
        Param(name, kind, low, high, help=_HELP.get(name, ""))
        for kind, ranges in _RANGES
        for name, (low, high) in ranges.items()
    ]
    rest = [
        Param("max_tokens", "a whole number", 1, MAX_TOKENS, "no limit", _HELP["max_tokens"]),
        Param("seed", "a whole number", *SEED_RANGE, "random", _HELP["seed"]),
        Param("stop", "text", otherwise="none", help=_HELP["stop"]),
        Param(
            "deterministic", "on or off", otherwise="off", help="same text beside other requests"
        ),
        Param("ignore_eos", "on or off", otherwise="off", help="goes on where the model would end"),
        Param("cache_prompt", "on or off", otherwise="on", help="reuses what was computed before"),
        Param("chat_template_kwargs", "JSON", otherwise="none", help='{"enable_thinking": false}'),
    ]
    found = {param.name: param for param in [*numbers, *rest]}
    return {name: found[name] for name in [*_HELP, *(n for n in found if n not in _HELP)]}


_RANGES: tuple[tuple[Kind, Mapping[str, tuple[float, float]]], ...] = (
    ("a number", NUMBERS),
    ("a whole number", INTEGERS),
)
PARAMS = _known()
COMMON = tuple(_HELP)


def find_param(name: str) -> Param:
    """Return the parameter called ``name``.

    Raises:
        UsageError: there is none; the nearest is named.
    """
    if name in PARAMS:
        return PARAMS[name]
    near = get_close_matches(name, PARAMS, n=1, cutoff=0.5)
    raise UsageError(
        f"there is no parameter '{name}'", remedy=f"/set {near[0]}" if near else "/set lists them"
    )


def parse_param(param: Param, text: str) -> object:
    """Return the value that ``text`` means for ``param``.

    Raises:
        UsageError: it is not such a value, or out of range.
    """
    value = _PARSERS[param.kind](text)
    if value is None or (param.name == "stop" and not _is_stop(value)):
        raise _wrong(param, text)
    if param.low is not None and param.high is not None:
        assert isinstance(value, int | float)
        if not param.low <= value <= param.high:
            raise _wrong(param, text)
    return value


def _wrong(param: Param, text: str) -> UsageError:
    wanted = "a text, or a JSON list of texts" if param.name == "stop" else param.values
    example = param.default if param.kind in ("a number", "a whole number") else "VALUE"
    example = example if example[:1].isdigit() else "VALUE"
    return UsageError(
        f"{param.name} must be {wanted}, not '{text[:60]}'",
        remedy=f"/set {param.name} {example}; /set {param.name} - goes back to the default",
    )


def _number(text: str) -> float | None:
    try:
        value = float(text.replace(",", ".", 1))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _whole_number(text: str) -> int | None:
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 20 else None


def _on_or_off(text: str) -> bool | None:
    return {"on": True, "true": True, "off": False, "false": False}.get(text.lower())


def _text(text: str) -> object:
    """Return a text as it is, or what a JSON string or list holds: for line breaks, or several."""
    if text[:1] in ("[", '"'):
        return _json(text)
    return text


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _mapping(text: str) -> object:
    value = _json(text)
    return value if isinstance(value, dict) else None


def _is_stop(value: object) -> bool:
    texts = value if isinstance(value, list) else [value]
    return 0 < len(texts) <= MAX_STOPS and all(
        isinstance(text, str) and 0 < len(text) <= MAX_STOP_CHARS for text in texts
    )


_PARSERS = {
    "a number": _number,
    "a whole number": _whole_number,
    "on or off": _on_or_off,
    "text": _text,
    "JSON": _mapping,
}
