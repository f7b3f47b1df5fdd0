"""Stories of requests sharing one context, with a llama that only keeps the books."""

import pytest
from fakes.fake_llama import DECODE_S, FakeLlama, Office, question

from mlm.engine.messages import Failed, Finished, Step
from mlm.engine.pace import STEP_LIMIT_S, STRETCH


def test_an_answer_arrives_as_text_and_ends_with_its_counts_and_times():
    office = Office()
    office.submit(1, 20, "hello")
    office.run()
    assert office.text(1) == "hello"
    ending = office.ending(1)
    assert isinstance(ending, Finished)
    assert (ending.reason, ending.prompt_tokens, ending.cached_tokens) == ("stop", 20, 0)
    assert ending.completion_tokens == 6  # the token that ends an answer is decoded like any other
    assert ending.queue_s == 0 and ending.prefill_s > 0 and ending.decode_s > 0


def test_requests_run_side_by_side_and_share_each_decode():
    office = Office()
    for number in range(4):
        office.submit(number, 8, "abcdef")
    office.run()
    assert [office.text(number) for number in range(4)] == ["abcdef"] * 4
    assert len(office.llama.batches) == 7
    assert [part.seq_id for part in office.llama.batches[-1]] == [0, 1, 2, 3]


def test_prompts_that_come_together_are_cut_as_little_as_possible():
    office = Office(FakeLlama(n_slots=8))
    office.submit(0, 95, "a" * 60)
    for _ in range(6):
        office.scheduler.step()  # so that it is known what steps take
    for number in range(1, 8):
        office.submit(number, question(number, 10 * number), "a" * 9)
    office.run()
    prompts = [[p for p in batch if len(p.tokens) > 1] for batch in office.llama.batches[6:]]
    assert max(len(pieces) for pieces in prompts) > 1  # short ones enter together
    assert all(p.start == 0 and p.wants_logits for pieces in prompts for p in pieces[1:])


def test_requests_that_come_together_enter_before_the_first_of_them_streams():
    office = Office(FakeLlama(n_slots=16, n_ubatch=512, n_batch=2048))
    for number in range(16):
        office.submit(number, question(number, 60), "a" * 9)
    office.run()
    first, second, *others = office.llama.batches
    assert sum(len(part.tokens) for part in first) == 512
    assert sum(len(part.tokens) for part in second) == 16 * 60 - 512, "and nothing else"
    assert {len(batch) for batch in others} == {16}, "they go on together to the end"


def test_what_is_left_of_unequal_prompts_that_came_together_lies_side_by_side():
    office = Office(FakeLlama(n_slots=8, n_ubatch=512))
    for number, length in enumerate((60, 66, 59, 63, 70, 61, 66, 58)):
        office.submit(number, question(number, length), "a")
    office.scheduler.step()
    (batch,) = office.llama.batches
    for length in range(58, 70):
        longer = [part.seq_id for part in batch if len(part.tokens) > length]
        assert longer == list(range(longer[0], longer[0] + len(longer))), length


def test_of_those_that_come_together_a_short_one_does_not_wait_for_a_long_one():
    office = Office(FakeLlama(n_slots=4, n_ubatch=64))
    for number, length in enumerate((500, 30, 200, 34)):
        office.submit(number, question(number, length), "a")
    office.run()
    endings = [m.request_id for m in office.sent if isinstance(m, Finished)]
    assert endings == [3, 1, 2, 0]


def test_who_comes_after_the_first_token_of_a_stream_does_not_hold_it_up():
    office = Office(FakeLlama(n_ctx_slot=4000, n_ubatch=512, n_batch=2048))
    office.submit(1, 8, "a" * 100)
    office.scheduler.step()
    office.submit(2, 2000, "b")
    office.run()
    assert max(office.gaps(1)) < STRETCH * STEP_LIMIT_S


def test_nor_does_a_long_prompt_that_came_before_it():
    office = Office(FakeLlama(n_ctx_slot=4000, n_ubatch=512, n_batch=2048))
    office.submit(1, 8, "a" * 100)
    office.submit(2, 3500, "b")
    office.run()
    assert max(office.gaps(1)) <= STRETCH * STEP_LIMIT_S


def test_short_ones_that_came_before_it_hold_it_up_for_two_steps_at_most():
    office = Office(FakeLlama(n_slots=9, n_ubatch=512, n_batch=2048))
    office.submit(0, 8, "a" * 100)
    for number in range(1, 9):
        office.submit(number, question(number, 400), "b" * 9)
    office.run()
    assert sum(gap > STRETCH * STEP_LIMIT_S for gap in office.gaps(0)) == 2


def test_all_tokens_of_a_step_travel_in_one_frame():
    office = Office()
    office.submit(1, 8, "ab")
    office.submit(2, 8, "xy")
    office.run()
    steps = [message for message in office.sent if isinstance(message, Step)]
    assert [[token.text for token in step.tokens] for step in steps] == [["a", "x"], ["b", "y"]]


def test_more_requests_than_slots_wait_and_are_served_in_order():
    office = Office(FakeLlama(n_slots=2))
    for number in range(6):
        office.submit(number, 8, "abc")
    office.scheduler.step()
    assert (office.scheduler.n_active, office.scheduler.n_waiting) == (2, 4)
    office.run()
    endings = [m.request_id for m in office.sent if isinstance(m, Finished)]
    assert endings == [0, 1, 2, 3, 4, 5]
    assert office.ending(5).queue_s > office.ending(2).queue_s > 0


def test_running_streams_keep_flowing_while_a_long_prompt_enters():
    office = Office(FakeLlama(n_ctx_slot=4000, n_ubatch=512, n_batch=2048))
    for number in range(3):
        office.submit(number, 8, "a" * 300)
    for _ in range(20):
        office.scheduler.step()

    office.submit(9, 2000, "b")
    gaps = []
    while not office.is_ended(9):
        before, texts = office.llama.clock(), [office.text(n) for n in range(3)]
        office.scheduler.step()
        gaps.append(office.llama.clock() - before)
        assert all(office.text(n) > text for n, text in enumerate(texts))

    undivided = 2000 * 0.005
    assert max(gaps) <= STEP_LIMIT_S
    assert max(gaps) <= 0.1 * undivided
    assert office.ending(9).prefill_s <= 1.5 * undivided
    parts = (part for batch in office.llama.batches for part in batch if part.seq_id == 3)
    pieces = [len(part.tokens) for part in parts if not part.wants_logits]
    rows_beside_the_streams_own = {(piece - 1) % 4 for piece in pieces}
    assert rows_beside_the_streams_own == {0}, "kernels multiply four rows at a time"


@pytest.mark.parametrize(("tile", "sizes"), [(64, {65}), (0, {37})])
def test_a_piece_behind_much_context_fills_a_tile_of_attention_where_there_are_tiles(tile, sizes):
    office = Office(FakeLlama(n_ctx_slot=4000, n_batch=2048, attention_tile=tile))
    office.submit(0, 8, "a" * 300)
    for _ in range(20):
        office.scheduler.step()
    office.submit(9, 1000, "b")
    office.run()
    parts = [part for batch in office.llama.batches for part in batch if part.seq_id == 1]
    far = {len(p.tokens) for p in parts if p.start > 400 and not p.wants_logits}
    near = {len(p.tokens) for p in parts if 100 < p.start < 256}
    assert (far, near) == (sizes, {37})


def test_a_lone_prompt_is_cut_at_n_ubatch():
    office = Office(FakeLlama(n_ubatch=256, n_batch=512))
    office.submit(1, 700, "a", max_new=1)
    office.run()
    assert [len(batch[0].tokens) for batch in office.llama.batches] == [256, 256, 188]


def test_prompts_that_come_together_are_computed_together():
    office = Office(FakeLlama(n_ubatch=256))
    for number in range(4):
        office.submit(number, 30, "a", max_new=1)
    office.run()
    assert [len(part.tokens) for part in office.llama.batches[0]] == [30, 30, 30, 30]


def test_an_answer_stops_at_its_maximum():
    office = Office()
    office.submit(1, 8, "abcdef", max_new=3)
    office.run()
    assert office.text(1) == "abc"
    assert (office.ending(1).reason, office.ending(1).completion_tokens) == ("length", 3)


def test_no_answer_at_all_is_wanted_but_the_prompt_is_computed():
    office = Office()
    office.submit(1, 8, "abc", max_new=0)
    office.run()
    assert (office.text(1), office.ending(1).reason) == ("", "length")
    assert len(office.llama.held(0)) == 8


def test_an_answer_that_fills_its_slot_ends_with_length():
    office = Office(FakeLlama(n_ctx_slot=20))
    office.submit(1, 12, "a" * 100)
    office.run()
    assert (office.text(1), office.ending(1).reason) == ("a" * 8, "length")


def test_a_stop_string_over_several_tokens_ends_the_answer_and_is_not_sent():
    office = Office()
    office.submit(1, 8, "fine\nUser: more", stop=["\nUser:"])
    office.run()
    assert (office.text(1), office.ending(1).reason) == ("fine", "stop")


def test_text_held_back_for_a_stop_string_is_sent_when_the_answer_ends_otherwise():
    office = Office()
    office.submit(1, 8, "fine\nUse", stop=["\nUser:"])
    office.run()
    assert office.text(1) == "fine\nUse"


def test_a_character_spread_over_tokens_is_sent_whole():
    office = Office()
    office.submit(1, 8, [1000 + byte for byte in "né".encode()])
    office.run()
    texts = [t.text for m in office.sent if isinstance(m, Step) for t in m.tokens]
    counts = [t.n_tokens for m in office.sent if isinstance(m, Step) for t in m.tokens]
    assert (texts, counts) == (["n", "é"], [1, 2])


def test_the_next_turn_of_a_conversation_computes_only_what_is_new():
    office = Office()
    office.submit(1, range(500, 540), "answer")
    office.run()
    spoken = [ord(letter) for letter in "answer"]
    office.submit(2, [*range(500, 540), *spoken, 7, 8, 9], "more")
    office.run()
    assert office.ending(2).cached_tokens == 40 + len(spoken)
    assert [len(part.tokens) for part in office.llama.batches[-5]] == [3]


def test_the_same_prompt_again_computes_one_token():
    office = Office()
    for number in (1, 2):
        office.submit(number, 40, "a")
        office.run()
    assert office.ending(2).cached_tokens == 39


def test_another_tenant_never_gets_a_prefix():
    office = Office(FakeLlama(n_slots=1))
    office.submit(1, 40, "a", tenant="alice")
    office.run()
    office.submit(2, 40, "a", tenant="bob")
    office.run()
    assert office.ending(2).cached_tokens == 0


def test_a_request_may_decline_the_prefix():
    office = Office(FakeLlama(n_slots=1))
    for number in (1, 2):
        office.submit(number, 40, "a", reuse=False)
        office.run()
    assert office.ending(2).cached_tokens == 0


def test_a_model_that_cannot_forget_a_part_computes_everything_again():
    office = Office(FakeLlama(n_slots=1, kind="whole"))
    office.submit(1, range(500, 540), "abc")
    office.run()
    office.submit(2, [*range(500, 530), 7, 8, 9], "abc")
    office.run()
    assert office.ending(2).cached_tokens == 0
    assert office.llama.held(0)[:33] == [*range(500, 530), 7, 8, 9]


@pytest.mark.parametrize("steps", [0, 1, 6])
def test_a_cancelled_request_ends_between_two_steps_and_frees_its_slot(steps: int):
    """Cancelled in the queue or before its first step, in its prompt, in its answer."""
    office = Office(FakeLlama(n_slots=1, n_ubatch=256))
    office.submit(1, 600, "a" * 50)
    for _ in range(steps):
        office.scheduler.step()
    office.scheduler.cancel(1)
    n_batches = len(office.llama.batches)
    assert office.ending(1).reason == "cancelled"
    assert office.samplers[1].closed == 1

    office.submit(2, 8, "next")
    office.run()
    assert office.text(2) == "next"
    assert all(len(batch) == 1 for batch in office.llama.batches[n_batches:])


def test_what_a_cancelled_prompt_had_computed_is_used_by_the_next():
    office = Office(FakeLlama(n_slots=1, n_ubatch=256))
    office.submit(1, 600, "a")
    office.scheduler.step()
    office.scheduler.cancel(1)
    office.submit(2, 600, "a")
    office.run()
    assert office.ending(2).cached_tokens == 256


def test_cancelling_what_is_not_there_does_nothing():
    office = Office()
    office.scheduler.cancel(77)
    assert office.sent == []


def test_a_sequence_that_cannot_be_computed_fails_alone():
    office = Office(FakeLlama(broken_tokens=frozenset({666})))
    office.submit(1, 8, "abcdef")
    office.scheduler.step()
    office.submit(2, [5, 666, 5], "never")
    office.submit(3, 8, "xyz")
    office.run()
    failed = office.ending(2)
    assert isinstance(failed, Failed) and failed.code == "engine_error"
    assert (office.text(1), office.text(3)) == ("abcdef", "xyz")
    assert office.samplers[2].closed == 1


def test_after_a_failed_step_a_model_that_cannot_go_back_starts_over():
    llama = FakeLlama(kind="whole")
    office = Office(llama)
    office.submit(1, 8, "abcdef")
    office.submit(2, 8, "uvwxyz")
    for _ in range(3):
        office.scheduler.step()
    llama.codes = [-3]
    office.run()
    assert (office.text(1), office.text(2)) == ("abcdef", "uvwxyz")


def test_without_room_what_free_slots_hold_goes_first():
    llama = FakeLlama(n_slots=2, is_unified=True)
    office = Office(llama)
    office.submit(1, 40, "a")
    office.run()
    office.submit(2, range(500, 540), "b")
    llama.codes = [1]
    office.run()
    assert office.text(2) == "b"
    assert llama.held(0) == []


def test_without_room_a_prompt_is_computed_in_smaller_pieces():
    llama = FakeLlama(n_slots=1, n_ubatch=64)
    office = Office(llama)
    office.submit(1, 64, "b")
    llama.codes = [1, 1]
    office.run()
    assert office.text(1) == "b"
    assert [len(batch[0].tokens) for batch in llama.batches[:3]] == [64, 32, 16]


def test_without_any_room_an_answer_ends_with_length():
    llama = FakeLlama(n_slots=1)
    office = Office(llama)
    office.submit(1, 8, "abcdef")
    for _ in range(3):
        office.scheduler.step()
    llama.codes = [1]
    office.run()
    assert (office.text(1), office.ending(1).reason) == ("abc", "length")


def test_a_sampler_without_a_choice_ends_only_its_own_request():
    from mlm.engine.request import SamplingError

    class Dumb:
        def sample(self, context: object, row: int) -> int:
            raise SamplingError("the grammar allows no token here")

        def close(self) -> None:
            pass

    office = Office()
    office.submit(1, 8, "abc")
    office.submit(2, 8, "abc").sampler = Dumb()
    office.run()
    assert office.ending(2).code == "invalid_request_error"
    assert office.text(1) == "abc"


def test_a_deterministic_request_is_computed_the_same_way_whatever_runs_beside_it():
    def batches_of(office: Office, seq_id: int) -> list[tuple[int, int]]:
        batches = [b for b in office.llama.batches if any(p.seq_id == seq_id for p in b)]
        assert all(len(batch) == 1 for batch in batches)
        return [(batch[0].start, len(batch[0].tokens)) for batch in batches]

    alone = Office()
    alone.submit(1, 150, "abc", deterministic=True)
    alone.run()

    busy = Office()
    for number in (5, 6):
        busy.submit(number, 150, "a" * 40)
    for _ in range(4):
        busy.scheduler.step()
    busy.submit(1, 150, "abc", deterministic=True)
    busy.submit(7, 150, "a" * 40)
    while not busy.is_ended(1):
        busy.scheduler.step()

    assert busy.text(1) == alone.text(1) == "abc"
    assert busy.ending(1).cached_tokens == 0
    assert batches_of(busy, 2) == batches_of(alone, 0) == [
        (0, 64), (64, 64), (128, 22), (150, 1), (151, 1), (152, 1),
    ]  # fmt: skip


def test_steps_that_only_decode_take_what_decoding_takes():
    office = Office()
    office.submit(1, 8, "abc")
    office.run()
    assert office.ending(1).decode_s == pytest.approx(3 * DECODE_S)
