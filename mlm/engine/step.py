"""What the next step computes."""

from collections.abc import Sequence
from operator import attrgetter

from mlm.engine.computer import Computer, Part
from mlm.engine.pace import Pace
from mlm.engine.slots import Slot

# Of the prompt of a deterministic request. Always the same, whatever runs beside it; so small that
# it does not hold up running streams for long.
FIXED_CHUNK = 64
_ROWS = 4  # that llama.cpp's CPU kernels multiply at once; those left over cost as much each
_YOUNG = 2  # tokens of an answer that have come; so few are no stream yet
_FAR = 256  # tokens that are held already, from which on attention to them takes much of the time


def plan_step(slots: Sequence[Slot], computer: Computer, pace: Pace) -> list[Part]:
    """Return the batch that all requests share, in ascending order of ``seq_id``.

    One token for every running answer; the rest of the room goes to prompts, first in, first
    served: up to ``n_ubatch``, so that a cancel is noticed soon, and beside running streams no more
    than `Pace` allows.
    """
    slots = [slot for slot in slots if not slot.is_deterministic and slot.image is None]
    decoding = [slot for slot in slots if slot.is_decoding]
    prefilling = sorted((slot for slot in slots if slot.is_prefilling), key=_turn)
    room = min(computer.n_ubatch, computer.n_batch - len(decoding))
    if prefilling and any(_is_stream(slot, prefilling[0], room) for slot in decoding):
        chunk, end = pace.choose_chunk(len(prefilling), len(decoding))
        if prefilling[0].n_held >= _FAR:
            chunk = _fill_tile(chunk, computer.attention_tile)
        prompts = _take_few(prefilling, min(chunk, room), min(max(chunk, end), room))
    else:
        prompts = _take_all(prefilling, room)
        if prompts and sum(slot.n_todo for slot in prefilling) <= room:
            decoding = []  # a token more would only make them end earlier, in a step for fewer
    return sorted([*map(_take_newest, decoding), *prompts], key=attrgetter("seq_id"))


def _is_stream(slot: Slot, newcomer: Slot, room: int) -> bool:
    """Return whether an answer is to keep flowing while a newcomer's prompt enters.

    Not when both are of several that came together, with prompts that fit into a step. They are all
    answered at the pace of their number as soon as all are in, and small steps on the way there
    cost time.
    """
    answer, other = slot.request, newcomer.request
    if newcomer.n_todo > room or answer is None or answer.first_token_s is None or other is None:
        return True
    return answer.n_generated > _YOUNG or answer.first_token_s <= other.received_s


def _take_all(prefilling: Sequence[Slot], room: int) -> list[Part]:
    """Return pieces of prompts that fill the room."""
    parts: list[Part] = []
    for slot in prefilling:
        if room > 0:
            parts.append(_take(slot, room))
            room -= len(parts[-1].tokens)
    return parts


def _take_few(prefilling: Sequence[Slot], chunk: int, end: int) -> list[Part]:
    """Return the next ``chunk`` tokens of prompts, or up to ``end`` where that ends one.

    Pieces of unequal length are passes of their own over the weights. So there are few: only the
    first in line is cut. Its first token goes with those of the running answers, and what is left
    is a multiple of `_ROWS`.
    """
    chunk -= (chunk - 1) % _ROWS
    parts: list[Part] = []
    for slot in prefilling:
        if parts and slot.n_todo > end:
            break
        parts.append(_take(slot, slot.n_todo if slot.n_todo <= end else chunk))
        end -= len(parts[-1].tokens)
    return parts


def _fill_tile(chunk: int, tile: int) -> int:
    """Return a chunk that fills a tile beside its first token, if it is half of that already.

    A piece of less than a tile takes as long, as each of its tokens goes through the cache alone.
    """
    return max(chunk, tile + 1) if chunk > tile // 2 else chunk


def plan_alone(slots: Sequence[Slot], computer: Computer) -> list[Part]:
    """Return the parts of deterministic requests, each of which is a batch of its own.

    The last bits of a result depend on what else is in the batch, and on how long it is.
    """
    alone = [slot for slot in slots if slot.is_deterministic and slot.image is None]
    return [_take(slot, min(FIXED_CHUNK, computer.n_ubatch)) for slot in alone]


def plan_image(slots: Sequence[Slot], computer: Computer, pace: Pace) -> list[Part]:
    """Return a part of the image whose turn it is, if there is one; it is a batch of its own.

    All of it where its tokens see each other, however long others wait for that.
    """
    due = [(slot, image) for slot in slots if (image := slot.image) is not None]
    ready = [(slot, image) for slot, image in due if image.embeddings is not None]
    if not ready:
        return []
    slot, image = min(ready, key=lambda pair: _turn(pair[0]))
    room = computer.n_ubatch
    n_streams = sum(other.is_decoding for other in slots)
    if not image.is_causal:
        room = image.n_tokens
    elif slot.is_deterministic:
        room = min(FIXED_CHUNK, room)
    elif n_streams:
        room = min(pace.choose_chunk(1, n_streams)[0], room)
    tokens = image.tokens[slot.n_seen : slot.n_seen + room]
    return [Part(slot.seq_id, slot.n_held, tokens, False, image, slot.n_seen)]


def _take_newest(slot: Slot) -> Part:
    """Return what `_take` does of a running answer, where no image and no cut can come first."""
    return Part(slot.seq_id, slot.n_held, slot.tokens[slot.n_held :], wants_logits=True)


def _take(slot: Slot, limit: int) -> Part:
    end = min(slot.n_held + limit, len(slot.tokens))
    if (found := slot.next_image) is not None:
        end = min(end, found[0])
    end = min((cut for cut in slot.cuts if slot.n_held < cut < end), default=end)
    tokens = slot.tokens[slot.n_held : end]
    return Part(slot.seq_id, slot.n_held, tokens, wants_logits=end == len(slot.tokens))


def _turn(slot: Slot) -> int:
    return slot.turn
