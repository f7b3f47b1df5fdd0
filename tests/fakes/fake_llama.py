"""A context that computes nothing but behaves like one: it keeps positions and takes time."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from fakes.fake_memory import FakeMemory

from mlm.engine.computer import NO_ROOM, Part
from mlm.engine.image import Image
from mlm.engine.messages import Failed, Finished, Step
from mlm.engine.request import AnswerText, Request
from mlm.engine.scheduler import Scheduler

Says = str | Sequence[int] | None  # None: what a `Thinker` says
END = 0  # the token that ends an answer
SYSTEM = list(range(1000, 1300))  # tokens of a system prompt
PLENTY = 10_000_000  # bytes to keep prefixes in
PREFILL_S, DECODE_S = 0.005, 0.02  # per token of a prompt; per step that decodes


@dataclass
class Clock:
    """Time that passes only when something takes time."""

    memory: FakeMemory | None = None
    now: float = 100.0

    def __call__(self) -> float:
        return self.now + (self.memory.seconds if self.memory else 0.0)


@dataclass
class FakeLlama:
    """Holds what each sequence has been given, and insists on llama.cpp's rules."""

    n_slots: int = 4
    n_ctx_slot: int = 1000
    n_batch: int = 512
    n_ubatch: int = 256
    attention_tile: int = 64
    kind: str = "parts"  # see `FakeMemory`
    is_unified: bool = False
    clock: Clock = field(default_factory=Clock)
    codes: list[int] = field(default_factory=list)  # what the next decodes return; then 0
    broken_tokens: frozenset[int] = frozenset()  # a batch with one of them fails
    batches: list[list[Part]] = field(default_factory=list)
    ends: dict[int, list[int]] = field(default_factory=dict)  # row -> all tokens up to there

    def __post_init__(self) -> None:
        self.memory = FakeMemory(self.n_slots, self.kind, self.is_unified)
        self.clock.memory = self.memory

    def held(self, seq_id: int) -> list[int]:
        return self.memory.tokens(seq_id)

    def decode(self, parts: Sequence[Part]) -> int:
        assert [p.seq_id for p in parts] == sorted({p.seq_id for p in parts}), "ids must ascend"
        assert 0 < sum(len(p.tokens) for p in parts) <= self.n_batch
        assert all(part.tokens for part in parts)
        self.batches.append(list(parts))
        for part in parts:
            start = part.start + part.image_start
            assert start == len(self.held(part.seq_id)), "positions must follow each other"
            if part.image is not None:
                assert part.image.embeddings is not None and len(parts) == 1
                assert part.image.is_causal or len(part.tokens) == part.image.n_tokens
            else:
                assert min(part.tokens) >= 0, "an image is no text"
        n_prefill = sum(len(p.tokens) for p in parts if len(p.tokens) > 1)
        self.clock.now += DECODE_S + PREFILL_S * n_prefill
        code = self.codes.pop(0) if self.codes else 0
        if any(token in self.broken_tokens for part in parts for token in part.tokens):
            code = -3
        if code < -1:  # what a failed step has computed before it failed stays behind
            for part in parts:
                self.memory.extend(part.seq_id, list(part.tokens[:1]))
        n_new = sum(len(part.tokens) for part in parts)
        if self.is_unified and self.memory.n_cells() + n_new > self.n_slots * self.n_ctx_slot:
            code = NO_ROOM
        if code == 0:
            self._extend(parts)
        return code

    def _extend(self, parts: Sequence[Part]) -> None:
        self.ends, row = {}, -1
        for part in parts:
            row += len(part.tokens)
            self.memory.extend(part.seq_id, list(part.tokens))
            held = self.held(part.seq_id)
            assert len(held) <= self.n_ctx_slot
            if part.wants_logits:
                self.ends[row] = held


class Script:
    """A sampler that says given tokens, then ends the answer."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = list(tokens)
        self.closed = 0

    def sample(self, context: object, row: int) -> int:
        assert not self.closed
        return self._tokens.pop(0) if self._tokens else END

    def close(self) -> None:
        self.closed += 1


class Thinker(Script):
    """A sampler whose token depends on every token before it."""

    def sample(self, context: FakeLlama, row: int) -> int:
        assert not self.closed
        return think(context.ends[row])


def think(tokens: Sequence[int]) -> int:
    """Return what a `Thinker` says after ``tokens``."""
    number = zlib.crc32(repr(list(tokens)).encode())
    return END if number % 40 == 0 else 97 + number % 26


def alone(prompt: Sequence[int], max_new: int) -> str:
    """Return what a `Thinker` answers when it has llama.cpp to itself."""
    tokens, text = list(prompt), ""
    while len(text) < max_new and (token := think(tokens)) != END:
        tokens.append(token)
        text += chr(token)
    return text


def question(number: int, length: int = 12) -> list[int]:
    """Return tokens that no other number's question has."""
    return [5000 + 100 * number + n for n in range(length)]


class Letters:
    """A vocabulary in which token 97 is ``a``; 1000 to 1255 are single bytes."""

    end_tokens = frozenset({END})

    def piece(self, token: int) -> bytes:
        return bytes([token - 1000]) if token >= 1000 else chr(token).encode()


class Office:
    """A scheduler over a `FakeLlama`, and everything it has sent."""

    def __init__(self, llama: FakeLlama | None = None, prefix_cache: int = 0) -> None:
        self.llama = llama or FakeLlama()
        self.sent: list[object] = []
        self.asked: list[Image] = []  # that are to be encoded
        self.scheduler = Scheduler(
            self.llama,
            Letters(),
            self._take,
            self.llama.clock,
            prefix_cache=prefix_cache,
            encode=self.asked.append,
        )
        self.times: dict[int, list[float]] = {}  # when each token was sent
        self.samplers: dict[int, Script] = {}
        self.requests: dict[int, Request] = {}

    def _take(self, message: object) -> None:
        self.sent.append(message)
        for token in message.tokens if isinstance(message, Step) else ():
            self.times.setdefault(token.request_id, []).append(self.llama.clock())

    def submit(
        self, request_id: int, prompt: Sequence[int] | int, says: Says = None, **more: Any
    ) -> Request:
        """Submit a request; ``prompt`` is its tokens, or how many distinct ones.

        ``more``: ``max_new`` tokens, ``stop`` strings, ``tenant``, ``reuse`` of prefixes,
        ``deterministic``, ``images`` by the tokens before them.
        """
        tokens = list(range(10_000, 10_000 + prompt)) if isinstance(prompt, int) else list(prompt)
        spoken = [ord(letter) for letter in says] if isinstance(says, str) else says
        sampler = Thinker([]) if spoken is None else Script(spoken)
        self.samplers[request_id] = sampler
        request = Request(
            request_id,
            tokens,
            min(more.get("max_new", 10_000), self.llama.n_ctx_slot - len(tokens)),
            sampler,
            images=more.get("images", {}),
            text=AnswerText(more.get("stop", ())),
            tenant=more.get("tenant", ""),
            reuses_prefix=more.get("reuse", True) and not more.get("deterministic", False),
            is_deterministic=more.get("deterministic", False),
            received_s=self.llama.clock(),
        )
        self.requests[request_id] = request
        self.scheduler.submit(request)
        return request

    def run(self, max_steps: int = 10_000) -> None:
        """Step until there is nothing left to do."""
        for _ in range(max_steps):
            if self.scheduler.is_idle:
                return
            self.scheduler.step()
        raise AssertionError("the scheduler does not come to an end")

    def text(self, request_id: int) -> str:
        """Return all text sent for a request."""
        steps = [message for message in self.sent if isinstance(message, Step)]
        return "".join(t.text for s in steps for t in s.tokens if t.request_id == request_id)

    def gaps(self, request_id: int) -> list[float]:
        """Return the seconds between the tokens of an answer."""
        return [after - before for before, after in pairwise(self.times[request_id])]

    def ending(self, request_id: int) -> Finished | Failed:
        """Return the one message that ended a request."""
        (ending,) = [
            message
            for message in self.sent
            if isinstance(message, Finished | Failed) and message.request_id == request_id
        ]
        return ending

    def is_ended(self, request_id: int) -> bool:
        """Return whether a request has ended."""
        return any(getattr(m, "request_id", None) == request_id for m in self.sent)
