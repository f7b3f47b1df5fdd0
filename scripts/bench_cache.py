"""What the response cache is worth, as ratios within one run.

    python scripts/bench_cache.py [MODEL.gguf] [--tokens 64] [--rounds 5] [--repeats 101]

Method: a real `mlm serve` in a house of its own, the demo model unless another is named; one client
process on loopback. Each round asks a question that is new (temperature 0, so many tokens), then
the same again and again: in one piece and as a stream in turns, on a connection that is kept open,
timed at the client from sending to the last byte. Then ten clients ask another new question at
once, and one client a third one alone, before or after them in turns. Ratios are taken round by
round, of all figures the median counts, and the first round is dropped. Every answer is checked to
be the first one's text, and by `X-Mlm-Cache` to have come from where it should. With the demo model
a generation is short, so its ratios say little; a hit takes the same for every model. The last line
is JSON.
"""

import argparse
import http.client
import json
import os
import platform
import statistics
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench_demo import MODEL, served

from mlm.bench.prompts import STANDARD_PROMPTS

CLIENTS, SLOTS = 10, 4


@dataclass(frozen=True)
class Answer:
    """What came back, and how long it took."""

    seconds: float
    cache: str
    text: str


class Client:
    """One connection that is kept open."""

    def __init__(self, url: str, model: str, n_tokens: int) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=600)
        self._connection.connect()
        self._model, self._n_tokens = model, n_tokens

    def ask(self, question: str, *, stream: bool) -> Answer:
        """Ask, and read to the end."""
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
            "max_tokens": self._n_tokens,
            "ignore_eos": True,
            "stream": stream,
        }
        content = json.dumps(body).encode()
        started = time.perf_counter()
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", "/v1/chat/completions", content, headers)
        response = self._connection.getresponse()
        received = response.read()
        seconds = time.perf_counter() - started
        if response.status != 200:
            raise SystemExit(f"{response.status}: {received.decode()}")
        return Answer(seconds, response.headers["X-Mlm-Cache"], _text(received, stream))


def _text(received: bytes, stream: bool) -> str:
    if not stream:
        return str(json.loads(received)["choices"][0]["message"]["content"])
    data = [line[6:] for line in received.decode().splitlines() if line.startswith("data: {")]
    choices = [choice for chunk in map(json.loads, data) for choice in chunk["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def ask_together(clients: list[Client], question: str) -> tuple[float, list[Answer]]:
    """Return the seconds until the last of all clients has its answer, and the answers."""
    answers: list[Answer | None] = [None] * len(clients)
    ready = threading.Barrier(len(clients) + 1)

    def ask(i: int) -> None:
        ready.wait()
        answers[i] = clients[i].ask(question, stream=i % 2 == 0)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(clients))]
    for thread in threads:
        thread.start()
    ready.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started, [answer for answer in answers if answer is not None]


def play(clients: list[Client], number: int, repeats: int) -> dict[str, float]:
    """Return the figures of one round, in milliseconds and ratios."""
    client = clients[0]
    question, crowded, alone = (
        STANDARD_PROMPTS[0].tagged(f"{kind} {number}") for kind in ("again", "crowd", "alone")
    )
    first = client.ask(question, stream=False)
    hits: dict[bool, list[float]] = {False: [], True: []}
    for i in range(repeats):
        answer = client.ask(question, stream=i % 2 == 1)
        check(answer, first, {"hit", "shared"} if i == 0 else {"hit"})
        hits[i % 2 == 1].append(answer.seconds * 1000)
    crowd_first = number % 2 == 0
    if not crowd_first:
        one = client.ask(alone, stream=True)
    together_s, answers = ask_together(clients, crowded)
    if crowd_first:
        one = client.ask(alone, stream=True)
    for answer in answers:
        check(answer, answers[0], {"miss", "shared", "hit"})
    if [answer.cache for answer in answers].count("miss") != 1:
        raise SystemExit("more than one of the clients had its answer generated")
    whole, stream = (statistics.median(hits[kind]) for kind in (False, True))
    return {
        "first_ms": first.seconds * 1000,
        "hit_ms": whole,
        "hit_stream_ms": stream,
        "first_to_hit": first.seconds * 1000 / whole,
        "first_to_hit_stream": first.seconds * 1000 / stream,
        "one_ms": one.seconds * 1000,
        "ten_ms": together_s * 1000,
        "ten_to_one": together_s / one.seconds,
    }


def check(answer: Answer, first: Answer, expected: set[str]) -> None:
    """End the run when an answer is not what it should be."""
    if answer.text != first.text or answer.cache not in expected:
        raise SystemExit(f"not {expected} with the first one's text: {answer} {first}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default=MODEL)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=101)
    asked = parser.parse_args()
    with served(asked.model, slots=SLOTS) as (url, model):
        clients = [Client(url, model, asked.tokens) for _ in range(CLIENTS)]
        rounds = [play(clients, n, asked.repeats) for n in range(asked.rounds + 1)][1:]
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{Path(asked.model).name}, {asked.tokens} tokens; {asked.rounds} rounds, first dropped")
    found = {}
    for name in rounds[0]:
        values = [figures[name] for figures in rounds]
        found[name] = round(statistics.median(values), 2)
        print(f"{name:<20}{found[name]:>10.2f}  ({min(values):.2f}-{max(values):.2f})")
    print(f"\n{json.dumps({'model': Path(asked.model).name, 'tokens': asked.tokens} | found)}")


if __name__ == "__main__":
    main()
