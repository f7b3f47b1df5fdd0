from fakes.fake_llama import Script

from mlm.engine.request import Request
from mlm.engine.slots import Slot, choose_slot, count_common_prefix


def request(tokens: list[int], tenant: str = "") -> Request:
    return Request(1, tokens, 10, Script([]), tenant=tenant)


def parked(seq_id: int, tokens: list[int], used_s: float = 0.0) -> Slot:
    return Slot(seq_id, list(tokens), len(tokens), used_s=used_s)


def test_a_conversation_goes_back_to_its_slot():
    slots = [Slot(0), parked(1, list(range(100))), parked(2, list(range(50)))]
    chosen = choose_slot(slots, request([*range(100), 7, 8]))
    assert chosen == (slots[1], 100)


def test_a_long_conversation_is_not_thrown_away_for_a_common_beginning():
    slots = [parked(0, list(range(100))), Slot(1)]
    assert choose_slot(slots, request([0, 1, 2, 900, 901])) == (slots[1], 0)


def test_a_shared_system_prompt_is_worth_a_parked_slot():
    slots = [parked(0, list(range(100))), Slot(1)]
    assert choose_slot(slots, request([*range(90), 900, 901])) == (slots[0], 90)


def test_strangers_get_the_lowest_empty_slot():
    assert choose_slot([Slot(0), Slot(1)], request([1, 2, 3])) is not None
    slots = [parked(0, [9, 9]), Slot(1), Slot(2)]
    assert choose_slot(slots, request([1, 2, 3])) == (slots[1], 0)


def test_with_no_empty_slot_the_one_unused_longest_goes():
    slots = [parked(0, [9] * 9, 30.0), parked(1, [8] * 9, 10.0), parked(2, [7] * 9, 20.0)]
    assert choose_slot(slots, request([1, 2, 3])) == (slots[1], 0)


def test_strangers_move_in_beside_busy_slots():
    slots = [parked(0, [9] * 9, 1.0), parked(1, [8] * 9, 2.0), parked(2, [7] * 9, 3.0), Slot(3)]
    slots[3].request = request([5])
    assert choose_slot(slots, request([1, 2, 3])) == (slots[2], 0)


def test_a_busy_slot_is_never_chosen():
    slots = [parked(0, [1, 2, 3])]
    slots[0].request = request([1, 2, 3])
    assert choose_slot(slots, request([1, 2, 3, 4])) is None


def test_nothing_is_shared_between_tenants():
    slots = [parked(0, [1, 2, 3])]
    assert choose_slot(slots, request([1, 2, 3, 4], tenant="bob")) == (slots[0], 0)


def test_common_prefixes_are_counted_exactly_at_any_length():
    for size in (0, 1, 511, 512, 513, 2000):
        left = list(range(size))
        assert count_common_prefix(left, left, size) == size
        if size:
            right = [*left[:-1], -1]
            assert count_common_prefix(left, right, size) == size - 1
