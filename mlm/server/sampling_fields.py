"""The fields of a request that say how tokens are chosen: OpenAI's, and llama.cpp's beside them."""

from typing import Any

from mlm.engine.messages import SamplingParams
from mlm.engine.ranges import INTEGERS, MAX_STOP_CHARS, MAX_STOPS, NUMBERS, SEED_RANGE
from mlm.engine.sampling import check_breakers
from mlm.server.errors import invalid
from mlm.server.fields import Fields, wrong_type

MAX_BIASES, MAX_BIAS = 1024, 100.0
MAX_GRAMMAR_CHARS = 64 * 1024

_SEEDS = 2**32 - 1  # llama.cpp reads a seed of 2**32 - 1 as "different every time"


def read_sampling(fields: Fields) -> SamplingParams:
    """Return how the next token is to be chosen."""
    given: dict[str, Any] = {
        **{name: fields.number(name, *bounds) for name, bounds in NUMBERS.items()},
        **{name: fields.integer(name, *bounds) for name, bounds in INTEGERS.items()},
        "grammar": fields.text("grammar", MAX_GRAMMAR_CHARS) or None,
        "seed": _read_seed(fields),
        "logit_bias": _read_logit_bias(fields.any("logit_bias")),
        "ignore_eos": fields.flag("ignore_eos"),
        "dry_sequence_breakers": _read_breakers(fields.any("dry_sequence_breakers")),
    }
    return SamplingParams(**{name: value for name, value in given.items() if value is not None})


def _read_seed(fields: Fields) -> int | None:
    """Return the seed folded into llama.cpp's 32 bits; -1 means there as here "any"."""
    seed = fields.integer("seed", *SEED_RANGE)
    return None if seed in (None, -1) else seed % _SEEDS


def next_seed(seed: int, number: int) -> int:
    """Return the seed that is ``number`` further on."""
    return (seed + number) % _SEEDS


def _read_logit_bias(given: object) -> dict[int, float] | None:
    """Return the biases by token, from OpenAI's object or from llama.cpp's list of pairs."""
    if given is None:
        return None
    pairs = list(given.items()) if isinstance(given, dict) else given
    if not isinstance(pairs, list) or any(
        not isinstance(pair, list | tuple) or len(pair) != 2 for pair in pairs
    ):
        raise wrong_type("logit_bias", "an object, or a list of pairs")
    if len(pairs) > MAX_BIASES:
        raise invalid(f"'logit_bias' names more than {MAX_BIASES} tokens", "logit_bias")
    return {_read_token(token): _read_bias(bias) for token, bias in pairs}


def _read_token(token: object) -> int:
    number = str(token)
    if isinstance(token, bool) or not (number.isascii() and number.isdigit() and len(number) <= 9):
        raise invalid(f"'logit_bias': '{number[:20]}' is not the number of a token", "logit_bias")
    return int(number)


def _read_bias(bias: object) -> float:
    if bias is False:  # llama.cpp's word for a ban
        return -MAX_BIAS
    if isinstance(bias, bool) or not isinstance(bias, int | float) or abs(bias) > MAX_BIAS:
        raise invalid("'logit_bias': a bias must be from -100 to 100, or false", "logit_bias")
    return float(bias)


def _read_breakers(given: object) -> tuple[str, ...] | None:
    name = "dry_sequence_breakers"
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
        raise wrong_type(name, "a list of strings")
    try:
        check_breakers(given)
    except ValueError as error:
        raise invalid(f"'{name}': {error}", name) from None
    return tuple(given)


def read_stop(fields: Fields) -> list[str]:
    """Return the strings before which the answer ends."""
    stop = fields.any("stop")
    stops = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(text, str) for text in stops):
        raise wrong_type("stop", "a string or a list of strings")
    if len(stops) > MAX_STOPS:
        raise invalid(f"'stop' holds more than {MAX_STOPS} strings", "stop")
    if not all(0 < len(text) <= MAX_STOP_CHARS for text in stops):
        raise invalid(f"'stop': a string must have 1 to {MAX_STOP_CHARS} characters", "stop")
    return stops
