"""Makes vectors: every step reads as many inputs as belong in one call, from all requests in turn.

The counterpart of `mlm.engine.scheduler` for models that do not generate. Everything here runs on
the one thread that owns the context.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mlm.engine.computer import Part
from mlm.engine.messages import Failed, Finished, FinishReason, Message, Vectors
from mlm.engine.meter import Meter


class VectorComputer(Protocol):
    """What the embedder asks of a context; see `mlm.engine.llama.embedding`."""

    n_seqs: int  # inputs at a time
    n_ctx: int  # tokens of all of them together
    n_ubatch: int  # tokens per call
    n_fill: int  # … up to which short inputs share one
    n_few: int  # … that are computed at once with all results, if inputs can come in pieces
    takes_whole: bool

    def read(self, parts: Sequence[Part]) -> int:
        """Compute without results; 0 is success."""

    def embed(self, parts: Sequence[Part]) -> int:
        """Compute the ends of inputs; 0 is success."""

    def vector(self, seq_id: int, dimensions: int | None) -> bytes | None:
        """Return the result for a sequence of the last `embed`; None when it is no number."""

    def forget(self, seq_id: int) -> None:
        """Drop a sequence."""


@dataclass(eq=False, slots=True)
class EmbedRequest:
    """One accepted request and how far it has come. Times are seconds on the worker's clock."""

    request_id: int
    inputs: list[list[int]]  # tokens; each fits; at least one
    dimensions: int | None = None
    received_s: float = 0.0
    admitted_s: float | None = None
    n_begun: int = 0
    n_done: int = 0

    @property
    def prompt_tokens(self) -> int:
        """Tokens to read."""
        return sum(map(len, self.inputs))

    def close(self) -> None:
        """Free what it holds: nothing."""


@dataclass(eq=False, slots=True)
class _Lane:
    """One input on its way. ``n_held`` of its tokens have been read."""

    seq_id: int
    request: EmbedRequest
    index: int  # among the inputs of the request
    tokens: list[int]
    n_held: int = 0

    @property
    def is_read(self) -> bool:
        """Whether only the last token is left, which gives the result."""
        return self.n_held == len(self.tokens) - 1

    def take(self, limit: int) -> Part:
        tokens = self.tokens[self.n_held : self.n_held + limit]
        return Part(self.seq_id, self.n_held, tokens, wants_logits=False)


class Embedder:
    """The requests, the inputs of theirs that are being read, and the step that goes on with them.

    Requests take turns, one input each, so that a list of thousands starves nobody.
    """

    def __init__(
        self,
        computer: VectorComputer,
        emit: Callable[[Message], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._computer = computer
        self._emit = emit
        self._clock = clock
        self._requests: deque[EmbedRequest] = deque()  # whose turn it is comes first
        self._lanes: list[_Lane] = []  # in ascending order of their sequences
        self.meter = Meter(clock)
        self.choosing = None  # nothing is chosen here; see `Scheduler.choosing`
        self.patience_s = 0.0  # calls are short here; see `Scheduler.patience_s`

    @property
    def n_active(self) -> int:
        """Requests of which something has been begun."""
        return sum(request.admitted_s is not None for request in self._requests)

    @property
    def n_waiting(self) -> int:
        """Requests whose turn has not come yet."""
        return len(self._requests) - self.n_active

    @property
    def is_idle(self) -> bool:
        """Whether a step would do nothing."""
        return not self._requests

    def submit(self, request: EmbedRequest) -> None:
        """Take one more request, whose turn comes after that of all others."""
        self._requests.append(request)

    def cancel(self, request_id: int) -> None:
        """End a request where it is; unknown ids are ignored: its end may be on the way."""
        for request in self._requests:
            if request.request_id == request_id:
                self._end(request)
                self._conclude(request, "cancelled")
                return

    def step(self) -> None:
        """Read on, and send what came of it."""
        started = self._clock()
        self._admit()
        if not self._lanes:
            return
        lanes, held = list(self._lanes), sum(lane.n_held for lane in self._lanes)
        computer = self._computer
        todo = sum(len(lane.tokens) - lane.n_held for lane in lanes)
        if computer.takes_whole or todo <= computer.n_few:
            self._embed(lanes)
        else:
            self._read_on(lanes)
        n_tokens = sum(lane.n_held for lane in lanes) - held
        self.meter.note_step(self._clock() - started, n_tokens, 0, len(lanes))

    def _admit(self) -> None:
        """Begin as many inputs as belong in one call: one of each request, and so on in turn.

        Who finds no room is first the next time, then those whose turn had not come.
        """
        turns, left_out, begun = deque(self._requests), [], []
        while turns and len(self._lanes) < self._computer.n_seqs:
            request = turns.popleft()
            if request.n_begun == len(request.inputs):
                begun.append(request)
            elif not self._has_room(request.inputs[request.n_begun]):
                left_out.append(request)
            else:
                self._begin(request)
                turns.append(request)
        self._requests = deque([*left_out, *turns, *begun])
        self._lanes.sort(key=lambda lane: lane.seq_id)

    def _has_room(self, tokens: list[int]) -> bool:
        """Tell whether an input may be read beside the others that are on their way."""
        computer, sizes = self._computer, [len(lane.tokens) for lane in self._lanes]
        if not sizes:
            return True
        if computer.takes_whole:
            return sum(sizes) + len(tokens) <= computer.n_fill
        # Short ones share what a call has to offer with one long one.
        short = [size for size in sizes if size <= computer.n_fill]
        if len(tokens) <= computer.n_fill:
            fits = sum(short) + len(tokens) <= computer.n_fill
        else:
            fits = len(short) == len(sizes)
        return fits and sum(sizes) + len(tokens) <= computer.n_ctx

    def _begin(self, request: EmbedRequest) -> None:
        if request.admitted_s is None:
            request.admitted_s = self._clock()
            self.meter.note_admission(request.admitted_s - request.received_s, 0)
        taken = {lane.seq_id for lane in self._lanes}
        seq_id = next(number for number in range(self._computer.n_seqs) if number not in taken)
        tokens = request.inputs[request.n_begun]
        self._lanes.append(_Lane(seq_id, request, request.n_begun, tokens))
        request.n_begun += 1

    def _embed(self, lanes: Sequence[_Lane]) -> None:
        """Compute all that is left of ``lanes``, and take the results."""
        parts = [lane.take(len(lane.tokens)) for lane in lanes]
        if self._compute(self._computer.embed, parts):
            for lane in lanes:
                lane.n_held = len(lane.tokens)
            self._take_results(lanes)
        else:
            self._find_fault(lanes)

    def _read_on(self, lanes: Sequence[_Lane]) -> None:
        """Read up to one call's tokens, then have the results of all that are at their end."""
        room, parts = self._computer.n_ubatch, {}
        for lane in sorted(lanes, key=lambda lane: len(lane.tokens) - lane.n_held):
            part = lane.take(min(room, len(lane.tokens) - 1 - lane.n_held))
            if part.tokens:
                parts[lane.seq_id] = part
                room -= len(part.tokens)
        batch = [parts[seq_id] for seq_id in sorted(parts)]
        if batch and not self._compute(self._computer.read, batch):
            self._find_fault(lanes)
            return
        for lane in lanes:
            lane.n_held += len(parts[lane.seq_id].tokens) if lane.seq_id in parts else 0
        if ready := [lane for lane in lanes if lane.is_read]:
            self._embed(ready)

    def _compute(self, call: Callable[[Sequence[Part]], int], parts: Sequence[Part]) -> bool:
        started = self._clock()
        code = call(parts)
        self.meter.note_computing(self._clock() - started)
        return code == 0

    def _find_fault(self, lanes: Sequence[_Lane]) -> None:
        """After a failure, compute each input alone; whose cannot be computed has failed."""
        for lane in self._lanes:  # what the failed call has left of them is not known
            self._computer.forget(lane.seq_id)
            lane.n_held = 0
        if len(lanes) == 1:
            self._fail(lanes[0].request, "llama.cpp cannot compute this input")
            return
        for lane in lanes:
            while lane in self._lanes:  # it may have gone with its request
                if self._computer.takes_whole:
                    self._embed([lane])
                else:
                    self._read_on([lane])

    def _take_results(self, lanes: Iterable[_Lane]) -> None:
        """Send what the last call made of ``lanes``, the rows of a request in one frame."""
        made: dict[int, Vectors] = {}
        for lane in lanes:
            request = lane.request
            if lane not in self._lanes:  # its request has failed
                continue
            row = self._computer.vector(lane.seq_id, request.dimensions)
            if row is None:
                made.pop(request.request_id, None)
                self._fail(request, "the model makes no numbers of this input")
                continue
            self._lanes.remove(lane)
            self._computer.forget(lane.seq_id)
            request.n_done += 1
            sent = made.get(request.request_id) or Vectors(request.request_id, [], b"")
            indexes, rows = [*sent.indexes, lane.index], sent.rows + row
            made[request.request_id] = Vectors(request.request_id, indexes, rows)
        for vectors in made.values():
            self._emit(vectors)
        for request in [each for each in self._requests if each.n_done == len(each.inputs)]:
            self._end(request)
            self._conclude(request, "stop")

    def _fail(self, request: EmbedRequest, message: str) -> None:
        self._end(request)
        self._emit(Failed(request.request_id, "engine_error", message))

    def _end(self, request: EmbedRequest) -> None:
        """Forget a request and all that is on its way for it."""
        self._requests.remove(request)
        for lane in [lane for lane in self._lanes if lane.request is request]:
            self._lanes.remove(lane)
            self._computer.forget(lane.seq_id)

    def _conclude(self, request: EmbedRequest, reason: FinishReason) -> None:
        now = self._clock()
        admitted = now if request.admitted_s is None else request.admitted_s
        self._emit(
            Finished(
                request_id=request.request_id,
                reason=reason,
                prompt_tokens=request.prompt_tokens,
                cached_tokens=0,
                completion_tokens=0,
                queue_s=admitted - request.received_s,
                prefill_s=now - admitted,
                decode_s=0.0,
            )
        )
