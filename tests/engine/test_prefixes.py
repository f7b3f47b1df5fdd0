"""Stories of prompts that begin alike: who computes the beginning, and how others come by it."""

import random

import pytest
from fakes.fake_llama import PLENTY, SYSTEM, FakeLlama, Office, alone, question
from fakes.fake_memory import BYTES_PER_TOKEN

from mlm.engine.messages import Failed, Finished
from mlm.engine.pace import MOVE_LIMIT_S


def computed(office: Office) -> int:
    """Return how many tokens have been computed so far."""
    return sum(len(part.tokens) for batch in office.llama.batches for part in batch)


def spoken(text: str) -> list[int]:
    return [ord(letter) for letter in text]


@pytest.mark.parametrize("kind", ["parts", "window", "whole"])
@pytest.mark.parametrize("is_unified", [False, True])
def test_a_cold_beginning_is_computed_once_however_many_ask_at_once(kind: str, is_unified: bool):
    office = Office(FakeLlama(n_slots=8, kind=kind, is_unified=is_unified))
    for number in range(8):
        office.submit(number, SYSTEM + question(number), "a", max_new=1)
    office.run()
    assert computed(office) == len(SYSTEM) + 8 * 12
    assert [office.ending(n).cached_tokens for n in range(8)] == [0] + 7 * [len(SYSTEM)]
    last = office.llama.batches[-1]
    assert [len(part.tokens) for part in last] == 8 * [12]  # all questions in one step


def test_the_same_question_in_many_copies_is_computed_once():
    office = Office(FakeLlama(n_slots=8))
    for number in range(8):
        office.submit(number, SYSTEM, "abc")
    office.run()
    assert [len(part.tokens) for part in office.llama.batches[-4]] == 8 * [1]
    assert computed(office) == len(SYSTEM) - 1 + 8 * 4


@pytest.mark.parametrize("kind", ["parts", "window", "whole"])
def test_a_second_wave_computes_only_its_questions(kind: str):
    office = Office(FakeLlama(n_slots=8, kind=kind), prefix_cache=PLENTY)
    for number in range(8):
        office.submit(number, SYSTEM + question(number), "some answer")
    office.run()
    before = computed(office)
    for number in range(8, 16):
        office.submit(number, SYSTEM + question(number), "a", max_new=1)
    office.run()
    assert computed(office) - before == 8 * 12


def test_a_stranger_is_not_held_up_by_those_who_wait():
    office = Office(FakeLlama(n_slots=4))
    office.submit(1, SYSTEM + question(1), "a")
    office.submit(2, SYSTEM + question(2), "a")
    office.submit(3, question(3), "hello")
    office.scheduler.step()
    first = {part.seq_id: len(part.tokens) for part in office.llama.batches[0]}
    assert first == {0: 12, 1: 244}  # n_ubatch: short prompts go first, then one for both
    office.scheduler.step()
    second = {part.seq_id for part in office.llama.batches[1]}
    assert second == {1}, "nobody computes for those who wait"
    office.run()
    assert office.text(3) == "hello"


def test_those_who_wait_do_not_wait_for_a_handful_of_tokens():
    office = Office(FakeLlama(n_slots=2))
    office.submit(1, [7] * 20 + question(1, 100), "a")
    office.submit(2, [7] * 20 + question(2, 100), "a")
    office.scheduler.step()
    assert [len(part.tokens) for part in office.llama.batches[0]] == [120, 120]


@pytest.mark.parametrize("kind", ["parts", "window", "whole"])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_when_the_first_leaves_the_next_goes_on_from_there(kind: str, steps: int):
    long = list(range(1000, 1700))
    office = Office(FakeLlama(n_slots=4, kind=kind), prefix_cache=PLENTY)
    for number in range(3):
        office.submit(number, long + question(number))
    for _ in range(steps):
        office.scheduler.step()
    office.scheduler.cancel(0)
    office.run()
    for number in (1, 2):
        assert office.text(number) == alone(long + question(number), 300)
    waste = 0 if kind == "parts" else 256 * steps
    assert computed(office) <= len(long) + 2 * 12 + waste + 12 + sum(
        len(office.text(n)) + 1 for n in (1, 2)
    )


def test_when_the_first_fails_the_others_do_without():
    llama = FakeLlama(n_slots=4, broken_tokens=frozenset({5003}))
    office = Office(llama)
    for number in range(3):
        office.submit(number, SYSTEM + question(number), "abc")
    office.run()
    assert isinstance(office.ending(0), Failed)
    assert [office.text(number) for number in (1, 2)] == ["abc", "abc"]


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_one_who_waits_can_be_cancelled(steps: int):
    office = Office(FakeLlama(n_slots=4))
    for number in range(3):
        office.submit(number, SYSTEM + question(number), "abc")
    for _ in range(steps):
        office.scheduler.step()
    office.scheduler.cancel(1)
    assert office.ending(1).reason == "cancelled"
    assert office.scheduler.n_active == (2 if steps else 0)
    office.run()
    assert [office.text(number) for number in (0, 2)] == ["abc", "abc"]
    assert office.samplers[1].closed == 1


def test_a_beginning_is_copied_from_a_running_answer():
    office = Office()
    office.submit(1, SYSTEM + question(1), "a" * 50)
    for _ in range(5):
        office.scheduler.step()
    office.submit(2, SYSTEM + question(2), "b")
    office.run()
    assert office.ending(2).cached_tokens == len(SYSTEM)
    assert (office.text(1), office.text(2)) == ("a" * 50, "b")


def test_an_empty_slot_is_filled_by_copy_rather_than_a_conversation_cut_short():
    office = Office(FakeLlama(n_slots=2))
    office.submit(1, SYSTEM + question(1, 100), "a")
    office.run()
    office.submit(2, SYSTEM + question(2), "b")
    office.run()
    assert office.ending(2).cached_tokens == len(SYSTEM)
    assert office.llama.held(0)[:400] == SYSTEM + question(1, 100)


@pytest.mark.parametrize("kind", ["parts", "window", "whole"])
def test_more_conversations_than_slots_never_compute_a_turn_twice(kind: str):
    office = Office(FakeLlama(n_slots=2, n_ctx_slot=2000, kind=kind), prefix_cache=PLENTY)
    talks = {person: SYSTEM + question(person, 50) for person in range(5)}
    identity, answer = 0, "an answer of more than a few words"
    for turn in range(4):
        for person, tokens in talks.items():
            before, identity = computed(office), identity + 1
            office.submit(identity, tokens, answer)
            office.run()
            if turn:
                assert computed(office) - before == 40 + len(answer)
            tokens += [*spoken(answer), *question(10 * person + turn, 40)]


def test_an_answer_that_comes_back_in_other_words_costs_only_itself():
    """As when thoughts are left out of the history."""
    office = Office(FakeLlama(n_slots=1), prefix_cache=PLENTY)
    office.submit(1, SYSTEM, "some long thought and an answer" * 3)
    office.run()
    office.submit(2, [*SYSTEM, *spoken("an answer"), *question(1)], "b")
    office.run()
    assert office.ending(2).cached_tokens == len(SYSTEM)
    assert office.llama.memory.n_moves == 0  # nobody will want the thoughts again


def test_a_model_that_cannot_go_back_goes_on_from_the_end_of_the_last_prompt():
    office = Office(FakeLlama(n_slots=1, kind="whole"), prefix_cache=PLENTY)
    office.submit(1, SYSTEM, "a long thought and an answer")
    office.run()
    office.submit(2, [*SYSTEM, *spoken("an answer"), *question(1)], "b")
    office.run()
    assert office.ending(2).cached_tokens == len(SYSTEM)


def test_a_model_that_cannot_go_back_learns_where_prompts_part():
    office = Office(FakeLlama(n_slots=1, kind="whole"), prefix_cache=PLENTY)
    for number in range(3):
        office.submit(number, SYSTEM + question(number), "abc")
        office.run()
    assert [office.ending(n).cached_tokens for n in range(3)] == [0, 0, len(SYSTEM)]


def test_what_is_parked_stays_within_its_budget():
    budget = 1000 * BYTES_PER_TOKEN
    office = Office(FakeLlama(n_slots=1), prefix_cache=budget)
    parked = office.scheduler.prefixes.parked
    for number in range(8):
        office.submit(number, question(number, 300), "a")
        office.run()
        assert parked.n_bytes == sum(p.state.n_bytes for p in parked.of("")) <= budget
    assert [p.tokens[0] for p in parked.of("")] == [question(n)[0] for n in (6, 5, 4)]


def test_without_a_budget_nothing_is_parked():
    office = Office(FakeLlama(n_slots=1))
    for number in (1, 2, 1):
        office.submit(number, question(number, 300), "a")
        office.run()
    assert office.llama.memory.n_moves == 0


def test_what_is_too_large_for_the_budget_is_not_copied_at_all():
    office = Office(FakeLlama(n_slots=1), prefix_cache=100)
    for number in (1, 2):
        office.submit(number, question(number, 300), "a")
        office.run()
    assert office.llama.memory.n_moves == 0


def test_what_another_slot_holds_is_not_parked():
    office = Office(FakeLlama(n_slots=2), prefix_cache=PLENTY)
    for number in (1, 2):
        office.submit(number, SYSTEM, "a")
    office.run()
    office.submit(3, question(3, 300), "a")
    office.run()
    assert office.scheduler.prefixes.parked.of("") == []


@pytest.mark.parametrize("kind", ["parts", "window", "whole"])
def test_tenants_share_nothing_not_even_in_passing(kind: str):
    office = Office(FakeLlama(n_slots=4, kind=kind), prefix_cache=PLENTY)
    for number, tenant in enumerate(["alice", "bob", "carol"]):
        office.submit(number, SYSTEM + question(number), "a", tenant=tenant)
    office.run()
    for number in range(10):  # pushes all of them out to main memory
        office.submit(10 + number, question(number, 200), "a", tenant="dave")
        office.run()
    office.submit(30, SYSTEM + question(1), "a", tenant="dave")
    office.run()
    endings = [m for m in office.sent if isinstance(m, Finished)]
    assert {ending.cached_tokens for ending in endings} == {0}

    office.submit(31, [*SYSTEM, *question(0), *question(7)], "a", tenant="alice")
    office.run()
    assert office.ending(31).cached_tokens > 0


def test_who_declines_the_prefix_neither_uses_nor_leaves_one():
    office = Office(FakeLlama(n_slots=4), prefix_cache=PLENTY)
    office.submit(1, SYSTEM + question(1), "a", reuse=False)
    office.submit(2, SYSTEM + question(2), "a")
    office.submit(3, SYSTEM + question(3), "a", reuse=False)
    office.run()
    assert [office.ending(n).cached_tokens for n in (1, 2, 3)] == [0, 0, 0]
    assert [len(office.llama.held(n)) for n in range(3)] == [0, 313, 0]
    office.submit(4, SYSTEM + question(4), "a", reuse=False)
    office.run()
    assert office.ending(4).cached_tokens == 0


def test_what_cannot_be_restored_is_computed():
    office = Office(FakeLlama(n_slots=1), prefix_cache=PLENTY)
    office.submit(1, SYSTEM, "a")
    office.run()
    office.submit(2, question(2, 300), "a")
    office.run()
    office.llama.memory.fails_to_restore = True
    office.submit(3, [*SYSTEM, *question(3)])
    office.run()
    assert office.ending(3).cached_tokens == 0
    assert office.text(3) == alone([*SYSTEM, *question(3)], 300)


def test_even_the_few_tokens_that_a_chat_template_begins_with_are_copied():
    office = Office(FakeLlama(n_slots=3))
    for number in (1, 2, 3):
        office.submit(number, [7] * 6 + question(number), "a")
        office.run()
    assert [office.ending(number).cached_tokens for number in (1, 2, 3)] == [0, 6, 6]


def test_a_long_copy_for_a_short_gain_is_not_made():
    office = Office(FakeLlama(n_slots=2, n_ctx_slot=100_000, n_batch=512))
    office.submit(1, SYSTEM[:40] + question(1, 90_000), "a")
    office.run()
    office.submit(2, SYSTEM[:40] + question(2), "a")
    office.run()
    assert office.ending(2).cached_tokens == 0
    assert office.llama.memory.n_moves == 0


def test_copies_for_newcomers_do_not_hold_up_running_streams():
    llama = FakeLlama(n_slots=6, n_ctx_slot=20_000)
    office = Office(llama, prefix_cache=PLENTY)
    for number in range(4):
        office.submit(number, question(number, 4000), "a")
        office.run()
    office.submit(10, question(50), "a" * 200)
    for _ in range(5):
        office.scheduler.step()
    for number in range(4):  # each pushes something out: 0.08 s to save, and to bring back
        office.submit(20 + number, question(60 + number, 4000), "b")
    gaps = []
    for _ in range(20):
        before, moved = office.llama.clock(), llama.memory.seconds
        office.scheduler.step()
        gaps.append(llama.memory.seconds - moved)
        assert office.llama.clock() - before < 1.0
    assert max(gaps) <= MOVE_LIMIT_S + 2 * 0.08


def test_without_room_in_a_shared_cache_the_oldest_goes_to_main_memory():
    llama = FakeLlama(n_slots=3, n_ctx_slot=400, is_unified=True)
    office = Office(llama, prefix_cache=PLENTY)
    for number in range(3):
        office.submit(number, question(10 * number, 390), "a")
        office.run()
    office.submit(5, [*question(10, 390), 77], "bcd")
    office.submit(6, question(90, 390), "efg")
    office.run()
    assert (office.text(5), office.text(6)) == ("bcd", "efg")
    assert office.ending(5).cached_tokens == 390


@pytest.mark.parametrize("kind", ["parts", "window", "whole"])
@pytest.mark.parametrize("is_unified", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_every_answer_is_the_one_computed_alone(
    kind: str, is_unified: bool, seed: int
):
    """Random conversations, tenants, cancels and failures over few slots and little memory."""
    dice = random.Random(f"{kind} {is_unified} {seed}")
    llama = FakeLlama(dice.randint(1, 4), 600, 64, 32, kind, is_unified)
    budget = dice.choice([0, 300, 3000]) * BYTES_PER_TOKEN
    office = Office(llama, prefix_cache=budget)
    prompts: dict[int, list[int]] = {}
    injected: list[int] = []
    talks = [list(range(1000, 1000 + dice.randint(1, 200))) for _ in range(3)]
    for number in range(60):
        base = dice.choice(talks)
        prompt = base[: dice.randint(1, len(base))] + question(
            dice.randint(0, 9), dice.randint(1, 60)
        )
        prompts[number] = prompt
        office.submit(
            number,
            prompt,
            max_new=dice.randint(0, 60),
            tenant=dice.choice(["alice", "bob"]),
            reuse=dice.random() < 0.9,
            deterministic=dice.random() < 0.1,
        )
        for _ in range(dice.choice([0, 0, 1, 3, 20])):
            if dice.random() < 0.05:
                llama.codes = [dice.choice([1, -3])]
                injected += llama.codes
            llama.memory.fails_to_restore = dice.random() < 0.1
            if dice.random() < 0.1:
                office.scheduler.cancel(dice.randint(0, number))
            office.scheduler.step()
            assert office.scheduler.prefixes.parked.n_bytes <= budget
        if dice.random() < 0.5 and office.is_ended(number):
            talks.append([*prompt, *spoken(office.text(number))][:500])
    office.run()
    for number, prompt in prompts.items():
        ending = office.ending(number)
        said = office.text(number)
        assert alone(prompt, len(said)) == said
        if isinstance(ending, Failed):  # it was alone in its batch when that failed
            assert ending.code == "engine_error" and -3 in injected
        elif ending.reason == "stop":
            assert alone(prompt, 1000) == said
        assert office.samplers[number].closed == 1
    assert office.scheduler.is_idle
