"""How fast the answers came, in a line or a small table."""

from collections.abc import Sequence
from statistics import median

from mlm.client import Recording


def status_line(answer: Recording) -> str:
    """Return one answer's figures: ``42 tokens · 23.1 tok/s · first after 0.21 s · 80 cached``."""
    usage = answer.finished.usage if answer.finished else None
    parts = [f"{answer.completion_tokens} tokens"]
    if answer.decode_tps is not None:
        parts.append(f"{answer.decode_tps:.1f} tok/s")
    if answer.ttft_s is not None:
        parts.append(f"first after {answer.ttft_s:.2f} s")
    if usage and usage.cached_tokens:
        parts.append(f"{usage.cached_tokens} of {usage.prompt_tokens} prompt tokens cached")
    return " · ".join([*parts, *_oddities(answer)])


def remarkable(answer: Recording) -> str:
    """Return what is out of the ordinary with an answer; nothing of most."""
    return " · ".join(_oddities(answer))


def _oddities(answer: Recording) -> list[str]:
    if answer.finished is None:
        return ["stopped"]
    found = []
    if answer.finished.cache == "hit":
        found.append("from the response cache")
    if answer.finished.reason == "length":
        found.append("cut off: no more tokens allowed")
    if not answer.text:
        found.append("the model said nothing")
    return found


def summarise(model: str, answers: Sequence[Recording]) -> str:
    """Return the figures of a whole chat as lines."""
    usages = [answer.finished.usage for answer in answers if answer.finished]
    known = [usage for usage in usages if usage]
    speeds = [answer.decode_tps for answer in answers if answer.decode_tps is not None]
    waits = [answer.ttft_s for answer in answers if answer.ttft_s is not None]
    rows = [("model", model), ("answers", str(len(answers)))]
    if known:
        prompt = sum(usage.prompt_tokens for usage in known)
        cached = sum(usage.cached_tokens for usage in known)
        rows.append(("prompt tokens", f"{prompt}, {cached} of them cached"))
        in_use = known[-1].prompt_tokens + known[-1].completion_tokens
        rows.append(("context in use", f"{in_use} tokens"))
    if answers:
        tokens = sum(answer.completion_tokens for answer in answers)
        rows.append(("answer tokens", str(tokens)))
    if speeds:
        rows.append(("speed", f"{median(speeds):.1f} tok/s (median)"))
    if waits:
        rows.append(("first token", f"{median(waits):.2f} s (median)"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
