"""Continuous batching: every step carries one token of each running answer and a piece of prompts.

The scheduler decides and keeps the books; a `Computer` (llama.cpp, or a fake in tests) computes.
Everything here runs on the one thread that owns the context.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from math import log2

from mlm.engine.computer import NO_ROOM, Computer, Part, Speller
from mlm.engine.gaps import Gaps
from mlm.engine.image import Image
from mlm.engine.logits import ModelError
from mlm.engine.messages import Failed, Finished, FinishReason, Message, Step, TokenOut
from mlm.engine.meter import Meter
from mlm.engine.pace import MOVE_LIMIT_S, Pace
from mlm.engine.prefixes import Prefixes
from mlm.engine.request import Request, SamplingError
from mlm.engine.slots import Slot
from mlm.engine.step import plan_alone, plan_image, plan_step


class Scheduler:
    """Queue, slots and the step that moves all of them forward."""

    def __init__(
        self,
        computer: Computer,
        speller: Speller,
        emit: Callable[[Message], None],
        clock: Callable[[], float] = time.monotonic,
        *,
        prefix_cache: int = 0,
        encode: Callable[[Image], None] | None = None,
    ) -> None:
        """Keep up to ``prefix_cache`` bytes of what requests have left in main memory.

        ``encode`` begins to make the embeddings of an image and returns.
        """
        self._computer = computer
        self._speller = speller
        self._emit = emit
        self._clock = clock
        self._encode = encode
        self._slots = [Slot(seq_id) for seq_id in range(computer.n_slots)]
        self._waiting: deque[Request] = deque()
        self._pace = Pace()
        self.meter = Meter(clock)
        self.prefixes = Prefixes(computer.memory, self._slots, budget=prefix_cache, clock=clock)
        self._gaps = Gaps(computer.memory, self._slots, self.prefixes)
        self._tokens: list[TokenOut] = []  # what this step sends
        self._endings: list[Message] = []  # and what follows it
        self.choosing: tuple[int, float] | None = None  # request whose token is chosen, since when

    @property
    def n_active(self) -> int:
        """Requests that have a slot."""
        return sum(not slot.is_free for slot in self._slots)

    @property
    def n_waiting(self) -> int:
        """Requests that wait for one."""
        return len(self._waiting)

    @property
    def patience_s(self) -> float:
        """How long those that wait may go on to do so, for others that come with them.

        Who enters alone goes on alone, in a step of its own for each token of its head start.
        """
        if self.n_active:
            return 0.0
        return self._pace.choose_patience_s(sum(one.prompt_tokens for one in self._waiting))

    @property
    def is_idle(self) -> bool:
        """Whether a step would do nothing until something arrives."""
        if self._waiting and self.n_active < len(self._slots):
            return False
        return all(
            slot.is_free or slot.is_blind or (slot.is_waiting and not slot.can_go_on())
            for slot in self._slots
        )

    def submit(self, request: Request) -> None:
        """Put a request at the end of the queue."""
        self._waiting.append(request)

    def cancel(self, request_id: int) -> None:
        """End a request where it is; unknown ids are ignored: its end may be on the way."""
        for request in self._waiting:
            if request.request_id == request_id:
                self._waiting.remove(request)
                self._conclude(request, "cancelled")
                break
        for slot in self._slots:
            if slot.request is not None and slot.request.request_id == request_id:
                self._finish(slot, "cancelled")
        self._send()

    def step(self) -> None:
        """Move every active request forward once and send what came of it."""
        began = self._clock()
        self._admit()
        running = [slot for slot in self._slots if slot.request is not None]
        self._ask_for_images(running)
        self._gaps.close(running)
        parts = plan_step(running, self._computer, self._pace)
        prefill, decode = self._count_tokens(parts)
        if parts:
            started = self._clock()
            self._compute(parts)
            self._pace.note(prefill, decode, self._clock() - started)
            self._send()
        alone = plan_alone(running, self._computer)
        alone += plan_image(running, self._computer, self._pace)
        prefill_alone, decode_alone = self._count_tokens(alone)
        for part in alone:
            self._compute([part])
        self._send()
        tokens = prefill + prefill_alone, decode + decode_alone
        self.meter.note_step(self._clock() - began, *tokens, len(parts) + len(alone))

    def _admit(self) -> None:
        """Give slots to those who wait for one. Running answers do not wait for long."""
        begun = self.prefixes.advance()
        if self._waiting:
            begun += self._admit_waiting()
        for slot in begun:
            if slot.request is not None and not slot.is_waiting:
                request = slot.request
                queue_s = (request.admitted_s or 0.0) - request.received_s
                self.meter.note_admission(queue_s, request.cached_tokens)

    def _admit_waiting(self) -> list[Slot]:
        """Return the slots of those who had to wait for one until now."""
        begun: list[Slot] = []
        is_urgent = any(slot.is_decoding for slot in self._slots)
        started = self._clock()
        n_free = len(self._slots) - self.n_active
        for request in sorted(islice(self._waiting, n_free), key=_entry_order):
            slot = self.prefixes.place(request)
            assert slot is not None
            self._waiting.remove(request)
            begun.append(slot)
            if is_urgent and self._clock() - started > MOVE_LIMIT_S:
                break
        return begun

    def _ask_for_images(self, running: Sequence[Slot]) -> None:
        """Have the next image of each request encoded, while what is before it is computed."""
        for slot in running:
            found = None if slot.is_waiting else slot.next_image
            if found is None:
                continue
            image = found[1]
            if image.failure:
                self._fail(slot, "engine_error", image.failure)
            elif not image.is_asked_for and self._encode is not None:
                image.is_asked_for = True
                self._encode(image)

    def _count_tokens(self, parts: Sequence[Part]) -> tuple[int, int]:
        """Return how many tokens of prompts and of answers are to be computed."""
        decode = sum(self._slots[part.seq_id].is_decoding for part in parts)
        return sum(len(part.tokens) for part in parts) - decode, decode

    def _compute(self, parts: Sequence[Part]) -> None:
        """Compute a batch and take its tokens; when that fails, find out whose fault it is."""
        started = self._clock()
        code = self._computer.decode(parts)
        self.meter.note_computing(self._clock() - started)
        if code == 0:
            for part in parts:
                self._slots[part.seq_id].note_computed(part)
            self._take_tokens(parts)
        elif code == NO_ROOM and self.prefixes.make_room():
            self._compute(parts)
        elif len(parts) > 1:
            for part in parts:
                if self._undo(part):
                    self._compute([part])
        else:
            self._compute_less(parts[0], code)

    def _compute_less(self, part: Part, code: int) -> None:
        """Deal with one sequence that cannot be computed even alone."""
        slot = self._slots[part.seq_id]
        if code == NO_ROOM and len(part.tokens) > 1 and part.image is None:
            half = part.tokens[: len(part.tokens) // 2]
            self._compute([Part(part.seq_id, part.start, half, wants_logits=False)])
        elif code == NO_ROOM and slot.is_decoding:
            self._finish(slot, "length")
        else:
            self._undo(part)
            self._fail(slot, "engine_error", f"llama.cpp cannot compute this (code {code})")

    def _undo(self, part: Part) -> bool:
        """Undo what a failed step may have left of a part. False: it has to start over, later."""
        if self._computer.memory.forget(part.seq_id, part.start):
            self._slots[part.seq_id].n_seen = 0
            return True
        self.prefixes.clear(self._slots[part.seq_id])
        return False

    def _take_tokens(self, parts: Sequence[Part]) -> None:
        row = -1
        for part in parts:
            row += len(part.tokens)
            slot = self._slots[part.seq_id]
            if not part.wants_logits or slot.request is None:
                continue
            if slot.request.max_new_tokens == 0:
                self._finish(slot, "length")
                continue
            try:
                token = self._choose(slot.request, row)
            except SamplingError as error:
                self._fail(slot, "invalid_request_error", str(error))
            except ModelError as error:
                self._fail(slot, "engine_error", str(error))
                self.prefixes.clear(slot)  # nobody goes on from there
            else:
                self._append(slot, slot.request, token)

    def _choose(self, request: Request, row: int) -> int:
        started = self._clock()
        self.choosing = (request.request_id, started)
        try:
            return request.sampler.sample(self._computer, row)
        finally:
            self.choosing = None
            self.meter.note_choosing(self._clock() - started)

    def _append(self, slot: Slot, request: Request, token: int) -> None:
        """Take one more token into an answer, and end the answer if that is its last."""
        if request.first_token_s is None:
            request.first_token_s = self._clock()
        request.n_generated += 1
        request.n_unsent += 1
        if token in self._speller.end_tokens:
            self._finish(slot, "stop")
            return
        slot.tokens.append(token)
        piece = request.markers.get(token) or self._speller.piece(token)
        self._say(request, request.text.push(piece))
        if request.text.is_stopped:
            self._finish(slot, "stop")
        elif request.n_generated >= request.max_new_tokens:
            self._finish(slot, "length")

    def _say(self, request: Request, text: str) -> None:
        if text:
            logprobs = request.text.take_logprobs(text)
            self._tokens.append(TokenOut(request.request_id, text, request.n_unsent, logprobs))
            request.n_unsent = 0

    def _finish(self, slot: Slot, reason: FinishReason) -> None:
        request = slot.request
        assert request is not None
        if reason != "cancelled":
            self._say(request, request.text.flush())
        self._conclude(request, reason)
        self.prefixes.release(slot)

    def _fail(self, slot: Slot, code: str, message: str) -> None:
        assert slot.request is not None
        slot.request.sampler.close()
        self._endings.append(Failed(slot.request.request_id, code, message))
        self.prefixes.release(slot)

    def _conclude(self, request: Request, reason: FinishReason) -> None:
        request.sampler.close()
        now = self._clock()
        admitted = now if request.admitted_s is None else request.admitted_s
        first = now if request.first_token_s is None else request.first_token_s
        self._endings.append(
            Finished(
                request_id=request.request_id,
                reason=reason,
                prompt_tokens=len(request.tokens),
                cached_tokens=request.cached_tokens,
                completion_tokens=request.n_generated,
                queue_s=admitted - request.received_s,
                prefill_s=first - admitted,
                decode_s=now - first,
            )
        )

    def _send(self) -> None:
        """Send all tokens of the step in one frame, then the endings."""
        if self._tokens:
            self._emit(Step(tokens=self._tokens))
            self._tokens = []
        for ending in self._endings:
            self._emit(ending)
        self._endings = []


def _entry_order(request: Request) -> tuple[int, int]:
    """Return a key for the order in which those enter that come together.

    Short prompts come first; of those that are about as long, the longest. They get places side by
    side, one after the other: what is still to be computed where the shorter ones have ended lies
    side by side too, and llama.cpp needs one pass for it instead of one for each gap.
    """
    return round(log2(len(request.tokens) or 1)), -len(request.tokens)
