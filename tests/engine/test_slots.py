from array import array

from fakes.fake_llama import Script

from mlm.engine.request import Request
from mlm.engine.slots import Slot, choose_slot, count_common_prefix


def left(seq_id: int, n_held: int, used_s: float = 0.0, n_prompt: int | None = None) -> Slot:
    """A free slot, and what the last request left in it."""
    tokens = array("i", range(n_held))
    return Slot(seq_id, tokens, n_held, n_prompt=n_prompt or n_held, used_s=used_s)


def busy(seq_id: int) -> Slot:
    slot = Slot(seq_id)
    slot.take_in(Request(1, [5], 10, Script([])), 0, turn=1)
    return slot


def choose(slots: list[Slot], shared: dict[int, int], elsewhere: int = 0) -> Slot | None:
    counts = {slot.seq_id: shared.get(slot.seq_id, 0) for slot in slots}
    return choose_slot(slots, counts, max(elsewhere, *counts.values()))


def test_a_conversation_goes_on_in_its_slot():
    slots = [Slot(0), left(1, 100), left(2, 50)]
    assert choose(slots, {1: 100, 2: 20}) is slots[1]


def test_a_conversation_goes_on_in_its_slot_when_the_answer_is_spelled_otherwise():
    slots = [Slot(0), left(1, 500, n_prompt=100)]
    assert choose(slots, {1: 97}) is slots[1]


def test_another_conversation_with_the_same_beginning_is_not_cut_short():
    slots = [left(0, 500, n_prompt=400), Slot(1)]
    assert choose(slots, {0: 300}) is slots[1]


def test_what_will_be_copied_is_not_overwritten_unless_it_is_all_there_is():
    slots = [left(0, 500, 1.0), left(1, 500, 2.0)]
    assert choose(slots, {0: 300}) is slots[1]
    slots[1] = busy(1)
    assert choose(slots, {0: 300}) is slots[0]


def test_strangers_get_the_lowest_empty_slot():
    assert choose([left(0, 2), Slot(1), Slot(2)], {}).seq_id == 1


def test_with_no_empty_slot_the_one_unused_longest_goes():
    slots = [left(0, 90, 30.0), left(1, 90, 10.0), left(2, 90, 20.0)]
    assert choose(slots, {}) is slots[1]


def test_strangers_move_in_beside_busy_slots():
    slots = [left(0, 90, 1.0), left(1, 90, 2.0), left(2, 90, 3.0), busy(3)]
    assert choose(slots, {}) is slots[2]


def test_a_busy_slot_is_never_chosen():
    assert choose_slot([busy(0)], {}, 0) is None


def test_common_prefixes_are_counted_exactly_at_any_length():
    for size in (0, 1, 511, 512, 513, 2000):
        tokens = array("i", range(size))
        assert count_common_prefix(tokens, tokens, size) == size
        if size:
            other = tokens[:-1] + array("i", [-1])
            assert count_common_prefix(tokens, other, size) == size - 1
