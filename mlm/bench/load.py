"""Closed-loop load: each user asks, waits for the whole answer, and asks the next question."""

import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from statistics import median
from time import perf_counter

from mlm.bench.prompts import DEEP, LONG, Prompt
from mlm.client import Client, ContextLengthError, Recording
from mlm.errors import MlmError

DEEP_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """Every user asks every prompt once per round."""

    users: int = 1
    rounds: int = 3
    max_tokens: int = 64

    def count(self, prompts: Sequence[Prompt]) -> int:
        """Return the number of requests."""
        return self.users * self.rounds * len(prompts)


@dataclass(frozen=True, slots=True)
class Run:
    """One request as the client saw it; what did not happen is None."""

    prompt: str
    user: int
    round: int
    error: str | None = None  # code of the MlmError, None when all went well
    ttft_ms: float | None = None
    itl_ms: tuple[float, ...] = ()
    e2e_ms: float | None = None
    decode_tps: float | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int = 0
    finish_reason: str | None = None
    cache: str | None = None  # what the server's response cache had to do with it

    @property
    def counts(self) -> bool:
        """Whether the model worked for it: neither an error nor a kept answer."""
        return self.error is None and self.cache not in ("hit", "shared")


@dataclass(frozen=True, slots=True)
class Measured:
    """All requests of one load, and the time from the first question to the last answer."""

    runs: tuple[Run, ...]
    wall_s: float


def choose_prompts(
    client: Client, model: str, prompts: Sequence[Prompt]
) -> tuple[list[Prompt], dict[str, str]]:
    """Warm the model up with each prompt; return those that fit, and why the others do not.

    Raises:
        ContextLengthError: the model's context is too small for every prompt.
    """
    fitting: list[Prompt] = []
    too_long: dict[str, ContextLengthError] = {}
    for prompt in prompts:
        try:
            _ask(client, model, prompt, max_tokens=1)
            fitting.append(prompt)
        except ContextLengthError as error:
            too_long[prompt.name] = error
    if not fitting:
        raise too_long[prompts[0].name]
    return fitting, {name: error.message for name, error in too_long.items()}


def apply_load(
    client: Client,
    model: str,
    prompts: Sequence[Prompt],
    load: Load,
    on_run: Callable[[Run], None] = lambda run: None,
) -> Measured:
    """Ask as ``load`` says, one thread and connection per user; ``on_run`` gets each result.

    A request that fails is a run with an error; the others go on.
    """
    results: SimpleQueue[Run | BaseException] = SimpleQueue()
    given_up = threading.Event()

    def work(user: int) -> None:
        try:
            with client.another() as own:
                for number in range(load.rounds):
                    for prompt in _rotated(prompts, user):
                        if given_up.is_set():
                            return
                        results.put(_measure(own, model, prompt, user, number, load.max_tokens))
        except BaseException as error:  # a thread has nobody else to tell
            results.put(error)

    started = perf_counter()
    for user in range(load.users):
        # Daemons: after Ctrl-C nobody waits for an answer that may take minutes.
        threading.Thread(target=work, args=(user,), daemon=True).start()
    runs: list[Run] = []
    try:
        while len(runs) < load.count(prompts):
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            runs.append(result)
            on_run(result)
    finally:
        given_up.set()
    return Measured(tuple(runs), perf_counter() - started)


def _rotated(prompts: Sequence[Prompt], user: int) -> list[Prompt]:
    """Return the prompts in another order for each user, so that lengths meet as in real life."""
    start = user % len(prompts)
    return [*prompts[start:], *prompts[:start]]


def _measure(
    client: Client, model: str, prompt: Prompt, user: int, number: int, max_tokens: int
) -> Run:
    try:
        answer = _ask(client, model, prompt, max_tokens)
    except MlmError as error:
        return Run(prompt.name, user, number, error=error.code)
    return describe_run(prompt.name, user, number, answer)


def ask_deep(client: Client, model: str, measured: Measured, max_tokens: int) -> bool:
    """Ask behind a text three times as long as the longest prompt; return whether that was done.

    It counts for nothing here: an mlm server compares its own speed with what was predicted, and
    learns what a long context costs. Not done with other servers, where there is no room, where it
    fails, or where it would take longer than `DEEP_LIMIT_S`, judged by the long prompt.
    """
    told = [run for run in measured.runs if run.cache is not None]  # which only mlm tells
    waits = [run.ttft_ms for run in told if run.prompt == LONG.name and run.ttft_ms]
    if not waits or 3 * median(waits) > DEEP_LIMIT_S * 1000:
        return False
    with suppress(MlmError):
        _ask(client, model, DEEP, max_tokens)
        return True
    return False


def describe_run(prompt: str, user: int, number: int, answer: Recording) -> Run:
    """Return what an answer, as far as it came, says about a request."""
    finished = answer.finished
    usage = finished.usage if finished else None
    return Run(
        prompt,
        user,
        number,
        ttft_ms=_to_ms(answer.ttft_s),
        itl_ms=tuple(gap * 1000 for gap in answer.itl_s),
        e2e_ms=_to_ms(answer.e2e_s),
        decode_tps=answer.decode_tps,
        prompt_tokens=usage.prompt_tokens if usage else None,
        cached_tokens=usage.cached_tokens if usage else None,
        completion_tokens=answer.completion_tokens,
        finish_reason=finished.reason if finished else None,
        cache=finished.cache if finished else None,
    )


def _ask(client: Client, model: str, prompt: Prompt, max_tokens: int) -> Recording:
    """Ask once, in a way that no cache can answer and no early end of text can shorten."""
    question = prompt.tagged(secrets.token_hex(4))
    events = client.chat(
        [{"role": "user", "content": question}],
        model=model,
        max_tokens=max_tokens,
        temperature=0,
        ignore_eos=True,
        cache_prompt=False,
    )
    with closing(events):
        answer = Recording(events)
        answer.wait()
    return answer


def _to_ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
