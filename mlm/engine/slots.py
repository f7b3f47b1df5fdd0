"""Slots: the places in the KV cache where requests live, and which of them a request gets."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlm.engine.computer import Part
from mlm.engine.image import Image
from mlm.engine.request import Request

WORTH = 32  # tokens; to wait for, or to keep fewer is more trouble than to compute them
_COMPARED_AT_ONCE = 512
# The last tokens of a prompt announce the answer. The next turn of a conversation may spell them
# otherwise, so that it shares all of the prompt but these.
_ANNOUNCEMENT = 5


@dataclass(slots=True, eq=False)
class Slot:
    """One sequence of the KV cache.

    ``tokens`` are those of its request, prompt first, then the answer as it grows; the KV cache
    holds the first ``n_held`` of them. They stay when the request ends, so that the next turn of
    the same conversation computes only what is new. An image is held when all of it is; what the
    cache has of it until then is ``n_seen``.

    A slot with a ``leader`` computes nothing: its request begins with the same ``n_awaited``
    tokens as the leader's, which are being computed there.
    """

    seq_id: int
    tokens: "array[int]" = field(default_factory=lambda: array("i"))
    n_held: int = 0
    tenant: str = ""
    request: Request | None = None
    n_prompt: int = 0  # of the tokens, those of the newest prompt
    used_s: float = 0.0  # when its last request ended
    turn: int = 0  # of two requests, the one with the lower number was let in first
    cuts: set[int] = field(default_factory=set)  # lengths at which a chunk of the prompt ends
    leader: "Slot | None" = None
    leading: Request | None = None  # the leader's request; when it has another, it leads no more
    n_awaited: int = 0
    n_seen: int = 0

    @property
    def n_todo(self) -> int:
        """Tokens that are known but not computed yet."""
        return len(self.tokens) - self.n_held

    @property
    def is_free(self) -> bool:
        """Whether a request can move in."""
        return self.request is None

    @property
    def is_shared(self) -> bool:
        """Whether others of its tenant may use what it holds."""
        return self.request is None or self.request.reuses_prefix

    @property
    def is_waiting(self) -> bool:
        """Whether what it needs is being computed elsewhere."""
        return self.leader is not None

    @property
    def is_decoding(self) -> bool:
        """Whether only the newest token of an answer remains to be computed."""
        return self.request is not None and self.request.n_generated > 0 and self.n_todo == 1

    @property
    def is_deterministic(self) -> bool:
        """Whether its request is computed in batches of its own."""
        return self.request is not None and self.request.is_deterministic

    @property
    def is_prefilling(self) -> bool:
        """Whether a prompt (or, after a failure, prompt and answer) is still being computed."""
        return self.request is not None and not self.is_decoding and not self.is_waiting

    @property
    def next_image(self) -> tuple[int, Image] | None:
        """The first image that is not held, and how many tokens are before it."""
        images = self.request.images if self.request is not None else None
        if not images:
            return None
        start = min((start for start in images if start >= self.n_held), default=None)
        return None if start is None else (start, images[start])

    @property
    def image(self) -> Image | None:
        """The image that is to be computed next; None when that is a token."""
        found = self.next_image
        return found[1] if found is not None and found[0] == self.n_held else None

    @property
    def is_blind(self) -> bool:
        """Whether it waits for an image to be encoded."""
        image = self.image
        return image is not None and image.embeddings is None and not image.failure

    def note_computed(self, part: Part) -> None:
        """Know that the KV cache has what was to be computed."""
        if part.image is None:
            self.n_held = part.start + len(part.tokens)
            return
        self.n_seen += len(part.tokens)
        if self.n_seen == part.image.n_tokens:
            self.n_held, self.n_seen = part.start + self.n_seen, 0
            part.image.embeddings, part.image.is_asked_for = None, False

    def is_continued(self, n_shared: int) -> bool:
        """Return whether a request that shares so much goes on with what the slot holds."""
        return is_continued(n_shared, n_held=self.n_held, n_prompt=self.n_prompt)

    def take_in(self, request: Request, keep: int, turn: int) -> None:
        """Give the slot to ``request``, of which it holds ``keep`` tokens already."""
        self.request, self.tenant, self.turn = request, request.tenant, turn
        self.tokens, self.n_held, self.n_seen = array("i", request.tokens), keep, 0
        self.n_prompt = len(self.tokens)

    def follow(self, leader: "Slot", n_awaited: int) -> None:
        """Wait until ``leader`` has computed the ``n_awaited`` tokens that both begin with."""
        self.leader, self.leading, self.n_awaited = leader, leader.request, n_awaited
        leader.cuts.add(n_awaited)

    def can_go_on(self) -> bool:
        """Return whether there is nothing more to wait for: it is there, or will never be."""
        leader = self.leader
        return leader is not None and (
            leader.n_held >= self.n_awaited or leader.request is not self.leading
        )

    def release(self, now: float) -> None:
        """Let the request go. What the KV cache holds of it stays."""
        if (found := self.next_image) is not None:
            found[1].is_asked_for = False  # if it is not being encoded yet, it will not be
        del self.tokens[self.n_held :]
        self.cuts.clear()
        self.request = self.leader = self.leading = None
        self.n_seen, self.used_s = 0, now

    def clear(self) -> None:
        """Hold nothing."""
        self.n_held = self.n_seen = 0
        if self.is_free:
            self.tokens = array("i")


def choose_slot(slots: Sequence[Slot], shared: Mapping[int, int], most: int) -> Slot | None:
    """Return the free slot in which to compute a request; None when there is none.

    ``shared`` says how many of its tokens each free slot holds, by ``seq_id``; ``most`` is how
    many anybody holds. A conversation goes on in its slot. Otherwise an empty slot; and rather one
    that has nothing to copy from; then the one with the most busy neighbours, because llama.cpp
    computes a batch in as many passes as its sequence ids have gaps; then the one unused for the
    longest time.
    """
    busy = {slot.seq_id for slot in slots if not slot.is_free}

    def preference(slot: Slot) -> tuple[int, bool, bool, int, float, int]:
        share = shared[slot.seq_id]
        goes_on = share if slot.is_continued(share) else 0
        neighbours = len(busy & {slot.seq_id - 1, slot.seq_id + 1})
        is_source = share == most > 0
        return (goes_on, not slot.n_held, not is_source, neighbours, -slot.used_s, -slot.seq_id)

    return max((slot for slot in slots if slot.is_free), key=preference, default=None)


def is_continued(n_shared: int, *, n_held: int, n_prompt: int) -> bool:
    """Return whether a request that shares so much goes on with what is held, and needs no more.

    Either nearly all of it, or the whole prompt: then it is the next turn with the answer spelled
    otherwise, or the same question again, and nobody will ask for the old answer.
    """
    if n_shared == 0:
        return False
    return n_held - n_shared < WORTH or n_shared + _ANNOUNCEMENT >= n_prompt


def count_common_prefix(left: "array[int]", right: "array[int]", limit: int) -> int:
    """Return how many of the first ``limit`` items are equal. Fast for long, equal arrays."""
    for start in range(0, limit, _COMPARED_AT_ONCE):
        end = min(start + _COMPARED_AT_ONCE, limit)
        if left[start:end] != right[start:end]:
            pairs = zip(left[start:end], right[start:end], strict=True)
            return next(start + i for i, (a, b) in enumerate(pairs) if a != b)
    return limit
