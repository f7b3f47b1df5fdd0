"""What is sent: all pinned turns and the last ones, as many as there is room for."""

from hypothesis import given
from hypothesis import strategies as st

from mlm.repl.context import Plan, TurnSize, choose_reserve, plan_context

SIZES = st.lists(st.builds(TurnSize, st.integers(1, 2000), st.booleans()), max_size=40)
FIXED = st.integers(0, 3000)
ROOM = st.integers(1, 8000)


@st.composite
def settings(draw: st.DrawFn) -> tuple[list[TurnSize], int, int, int]:
    turns = draw(SIZES)
    return turns, draw(FIXED), draw(ROOM), draw(st.integers(0, len(turns)))


def cost(turns: list[TurnSize], fixed: int, left_out: int) -> int:
    return fixed + sum(t.tokens for i, t in enumerate(turns) if i >= left_out or t.pinned)


@given(settings())
def test_the_plan_says_what_it_sends_costs(given_: tuple[list[TurnSize], int, int, int]):
    turns, fixed, room, before = given_
    plan = plan_context(turns, fixed, room, before)
    assert plan.tokens == cost(turns, fixed, plan.left_out)
    assert before <= plan.left_out <= len(turns)  # nothing that was left out comes back


@given(settings())
def test_what_fits_is_sent_as_it_is(given_: tuple[list[TurnSize], int, int, int]):
    turns, fixed, room, before = given_
    if cost(turns, fixed, before) <= room:
        assert plan_context(turns, fixed, room, before).left_out == before


@given(settings())
def test_a_question_fits_whenever_it_does_with_the_pinned_turns_alone(
    given_: tuple[list[TurnSize], int, int, int],
):
    turns, fixed, room, before = given_
    plan = plan_context(turns, fixed, room, before)
    assert plan.fits == (cost(turns, fixed, len(turns)) <= room)


@given(settings())
def test_the_last_turn_goes_along_whenever_there_is_room_for_it(
    given_: tuple[list[TurnSize], int, int, int],
):
    turns, fixed, room, before = given_
    if before < len(turns) and cost(turns, fixed, len(turns) - 1) <= room:
        assert plan_context(turns, fixed, room, before).left_out < len(turns)


@given(settings(), st.integers(1, 100))
def test_after_turns_were_left_out_there_is_room_for_some_time(
    given_: tuple[list[TurnSize], int, int, int], more: int
):
    """So that the beginning of the next prompts stays the same, and need not be read again."""
    turns, fixed, room, before = given_
    plan = plan_context(turns, fixed, room, before)
    if before < plan.left_out < len(turns) and plan.tokens <= 0.6 * room and more <= 0.4 * room:
        longer = [*turns, TurnSize(int(0.4 * room) - more + 1)]
        assert plan_context(longer, fixed, room, plan.left_out).left_out == plan.left_out


def test_old_turns_go_first_and_whole():
    turns = [TurnSize(100) for _ in range(10)]
    assert plan_context(turns, 100, 1100) == Plan(0, 1100, 1100)
    assert plan_context(turns, 101, 1100) == Plan(5, 601, 1100)


def test_pinned_turns_stay_and_make_others_go():
    turns = [TurnSize(300, pinned=True), *(TurnSize(100) for _ in range(8))]
    assert plan_context(turns, 50, 1000) == Plan(7, 550, 1000)


def test_where_little_fits_the_last_turn_is_better_than_none():
    assert plan_context([TurnSize(500), TurnSize(700)], 200, 1000) == Plan(1, 900, 1000)


def test_the_answer_has_as_much_room_as_it_may_take():
    assert choose_reserve(4096, None) == 1024
    assert choose_reserve(131_072, None) == 2048
    assert choose_reserve(4096, 300) == 300
    assert choose_reserve(4096, 4000) == 2048  # and a question has some, too
