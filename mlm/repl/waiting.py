"""Why the first token is not there yet, as far as the server tells."""

from collections.abc import Mapping
from typing import Any

UNKNOWN = "waiting for the first token"


def explain(stats: Mapping[str, Any], model: str) -> str:
    """Return what an ``mlm.stats/1`` document says of a question to ``model``."""
    try:
        resident = next(one for one in stats["resident"] if one["model"] == model)
        if resident["state"] == "starting":
            return f"loading the model, {resident['progress']:.0%}"
        if resident["waiting"] > 0:
            return f"queued: {resident['active']} being answered, {resident['waiting']} waiting"
        return "reading the prompt" if resident["active"] else UNKNOWN
    except (StopIteration, KeyError, TypeError, ValueError):
        return UNKNOWN
