"""Which inputs are read in which call, told with a context that computes nothing."""

import array
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from mlm.engine.computer import Part
from mlm.engine.embedder import Embedder, EmbedRequest
from mlm.engine.messages import Failed, Finished, Message, Vectors

_ids = itertools.count(1)
POISON, NOTHING = 666, 667  # tokens that cannot be computed, and that give no number


@dataclass
class FakeContext:
    """Holds what each sequence has been given; its vector is the sum of its tokens."""

    takes_whole: bool = True
    n_seqs: int = 8
    n_ctx: int = 1000
    n_ubatch: int = 100
    n_fill: int = 50
    n_few: int = 4
    calls: list[tuple[str, list[list[int]]]] = field(default_factory=list)
    held: dict[int, list[int]] = field(default_factory=dict)

    def read(self, parts: Sequence[Part]) -> int:
        assert not self.takes_whole
        return self._compute("read", parts)

    def embed(self, parts: Sequence[Part]) -> int:
        return self._compute("embed", parts)

    def vector(self, seq_id: int, dimensions: int | None) -> bytes | None:
        tokens = self.held[seq_id]
        return None if NOTHING in tokens else array.array("f", [sum(tokens)]).tobytes()

    def forget(self, seq_id: int) -> None:
        self.held.pop(seq_id, None)

    def _compute(self, call: str, parts: Sequence[Part]) -> int:
        ids = [part.seq_id for part in parts]
        assert ids == sorted(set(ids)) and max(ids) < self.n_seqs
        assert sum(len(part.tokens) for part in parts) <= self.n_ubatch
        self.calls.append((call, [list(part.tokens) for part in parts]))
        if any(POISON in part.tokens for part in parts):
            for part in parts:  # what was computed before it failed stays behind
                self.held.setdefault(part.seq_id, []).append(part.tokens[0])
            return -3
        for part in parts:
            known = self.held.setdefault(part.seq_id, [])
            assert part.start == len(known)
            known += part.tokens
        assert sum(map(len, self.held.values())) <= self.n_ctx
        return 0


class Desk:
    """An embedder, what it is asked and what it says."""

    def __init__(self, **facts: object) -> None:
        self.context = FakeContext(**facts)
        self.said: list[Message] = []
        self.embedder = Embedder(self.context, self.said.append, lambda: 0.0)

    def ask(self, *inputs: list[int]) -> int:
        request = EmbedRequest(next(_ids), list(inputs))
        self.embedder.submit(request)
        return request.request_id

    def run(self) -> None:
        for _ in range(10_000):
            if self.embedder.is_idle:
                return
            self.embedder.step()
        raise AssertionError("it goes on for ever")

    def numbers(self, request_id: int) -> dict[int, float]:
        found: dict[int, float] = {}
        for message in self.said:
            if isinstance(message, Vectors) and message.request_id == request_id:
                numbers = array.array("f", message.rows)
                assert not set(found) & set(message.indexes)
                found |= dict(zip(message.indexes, numbers, strict=True))
        return found

    def ending(self, request_id: int) -> Message:
        (ending,) = [
            message
            for message in self.said
            if isinstance(message, Finished | Failed) and message.request_id == request_id
        ]
        return ending


@pytest.mark.parametrize("takes_whole", [True, False])
def test_every_input_gets_its_own_number(takes_whole: bool):
    desk = Desk(takes_whole=takes_whole)
    asked = {}
    for n in range(5):
        inputs = [[n, i, *[1] * (i * 7 % 90)] for i in range(30)]
        asked[desk.ask(*inputs)] = inputs
    desk.run()
    for request_id, inputs in asked.items():
        assert desk.numbers(request_id) == {i: sum(tokens) for i, tokens in enumerate(inputs)}
        ending = desk.ending(request_id)
        assert isinstance(ending, Finished) and ending.reason == "stop"
        assert ending.prompt_tokens == sum(map(len, inputs))
    assert desk.context.held == {}


def test_short_inputs_share_a_call_up_to_what_is_good_for_it():
    desk = Desk()
    desk.ask(*[[1] * 10 for _ in range(12)])
    desk.run()
    assert [len(parts) for _, parts in desk.context.calls] == [5, 5, 2]


def test_a_long_input_is_computed_alone_and_in_its_turn():
    desk = Desk()
    desk.ask([1] * 10, [2] * 100, [3] * 10)
    desk.run()
    assert [[part[0] for part in parts] for _, parts in desk.context.calls] == [[1], [2], [3]]


def test_a_list_of_thousands_starves_nobody():
    desk = Desk()
    desk.ask(*[[1] * 10 for _ in range(2000)])
    desk.embedder.step()
    late = [desk.ask([2] * 10), desk.ask([3] * 10, [4] * 10)]
    desk.embedder.step()
    assert all(desk.numbers(request_id) for request_id in late)
    desk.embedder.step()
    assert [type(desk.ending(request_id)) for request_id in late] == [Finished, Finished]


def test_who_finds_no_room_is_first_the_next_time():
    desk = Desk()
    for _ in range(3):  # these fill every call
        desk.ask(*[[1] * 16 for _ in range(100)])
    long = desk.ask([2] * 45)
    for _ in range(3):
        desk.embedder.step()
    assert desk.numbers(long) == {0: 90}


def test_with_more_requests_than_places_all_have_their_turn():
    desk = Desk(n_seqs=2)
    asked = [desk.ask(*[[1]] * 50) for _ in range(5)]
    for _ in range(10):
        desk.embedder.step()
        done = [len(desk.numbers(request_id)) for request_id in asked]
        assert max(done) - min(done) <= 1
    assert done == [4] * 5


def test_beside_a_long_input_that_is_read_in_pieces_short_ones_pass():
    desk = Desk(takes_whole=False)
    long = desk.ask([1] * 900)
    desk.embedder.step()
    short = desk.ask([2] * 20)
    desk.embedder.step()
    assert desk.numbers(short) == {0: 40} and desk.numbers(long) == {}
    desk.run()
    assert desk.numbers(long) == {0: 900}
    assert max(sum(map(len, parts)) for _, parts in desk.context.calls) == 100


def test_in_pieces_only_the_last_token_is_computed_with_results():
    desk = Desk(takes_whole=False)
    desk.ask([1, 2, 3, 4, 5, 6, 7], [8, 9])
    desk.run()
    assert desk.context.calls == [
        ("read", [[1, 2, 3, 4, 5, 6], [8]]),
        ("embed", [[7], [9]]),
    ]


def test_a_few_tokens_are_computed_in_one_go():
    desk = Desk(takes_whole=False)
    desk.ask([1, 2], [3])
    desk.run()
    assert desk.context.calls == [("embed", [[1, 2], [3]])]


@pytest.mark.parametrize("takes_whole", [True, False])
def test_a_cancelled_request_leaves_at_once_and_nothing_of_it_stays(takes_whole: bool):
    desk = Desk(takes_whole=takes_whole)
    leaving, staying = desk.ask(*[[1] * 90] * 50), desk.ask(*[[2] * 20] * 3)
    desk.embedder.step()
    desk.embedder.cancel(leaving)
    assert desk.ending(leaving).reason == "cancelled"
    desk.embedder.cancel(leaving)
    desk.embedder.cancel(999_999)
    desk.run()
    assert desk.numbers(staying) == {0: 40, 1: 40, 2: 40}
    assert desk.context.held == {}


@pytest.mark.parametrize("takes_whole", [True, False])
@pytest.mark.parametrize("bad", [POISON, NOTHING])
def test_an_input_that_cannot_be_computed_costs_its_request_only(takes_whole: bool, bad: int):
    desk = Desk(takes_whole=takes_whole)
    good = [desk.ask([1] * 9, [2] * 9), desk.ask(*[[3] * 9] * 20)]
    broken = desk.ask([4] * 9, [bad] * 3, [5] * 9)
    desk.run()
    assert isinstance(desk.ending(broken), Failed)
    assert [len(desk.numbers(request_id)) for request_id in good] == [2, 20]
    assert desk.context.held == {}
